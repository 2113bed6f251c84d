"""Files written whole or not at all, and secrets, which their owner alone may read."""

import os
import stat
import tempfile
from pathlib import Path

from tandem_platform.errors import Code, Refusal


class SecretExposed(Refusal):
    """Others on this machine can read the key: it is not used until somebody decided that it still is one."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "SECRET_EXPOSED",
            f"{path} can be read by others on this machine",
            way_out=f"chmod go-rwx {path}, and rotate the key if others had access to this machine",
        )


def read_secret(path: Path) -> bytes:
    """The file's content; SecretExposed if its group or others have any access to it."""
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise SecretExposed(path)
        return file.read()


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file; after a crash it holds the old content or the new, never a part.

    mode: from the first byte on, whatever the umask. A directory that is missing is made for its owner alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Under a name of its own: several processes of one service may write at once.
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
