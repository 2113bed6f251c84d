"""The clinic's own records, what was sealed of them, and what partners gave."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import or_, select, tuple_, update

from tandem.exchange.v1.exchange_pb2 import EntryLabels, EntryReleased, SealedEntry
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import (
    episode,
    own_entry,
    own_entry_identifier,
    receipt,
    received_entry,
    sealed_entry,
)
from tandem_clinic.store.vault import Vault
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new, insert_rows
from tandem_platform.storage.lists import among

_OWN = "own_entry.content"
_RECEIVED = "received_entry.content"


@dataclass(frozen=True, slots=True)
class OwnEntry:
    record_id: str
    patient_id: str
    episode_id: str | None
    kind: str
    category: str
    derived_from: tuple[str, ...]
    part2: bool
    content: bytes
    author_id: str
    authored_at: datetime
    recorded_at: datetime
    state: str
    amends_record_id: str | None


@dataclass(frozen=True, slots=True)
class ReceivedEntry:
    entry_id: str
    episode_id: str
    origin_practice_id: str
    category: str
    content: bytes
    authored_at: datetime
    state: str
    amends_entry_id: str
    permission_id: str
    notice: str
    received_at: datetime
    first_read_at: datetime | None
    # Takes another entry back, and says nothing of its own.
    is_marker: bool = False


@dataclass(frozen=True, slots=True)
class Sealing:
    """That a record was sealed for an episode. ``receipt_at``: when the partner's receipt came back."""

    entry_id: str
    record_id: str
    episode_id: str
    partner_wrapped: bool
    rule: str
    sealed_at: datetime
    receipt_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewSealing:
    """A record just sealed for an episode. ``rule``: why the partner's wrap did or did not go with it."""

    sealed: SealedEntry
    record_id: str
    partner_wrapped: bool
    rule: str

    @property
    def entry_id(self) -> str:
        return self.sealed.labels.entry_id


_OWN_COLUMNS = tuple(own_entry.c[name] for name in OwnEntry.__slots__)
_RECEIVED_COLUMNS = tuple(received_entry.c[name] for name in ReceivedEntry.__slots__ if name != "is_marker")


def add_own(tx: Transaction, vault: Vault, *new: OwnEntry) -> None:
    rows = []
    for entry in new:
        values = {name: getattr(entry, name) for name in OwnEntry.__slots__}
        values["derived_from"] = list(entry.derived_from)
        values["content"] = vault.encrypt(tx, entry.content, _OWN, entry.record_id, entry.patient_id)
        rows.append(values)
    insert_rows(tx, own_entry, rows)


def own(tx: Transaction, vault: Vault, record_id: str) -> OwnEntry:
    found = _own(tx, vault, own_entry.c.record_id == record_id)
    if not found:
        raise NotKnown("entry", "record_id")
    return found[0]


def patient_of(tx: Transaction, record_id: str) -> str:
    row = tx.first(select(own_entry.c.patient_id).where(own_entry.c.record_id == record_id))
    return "" if row is None else row.patient_id


def own_of_patient(tx: Transaction, vault: Vault, patient_id: str) -> list[OwnEntry]:
    return _own(tx, vault, own_entry.c.patient_id == patient_id)


def own_of_kind(tx: Transaction, vault: Vault, patient_id: str, kind: str) -> list[OwnEntry]:
    return _own(tx, vault, own_entry.c.patient_id == patient_id, own_entry.c.kind == kind)


def _own(tx: Transaction, vault: Vault, *where: object) -> list[OwnEntry]:
    query = select(*_OWN_COLUMNS).where(*where)  # type: ignore[arg-type]
    found = []
    for row in tx.all(query.order_by(own_entry.c.authored_at, own_entry.c.recorded_at)):
        values = dict(row._mapping)
        values["derived_from"] = tuple(row.derived_from)
        values["content"] = vault.decrypt(tx, row.content, _OWN, row.record_id, row.patient_id)
        found.append(OwnEntry(**values))
    return found


def set_own_state(tx: Transaction, record_id: str, state: str) -> None:
    tx.execute(update(own_entry).where(own_entry.c.record_id == record_id).values(state=state))


