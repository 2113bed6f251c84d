"""What a clinic's process refuses to start with."""

import pytest

from tandem_clinic.process import main
from tandem_clinic.settings import ClinicSettings
from tandem_platform.settings import SettingsUnfit, is_loopback, load
from tandem_prescriber.bootstrap import SERVICE

COMPLETE = {
    "TANDEM_NETWORK": "tandem.test",
    "TANDEM_PRACTICE_ID": "prac_juniper",
    "TANDEM_DISPLAY_NAME": "Juniper Psychiatry",
    "TANDEM_DATABASE_URL": "sqlite:///nowhere.db",
    "TANDEM_HUB_TARGET": "127.0.0.1:7443",
    "TANDEM_GRPC_ADDRESS": "127.0.0.1:0",
    "TANDEM_HTTP_ADDRESS": "127.0.0.1:0",
    "TANDEM_KEYS_DIRECTORY": "keys",
    "TANDEM_AT_REST_KEY": "at-rest.key",
}


def test_every_missing_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsUnfit) as refused:
        load(ClinicSettings, {})
    assert {fault.split(" ")[0] for fault in refused.value.faults} == {*COMPLETE, "TANDEM_TLS_DIRECTORY"}


def test_plain_http_beyond_loopback_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        **COMPLETE,
        "TANDEM_TLS_DIRECTORY": str(tmp_path),
        "TANDEM_HTTP_ADDRESS": "0.0.0.0:8080",
    }.items():
        monkeypatch.setenv(name, value)
    assert main(SERVICE) == 2
    assert "TANDEM_TLS_PROXY" in capsys.readouterr().err


def test_loopback_has_several_names() -> None:
    assert all(is_loopback(name) for name in ("127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"))
    assert not any(is_loopback(name) for name in ("0.0.0.0:1", "10.0.0.1:1", "example.test:1"))


def test_a_database_url_is_not_shown() -> None:
    settings = load(
        ClinicSettings,
        {**COMPLETE, "TANDEM_DATABASE_URL": "postgresql://u:secret@h/d", "TANDEM_TLS_DIRECTORY": "."},
    )
    assert "secret" not in repr(settings)
