"""What a channel says to a server, and what it makes of the answer."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support.mailroom import SENDER, a_mailroom
from tandem_clinic.notifications.channels import InDoubt, Mail, Unreachable, Unwanted, Webhook, signature
from tandem_clinic.notifications.configured import channels_of, refuse_unfit_channels
from tandem_clinic.settings import ClinicSettings
from tandem_clinic.store.notices import Message
from tandem_platform.settings import SettingsUnfit, load

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRET = "s" * 32
COMPLETE = {
    f"TANDEM_{name}": value
    for name, value in {
        "NETWORK": "tandem.test",
        "PRACTICE_ID": "prac_juniper",
        "DISPLAY_NAME": "Juniper Psychiatry",
        "DATABASE_URL": "sqlite:///nowhere.db",
        "HUB_TARGET": "127.0.0.1:7443",
        "GRPC_ADDRESS": "127.0.0.1:0",
        "HTTP_ADDRESS": "127.0.0.1:0",
        "KEYS_DIRECTORY": "keys",
        "AT_REST_KEY": "at-rest.key",
    }.items()
}


def a_message(address: str = "kim@juniper.test") -> Message:
    return Message("msg_1", "staff_1", "webhook", address, 2, "ready", 0, NOW, NOW, None)


def settings(**more: str) -> ClinicSettings:
    return load(ClinicSettings, {**COMPLETE, "TANDEM_TLS_DIRECTORY": ".", **more})


class Receiver:
    """An HTTP server that answers as it is told and keeps what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.status: int | None = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append((dict(self.headers), body))
                if receiver.status is None:
                    return
                self.send_response(receiver.status)
                self.send_header("Location", f"{receiver.url}elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def a_webhook(receiver: Receiver) -> Webhook:
    return Webhook(SENDER, receiver.url, SECRET, 5.0)


def test_a_webhook_is_signed_and_says_its_id(receiver: Receiver) -> None:
    assert a_webhook(receiver).send(a_message("kim"), lambda: True, NOW)
    ((headers, body),) = receiver.seen
    at = str(int(NOW.timestamp()))
    assert headers["Tandem-Signature"] == f"t={at},v1={signature(SECRET, at, body)}"
    assert headers["Idempotency-Key"] == "msg_1"


def test_a_redirection_is_not_followed(receiver: Receiver) -> None:
    receiver.status = 307
    with pytest.raises(Unwanted):
        a_webhook(receiver).send(a_message(), lambda: True, NOW)
    assert len(receiver.seen) == 1


def test_a_receiver_in_trouble_is_asked_again_and_a_silent_one_leaves_a_doubt(receiver: Receiver) -> None:
    receiver.status = 503
    with pytest.raises(Unreachable):
        a_webhook(receiver).send(a_message(), lambda: True, NOW)
    receiver.status = None
    with pytest.raises(InDoubt):
        a_webhook(receiver).send(a_message(), lambda: True, NOW)


def test_nothing_leaves_that_another_process_sends(receiver: Receiver) -> None:
    assert not a_webhook(receiver).send(a_message(), lambda: False, NOW)
    with a_mailroom() as mailroom:
        assert not mailroom.channel().send(a_message(), lambda: False, NOW)
        assert mailroom.contents == []
    assert receiver.seen == []


def test_a_mail_server_without_tls_gets_no_mail_where_tls_is_wanted() -> None:
    with a_mailroom() as mailroom:
        wanting = Mail(
            SENDER, "127.0.0.1", mailroom.port, "starttls", ssl.create_default_context(), "", "", 5.0
        )
        with pytest.raises(Unreachable):
            wanting.send(a_message(), lambda: True, NOW)
        assert mailroom.contents == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TANDEM_NOTIFY_WEBHOOK_URL", "http://example.test/hook"),
        ("TANDEM_NOTIFY_WEBHOOK_URL", "http://127.0.0.1.example.test/hook"),
        ("TANDEM_NOTIFY_SMS_URL", "ftp://127.0.0.1/"),
        ("TANDEM_NOTIFY_SMS_URL", "https://user:word@example.test/"),
        ("TANDEM_NOTIFY_LINK", "https://juniper.test/?patient=pat_1"),
        ("TANDEM_NOTIFY_SMTP_TLS", "perhaps"),
    ],
)
def test_an_unfit_channel_is_refused_at_the_start(name: str, value: str) -> None:
    with pytest.raises(SettingsUnfit, match=name):
        settings(**{name: value})


def test_what_one_setting_cannot_say_alone_is_refused_at_the_start() -> None:
    unfit = settings(
        TANDEM_NOTIFY_SMTP="mail.example.test:25",
        TANDEM_NOTIFY_SMTP_TLS="none",
        TANDEM_NOTIFY_WEBHOOK_URL="https://example.test/hook",
        TANDEM_NOTIFY_SECRET="short",
    )
    with pytest.raises(SettingsUnfit) as refused:
        refuse_unfit_channels(unfit)
    assert [fault.split(" ")[0] for fault in refused.value.faults] == [
        "TANDEM_NOTIFY_FROM",
        "TANDEM_NOTIFY_SMTP_TLS",
        "TANDEM_NOTIFY_SECRET",
    ]
    assert "short" not in str(refused.value)


def test_the_settings_say_which_channels_there_are(tmp_path: Path) -> None:
    assert channels_of(settings()) == {}
    made = channels_of(
        settings(
            TANDEM_NOTIFY_SMTP="127.0.0.1:25",
            TANDEM_NOTIFY_SMTP_TLS="none",
            TANDEM_NOTIFY_FROM="tandem@juniper.test",
            TANDEM_NOTIFY_SMS_URL="https://example.test/sms",
            TANDEM_NOTIFY_SECRET=SECRET,
        )
    )
    assert sorted(made) == ["email", "sms"]
