"""The care plan on the screen: the clinic's own entries and those that it was given, in the order of their making."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tandem_care import entry_kinds
from tandem_care.errors import Invalid
from tandem_care.permission import REDISCLOSURE_NOTICE
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import CARE, Role, Staff
from tandem_clinic.store import audit, entries, episodes, partners, patients
from tandem_clinic.store.entries import OwnEntry, ReceivedEntry, Sealing
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction

_MAY_READ = CARE | {Role.COORDINATOR}
_FOR_COORDINATORS = frozenset(
    {
        "identity-contact",
        "referral-status",
        "appointment",
        "logistics",
        "coverage-payment",
        "session-times",
        "message",
    }
)
"""Coordinators see what moves a patient along, and no clinical content."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What became of an own entry towards one partner."""

    entry_id: str
    episode_id: str
    partner_practice_id: str
    wrapped: bool
    rule: str
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One entry. ``origin`` is "own" or the practice that gave it; ``content`` is empty once it was taken back."""

    id: str
    origin: str
    origin_name: str
    kind: str
    category: str
    state: str
    content: Mapping[str, Any]
    authored_at: datetime
    received_at: datetime | None
    first_read_at: datetime | None
    amends: str
    notice: str
    shared: tuple[Shared, ...] = ()


class PlanUnreadable(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.PERMISSION_DENIED,
            "PLAN_NOT_FOR_YOUR_ROLE",
            "your roles do not read care plans",
            way_out="ask a clinician",
        )


def read_care_plan(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, *, episode_id: str | None = None
) -> list[PlanItem]:
    """Everything of a patient, or of one episode of theirs, sorted by when it was authored.

    Reading is noted: in the audit, and at each received entry that a person sees for the first time.
    """
    if not by.roles & _MAY_READ:
        raise PlanUnreadable
    patients.require(tx, patient_id)
    mine = [each for each in episodes.of_patient(tx, patient_id) if episode_id in (None, each.episode_id)]
    if episode_id is not None and not mine:
        episodes.get(tx, "")
    partner_of = {each.episode_id: each.partner_practice_id for each in mine}
    names = {each.partner_practice_id: each.partner_name for each in partners.listed(tx)}
    received = [
        each
        for each in entries.received_in(tx, clinic.vault, list(partner_of))
        if _visible(by, each.category) and not each.is_marker
    ]
    sealings: dict[str, list[Sealing]] = {}
    for sealing in entries.sealings_of_patient(tx, patient_id):
        sealings.setdefault(sealing.record_id, []).append(sealing)
    items = [_received_item(each, names) for each in received]
    for own in entries.own_of_patient(tx, clinic.vault, patient_id):
        sealed = sealings.get(own.record_id, [])
        belongs = episode_id is None or any(each.episode_id == episode_id for each in sealed)
        if belongs and own.state != "marker" and _visible(by, own.category):
            items.append(_own_item(own, sealed, partner_of, clinic.display_name))
    _note_reading(tx, clinic, by, patient_id, received, len(items))
    return sorted(items, key=lambda item: (item.authored_at, item.id))


def _visible(by: Staff, category: str) -> bool:
    return bool(by.roles & CARE) or category in _FOR_COORDINATORS


def _note_reading(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, received: list[ReceivedEntry], count: int
) -> None:
    now = clinic.now()
    audit.note(tx, "plan-read", now, by=by, patient_id=patient_id, count=str(count))
    if by.roles <= {Role.INTEGRATION}:
        # An EHR fetching the plan is not a person reading it.
        return
    shown = [each.entry_id for each in received if each.content and each.state != "entered-in-error"]
    for entry_id in entries.note_first_read(tx, shown, now):
        audit.note(tx, "first-read", now, by=by, patient_id=patient_id, subject_id=entry_id)


def _own_item(
    own: OwnEntry, sealings: list[Sealing], partner_of: Mapping[str, str], own_name: str
) -> PlanItem:
    return PlanItem(
        id=own.record_id,
        origin="own",
        origin_name=own_name,
        kind=own.kind,
        category=own.category,
        state=own.state,
        content={} if own.state == "entered-in-error" else _fields(own.content),
        authored_at=own.authored_at,
        received_at=None,
        first_read_at=None,
        amends=own.amends_record_id or "",
        notice="",
        shared=tuple(
            Shared(
                each.entry_id,
                each.episode_id,
                partner_of.get(each.episode_id, ""),
                each.partner_wrapped,
                each.rule,
                each.receipt_at,
            )
            for each in sealings
        ),
    )


def _received_item(entry: ReceivedEntry, names: Mapping[str, str]) -> PlanItem:
    hidden = entry.state == "entered-in-error" or not entry.content
    return PlanItem(
        id=entry.entry_id,
        origin=entry.origin_practice_id,
        origin_name=names.get(entry.origin_practice_id, ""),
        kind="" if hidden or not entry.content else _kind(entry.content),
        category=entry.category,
        state=entry.state,
        content={} if hidden else _fields(entry.content),
        authored_at=entry.authored_at,
        received_at=entry.received_at,
        first_read_at=entry.first_read_at,
        amends=entry.amends_entry_id,
        notice=REDISCLOSURE_NOTICE if entry.notice else "",
    )


def _fields(content: bytes) -> Mapping[str, Any]:
    """The content's fields; of a kind that this version does not know, as it came."""
    document = json.loads(content)
    try:
        return entry_kinds.from_json(content).to_fields()
    except Invalid:
        return dict(document.get("content", {}))


def _kind(content: bytes) -> str:
    return str(json.loads(content).get("kind", ""))
