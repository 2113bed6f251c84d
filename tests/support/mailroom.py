"""A mail server on loopback that keeps what it takes, and can be told to behave badly."""

from asyncio import Server
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from tandem_clinic.notifications.channels import Mail
from tandem_clinic.notifications.wording import Sender

SENDER = Sender("Juniper Psychiatry", "https://juniper.test/worklist", "tandem@juniper.test")


class Mailroom:
    """on_content: called with the content's number, from 1, before the reply; what it returns is the reply."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.on_recipient: Callable[[], str] = lambda: "250 OK"
        self.on_content: Callable[[int], str] = lambda _number: "250 taken"
        self.port = 0

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        reply = self.on_recipient()
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.contents.append(envelope.content)
        return self.on_content(len(self.contents))

    @property
    def mails(self) -> list[EmailMessage]:
        return [message_from_bytes(each, policy=policy.default) for each in self.contents]

    @property
    def ids(self) -> list[str]:
        return [str(mail["Message-ID"]) for mail in self.mails]

    def channel(self, timeout: float = 5.0) -> Mail:
        return Mail(SENDER, "127.0.0.1", self.port, "none", None, "", "", timeout)


class OnAnyPort(Controller):
    """aiosmtpd looks for the server at the port that was asked for, and 0 was."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def a_mailroom() -> Iterator[Mailroom]:
    mailroom = Mailroom()
    controller = OnAnyPort(mailroom, hostname="127.0.0.1", port=0)
    controller.start()
    mailroom.port = controller.port
    try:
        yield mailroom
    finally:
        controller.stop()
