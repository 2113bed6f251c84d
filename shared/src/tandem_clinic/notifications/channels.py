"""Ways to reach a person: a mail server, a gateway for SMS, a webhook.

A channel makes ready first, and asks *commit* before the content leaves: what comes before may be repeated freely.
From then on it is in doubt whether the message arrived, until the server's last reply.
"""

import hashlib
import hmac
import http.client
import json
import re
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from tandem_clinic.notifications.wording import Sender
from tandem_clinic.store.notices import Message

_LONE_BREAK = re.compile(rb"\r\n|\r|\n")
_LEADING_DOT = re.compile(rb"(?m)^\.")


class Unreachable(Exception):
    """It was certainly not taken, and may be later."""


class Unwanted(Exception):
    """The server will not take it, now or later."""


class InDoubt(Exception):
    """Its content left, and no reply came."""


class Channel(Protocol):
    def send(self, message: Message, commit: Callable[[], bool], now: datetime) -> bool:
        """True once the server took it; False if *commit* says that another process sends it. Raises the three above."""
        ...


@dataclass(frozen=True)
class Mail:
    """tls: "tls", "starttls", or "none", which the settings allow on loopback only."""

    sender: Sender
    host: str
    port: int
    tls: str
    context: ssl.SSLContext | None
    user: str
    password: str
    timeout: float

    def send(self, message: Message, commit: Callable[[], bool], now: datetime) -> bool:
        try:
            server = self._connected()
        except (OSError, smtplib.SMTPException) as fault:
            raise Unreachable from fault
        try:
            self._offer(server, message)
            if not commit():
                return False
            self._hand_over(server, message)
        finally:
            server.close()
        return True

    def _connected(self) -> smtplib.SMTP:
        server = self._greeted()
        try:
            if self.tls == "starttls":
                server.starttls(context=self.context)
            if self.user:
                server.login(self.user, self.password)
        except BaseException:
            server.close()
            raise
        return server

    def _greeted(self) -> smtplib.SMTP:
        if self.tls == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=self.context)
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout)

    def _offer(self, server: smtplib.SMTP, message: Message) -> None:
        """Envelope and DATA: the server waits for the content."""
        try:
            server.ehlo_or_helo_if_needed()
            for code, expected in (
                (server.mail(self.sender.mail_from)[0], 250),
                (server.rcpt(message.address)[0], 250),
                (server.docmd("DATA")[0], 354),
            ):
                if code != expected:
                    _refused(code)
        except (OSError, smtplib.SMTPException) as fault:
            raise Unreachable from fault

    def _hand_over(self, server: smtplib.SMTP, message: Message) -> None:
        content = _LONE_BREAK.sub(b"\r\n", self.sender.mail(message))
        try:
            server.send(_LEADING_DOT.sub(b"..", content) + b".\r\n")
            code, _ = server.getreply()
        except (OSError, smtplib.SMTPException) as fault:
            raise InDoubt from fault
        if code != 250:
            _refused(code)


def _refused(code: int) -> None:
    raise Unwanted if code >= 500 else Unreachable


@dataclass(frozen=True)
class Webhook:
    """A POST to the address in the settings, and to no other: redirections are not followed.

    ``Idempotency-Key`` is the message's id, by which the receiver tells a repetition.
    ``Tandem-Signature`` is the HMAC-SHA256 of the time and the body under the shared secret.
    """

    sender: Sender
    url: str
    secret: str
    timeout: float

    def send(self, message: Message, commit: Callable[[], bool], now: datetime) -> bool:
        where = urlsplit(self.url)
        host = where.hostname or ""
        kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, where.port, timeout=self.timeout)
        try:
            try:
                connection.connect()
            except OSError as fault:
                raise Unreachable from fault
            if not commit():
                return False
            self._post(connection, where.path or "/", message, now)
        finally:
            connection.close()
        return True

    def _post(
        self, connection: http.client.HTTPConnection, path: str, message: Message, now: datetime
    ) -> None:
        said = {"to": message.address, "text": self.sender.sentence(message), "id": message.message_id}
        body = json.dumps(said).encode()
        at = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message.message_id,
            "Tandem-Signature": f"t={at},v1={signature(self.secret, at, body)}",
        }
        try:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as fault:
            raise InDoubt from fault
        if status in (408, 425, 429) or status >= 500:
            raise Unreachable
        if not 200 <= status < 300:
            raise Unwanted


def signature(secret: str, at: str, body: bytes) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
