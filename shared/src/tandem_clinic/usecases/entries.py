"""Recording, amending and taking back entries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from tandem_care import entry_kinds
from tandem_care.categories import category_of
from tandem_care.entry_kinds import Content
from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid, EntryNotActive, EpisodeClosed
from tandem_clinic.domain.staff import CARE, COORDINATION, Staff
from tandem_clinic.store import audit, entries, episodes, patients
from tandem_clinic.store.entries import NewSealing, OwnEntry
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases.sharing import Outlook, needs_part2_label, outlooks, seal_for, send, share
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.storage import Transaction

_LOGISTICS = frozenset(
    {"appointment", "logistics", "coverage-payment", "identity-contact", "referral-note", "message"}
)
"""Kinds that coordinators record as well."""

_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Recorded:
    """``entry_ids``: what it is called in each open episode. ``is_new`` is false if it was recorded before."""

    record_id: str
    entry_ids: tuple[str, ...]
    is_new: bool = True


class RecordedDifferently(Refusal):
    def __init__(self, record_id: str) -> None:
        super().__init__(
            Code.ALREADY_EXISTS,
            "RECORDED_DIFFERENTLY",
            "an entry with this identifier was recorded with other content",
            field="external_identifier",
            way_out="amend that entry",
            metadata={"record_id": record_id},
        )


@dataclass(frozen=True, slots=True)
class ExternalIdentifier:
    """How the EHR names the record."""

    system: str
    value: str


def content_from(kind: str, fields: Mapping[str, Any], inside: str = "content") -> Content:
    """Checked content of *kind*. What is wrong is named as "content.<field>", or as the caller calls it."""
    try:
        known = entry_kinds.kind_of(kind)
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    try:
        return known.from_fields(fields)
    except Invalid as fault:
        raise ContentInvalid(fault, inside) from None


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to be recorded.

    episode_id: for that episode only, as the words that go with a referral are.
    authored_at: when it was true, if not now; the past is welcome, the future is not.
    derived_from: categories of what it was made from, whose permission a release needs as well.
    identifier: recording the same content under it again changes nothing.
    """

    patient_id: str
    content: Content
    episode_id: str | None = None
    authored_at: datetime | None = None
    derived_from: Iterable[str] = ()
    identifier: ExternalIdentifier | None = None


def record_entry(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    patient_id: str,
    content: Content,
    *,
    episode_id: str | None = None,
    authored_at: datetime | None = None,
    derived_from: Iterable[str] = (),
    identifier: ExternalIdentifier | None = None,
) -> Recorded:
    """Keep *content* as the clinic's own record, and seal it for the patient's open episodes. See `Draft`."""
    draft = Draft(patient_id, content, episode_id, authored_at, derived_from, identifier)
    return record_entries(tx, clinic, by, [draft])[0]


def record_entries(tx: Transaction, clinic: Clinic, by: Staff, drafts: Sequence[Draft]) -> list[Recorded]:
    """As many at once as there are, in order: all of them or none. What decides is read once for each episode."""
    for draft in drafts:
        by.require(COORDINATION if draft.content.kind in _LOGISTICS else CARE)
    patients.require(tx, *{draft.patient_id for draft in drafts})
    desk = _Desk(tx, clinic, drafts)
    recorded: list[Recorded] = []
    for draft in drafts:
        entry = _entry_of(clinic, by, draft)
        earlier = None
        if draft.identifier is not None:
            desk.keep()
            earlier = _recorded_before(tx, clinic, entry, draft.identifier)
        recorded.append(earlier or desk.take(by, entry))
    desk.keep()
    return recorded


def _entry_of(clinic: Clinic, by: Staff, draft: Draft) -> OwnEntry:
    now = clinic.now()
    if draft.authored_at is not None and draft.authored_at > now + _CLOCK_TOLERANCE:
        raise ContentInvalid(Invalid("authored_at", "must not lie in the future"))
    return _own_entry(
        clinic,
        by,
        draft.patient_id,
        draft.content,
        draft.episode_id,
        draft.authored_at or now,
        draft.derived_from,
    )


class _Desk:
    """Collects what one transaction records, and writes it in few statements."""

    def __init__(self, tx: Transaction, clinic: Clinic, drafts: Sequence[Draft]) -> None:
        self._tx = tx
        self._clinic = clinic
        self._entries: list[OwnEntry] = []
        self._sealings: list[tuple[Outlook, NewSealing]] = []
        open_of = {draft.patient_id for draft in drafts if draft.episode_id is None}
        single = {draft.episode_id for draft in drafts if draft.episode_id is not None}
        self._open = episodes.hold_open_of(tx, open_of)
        self._single = {each: episodes.get(tx, each, lock="shared") for each in sorted(single)}
        held = [*self._single.values(), *chain.from_iterable(self._open.values())]
        # Read after all are held: what stops sending waits for this transaction, or has been waited for.
        self._outlooks = outlooks(tx, clinic, held) if held else {}

    def take(self, by: Staff, entry: OwnEntry) -> Recorded:
        audit.note(
            self._tx,
            "recorded",
            entry.recorded_at,
            by=by,
            patient_id=entry.patient_id,
            subject_id=entry.record_id,
            category=entry.category,
        )
        made = [(view, seal_for(view, entry)) for view in self._views(entry)]
        self._entries.append(entry)
        self._sealings += made
        return Recorded(entry.record_id, tuple(sealing.entry_id for _, sealing in made))

    def keep(self) -> None:
        if self._entries:
            entries.add_own(self._tx, self._clinic.vault, *self._entries)
        send(self._tx, self._clinic, self._sealings)
        self._entries, self._sealings = [], []

    def _views(self, entry: OwnEntry) -> list[Outlook]:
        """The episodes that the entry is shared with."""
        if entry.episode_id is None:
            return [self._outlooks[episode.episode_id] for episode in self._open[entry.patient_id]]
        view = self._outlooks[entry.episode_id]
        if view.episode.patient_id != entry.patient_id:
            raise NotKnown("episode", "episode_id")
        if not view.episode.is_open:
            raise EpisodeClosed
        return [view]