def keep_identifier(tx: Transaction, vault: Vault, system: str, value: str, record_id: str) -> bool:
    """Whether the identifier is new; the record keeps it then."""
    index = vault.index(f"{system}\n{value}", "own_entry.identifier")
    return insert_new(
        tx, own_entry_identifier, {"system": system, "value_index": index, "record_id": record_id}
    )


def with_identifier(tx: Transaction, vault: Vault, system: str, value: str) -> str | None:
    row = tx.first(
        select(own_entry_identifier.c.record_id).where(
            own_entry_identifier.c.system == system,
            own_entry_identifier.c.value_index == vault.index(f"{system}\n{value}", "own_entry.identifier"),
        )
    )
    return None if row is None else row.record_id


def add_sealing(
    tx: Transaction, sealed: SealedEntry, record_id: str, partner_wrapped: bool, rule: str, now: datetime
) -> None:
    add_sealings(tx, [NewSealing(sealed, record_id, partner_wrapped, rule)], now)


def add_sealings(tx: Transaction, made: Sequence[NewSealing], now: datetime) -> None:
    """Keeps what a late wrap needs, which is everything but the ciphertext."""
    rows = []
    for sealing in made:
        kept = SealedEntry()
        kept.CopyFrom(sealing.sealed)
        kept.ciphertext = b""
        rows.append(
            {
                "entry_id": sealing.entry_id,
                "record_id": sealing.record_id,
                "episode_id": sealing.sealed.labels.episode_id,
                "sealed": kept.SerializeToString(deterministic=True),
                "partner_wrapped": sealing.partner_wrapped,
                "rule": sealing.rule,
                "sealed_at": now,
            }
        )
    insert_rows(tx, sealed_entry, rows)


def sealed(tx: Transaction, entry_id: str) -> tuple[SealedEntry, Sealing] | None:
    """The entry without its ciphertext."""
    row = tx.first(select(sealed_entry.c.sealed).where(sealed_entry.c.entry_id == entry_id))
    if row is None:
        return None
    return SealedEntry.FromString(row.sealed), _sealings(tx, sealed_entry.c.entry_id == entry_id)[0]


TAKEN_BACK = "taken-back"
"""The rule of a sealing whose wrap for the partner was taken back again."""


def set_partner_wrapped(tx: Transaction, entry_id: str, wrapped: bool) -> None:
    """A wrap is given late only where our own view permits it, whatever it said when the entry was sealed."""
    now = {"partner_wrapped": wrapped, "rule": "permitted" if wrapped else TAKEN_BACK}
    tx.execute(update(sealed_entry).where(sealed_entry.c.entry_id == entry_id).values(now))


def sealings_of_record(tx: Transaction, record_id: str) -> list[Sealing]:
    return _sealings(tx, sealed_entry.c.record_id == record_id)


def sealings_of_patient(tx: Transaction, patient_id: str) -> list[Sealing]:
    records = select(own_entry.c.record_id).where(own_entry.c.patient_id == patient_id)
    return _sealings(tx, sealed_entry.c.record_id.in_(records))


def sealings_without_receipt(
    tx: Transaction, after: tuple[datetime, str], before: datetime, limit: int = 200
) -> list[Sealing]:
    """Sealed before that time with the partner's wrap, or wrapped since, and no receipt came back.

    A wrap that was taken back before the hub had acknowledged it counts: the hub may have had it. Oldest first, from a time and an id on.
    """
    return _sealings(
        tx,
        tuple_(sealed_entry.c.sealed_at, sealed_entry.c.entry_id) > after,
        or_(sealed_entry.c.partner_wrapped, sealed_entry.c.rule.in_(("permitted", TAKEN_BACK))),
        sealed_entry.c.sealed_at < before,
        receipt.c.entry_id.is_(None),
        limit=limit,
    )


def _sealings(tx: Transaction, *where: object, limit: int = 10_000) -> list[Sealing]:
    query = (
        select(
            sealed_entry.c.entry_id,
            sealed_entry.c.record_id,
            sealed_entry.c.episode_id,
            sealed_entry.c.partner_wrapped,
            sealed_entry.c.rule,
            sealed_entry.c.sealed_at,
            receipt.c.returned_at.label("receipt_at"),
        )
        .outerjoin(receipt, receipt.c.entry_id == sealed_entry.c.entry_id)
        .where(*where)  # type: ignore[arg-type]
        .order_by(sealed_entry.c.sealed_at, sealed_entry.c.entry_id)
        .limit(limit)
    )
    return [Sealing(**row._mapping) for row in tx.all(query)]


