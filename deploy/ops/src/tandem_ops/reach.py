"""The ways to a running network: the hub with an operator's certificate, a clinic with a token."""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

import click

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import Layout

P = ParamSpec("P")
R = TypeVar("R")

_TIMEOUT = 10.0
_TOKEN = re.compile("[!-~]+")


def directory_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--directory",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".tandem"),
        show_default=True,
        envvar="TANDEM_DIRECTORY",
        help="The network made by `tandem up`.",
    )(function)


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document.")(function)


def hub_options(function: Callable[P, R]) -> Callable[P, R]:
    """`hub` and `certificates`: for a hub that `tandem up` did not start."""
    with_certificates = click.option(
        "--certificates",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Directory with the operator's cert.pem, key.pem and ca.pem. [default: DIRECTORY/operator]",
    )(function)
    with_hub = click.option("--hub", help="Address of the hub, host:port. [default: the one in DIRECTORY]")
    return directory_option(with_hub(with_certificates))


@contextmanager
def operator_channel(directory: Path, hub: str | None, certificates: Path | None) -> Iterator[Any]:
    """A channel to the hub; what it refuses ends the command with the reason."""
    import grpc

    from tandem_platform.rpc.client import refusal_of, secure_channel
    from tandem_platform.rpc.tls import TlsFiles

    layout = Layout(directory)
    address = hub or layout.load_addresses().hub
    files = TlsFiles.in_directory(certificates or layout.operator)
    for path in (files.certificate, files.key, files.roots):
        if not path.exists():
            raise Stop(Exit.USAGE, f"{path} is not there", "issue one with: tandem certs operator NAME")
    with secure_channel(address, files, default_timeout=_TIMEOUT) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            code = Exit.UNREACHABLE if refusal.is_transient() else Exit.FINDING
            raise Stop(code, f"the hub at {address}: {refusal.message}", refusal.way_out or "") from None


class ClinicAway(Exception):
    """The clinic did not answer; the text says what happened on the way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a clinic said. *body* is the decoded JSON document, None where there was none."""

    status: int
    body: Any

    @property
    def is_refusal(self) -> bool:
        return self.status >= 400

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
        except ValueError as unfit:
            raise Stop(
                Exit.USAGE, f"{address} is no address: {unfit}", "such as http://127.0.0.1:8080"
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


def _decoded(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")


def clinic_options(function: Callable[P, R]) -> Callable[P, R]:
    """Which clinic is asked, and by which token: what `clinic_api` takes."""
    for option in (
        click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
        click.option("--clinic", help="Address of the clinic's API, for one that `tandem up` did not start."),
        click.option("--practice", help="The clinic, by its name in DIRECTORY."),
    ):
        function = option(function)
    return function


def clinic_api(
    directory: Path, practice: str | None, address: str | None, token_file: Path | None
) -> ClinicApi:
    """The clinic that the options name: by its place in the network of *directory*, or by address and token."""
    if address is not None:
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


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False
