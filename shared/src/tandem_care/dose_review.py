"""Why a dose that was given is to be looked at. Nothing of this stops the recording: what was given was given."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tandem_care.clocks import Given, given, observation
from tandem_care.entry_kinds import (
    DosingClearance,
    DosingSession,
    DosingStart,
    Drug,
    Effect,
    Grade,
    GuardState,
)
from tandem_care.pathways import Medicine, Pathway, shipped
from tandem_care.plans.density import limit_broken

_RECORDED_LATE: Final = timedelta(days=1)


class ReviewReason(StrEnum):
    RECORDED_AFTERWARDS = "recorded-afterwards"
    """No start was recorded when it began, so no guard was asked."""
    NOT_CLEARED = "not-cleared"
    NOT_AS_CLEARED = "not-as-cleared"
    GUARD_OVERRIDDEN = "guard-overridden"
    RECORDED_LATE = "recorded-late"
    NOT_ON_PATHWAY = "not-on-pathway"
    TOO_DENSE = "too-dense"
    LEFT_EARLY = "left-early"
    """Before the time of observation was over, or with an effect that had not resolved."""
    SEVERE_EFFECT = "severe-effect"


def reasons_to_review(
    session: DosingSession,
    start: DosingStart | None,
    clearance: DosingClearance | None,
    pathway: Pathway | None,
    others: Sequence[Given],
    recorded_at: datetime,
) -> tuple[ReviewReason, ...]:
    """Empty for a dose that was cleared, begun and observed as it should be. *others* are all other doses.

    Without a *pathway*, esketamine is observed as the SPRAVATO REMS asks everywhere.
    """
    found = []
    if start is None:
        found.append(ReviewReason.RECORDED_AFTERWARDS)
    elif any(guard.state is GuardState.OVERRIDDEN for guard in start.guards):
        found.append(ReviewReason.GUARD_OVERRIDDEN)
    if clearance is None:
        found.append(ReviewReason.NOT_CLEARED)
    elif not _as_cleared(session, clearance):
        found.append(ReviewReason.NOT_AS_CLEARED)
    if recorded_at - (session.ended_at or session.started_at) > _RECORDED_LATE:
        found.append(ReviewReason.RECORDED_LATE)
    medicine = next(_medicines(session, pathway), None)
    if pathway is not None:
        if medicine is None or session.route not in medicine.routes or session.place not in medicine.places:
            found.append(ReviewReason.NOT_ON_PATHWAY)
        if limit_broken(pathway.phases[0].densest, [other.day for other in others], given(session).day):
            found.append(ReviewReason.TOO_DENSE)
    if medicine is not None and session.discharged_at is not None:
        left = observation(medicine, session, session.discharged_at)
        if any(each.code == "time" or each.code in set(Effect) for each in left.waiting):
            found.append(ReviewReason.LEFT_EARLY)
    if any(effect.grade is Grade.SEVERE for effect in session.effects):
        found.append(ReviewReason.SEVERE_EFFECT)
    return tuple(found)


def _medicines(session: DosingSession, pathway: Pathway | None) -> Iterator[Medicine]:
    if pathway is None and session.drug is not Drug.ESKETAMINE:
        return
    for known in shipped().current() if pathway is None else (pathway,):
        yield from (each for each in known.medicines if each.drug is session.drug)


def _as_cleared(session: DosingSession, clearance: DosingClearance) -> bool:
    same = (session.drug, session.route, session.place) == (clearance.drug, clearance.route, clearance.place)
    dose, highest = session.dose, clearance.highest_dose
    within = dose.unit is highest.unit and dose.amount <= highest.amount
    return same and within and session.started_at < clearance.expires_at
