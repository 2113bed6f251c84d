"""Networks that are set up once and continued in many tests, each on copies of its databases."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url

from support.databases import PostgresServer

_MEMORY = "/dev/shm"  # noqa: S108 - a directory of a random name is made in it
SCRATCH = _MEMORY if os.access(_MEMORY, os.W_OK) else None
"""Memory where there is some: thousands of commits wait for no disk."""


@dataclass
class Place:
    """Where databases are made: SQLite files, or databases of *server*."""

    server: PostgresServer | None
    home: Path

    def fresh(self, name: str) -> str:
        return self.server.new_database() if self.server else f"sqlite:///{self.home / name}.db"

    @contextmanager
    def copies(self) -> Iterator["Copies"]:
        with tempfile.TemporaryDirectory(prefix="tandem-", dir=SCRATCH) as directory:
            copies = Copies(self.server, Path(directory))
            try:
                yield copies
            finally:
                copies.drop()


@dataclass
class Copies:
    """Copies the database of a URL, to which nobody is connected, and gives the copy's."""

    server: PostgresServer | None
    directory: Path
    made: list[str] = field(default_factory=list)

    def __call__(self, url: str) -> str:
        if self.server is None:
            source = Path(str(make_url(url).database))
            shutil.copyfile(source, self.directory / source.name)
            return f"sqlite:///{self.directory / source.name}"
        self.made.append(self.server.new_database(template=url))
        return self.made[-1]

    def drop(self) -> None:
        for url in self.made:
            assert self.server is not None
            self.server.drop_database(url)
        self.made.clear()


CopyOf = Callable[[str], str]


@contextmanager
def a_place(server: PostgresServer | None) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="tandem-", dir=SCRATCH) as home:
        yield Place(server, Path(home))
