"""Sealing of entries: closed at the source, opened by the practices they are wrapped for, verifiable by all.

Measured on one core (median, 600 bytes of content): seal for author and partner 0.19 ms, for the author
alone 0.07; verify 0.12; open, with verification, 0.24 for the partner and 0.15 for the author; late wrap 0.13.
Nearly all of it is ML-KEM, X25519 and Ed25519: 60,000 bytes of content add 0.06 ms to sealing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tandem.exchange.v1.exchange_pb2 import EntriesReceived, EntryLabels, KeyWrap, ReceivedItem, SealedEntry
from tandem_platform.errors import Code, Refusal
from tandem_platform.sealing.bundles import BundleExpired, KeyBundle, SignatureFault
from tandem_platform.sealing.encoding import encode
from tandem_platform.sealing.keys import HPKE, PracticeKeys
from tandem_platform.sealing.labels import (
    LARGEST_SIZE_CLASS,
    SMALLEST_PADDED,
    encode_labels,
    improper_field,
)

_LENGTH_PREFIX = 4
_NONCE = 12
_TAG = 16
_HASH = 32
_KEY = 32
_WRAPPED_KEY = 1168
_KEPT_KEY = 60
# Its author's and its partner's, each perhaps for two versions around a rotation.
_MOST_WRAPS = 4

MAX_CONTENT = (SMALLEST_PADDED << LARGEST_SIZE_CLASS) - _LENGTH_PREFIX

_ENTRY = "sealed-entry"
_RECEIPT = "entries-received"
_COMMITMENT = b"tandem/key-commitment\0"
_AEAD_KEY = b"tandem/entry-aead-key\0"


class SealFault(StrEnum):
    """What is wrong with a sealed entry."""

    LABELS_IMPROPER = "LABELS_IMPROPER"
    NOT_ITS_ORIGIN = "NOT_ITS_ORIGIN"
    SIZE_DIFFERS = "SIZE_DIFFERS"
    WRAPS_IMPROPER = "WRAPS_IMPROPER"
    CONTENT_HASH_DIFFERS = "CONTENT_HASH_DIFFERS"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    SIGNING_KEY_UNKNOWN = "SIGNING_KEY_UNKNOWN"
    SIGNING_KEY_EXPIRED = "SIGNING_KEY_EXPIRED"
    SIGNING_KEY_COMPROMISED = "SIGNING_KEY_COMPROMISED"
    WRAP_MISSING = "WRAP_MISSING"
    WRAP_FOR_UNKNOWN_KEY = "WRAP_FOR_UNKNOWN_KEY"
    WRAP_BROKEN = "WRAP_BROKEN"
    COMMITMENT_DIFFERS = "COMMITMENT_DIFFERS"
    CONTENT_BROKEN = "CONTENT_BROKEN"


_WAYS_OUT = {
    SealFault.SIGNING_KEY_UNKNOWN: "fetch the origin's newest key bundle and try again",
    SealFault.SIGNING_KEY_EXPIRED: "the origin rotates its keys and seals the entry again",
    SealFault.SIGNING_KEY_COMPROMISED: "the origin seals the entry again with its new keys",
    SealFault.WRAP_MISSING: "the origin wraps the entry's key for this practice",
    SealFault.WRAP_FOR_UNKNOWN_KEY: "the origin wraps the entry's key for this practice's present keys",
}
_SIGNATURE_FAULTS = {
    SignatureFault.INVALID: SealFault.SIGNATURE_INVALID,
    SignatureFault.KEY_UNKNOWN: SealFault.SIGNING_KEY_UNKNOWN,
    SignatureFault.KEY_EXPIRED: SealFault.SIGNING_KEY_EXPIRED,
    SignatureFault.KEY_COMPROMISED: SealFault.SIGNING_KEY_COMPROMISED,
}


class SealBroken(Refusal):
    """A sealed entry or receipt does not prove itself. Says what is wrong, never what was inside."""

    def __init__(self, fault: SealFault, field: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            f"SEAL_{fault}",
            f"the seal does not hold: {fault.lower().replace('_', ' ')}",
            field=field,
            way_out=_WAYS_OUT.get(fault, "the origin seals the entry again"),
        )
        self.fault = fault


class LabelsImproper(Refusal):
    def __init__(self, field: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "LABELS_IMPROPER",
            f"the label {field} is missing or not of its form",
            field=field,
            way_out="give the label as its contract says",
        )


class ContentTooLong(Refusal):
    def __init__(self, length: int) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "CONTENT_TOO_LONG",
            f"the content has {length} bytes; an entry takes {MAX_CONTENT}",
            field="content",
            way_out="split the content over several entries",
        )


def seal(labels: EntryLabels, content: bytes, author: PracticeKeys, partner: KeyBundle | None) -> SealedEntry:
    """Close *content* under a fresh key, wrapped for the author and, if given, for the partner.

    labels.size_class is set here, on a copy. Pass a partner only where the source's own view permits
    the release or the category belongs to the emergency set. LabelsImproper where `verify` would refuse.
    """
    if len(content) > MAX_CONTENT:
        raise ContentTooLong(len(content))
    bound = EntryLabels()
    bound.CopyFrom(labels)
    bound.size_class = _size_class(len(content))
    field = improper_field(bound)
    if field is None and bound.origin_practice_id != author.practice_id:
        field = "origin_practice_id"
    if field is not None:
        raise LabelsImproper(field)
    if _authored_at(bound) >= author.bundle.expires_at:
        raise BundleExpired(author.practice_id, author.bundle.expires_at)

    encoded = encode_labels(bound)
    content_key = secrets.token_bytes(_KEY)
    # A key seals one entry, so any nonce would do; a random one also forgives a key that was drawn twice.
    nonce = secrets.token_bytes(_NONCE)
    ciphertext = nonce + AESGCM(_derived(content_key, _AEAD_KEY, encoded)).encrypt(
        nonce, _padded(content, bound.size_class), encoded
    )
    content_hash = hashlib.sha256(ciphertext).digest()
    commitment = _derived(content_key, _COMMITMENT, encoded)
    wraps = [_keep(content_key, bound, author)]
    if partner is not None:
        wraps.append(_wrap(content_key, bound, partner))
    return SealedEntry(
        labels=bound,
        ciphertext=ciphertext,
        content_hash=content_hash,
        key_commitment=commitment,
        signature=author.sign(_ENTRY, encoded + content_hash + commitment),
        signing_key_version=author.version,
        wraps=wraps,
    )


def verify(entry: SealedEntry, origin: KeyBundle, *, received_at: datetime | None = None) -> None:
    """What anybody can check without a key to the content; SealBroken if it does not hold.

    origin: the newest bundle known of the entry's origin. SIGNING_KEY_UNKNOWN asks for a newer one.
    received_at: when the caller first saw the entry. Whoever holds a compromised key can date an entry back;
    with this, what arrives after the compromise does not count either, whatever date it bears.
    """
    labels = entry.labels
    field = improper_field(labels)
    if field is not None:
        raise SealBroken(SealFault.LABELS_IMPROPER, f"labels.{field}")
    if labels.origin_practice_id != origin.practice_id:
        raise SealBroken(SealFault.NOT_ITS_ORIGIN, "labels.origin_practice_id")
    if len(entry.ciphertext) != _NONCE + (SMALLEST_PADDED << labels.size_class) + _TAG:
        raise SealBroken(SealFault.SIZE_DIFFERS, "ciphertext")
    addressed = {(wrap.practice_id, wrap.key_version) for wrap in entry.wraps}
    if (
        len(entry.wraps) > _MOST_WRAPS
        or len(addressed) < len(entry.wraps)
        or not all(_has_form(wrap, of=labels.origin_practice_id) for wrap in entry.wraps)
    ):
        raise SealBroken(SealFault.WRAPS_IMPROPER, "wraps")
    if hashlib.sha256(entry.ciphertext).digest() != entry.content_hash:
        raise SealBroken(SealFault.CONTENT_HASH_DIFFERS, "content_hash")
    if len(entry.key_commitment) != _HASH:
        raise SealBroken(SealFault.COMMITMENT_DIFFERS, "key_commitment")
    authored_at = _authored_at(labels)
    fault = origin.signature_fault(
        _ENTRY,
        encode_labels(labels) + entry.content_hash + entry.key_commitment,
        entry.signature,
        version=entry.signing_key_version,
        at=authored_at,
        seen_at=received_at,
    )
    if fault is not None:
        raise SealBroken(_SIGNATURE_FAULTS[fault], "signature")


def open_entry(entry: SealedEntry, keys: PracticeKeys, origin: KeyBundle) -> bytes:
    """The content, after everything about the entry was verified; SealBroken otherwise."""
    verify(entry, origin)
    encoded = encode_labels(entry.labels)
    aead_key = _derived(_content_key(entry, keys), _AEAD_KEY, encoded)
    nonce, closed = entry.ciphertext[:_NONCE], entry.ciphertext[_NONCE:]
    try:
        padded = AESGCM(aead_key).decrypt(nonce, closed, encoded)
    except InvalidTag:
        raise SealBroken(SealFault.CONTENT_BROKEN, "ciphertext") from None
    end = _LENGTH_PREFIX + int.from_bytes(padded[:_LENGTH_PREFIX])
    if end > len(padded) or padded.count(0, end) != len(padded) - end:
        raise SealBroken(SealFault.CONTENT_BROKEN, "ciphertext")
    return padded[_LENGTH_PREFIX:end]


def wrap_for(entry: SealedEntry, keys: PracticeKeys, recipient: KeyBundle) -> KeyWrap:
    """A wrap made later by whoever can open the entry, as good as one made while sealing.

    Whether the recipient may have it is the caller's decision, taken before.
    """
    return _wrap(_content_key(entry, keys), entry.labels, recipient)


def is_wrap(wrap: KeyWrap) -> bool:
    """Whether it has the form of one for a partner. More can be told by its recipient alone."""
    return len(wrap.wrapped_key) == _WRAPPED_KEY


def _has_form(wrap: KeyWrap, of: str) -> bool:
    """*of*: the practice whose entry it is, which wraps for itself without public keys."""
    return len(wrap.wrapped_key) == _KEPT_KEY if wrap.practice_id == of else is_wrap(wrap)


def with_wrap(entry: SealedEntry, wrap: KeyWrap) -> SealedEntry:
    """A copy with *wrap* in the place of any other for the same practice."""
    copy = SealedEntry()
    copy.CopyFrom(entry)
    del copy.wraps[:]
    copy.wraps.extend(each for each in entry.wraps if each.practice_id != wrap.practice_id)
    copy.wraps.append(wrap)
    return copy


def without_wraps_but(entry: SealedEntry, practice_id: str) -> SealedEntry:
    """A copy for that practice, which shows it no other's wrap, nor that there is one."""
    copy = SealedEntry()
    copy.CopyFrom(entry)
    del copy.wraps[:]
    copy.wraps.extend(each for each in entry.wraps if each.practice_id == practice_id)
    return copy