@dataclass(frozen=True, slots=True)
class Known:
    """A received entry that is here, or was."""

    state: str
    has_content: bool


def known_received(tx: Transaction, entry_ids: Collection[str]) -> dict[str, Known]:
    rows = tx.all(_KNOWN_RECEIVED, entries=list(entry_ids))
    return {row.entry_id: Known(row.state, bool(row.has_content)) for row in rows}


_KNOWN_RECEIVED = select(
    received_entry.c.entry_id,
    received_entry.c.state,
    (received_entry.c.content != b"").label("has_content"),
).where(among(received_entry.c.entry_id, "entries"))


def remove_received(tx: Transaction, entry_ids: Collection[str]) -> None:
    if entry_ids:
        tx.execute(received_entry.delete().where(received_entry.c.entry_id.in_(entry_ids)))


def add_received(
    tx: Transaction, vault: Vault, new: Sequence[tuple[EntryReleased, bytes]], now: datetime
) -> None:
    """*new*: what was released, and its content. Encrypted under the episode's data key: whose it is may not be known yet."""
    rows = []
    for released, content in new:
        labels = released.entry.labels
        rows.append(
            {
                "entry_id": labels.entry_id,
                "episode_id": labels.episode_id,
                "origin_practice_id": labels.origin_practice_id,
                "category": words.category_code(labels.category),
                "labels": labels.SerializeToString(deterministic=True),
                "content": vault.encrypt(tx, content, _RECEIVED, labels.entry_id, labels.episode_id),
                "content_hash": released.entry.content_hash,
                "authored_at": labels.authored_at.ToDatetime(tzinfo=UTC),
                "state": "entered-in-error" if labels.entered_in_error else "active",
                "amends_entry_id": labels.amends_entry_id,
                "permission_id": released.permission_id,
                "permission_version": released.permission_version,
                "notice": released.notice,
                "received_at": now,
            }
        )
    insert_rows(tx, received_entry, rows)


def received(tx: Transaction, vault: Vault, entry_id: str) -> ReceivedEntry:
    found = _received(tx, vault, received_entry.c.entry_id == entry_id)
    if not found:
        raise NotKnown("entry", "entry_id")
    return found[0]


def received_in(tx: Transaction, vault: Vault, episode_ids: list[str]) -> list[ReceivedEntry]:
    return _received(tx, vault, received_entry.c.episode_id.in_(episode_ids))


def _received(tx: Transaction, vault: Vault, *where: object) -> list[ReceivedEntry]:
    query = select(*_RECEIVED_COLUMNS, received_entry.c.labels).where(*where)  # type: ignore[arg-type]
    found = []
    for row in tx.all(query.order_by(received_entry.c.authored_at, received_entry.c.received_at)):
        values = dict(row._mapping)
        values["content"] = (
            vault.decrypt(tx, row.content, _RECEIVED, row.entry_id, row.episode_id) if row.content else b""
        )
        labels = EntryLabels.FromString(values.pop("labels"))
        found.append(ReceivedEntry(**values, is_marker=labels.entered_in_error))
    return found


def lift_revocation(tx: Transaction, entry_ids: Collection[str]) -> None:
    """They are as they would be without it."""
    if entry_ids:
        tx.execute(
            update(received_entry).where(received_entry.c.entry_id.in_(entry_ids)).values(state="active")
        )
        follow_successors(tx, entry_ids)


def mark_revoked(tx: Transaction, entry_ids: list[str]) -> None:
    """What was entered in error stays hidden for that."""
    if entry_ids:
        tx.execute(
            update(received_entry)
            .where(received_entry.c.entry_id.in_(entry_ids), received_entry.c.state != "entered-in-error")
            .values(state="revoked")
        )


def forget(tx: Transaction, entry_ids: list[str]) -> None:
    """Remove the content of received entries; that they came, and went, stays known.

    They are revoked from whatever state they were in: what was entered in error has nothing left to hide, and is taken
    anew when it is given anew.
    """
    if entry_ids:
        tx.execute(
            update(received_entry)
            .where(received_entry.c.entry_id.in_(entry_ids))
            .values(content=b"", state="revoked")
        )


