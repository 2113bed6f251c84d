"""Between messages and the fields that the use cases check.

Field names in the contracts are those of the content, so that one rule translates them all.
"""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from tandem.clinic.v1 import episode_pb2, patient_pb2
from tandem_care.codec import read_document
from tandem_care.errors import Invalid
from tandem_clinic.domain.consent import Evidence
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.hub.times import put_time
from tandem_clinic.store.patients import Patient
from tandem_clinic.usecases import permissions
from tandem_clinic.usecases.plan import PlanItem
from tandem_platform.rpc import words


def fields_of(message: Message) -> dict[str, Any]:
    """What is set in *message*; what is not set is absent, so that the checks say it is required."""
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return found


def json_fields(text: str, field: str) -> dict[str, Any]:
    try:
        return read_document(text)
    except Invalid as fault:
        raise ContentInvalid(fault.inside(field)) from None


def patient_message(found: Patient) -> patient_pb2.Patient:
    return patient_pb2.Patient(
        patient_id=found.patient_id,
        identity=ParseDict(found.identity.to_fields(), patient_pb2.Identity()),
        version=found.version,
    )


def evidence_of(message: episode_pb2.Evidence) -> Evidence:
    which = message.WhichOneof("basis")
    bases: Mapping[str | None, str] = {
        "written": "written",
        "verbal": "verbal-attested",
        "treatment_relationship": "treatment-relationship",
    }
    if which is None:
        raise ContentInvalid(Invalid("evidence", "is required: written, verbal or treatment_relationship"))
    return permissions.evidence_from(bases[which], fields_of(getattr(message, which)))


def plan_item_message(item: PlanItem) -> episode_pb2.PlanItem:
    message = episode_pb2.PlanItem(
        id=item.id,
        origin=item.origin,
        origin_name=item.origin_name,
        kind=item.kind,
        category=words.category_number(item.category),
        state=item.state,
        content_json=json.dumps(item.content) if item.content else "",
        amends=item.amends,
        notice=item.notice,
    )
    put_time(message, "authored_at", item.authored_at)
    put_time(message, "received_at", item.received_at)
    return message
