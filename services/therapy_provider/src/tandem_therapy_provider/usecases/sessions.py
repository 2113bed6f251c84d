"""Therapy sessions that were held: their times, and a summary written for the partner."""

from collections.abc import Sequence
from dataclasses import dataclass

from tandem_care.entry_kinds import Content, IntegrationSummary, PreparationSummary, SessionTimes
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import Staff
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.entries import Recorded
from tandem_platform.storage import Transaction


@dataclass(frozen=True, slots=True)
class RecordedPart:
    kind: str
    recorded: Recorded


def record_session(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    patient_id: str,
    times: SessionTimes,
    summary: PreparationSummary | IntegrationSummary | None = None,
) -> Sequence[RecordedPart]:
    """Two entries of two categories, because the patient may permit the one without the other."""
    parts: list[Content] = [times] if summary is None else [times, summary]
    return [RecordedPart(part.kind, record_followed(tx, clinic, by, patient_id, part)) for part in parts]
