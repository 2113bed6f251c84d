"""What the therapist says of a dose, and what the prescriber decides: a wish changes nothing by itself."""

from datetime import datetime

from tandem_care.courses import Part
from tandem_care.entry_kinds import Dose, DoseDecision, DoseFeedback, DoseWish
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.course_refusals import DecidedByThePrescriber
from tandem_clinic.domain.staff import CARE, Staff
from tandem_clinic.store import watches
from tandem_clinic.usecases.course_reading import checked, linked, part_in
from tandem_clinic.usecases.dosing import SIGNERS
from tandem_clinic.usecases.entries import Recorded, record_entry
from tandem_platform.storage import Transaction


def give_dose_feedback(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    dosing_session_at: datetime,
    wish: DoseWish,
    *,
    dialogue_possible: bool | None = None,
    note: str | None = None,
) -> Recorded:
    """It waits on the prescriber's worklist, where it suggests another dose."""
    by.require(CARE)
    _, patient_id = linked(tx, episode_id)
    feedback = checked(
        lambda: DoseFeedback(
            dosing_session_at=dosing_session_at,
            wish=wish,
            dialogue_possible=dialogue_possible,
            note=note,
            given_at=clinic.now(),
            given_by=by.display_name,
        )
    )
    made = record_entry(tx, clinic, by, patient_id, feedback, episode_id=episode_id)
    watches.look(tx, [episode_id], clinic.now())
    return made


def decide_dose(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    dosing_session_at: datetime,
    decision: DoseWish,
    next_dose: Dose,
    reason: str,
) -> Recorded:
    """The prescriber's answer, which the therapist is told where the patient permits."""
    by.require(SIGNERS)
    episode, patient_id = linked(tx, episode_id)
    part, _ = part_in(tx, clinic, episode)
    if part is Part.GIVES_THERAPY:
        raise DecidedByThePrescriber
    decided = checked(
        lambda: DoseDecision(
            dosing_session_at=dosing_session_at,
            decision=decision,
            next_dose=next_dose,
            reason=reason,
            decided_at=clinic.now(),
            decided_by=by.display_name,
        )
    )
    made = record_entry(tx, clinic, by, patient_id, decided, episode_id=episode_id)
    watches.look(tx, [episode_id], clinic.now())
    return made
