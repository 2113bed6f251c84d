"""A member's own database, opened as whoever runs the command names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import MetaData
from sqlalchemy.exc import DatabaseError, OperationalError

from tandem_ops.console import Exit, Stop
from tandem_platform import settings
from tandem_platform.storage import Database


@contextmanager
def opened(option: str, url: str, metadata: MetaData, whose: str) -> Iterator[Database]:
    """The database that *option* named, for the length of the block. Raises Stop where it turns out not to be *whose*.

    A file that is not there is not made, and an address is not repeated: it may hold a password.
    """
    try:
        database = Database(settings.database(url), metadata)
    except (ValueError, ImportError):
        raise Stop(
            Exit.USAGE,
            f"{option}: that is no address of a database that Tandem knows",
            "such as sqlite:////srv/juniper/tandem.db or postgresql+psycopg://user@host/name",
        ) from None
    file = database.url.database if database.is_sqlite else None
    try:
        if file and file != ":memory:" and not Path(file).is_file():
            raise Stop(
                Exit.USAGE, f"{option}: {file} is not there", f"name {whose} database, once it was started"
            )
        if file and not (os.access(file, os.R_OK | os.W_OK) and os.access(Path(file).parent, os.W_OK)):
            raise Stop(
                Exit.USAGE,
                f"{option}: {file} may not be read and written by this user",
                "run the command as the user as whom the service runs",
            )
        yield database
    except DatabaseError as failed:
        if isinstance(failed, OperationalError) and not database.is_sqlite:
            raise Stop(
                Exit.UNREACHABLE,
                f"{option}: {database.url!r} does not answer, or refuses this user",
                "see that the server runs, and that the address is right",
            ) from None
        raise Stop(
            Exit.USAGE,
            f"{option}: {database.url!r} is not {whose} database",
            f"name {whose}; it is made when the service first starts",
        ) from None
    finally:
        database.close()