def has_wrap_for(entry: SealedEntry, practice_id: str) -> bool:
    return any(wrap.practice_id == practice_id for wrap in entry.wraps)


MOST_RECEIVED = 5_000
"""Entries that one receipt may be for: more than any reader takes at once."""


def sign_received(
    keys: PracticeKeys, origin_practice_id: str, entries: Iterable[SealedEntry]
) -> EntriesReceived:
    """The recipient's signed word that it holds these entries of that origin."""
    received = EntriesReceived(
        recipient_practice_id=keys.practice_id,
        origin_practice_id=origin_practice_id,
        items=[
            ReceivedItem(entry_id=entry.labels.entry_id, content_hash=entry.content_hash) for entry in entries
        ],
        signing_key_version=keys.version,
    )
    received.signature = keys.sign(_RECEIPT, _encode_received(received))
    return received


def verify_received(received: EntriesReceived, recipient: KeyBundle, received_at: datetime) -> None:
    """SealBroken unless *recipient* signed exactly this. received_at: when it came, as it bears no date."""
    if received.recipient_practice_id != recipient.practice_id:
        raise SealBroken(SealFault.NOT_ITS_ORIGIN, "recipient_practice_id")
    fault = recipient.signature_fault(
        _RECEIPT,
        _encode_received(received),
        received.signature,
        version=received.signing_key_version,
        at=received_at,
    )
    if fault is not None:
        raise SealBroken(_SIGNATURE_FAULTS[fault], "signature")