def _own_entry(
    clinic: Clinic,
    by: Staff,
    patient_id: str,
    content: Content,
    episode_id: str | None,
    authored_at: datetime,
    derived_from: Iterable[str],
) -> OwnEntry:
    try:
        inputs = {category_of(code, "derived_from").value for code in derived_from}
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    category = content.category.value
    inputs.discard(category)
    return OwnEntry(
        record_id=new_id("rec"),
        patient_id=patient_id,
        episode_id=episode_id,
        kind=content.kind,
        category=category,
        derived_from=tuple(sorted(inputs)),
        part2=needs_part2_label(clinic, category, inputs),
        content=entry_kinds.to_json(content).encode(),
        author_id=by.staff_id,
        authored_at=authored_at,
        recorded_at=clinic.now(),
        state="active",
        amends_record_id=None,
    )


def _recorded_before(
    tx: Transaction, clinic: Clinic, entry: OwnEntry, identifier: ExternalIdentifier
) -> Recorded | None:
    if entries.keep_identifier(tx, clinic.vault, identifier.system, identifier.value, entry.record_id):
        return None
    record_id = entries.with_identifier(tx, clinic.vault, identifier.system, identifier.value) or ""
    earlier = entries.own(tx, clinic.vault, record_id)
    if (earlier.patient_id, earlier.content) != (entry.patient_id, entry.content):
        raise RecordedDifferently(record_id)
    sealings = entries.sealings_of_record(tx, record_id)
    return Recorded(record_id, tuple(sealing.entry_id for sealing in sealings), is_new=False)


def amend_entry(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    record_id: str,
    content: Content,
    *,
    derived_from: Iterable[str] = (),
) -> Recorded:
    """Put *content*, of the same kind, in the place of an active entry, wherever that one was sealed to."""
    by.require(COORDINATION)
    target = _active(tx, clinic, record_id)
    by.require(COORDINATION if target.kind in _LOGISTICS else CARE)
    if content.kind != target.kind:
        raise ContentInvalid(
            Invalid("kind", f"must stay {target.kind}; take the entry back and record another")
        )
    fresh = _own_entry(
        clinic,
        by,
        target.patient_id,
        content,
        target.episode_id,
        clinic.now(),
        {*target.derived_from, *derived_from},
    )
    return _succeed(tx, clinic, by, target, fresh, "amended")


def kind_of_record(tx: Transaction, clinic: Clinic, by: Staff, record_id: str) -> str:
    """What an amendment must be of, too."""
    by.require(COORDINATION)
    return entries.own(tx, clinic.vault, record_id).kind


def take_back_entry(tx: Transaction, clinic: Clinic, by: Staff, record_id: str) -> Recorded:
    """Mark an active entry as entered in error. Partners who have it are told to hide it."""
    by.require(COORDINATION)
    target = _active(tx, clinic, record_id)
    by.require(COORDINATION if target.kind in _LOGISTICS else CARE)
    now = clinic.now()
    marker = OwnEntry(
        record_id=new_id("rec"),
        patient_id=target.patient_id,
        episode_id=target.episode_id,
        kind=target.kind,
        category=target.category,
        derived_from=target.derived_from,
        part2=target.part2,
        # What it takes back, once more: a recipient checks that content and category belong together.
        content=target.content,
        author_id=by.staff_id,
        authored_at=now,
        recorded_at=now,
        state="marker",
        amends_record_id=target.record_id,
    )
    return _succeed(tx, clinic, by, target, marker, "entered-in-error")


def _active(tx: Transaction, clinic: Clinic, record_id: str) -> OwnEntry:
    target = entries.own(tx, clinic.vault, record_id)
    if target.state != "active":
        raise EntryNotActive(target.state)
    return target


def _succeed(
    tx: Transaction, clinic: Clinic, by: Staff, target: OwnEntry, successor: OwnEntry, state: str
) -> Recorded:
    entry = OwnEntry(
        **{
            **{name: getattr(successor, name) for name in OwnEntry.__slots__},
            "amends_record_id": target.record_id,
        }
    )
    entries.add_own(tx, clinic.vault, entry)
    entries.set_own_state(tx, target.record_id, state)
    audit.note(tx, state, entry.recorded_at, by=by, patient_id=entry.patient_id, subject_id=target.record_id)
    made = []
    for sealing in entries.sealings_of_record(tx, target.record_id):
        episode = episodes.get(tx, sealing.episode_id)
        if episode.is_open:
            made.append(
                share(
                    tx,
                    clinic,
                    episode,
                    entry,
                    amends_entry_id=sealing.entry_id,
                    entered_in_error=state == "entered-in-error",
                )
            )
    return Recorded(entry.record_id, tuple(made))
