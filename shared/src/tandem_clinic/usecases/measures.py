"""Answers to a rating scale: scored, put in a band, held against the first, and looked through for risk."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tandem_care import scales
from tandem_care.entry_kinds import Respondent, ScaleScore, from_json
from tandem_care.risk import Attention
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import CARE, Staff
from tandem_clinic.store import entries
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.course_reading import checked
from tandem_clinic.usecases.entries import Recorded
from tandem_clinic.usecases.risks import attention_to
from tandem_platform.storage import Transaction


@dataclass(frozen=True, slots=True)
class Measured:
    """``change`` is from the first complete answers on record here; None if these are the first, or have no total."""

    recorded: Recorded
    score: ScaleScore
    change: scales.Change | None
    attention: Attention


def record_measure(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    patient_id: str,
    scale: str,
    answers: Mapping[str, int | None],
    taken_at: datetime,
    *,
    respondent: Respondent = Respondent.PATIENT,
    thresholds: str | None = None,
) -> Measured:
    by.require(CARE)
    known = checked(lambda: scales.scale_of(scale))
    named = None if thresholds is None else checked(lambda: known.thresholds_named(thresholds))
    score = checked(lambda: ScaleScore.scored(known, answers, taken_at, respondent))
    first = _first_total(tx, clinic, patient_id, score)
    attention = attention_to(tx, clinic, patient_id, score)
    recorded = record_followed(tx, clinic, by, patient_id, score)
    change = None
    if first is not None and score.total is not None:
        change = scales.change(known, first, score.total, named)
    return Measured(recorded, score, change, attention)


def _first_total(tx: Transaction, clinic: Clinic, patient_id: str, score: ScaleScore) -> int | None:
    taken = [
        content
        for each in entries.own_of_kind(tx, clinic.vault, patient_id, ScaleScore.kind)
        if each.state == "active" and isinstance(content := from_json(each.content), ScaleScore)
    ]
    before = [
        each
        for each in taken
        if each.scale is score.scale and each.total is not None and each.taken_at < score.taken_at
    ]
    return min(before, key=lambda each: each.taken_at).total if before else None