_SUCCESSORS = select(received_entry.c.amends_entry_id, received_entry.c.labels).where(
    among(received_entry.c.amends_entry_id, "entries")
)


def follow_successors(tx: Transaction, entry_ids: Collection[str]) -> None:
    """Bring these received entries into the state that what amends them, or takes them back, puts them in."""
    amended: set[str] = set()
    in_error: set[str] = set()
    for row in tx.all(_SUCCESSORS, entries=list(entry_ids)):
        takes_back = EntryLabels.FromString(row.labels).entered_in_error
        (in_error if takes_back else amended).add(row.amends_entry_id)
    for state, found, before in (
        ("entered-in-error", in_error, received_entry.c.state != "entered-in-error"),
        ("amended", amended - in_error, received_entry.c.state == "active"),
    ):
        if found:
            tx.execute(
                update(received_entry).where(received_entry.c.entry_id.in_(found), before).values(state=state)
            )


def note_first_read(tx: Transaction, entry_ids: list[str], now: datetime) -> list[str]:
    """Those of *entry_ids* that a person reads for the first time."""
    if not entry_ids:
        return []
    statement = (
        update(received_entry)
        .where(received_entry.c.entry_id.in_(entry_ids), received_entry.c.first_read_at.is_(None))
        .values(first_read_at=now)
        .returning(received_entry.c.entry_id)
    )
    return [row.entry_id for row in tx.execute(statement)]


def read_by_a_person(tx: Transaction, entry_ids: list[str]) -> list[str]:
    query = select(received_entry.c.entry_id).where(
        received_entry.c.entry_id.in_(entry_ids), received_entry.c.first_read_at.is_not(None)
    )
    return [row.entry_id for row in tx.all(query)]


def shred(tx: Transaction, patient_id: str, episode_ids: list[str]) -> list[str]:
    """Remove content and wraps of everything of a patient; the entries that had been sealed."""
    records = select(own_entry.c.record_id).where(own_entry.c.patient_id == patient_id)
    sealed = [sealing.entry_id for sealing in sealings_of_patient(tx, patient_id)]
    tx.execute(sealed_entry.delete().where(sealed_entry.c.record_id.in_(records)))
    tx.execute(update(own_entry).where(own_entry.c.patient_id == patient_id).values(content=b""))
    tx.execute(update(received_entry).where(received_entry.c.episode_id.in_(episode_ids)).values(content=b""))
    return sealed


@dataclass(frozen=True, slots=True)
class Sent:
    """What a receipt for an entry is held against. ``recipient``: the only one who has any part in its episode."""

    content_hash: bytes
    patient_id: str
    recipient: str


def sent(tx: Transaction, entry_ids: Collection[str]) -> dict[str, Sent]:
    return {
        row.entry_id: Sent(
            SealedEntry.FromString(row.sealed).content_hash, row.patient_id, row.partner_practice_id
        )
        for row in tx.all(_SENT, entries=list(entry_ids))
    }


_SENT = (
    select(
        sealed_entry.c.entry_id,
        sealed_entry.c.sealed,
        own_entry.c.patient_id,
        episode.c.partner_practice_id,
    )
    .join(own_entry, own_entry.c.record_id == sealed_entry.c.record_id)
    .join(episode, episode.c.episode_id == sealed_entry.c.episode_id)
    .where(among(sealed_entry.c.entry_id, "entries"))
)
_WITH_RECEIPT = select(receipt.c.entry_id).where(among(receipt.c.entry_id, "entries"))


def add_receipts(
    tx: Transaction, recipient_practice_id: str, hashes: Mapping[str, bytes], now: datetime
) -> list[str]:
    """*hashes*: of the content, by entry. Returns the entries that had no receipt yet."""
    known = {row.entry_id for row in tx.all(_WITH_RECEIPT, entries=list(hashes))}
    fresh = [entry_id for entry_id in hashes if entry_id not in known]
    rows = [
        {
            "entry_id": entry_id,
            "recipient_practice_id": recipient_practice_id,
            "content_hash": hashes[entry_id],
            "returned_at": now,
        }
        for entry_id in fresh
    ]
    insert_rows(tx, receipt, rows)
    return fresh
