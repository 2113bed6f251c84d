"""Under which permission we hold what a partner gave: it is marked when none is left, and no longer when there is one again."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, update

from tandem.exchange.v1.exchange_pb2 import EntryLabels, EntryReleased
from tandem_care.categories import Purpose
from tandem_care.permission import Decision, Permission, Question, decide
from tandem_clinic.clinic import Clinic
from tandem_clinic.store import entries, episodes, partners, permissions
from tandem_clinic.store.tables import received_entry
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction

_COLUMNS = (received_entry.c.entry_id, received_entry.c.labels, received_entry.c.permission_id)


def mark_without_permission(tx: Transaction, clinic: Clinic, permission_id: str, episode_id: str) -> None:
    """*permission_id* has ended: what it gave is marked, unless another permission gives it as well."""
    rows = tx.all(
        select(*_COLUMNS).where(
            received_entry.c.permission_id == permission_id, received_entry.c.state != "revoked"
        )
    )
    unpermitted = []
    for row, decision in _decided(tx, clinic, episode_id, rows):
        if decision.permitted:
            _hold_under(tx, row.entry_id, decision.permission_id, decision.version)
        else:
            unpermitted.append(row.entry_id)
    entries.mark_revoked(tx, unpermitted)


def lift_marks(tx: Transaction, clinic: Clinic, episode_id: str) -> None:
    """A permission was given to us: what was marked and is permitted again is as it was before."""
    rows = tx.all(
        select(*_COLUMNS).where(
            received_entry.c.episode_id == episode_id,
            received_entry.c.state == "revoked",
            received_entry.c.content != b"",
        )
    )
    permitted = []
    for row, decision in _decided(tx, clinic, episode_id, rows):
        if decision.permitted:
            _hold_under(tx, row.entry_id, decision.permission_id, decision.version)
            permitted.append(row.entry_id)
    entries.lift_revocation(tx, permitted)


def lift_released_anew(tx: Transaction, released: Sequence[EntryReleased]) -> None:
    """What was withdrawn after a person had read it, and has stayed here, is as it was before, with who read it when."""
    entry_ids = []
    for each in released:
        entry_ids.append(each.entry.labels.entry_id)
        _hold_under(tx, entry_ids[-1], each.permission_id, each.permission_version)
    entries.lift_revocation(tx, entry_ids)


def _decided(
    tx: Transaction, clinic: Clinic, episode_id: str, rows: Iterable[Row[Any]]
) -> list[tuple[Row[Any], Decision]]:
    episode = episodes.find(tx, episode_id)
    if episode is None:
        return []
    rules, now = _as_told(tx, clinic, episode_id)
    partnership = partners.find(tx, episode.partnership_id)
    by_treatment = (
        clinic.allows_treatment_basis
        and partnership is not None
        and partnership.partner_allows_treatment_basis
    )
    decided = []
    for row in rows:
        labels = EntryLabels.FromString(row.labels)
        question = Question(
            discloser=labels.origin_practice_id,
            recipient=clinic.practice_id,
            episode=episode_id,
            category=words.category_code(labels.category),
            derived_from=frozenset(map(words.category_code, labels.derived_from)),
            authored_at=labels.authored_at.ToDatetime(tzinfo=UTC),
            now=now,
            purpose=Purpose.TREATMENT,
            part2=labels.part2,
        )
        # What was given stays given when a referral ends or a partnership rests; only permissions mark it.
        decided.append(
            (row, decide(rules, question, True, True, treatment_relationship_allowed=by_treatment))
        )
    return decided


def _as_told(tx: Transaction, clinic: Clinic, episode_id: str) -> tuple[list[Permission], datetime]:
    """The rules, and a time at which they are what the hub told last.

    What it calls active has begun and has not ended, whatever our own clock says: nothing is told again when that is set right.
    """
    rules, times = [], [clinic.now()]
    for record in permissions.of_episode(tx, episode_id):
        is_told = record.recipient_practice_id == clinic.practice_id and record.state == "active"
        if is_told:
            times.append(record.starts_at)
        if record.state != "refused":
            rules.append(replace(record.to_rule(), ends_at=None) if is_told else record.to_rule())
    return rules, max(times)


def _hold_under(tx: Transaction, entry_id: str, permission_id: str | None, version: int | None) -> None:
    tx.execute(
        update(received_entry)
        .where(received_entry.c.entry_id == entry_id)
        .values(permission_id=permission_id, permission_version=version)
    )
