"""How long a patient stays after a dose, what is still to be measured, and what waits after leaving."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tandem_care.entry_kinds import DosingSession, Effect, Grade, VitalsMoment
from tandem_care.pathways import NOTICE, Medicine

_LATE = timedelta(minutes=10)
"""A reading with a time of its own is late so long after it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One reason why the patient should stay, in plain words."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Observation:
    until: datetime
    """The end of the time that must pass; the effects must have resolved as well."""
    waiting: tuple[Waiting, ...]
    readings_late: tuple[VitalsMoment, ...]
    over: bool
    """Whether the patient has left."""

    @property
    def may_leave(self) -> bool:
        return not self.waiting

    @property
    def notice(self) -> str:
        return NOTICE


def observation(medicine: Medicine, session: DosingSession, now: datetime) -> Observation:
    """Where the observation of *session* stands at *now*, or stood when the patient left.

    Esketamine: at least two hours, and until sedation, dissociation and respiratory depression have
    resolved (SPRAVATO REMS). An effect that nobody has graded has not resolved.
    """
    rule = medicine.observation
    at = min(now, session.discharged_at or now)
    until = session.started_at + timedelta(minutes=rule.minutes)
    waiting = []
    if at < until:
        waiting.append(Waiting("time", f"{rule.minutes} minutes of observation are not over."))
    waiting += [
        Waiting(effect, words)
        for effect in rule.resolved
        if (words := _unresolved(session, effect, at)) is not None
    ]
    taken = {each.moment for each in session.blood_pressure}
    leaving = VitalsMoment.BEFORE_LEAVING
    if leaving not in taken and any(wanted.moment is leaving for wanted in rule.vitals):
        waiting.append(Waiting(leaving, "Blood pressure before leaving has not been recorded."))
    late = tuple(
        wanted.moment
        for wanted in rule.vitals
        if wanted.moment not in taken
        and wanted.minutes is not None
        and at > session.started_at + timedelta(minutes=wanted.minutes) + _LATE
    )
    return Observation(until, tuple(waiting), late, session.discharged_at is not None)


def _unresolved(session: DosingSession, effect: Effect, at: datetime) -> str | None:
    name = effect.replace("-", " ").capitalize()
    graded = [each for each in session.effects if each.effect is effect]
    if not graded:
        return f"{name} has not been assessed."
    # Observations without a time stand in the order in which they were written.
    newest = max(graded, key=lambda each: each.observed_at or session.started_at)
    if newest.observed_at is None:
        newest = graded[-1]
    if newest.grade is Grade.NONE:
        return None
    if newest.resolved_at is not None and newest.resolved_at <= at:
        return None
    return f"{name} has not resolved."
