"""Settings from the environment: typed, all faults named at once, secrets never shown."""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

S = TypeVar("S")
PREFIX = "TANDEM_"
_LONGEST = timedelta(days=1).total_seconds()


class SettingsUnfit(Exception):
    """The process cannot start with these settings. Its text names every one at fault and what it should be."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(
            "these settings are missing or unfit:\n" + "\n".join(f"  {fault}" for fault in faults)
        )
        self.faults = faults


def setting(
    meaning: str, parse: Callable[[str], Any] = str, *, default: Any = MISSING, secret: bool = False
) -> Any:
    """A field of a settings dataclass: read from ``TANDEM_`` and its name in capitals.

    parse: raises ValueError, whose text says what is wanted.
    secret: it may hold a password, so neither repr nor faults show it.
    """
    return field(
        default=default, repr=not secret, metadata={"meaning": meaning, "parse": parse, "secret": secret}
    )


@dataclass(frozen=True, slots=True)
class Documented:
    """One row of a settings table."""

    name: str
    default: str
    meaning: str


def load(cls: type[S], environment: Mapping[str, str] | None = None) -> S:
    """*cls* from the environment. Raises SettingsUnfit."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    faults: list[str] = []
    for each in fields(cls):  # type: ignore[arg-type]
        name = PREFIX + each.name.upper()
        given = environment.get(name)
        if given is None or given == "":
            if each.default is MISSING:
                faults.append(f"{name} is missing: {each.metadata['meaning']}")
            continue
        try:
            values[each.name] = each.metadata["parse"](given)
        except ValueError as fault:
            faults.append(f"{name} is unfit: {fault}")
    if faults:
        raise SettingsUnfit(faults)
    return cls(**values)


def documented(cls: type[Any]) -> list[Documented]:
    """What a README's table of settings must say."""
    return [
        Documented(PREFIX + each.name.upper(), _default(each), each.metadata["meaning"])
        for each in fields(cls)
    ]


def _default(each: "Field[Any]") -> str:
    return "required" if each.default is MISSING else str(each.default)


def path(text: str) -> Path:
    return Path(text)


def existing_directory(text: str) -> Path:
    found = Path(text)
    # Path.is_dir raises for a name that is too long.
    if not os.path.isdir(found):
        raise ValueError("must be an existing directory")
    return found


def address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 65536):
        raise ValueError("must be host:port")
    return text


def database(text: str) -> str:
    """What is unfit is not repeated: it may hold a password."""
    try:
        kind = make_url(text).get_backend_name()
    except (ArgumentError, ValueError):
        kind = ""
    if kind not in ("sqlite", "postgresql"):
        raise ValueError("must be the URL of an SQLite or PostgreSQL database")
    return text


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"must be from 0 to {_LONGEST:g}")
    return value


def days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("must be a number of days") from None
    if not 0 <= value <= 366:
        raise ValueError("must be from 0 to 366")
    return value


def yes_or_no(text: str) -> bool:
    if text.lower() in ("yes", "true", "1"):
        return True
    if text.lower() in ("no", "false", "0"):
        return False
    raise ValueError("must be yes or no")


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("must be one of: " + ", ".join(choices))
        return text

    return parse


def https(text: str) -> str:
    """An address that is called with a signature: nothing but TLS, or loopback. What is unfit is not repeated."""
    fault = ValueError("must be an https address without user, query or fragment; http on loopback only")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise fault from None
    plain = parts.scheme == "http" and is_loopback(f"{parts.hostname}:{port or 80}")
    extras = parts.username or parts.password or parts.query or parts.fragment
    if not parts.hostname or extras or not (parts.scheme == "https" or plain):
        raise fault
    return text


def words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def is_loopback(listening: str) -> bool:
    host = listening.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        # A name. One that begins with "127." leads wherever its owner likes.
        return False
