"""Late wraps: the hub would release an entry, but the partner has no key to it yet.

What is refused for now is kept, and decided again by the clinic itself: the hub asks once.
"""

from datetime import timedelta

from sqlalchemy import func, select

from tandem.exchange.v1.exchange_pb2 import WrapRequested
from tandem_clinic.clinic import Clinic
from tandem_clinic.store import audit, entries, episodes, worklist
from tandem_clinic.store.tables import audit_record
from tandem_clinic.usecases.sharing import WRAP_WANTED, outlook, wrap_late
from tandem_platform.storage import Transaction

MOST_WRAPS_AN_HOUR = 2000
"""A hub that asks for more is either broken or curious."""


def wrap_requested(tx: Transaction, clinic: Clinic, told: WrapRequested) -> None:
    """Decide again, on our own view and pinned key, whether the partner gets these."""
    room = _room(tx, clinic)
    for entry_id in told.entry_ids:
        found = entries.sealed(tx, entry_id)
        if found is None:
            continue
        episode = episodes.get(tx, found[1].episode_id)
        if episode.partner_practice_id == told.recipient_practice_id:
            rule = _give(tx, clinic, entry_id, room)
            room -= not rule
            if rule:
                _keep(tx, clinic, entry_id, episode.episode_id)
                audit.note(
                    tx,
                    "wrap-refused",
                    clinic.now(),
                    patient_id=episode.patient_id or "",
                    subject_id=entry_id,
                    rule=rule,
                )


def give_wanted_wraps(tx: Transaction, clinic: Clinic) -> bool:
    """Decide again about what was refused for now. Whether any could be given."""
    given, room = 0, _room(tx, clinic)
    for item in worklist.of_service(tx, [WRAP_WANTED]):
        # Done or put behind the others: what cannot be given must not keep the rest waiting.
        worklist.settle(tx, WRAP_WANTED, item.subject_id, clinic.now(), "service")
        if _give(tx, clinic, item.subject_id, room - given):
            _keep(tx, clinic, item.subject_id, item.episode_id)
        else:
            given += 1
    return given > 0


def _give(tx: Transaction, clinic: Clinic, entry_id: str, room: int) -> str:
    """Why the partner does not get its wrap now; empty if it is on its way."""
    now = clinic.now()
    found = entries.sealed(tx, entry_id)
    assert found is not None
    episode = episodes.get(tx, found[1].episode_id, lock="shared")
    record = entries.own(tx, clinic.vault, found[1].record_id)
    view = outlook(tx, clinic, episode)
    item = found[0].labels.amends_entry_id or entry_id
    decision = view.decide(record.category, record.derived_from, record.authored_at, item=item)
    if not decision.permitted:
        return decision.rule
    if view.withholding:
        return "revocation-queued"
    bundle = view.partner
    if bundle is None:
        worklist.raise_item(
            tx,
            "wrap-waiting",
            entry_id,
            now,
            episode_id=episode.episode_id,
            partner=episode.partner_practice_id,
            reason="partner-keys-not-confirmed",
        )
        return "partner-keys-not-confirmed"
    if room <= 0:
        worklist.raise_alert(tx, "too-many-wraps-requested", now, episode.partner_practice_id)
        return "too-many-wraps-requested"
    audit.note(tx, "wrap-given", now, patient_id=record.patient_id, subject_id=entry_id, rule=decision.rule)
    wrap_late(tx, clinic, episode, entry_id, bundle)
    worklist.settle(tx, "wrap-waiting", entry_id, now)
    return ""


def _keep(tx: Transaction, clinic: Clinic, entry_id: str, episode_id: str) -> None:
    worklist.raise_item(
        tx, WRAP_WANTED, entry_id, clinic.now(), episode_id=episode_id, staff_id=worklist.SERVICE
    )


def _room(tx: Transaction, clinic: Clinic) -> int:
    """How many more may be given this hour."""
    since = clinic.now() - timedelta(hours=1)
    query = select(func.count()).where(audit_record.c.action == "wrap-given", audit_record.c.at >= since)
    row = tx.first(query)
    return MOST_WRAPS_AN_HOUR - (0 if row is None else int(row[0]))
