"""A fault of the command's own: its anatomy is kept in a file, and a person gets one line with a reference."""

import os
import tempfile
import traceback

from tandem_ops.console import Exit, Stop


def kept(fault: BaseException) -> Stop:
    """What to say of *fault*, after its types and places are written to a file that its owner alone can read.

    Messages are left out of what is kept: a library's may quote what it was given, a password for one.
    """
    name = type(fault).__name__
    try:
        handle, path = tempfile.mkstemp(prefix="tandem-fault-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.writelines(_anatomy(fault))
    except OSError:
        return Stop(Exit.FAULT, f"a fault of tandem itself ({name})", "see it whole with: tandem --debug ...")
    reference = os.path.basename(path).removeprefix("tandem-fault-").removesuffix(".txt")
    return Stop(
        Exit.FAULT,
        f"a fault of tandem itself ({name}), reference {reference}",
        f"report it with {path}, or see it whole with: tandem --debug ...",
    )


def _anatomy(fault: BaseException | None) -> list[str]:
    lines = []
    while fault is not None:
        lines += [f"{type(fault).__module__}.{type(fault).__qualname__}\n"]
        lines += traceback.format_tb(fault.__traceback__)
        fault = fault.__cause__ or fault.__context__
    return lines
