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


def test_a_name_that_looks_like_loopback_leads_wherever_its_owner_likes() -> None:
    assert not any(is_loopback(name) for name in ("127.example.test:1", "127.0.0.1.example.test:1", "127.:1"))


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", "-1", "1e9", "soon"])
def test_a_time_to_wait_is_a_number_that_can_be_waited_for(given: str) -> None:
    with pytest.raises(SettingsUnfit) as refused:
        load(ClinicSettings, {**COMPLETE, "TANDEM_TLS_DIRECTORY": ".", "TANDEM_HUB_TIMEOUT": given})
    assert [fault.split(" ")[0] for fault in refused.value.faults] == ["TANDEM_HUB_TIMEOUT"]


def test_a_directory_with_a_name_longer_than_any_is_named_like_the_other_faults() -> None:
    with pytest.raises(SettingsUnfit, match="TANDEM_TLS_DIRECTORY is unfit"):
        load(ClinicSettings, {**COMPLETE, "TANDEM_TLS_DIRECTORY": "a" * 5_000})


def test_a_database_url_is_not_shown() -> None:
    settings = load(
        ClinicSettings,
        {**COMPLETE, "TANDEM_DATABASE_URL": "postgresql://u:secret@h/d", "TANDEM_TLS_DIRECTORY": "."},
    )
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["secret", "://secret", "mysql://u:secret@h/d", "postgresql://u:secret@h:port/d"]
)
def test_what_is_no_database_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsUnfit) as refused:
        load(ClinicSettings, {**COMPLETE, "TANDEM_DATABASE_URL": url, "TANDEM_TLS_DIRECTORY": "."})
    (fault,) = refused.value.faults
    assert fault.startswith("TANDEM_DATABASE_URL is unfit")
    assert "secret" not in fault