def _content_key(entry: SealedEntry, keys: PracticeKeys) -> bytes:
    """The key that the entry commits to. It is compared before it decrypts anything.

    AES-GCM alone does not bind its key: a hostile source could make one ciphertext that opens to different
    contents under different keys, and show two practices two truths.
    """
    own = [wrap for wrap in entry.wraps if wrap.practice_id == keys.practice_id]
    if not own:
        raise SealBroken(SealFault.WRAP_MISSING, "wraps")
    openable = [wrap for wrap in own if keys.holds(wrap.key_version)]
    if not openable:
        raise SealBroken(SealFault.WRAP_FOR_UNKNOWN_KEY, "wraps")
    wrap = max(openable, key=lambda each: each.key_version)
    info = _wrap_info(entry.labels, wrap.practice_id, wrap.key_version)
    content_key = keys.unwrap(wrap.key_version, wrap.wrapped_key, info)
    if content_key is None or len(content_key) != _KEY:
        raise SealBroken(SealFault.WRAP_BROKEN, "wraps")
    commitment = _derived(content_key, _COMMITMENT, encode_labels(entry.labels))
    if not hmac.compare_digest(commitment, entry.key_commitment):
        raise SealBroken(SealFault.COMMITMENT_DIFFERS, "wraps")
    return content_key


