"""The accounting of disclosures (45 CFR 164.528, 42 CFR 2.24), printed by the discloser, who alone can name the patient."""

from dataclasses import dataclass
from datetime import datetime

from tandem.audit.v1.audit_pb2 import ListDisclosuresRequest
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import COORDINATION, OVERSIGHT, Staff
from tandem_clinic.hub.times import put_time, time_in
from tandem_clinic.store import audit, entries
from tandem_platform.rpc import words

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Disclosure:
    entry_id: str
    record_id: str
    patient_id: str
    episode_id: str
    recipient_practice_id: str
    category: str
    released_at: datetime | None
    delivered_at: datetime | None
    voided_at: datetime | None
    permission_id: str
    permission_version: int


def account_disclosures(
    clinic: Clinic, by: Staff, *, episode_id: str = "", since: datetime | None = None
) -> list[Disclosure]:
    """What the hub released of ours, to whom, when and under which permission. Raises Refusal if the hub is away."""
    by.require(COORDINATION | OVERSIGHT)
    found: list[Disclosure] = []
    token = ""
    while True:
        request = ListDisclosuresRequest(episode_id=episode_id, page_size=_PAGE, page_token=token)
        put_time(request, "since", since)
        answer = clinic.gateway.ask(clinic.gateway.audit.ListDisclosures, request)
        with clinic.db.reading() as tx:
            for each in answer.disclosures:
                known = entries.sealed(tx, each.entry_id)
                record_id = "" if known is None else known[1].record_id
                found.append(
                    Disclosure(
                        entry_id=each.entry_id,
                        record_id=record_id,
                        patient_id=entries.patient_of(tx, record_id) if record_id else "",
                        episode_id=each.episode_id,
                        recipient_practice_id=each.recipient_practice_id,
                        category=words.category_code(each.category),
                        released_at=time_in(each, "released_at"),
                        delivered_at=time_in(each, "delivered_at"),
                        voided_at=time_in(each, "voided_at"),
                        permission_id=each.permission_id,
                        permission_version=each.permission_version,
                    )
                )
        token = answer.next_page_token
        if not token:
            break
    clinic.db.run(
        lambda tx: audit.note(
            tx, "disclosures-accounted", clinic.now(), by=by, subject_id=episode_id, count=str(len(found))
        )
    )
    return found
