"""The ways to a running network: the hub with an operator's certificate, a clinic with a token."""

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import Layout

_TIMEOUT = 10.0
_TOKEN = re.compile("[!-~]+")


@contextmanager
def operator_channel(directory: Path, hub: str | None, certificates: Path | None) -> Iterator[Any]:
    """A channel to the hub; what it refuses ends the command with the reason."""
    import grpc

    from tandem_platform.errors import Code
    from tandem_platform.rpc.client import refusal_of, secure_channel
    from tandem_platform.rpc.tls import TlsFiles
    from tandem_platform.unreadable import UNREADABLE

    layout = Layout(directory)
    address = hub or layout.load_addresses().hub
    held = certificates or layout.operator
    try:
        channel = secure_channel(address, TlsFiles.in_directory(held), default_timeout=_TIMEOUT)
    except FileNotFoundError as absent:
        raise Stop(Exit.USAGE, f"{absent.filename} is not there", _OPERATORS) from None
    except UNREADABLE:
        raise Stop(Exit.USAGE, f"{held} does not hold a certificate with its key", _OPERATORS) from None
    with channel:
        try:
            yield channel
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            code = Exit.UNREACHABLE if refusal.is_transient() else Exit.FINDING
            way_out = refusal.way_out or ""
            if refusal.code is Code.UNAVAILABLE:
                way_out = f"see that it runs there (--hub) and that {held} is of its network (--certificates)"
            elif refusal.code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED):
                way_out = _OPERATORS
            field = f"{refusal.field}: " if refusal.field else ""
            message = f"the hub at {address}: {field}{refusal.message}"
            raise Stop(code, message, way_out, refusal.reason) from None


_OPERATORS = (
    "name an operator's with --certificates; "
    "issue one with: tandem certs operator NAME --authority DIRECTORY --out DIRECTORY"
)


class ClinicAway(Exception):
    """The clinic did not answer; the text says what happened on the way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a clinic said. *body* is the decoded JSON document, None where there was none."""

    status: int
    body: Any

    @property
    def is_refusal(self) -> bool:
        return not 200 <= self.status < 300

    def __str__(self) -> str:
        if self.is_refusal and isinstance(self.body, Mapping):
            said = [
                str(self.body[key]) for key in ("title", "detail", "reason", "way_out") if self.body.get(key)
            ]
            return f"{self.status}: " + "; ".join(said)
        return f"{self.status}: {json.dumps(self.body, default=str)[:400]}"


class ClinicApi:
    """A clinic's REST API, as a program with this token sees it. One connection per call; threads may share it."""

    def __init__(self, address: str, token: str = "", *, roots: Path | None = None) -> None:
        """*address*: http://host:port or https://host:port; *roots*: the authority that an https server is under."""
        try:
            parts = urlsplit(address)
            self._host, self._port = parts.hostname or "", parts.port
            if parts.scheme not in ("http", "https") or not self._host:
                raise ValueError("it begins with http:// or https://, and a host")
        except ValueError as unfit:
            raise Stop(
                Exit.USAGE, f"{address!r} is no clinic's address: {unfit}", "such as http://127.0.0.1:8080"
            ) from None
        if token and not _TOKEN.fullmatch(token):
            raise Stop(
                Exit.USAGE, "the file with the token holds something else", "put only the token into it"
            )
        self._context = ssl.create_default_context(cafile=roots) if parts.scheme == "https" else None
        self.address = address
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str = "",
        timeout: float = _TIMEOUT,
    ) -> Answer:
        """Raises ClinicAway where no whole answer came."""
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body).encode()
        target = path if not query else f"{path}?{urlencode(query, doseq=True)}"
        connection = self._connection(timeout)
        try:
            connection.request(method, target, payload, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, UnicodeError, http.client.HTTPException) as lost:
            raise ClinicAway(f"{self.address}: {lost or type(lost).__name__}") from lost
        finally:
            connection.close()
        return Answer(response.status, _decoded(content))

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._context is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)


def ask(api: ClinicApi, method: str, path: str, otherwise: str = "") -> Any:
    """The document that the clinic answers with. Raises Stop where it refuses, is away, or is no clinic.

    otherwise: the way out of a refusal that comes without one.
    """
    try:
        answer = api.call(method, path)
    except ClinicAway as away:
        way_out = "see that the clinic runs, and that --clinic is its address"
        raise Stop(Exit.UNREACHABLE, f"the clinic does not answer: {away}", way_out) from away
    if isinstance(answer.body, Mapping) and answer.is_refusal:
        said = {name: str(answer.body.get(name) or "") for name in ("detail", "title", "way_out", "reason")}
        message = f"the clinic at {api.address}: {said['detail'] or said['title']}"
        if answer.status == http.client.UNAUTHORIZED:
            said["way_out"] = "name a file with a good access token of this clinic's: --token-file"
        raise Stop(Exit.FINDING, message, said["way_out"] or otherwise, said["reason"])
    if answer.is_refusal or not isinstance(answer.body, Mapping | list):
        raise Stop(
            Exit.FINDING,
            f"what answers at {api.address} is no clinic of Tandem's: status {answer.status}",
            "give the address of the clinic's API, without a path: http://HOST:PORT",
        )
    return answer.body


def _decoded(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")


def clinic_api(
    directory: Path, practice: str | None, address: str | None, token_file: Path | None
) -> ClinicApi:
    """The clinic that the options name: by its place in the network of *directory*, or by address and token."""
    if address is not None:
        if practice is not None:
            raise Stop(
                Exit.USAGE,
                "--practice and --clinic exclude each other",
                "--practice names a clinic of DIRECTORY, --clinic one that runs elsewhere",
            )
        if token_file is None:
            raise Stop(
                Exit.USAGE, "--clinic needs --token-file", "put an access token into a file of mode 0600"
            )
        return ClinicApi(address, _token_in(token_file))
    if practice is None:
        raise Stop(
            Exit.USAGE, "say which clinic", "with --practice NAME, or with --clinic URL and --token-file"
        )
    layout = Layout(directory)
    plan = layout.load_plan().practice(practice)
    file = token_file or layout.token_file(plan, "clinician")
    if not file.exists():
        raise Stop(Exit.USAGE, f"{file} is not there", "start the network once with: tandem up")
    addresses = layout.load_addresses().http
    if plan.name not in addresses:
        raise Stop(
            Exit.UNREACHABLE, f"{plan.name} does not run", f"start it with: tandem up --directory {directory}"
        )
    return ClinicApi(addresses[plan.name], _token_in(file))


def _token_in(file: Path) -> str:
    return file.read_text("ascii", "replace").strip()
