"""Identifiers that tell nothing: neither an order, nor a time, nor a count."""

import base64
import re
import secrets

PREFIXES = frozenset({"prac", "pship", "ref", "epi", "ent", "perm", "req", "pat"})

_BODY = "[a-z2-7]{26}"
_ANY = re.compile(rf"[a-z]+_{_BODY}")


def new_id(prefix: str) -> str:
    """*prefix*, an underscore, and 128 random bits in lower-case base32 (RFC 4648, without padding).

    Never ordered by time: an id that a practice sees must not say when another one was made.
    """
    random_bits = base64.b32encode(secrets.token_bytes(16)).decode("ascii")
    return f"{prefix}_{random_bits.rstrip('=').lower()}"


def is_id(text: str, prefix: str | None = None) -> bool:
    """Whether *text* has the form that `new_id` gives, with *prefix* if one is named."""
    return _ANY.fullmatch(text) is not None and (prefix is None or text.partition("_")[0] == prefix)