def _keep(content_key: bytes, labels: EntryLabels, author: PracticeKeys) -> KeyWrap:
    info = _wrap_info(labels, author.practice_id, author.version)
    return KeyWrap(
        practice_id=author.practice_id,
        key_version=author.version,
        wrapped_key=author.keep(content_key, info),
    )


def _wrap(content_key: bytes, labels: EntryLabels, recipient: KeyBundle) -> KeyWrap:
    info = _wrap_info(labels, recipient.practice_id, recipient.version)
    return KeyWrap(
        practice_id=recipient.practice_id,
        key_version=recipient.version,
        wrapped_key=HPKE.encrypt(content_key, recipient.hpke_key, info=info),
    )


def _wrap_info(labels: EntryLabels, recipient_id: str, key_version: int) -> bytes:
    """Binds a wrap to its entry and its recipient, so that moved elsewhere it does not open."""
    return encode("tandem.key-wrap.1", labels.entry_id, labels.origin_practice_id, recipient_id, key_version)


def _derived(content_key: bytes, purpose: bytes, encoded_labels: bytes) -> bytes:
    """HMAC-SHA-256 under the content key, of one length for all: collision resistant, hence a commitment."""
    return hmac.digest(content_key, purpose + encoded_labels, "sha256")


def _encode_received(received: EntriesReceived) -> bytes:
    return encode(
        received.recipient_practice_id,
        received.origin_practice_id,
        [(item.entry_id, item.content_hash) for item in received.items],
    )


def _size_class(length: int) -> int:
    """The smallest n for which the content and its length fit into 256 << n bytes."""
    return ((_LENGTH_PREFIX + length - 1) // SMALLEST_PADDED).bit_length()


def _padded(content: bytes, size_class: int) -> bytes:
    return (len(content).to_bytes(_LENGTH_PREFIX) + content).ljust(SMALLEST_PADDED << size_class, b"\0")


def _authored_at(labels: EntryLabels) -> datetime:
    return labels.authored_at.ToDatetime(UTC)
