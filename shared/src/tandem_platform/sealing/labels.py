"""What the hub sees of an entry: its labels, their one encoding, and what makes them proper."""

import re

from google.protobuf.unknown_fields import UnknownFieldSet

from tandem.common.v1.common_pb2 import Category
from tandem.exchange.v1.exchange_pb2 import EntryLabels
from tandem_platform.ids import is_id
from tandem_platform.sealing.encoding import encode

# The first byte of an encoding: a new label field means a new version, else old and new readers would
# bind different fields and call it the same.
LABELS_VERSION = 1

SMALLEST_PADDED = 256
LARGEST_SIZE_CLASS = 12
_CATEGORIES = frozenset(Category.values()) - {Category.CATEGORY_UNSPECIFIED}
_PRACTICE_ID = re.compile(r"[a-z][a-z0-9_-]{1,63}")


def encode_labels(labels: EntryLabels) -> bytes:
    """Bytes that bind every field; two labels that differ in anything never share them. About 7 µs.

    An unset time differs from 1970. Unknown fields are not bound: `improper_field` refuses them.
    """
    authored = labels.authored_at
    return bytes([LABELS_VERSION]) + encode(
        labels.entry_id,
        labels.episode_id,
        labels.origin_practice_id,
        labels.category,
        list(labels.derived_from),
        (authored.seconds, authored.nanos) if labels.HasField("authored_at") else None,
        labels.size_class,
        labels.amends_entry_id,
        labels.entered_in_error,
        labels.part2,
    )


def improper_field(labels: EntryLabels) -> str | None:
    """The first field that no honest source would send, or None.

    The identifiers must have the form of random ones: a clear label must have no room for a name.
    """
    authored = labels.authored_at
    derived = list(labels.derived_from)
    proper = {
        "entry_id": is_id(labels.entry_id, "ent"),
        "episode_id": is_id(labels.episode_id, "epi"),
        "origin_practice_id": _PRACTICE_ID.fullmatch(labels.origin_practice_id) is not None,
        "category": labels.category in _CATEGORIES,
        "derived_from": _CATEGORIES.issuperset(derived) and len(set(derived)) == len(derived),
        "authored_at": 0 < authored.seconds < 253402300800 and 0 <= authored.nanos < 1_000_000_000,
        "size_class": labels.size_class <= LARGEST_SIZE_CLASS,
        "amends_entry_id": (
            is_id(labels.amends_entry_id, "ent") and labels.amends_entry_id != labels.entry_id
            if labels.amends_entry_id
            else not labels.entered_in_error
        ),
        "labels": len(UnknownFieldSet(labels)) == 0,
    }
    return next((field for field, is_proper in proper.items() if not is_proper), None)
