"""Evaluating, prescribing, and recording doses: each an entry of its own category, and what to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tandem_care.entry_kinds import (
    Content,
    DosingSession,
    DrivingProhibition,
    Prescription,
    ScreeningResult,
    from_json,
)
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import CARE, Role, Staff
from tandem_clinic.store import audit, entries, patients
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases.consequences import record_followed, review_dose
from tandem_clinic.usecases.entries import Recorded, record_entry
from tandem_platform.storage import Transaction
from tandem_prescriber.domain.treatment import Caution, evaluation_warnings, prescription_warnings

C = TypeVar("C", bound=Content)
_PRESCRIBERS = frozenset({Role.CLINICIAN, Role.INTEGRATION})


@dataclass(frozen=True, slots=True)
class Evaluated:
    record_id: str
    evaluation: ScreeningResult
    expired: bool


@dataclass(frozen=True, slots=True)
class Prescribed:
    recorded: Recorded
    warnings: tuple[Caution, ...]


@dataclass(frozen=True, slots=True)
class Dosed:
    recorded: Recorded
    warnings: tuple[StrEnum, ...]
    no_driving: DrivingProhibition


def record_evaluation(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, evaluation: ScreeningResult
) -> Recorded:
    by.require(_PRESCRIBERS)
    return record_entry(tx, clinic, by, patient_id, evaluation)


def evaluation_in_force(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str) -> Evaluated:
    """The newest one that nobody took back."""
    by.require(CARE)
    patients.require(tx, patient_id)
    found = _active(tx, clinic, patient_id, ScreeningResult)
    audit.note(tx, "evaluation-read", clinic.now(), by=by, patient_id=patient_id)
    if not found:
        raise NotKnown("evaluation", "patient_id")
    record_id, evaluation = found[-1]
    return Evaluated(record_id, evaluation, evaluation.expires_at <= clinic.now())


def prescribe(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, prescription: Prescription
) -> Prescribed:
    """Warnings do not stop: the prescriber decides, and the record shows that they were there."""
    by.require(_PRESCRIBERS)
    recorded = record_entry(tx, clinic, by, patient_id, prescription)
    evaluations = _active(tx, clinic, patient_id, ScreeningResult)
    newest = evaluations[-1][1] if evaluations else None
    warnings = tuple(evaluation_warnings(newest, clinic.now()))
    _note_warnings(tx, clinic, by, patient_id, recorded, warnings)
    return Prescribed(recorded, warnings)


def record_dosing_session(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, session: DosingSession
) -> Dosed:
    """A dose that was given can always be recorded; what is out of the ordinary opens a review."""
    recorded = record_followed(tx, clinic, by, patient_id, session)
    prescriptions = [each for _, each in _active(tx, clinic, patient_id, Prescription)]
    cautions = prescription_warnings(session, prescriptions)
    reasons = review_dose(tx, clinic, patient_id, recorded, session, cautions)
    warnings = (*reasons, *cautions)
    _note_warnings(tx, clinic, by, patient_id, recorded, warnings)
    return Dosed(recorded, warnings, session.no_driving)


def _active(tx: Transaction, clinic: Clinic, patient_id: str, kind: type[C]) -> list[tuple[str, C]]:
    found = []
    for entry in entries.own_of_kind(tx, clinic.vault, patient_id, kind.kind):
        content = from_json(entry.content)
        if entry.state == "active" and isinstance(content, kind):
            found.append((entry.record_id, content))
    return found


def _note_warnings(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    patient_id: str,
    recorded: Recorded,
    warnings: Sequence[str],
) -> None:
    if warnings:
        audit.note(
            tx,
            "warned",
            clinic.now(),
            by=by,
            patient_id=patient_id,
            subject_id=recorded.record_id,
            warnings=",".join(warnings),
        )
