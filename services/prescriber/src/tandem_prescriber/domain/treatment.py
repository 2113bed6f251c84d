"""What a prescriber should look at beside the guards of a course. Decision support: the clinician decides."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from tandem_care.entry_kinds import DosingSession, Prescription, ScreeningResult
from tandem_care.screening import Outcome


class Caution(StrEnum):
    NO_EVALUATION = "no-evaluation"
    EVALUATION_EXPIRED = "evaluation-expired"
    NOT_ELIGIBLE = "not-eligible"
    CONDITIONS_STATED = "conditions-stated"
    NO_PRESCRIPTION = "no-prescription"
    PRESCRIPTION_OVER = "prescription-over"
    NOT_AS_PRESCRIBED = "not-as-prescribed"


def evaluation_warnings(evaluation: ScreeningResult | None, now: datetime) -> list[Caution]:
    if evaluation is None:
        return [Caution.NO_EVALUATION]
    found = []
    if evaluation.expires_at <= now:
        found.append(Caution.EVALUATION_EXPIRED)
    if evaluation.outcome is Outcome.NOT_ELIGIBLE:
        found.append(Caution.NOT_ELIGIBLE)
    if evaluation.outcome is Outcome.ELIGIBLE_WITH_CONDITIONS:
        found.append(Caution.CONDITIONS_STATED)
    return found


def prescription_warnings(session: DosingSession, prescriptions: Iterable[Prescription]) -> list[Caution]:
    """Nothing of this stops the recording: what was given was given."""
    found = []
    known = list(prescriptions)
    live = [each for each in known if _is_live(each, session.started_at)]
    if not known:
        found.append(Caution.NO_PRESCRIPTION)
    elif not live:
        found.append(Caution.PRESCRIPTION_OVER)
    elif not any((each.drug, each.route) == (session.drug, session.route) for each in live):
        found.append(Caution.NOT_AS_PRESCRIBED)
    return found


def _is_live(prescription: Prescription, at: datetime) -> bool:
    over = prescription.stopped_at is not None and prescription.stopped_at <= at
    return prescription.prescribed_at <= at < prescription.expires_at and not over
