"""Shapes of requests and answers. Strict: unknown fields are refused, and nothing is converted silently."""

import re
from datetime import UTC
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from tandem_care.categories import Basis, Category, Purpose
from tandem_care.lifecycle import Kind, Urgency

_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Text(fields.String):
    """Without control characters or halves of characters, which databases refuse."""

    def __init__(self, most: int, **more: Any) -> None:
        super().__init__(validate=[validate.Length(max=most), _is_text], **more)


def _is_text(value: str) -> None:
    if _NOT_TEXT.search(value):
        raise ValidationError("holds a character that is not text")


def an_id(**more: Any) -> fields.String:
    return fields.String(
        validate=validate.Regexp(r"[A-Za-z0-9_-]{1,100}\Z", error="is not an identifier"), **more
    )


class Strict(Schema):
    class Meta:
        unknown = RAISE


class Loose(Schema):
    """Answers, which only ever leave."""


class Moment(fields.AwareDateTime):
    """A time with its offset, given on in UTC."""

    def __init__(self, **more: Any) -> None:
        super().__init__(format="iso", **more)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Any:
        try:
            return super()._deserialize(value, attr, data, **more).astimezone(UTC)
        except OverflowError:
            # In UTC it would lie before the first year or after the last.
            raise ValidationError("Not a valid datetime.") from None


class JsonObject(fields.Dict):
    """Checked further where its kind is known."""

    def __init__(self, **more: Any) -> None:
        super().__init__(keys=fields.String(), **more)


class RegisterPatient(Strict):
    identity = JsonObject(required=True)
    acknowledge_duplicates = fields.Boolean(load_default=False, truthy={True}, falsy={False})


class UpdatePatient(Strict):
    identity = JsonObject(required=True)
    version = fields.Integer(required=True, strict=True, validate=validate.Range(0, 2**53))


class PatientAnswer(Loose):
    patient_id = fields.String(required=True)
    identity = fields.Dict(required=True)
    version = fields.Integer(required=True)
    registered_at = fields.AwareDateTime(format="iso")
    confirmed = fields.Boolean()


class PatientsAnswer(Loose):
    items = fields.List(fields.Nested(PatientAnswer), required=True)
    next_after = fields.String(
        metadata={"description": "Pass as 'after' for the following page; empty at the end"}
    )


class PageQuery(Strict):
    after = an_id(load_default="")
    limit = fields.Integer(load_default=100, validate=validate.Range(1, 500))


class EpisodeAnswer(Loose):
    episode_id = fields.String(required=True)
    partnership_id = fields.String()
    partner_practice_id = fields.String()
    patient_id = fields.String(allow_none=True)
    state = fields.String()
    opened_at = fields.AwareDateTime(format="iso")


class Identifier(Strict):
    system = Text(200, required=True)
    value = Text(200, required=True)


class RecordEntry(Strict):
    kind = fields.String(required=True)
    content = JsonObject(required=True)
    episode_id = an_id(load_default=None, allow_none=True)
    authored_at = Moment(load_default=None, allow_none=True)
    derived_from = fields.List(fields.String(), load_default=list, validate=validate.Length(max=30))
    identifier = fields.Nested(Identifier, load_default=None, allow_none=True)


class AmendEntry(Strict):
    content = JsonObject(required=True)
    derived_from = fields.List(fields.String(), load_default=list, validate=validate.Length(max=30))


class RecordedAnswer(Loose):
    record_id = fields.String(required=True)
    entry_ids = fields.List(
        fields.String(), metadata={"description": "What it is called in each open episode"}
    )
    is_new = fields.Boolean()
    confirmed = fields.Boolean()


class PlanQuery(Strict):
    episode_id = an_id(load_default=None)


class SharedAnswer(Loose):
    entry_id = fields.String()
    episode_id = fields.String()
    partner_practice_id = fields.String()
    wrapped = fields.Boolean()
    rule = fields.String()
    received_at = fields.AwareDateTime(format="iso", allow_none=True)


class PlanItemAnswer(Loose):
    id = fields.String(required=True)
    origin = fields.String(required=True, metadata={"description": "own, or the practice that gave it"})
    origin_name = fields.String()
    kind = fields.String()
    category = fields.String(required=True)
    state = fields.String(required=True)
    content = fields.Dict()
    authored_at = fields.AwareDateTime(format="iso", required=True)
    received_at = fields.AwareDateTime(format="iso", allow_none=True)
    first_read_at = fields.AwareDateTime(format="iso", allow_none=True)
    amends = fields.String()
    notice = fields.String(
        metadata={"description": "Notice of 42 CFR 2.32, where it goes with the disclosure"}
    )
    shared = fields.List(fields.Nested(SharedAnswer))


class PlanAnswer(Loose):
    items = fields.List(fields.Nested(PlanItemAnswer), required=True)


class ExplanationAnswer(Loose):
    entry_id = fields.String(required=True)
    own_rule = fields.String()
    own_sentence = fields.String()
    hub_result = fields.String(metadata={"description": "Empty where the hub was not reached"})
    hub_rule = fields.String()
    permission_id = fields.String()
    permission_version = fields.Integer()


class AskPermission(Strict):
    episode_id = an_id(required=True)
    effect = fields.String(load_default="permit", validate=validate.OneOf(["permit", "deny"]))
    categories = fields.List(
        fields.String(), required=True, validate=validate.Length(min=1, max=len(Category))
    )
    purpose = fields.String(load_default=Purpose.TREATMENT.value, validate=validate.OneOf(list(Purpose)))
    basis = fields.String(required=True, validate=validate.OneOf(list(Basis)))
    evidence = JsonObject(required=True)
    starts_at = Moment(load_default=None, allow_none=True)
    ends_at = Moment(load_default=None, allow_none=True)
    history_from = Moment(load_default=None, allow_none=True)
    reason_after_dosing = Text(500, load_default="")
    record_ids = fields.List(
        an_id(),
        load_default=list,
        validate=validate.Length(max=100),
        metadata={"description": "Of a denial: the records that alone are kept back, with what amends them"},
    )


class PermissionAnswer(Loose):
    permission_id = fields.String(required=True)
    version = fields.Integer(metadata={"description": "0: queued, not confirmed"})
    episode_id = fields.String()
    discloser_practice_id = fields.String()
    recipient_practice_id = fields.String()
    categories = fields.List(fields.String())
    entry_ids = fields.List(
        fields.String(), metadata={"description": "What a denial keeps back where that is not its categories"}
    )
    purpose = fields.String()
    basis = fields.String()
    effect = fields.String()
    state = fields.String()
    starts_at = fields.AwareDateTime(format="iso")
    ends_at = fields.AwareDateTime(format="iso", allow_none=True)
    history_from = fields.AwareDateTime(format="iso", allow_none=True)
    acknowledged_at = fields.AwareDateTime(format="iso", allow_none=True)
    changed_at = fields.AwareDateTime(format="iso")


class EpisodeQuery(Strict):
    episode_id = an_id(required=True)


class DeclinedToSign(Strict):
    categories = fields.List(
        fields.String(), required=True, validate=validate.Length(min=1, max=len(Category))
    )


class CommandAnswer(Loose):
    """``confirmed`` false, with status 202: queued, not confirmed."""

    permission_id = fields.String()
    referral_id = fields.String()
    episode_id = fields.String()
    partnership_id = fields.String()
    patient_id = fields.String()
    answer_id = fields.String()
    request_id = fields.String()
    confirmed = fields.Boolean()


class RequestReferral(Strict):
    patient_id = an_id(required=True)
    partnership_id = an_id(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(list(Kind)))
    urgency = fields.String(load_default=Urgency.ROUTINE.value, validate=validate.OneOf(list(Urgency)))
    basis = fields.String(required=True, validate=validate.OneOf(list(Basis)))
    evidence = JsonObject(required=True)
    note = Text(8000, load_default="")
    replaces_referral_id = an_id(load_default="")
    continues_referral_id = an_id(load_default="")
    reason_after_dosing = Text(500, load_default="")


class ReferralsQuery(Strict):
    state = an_id(load_default="")
    intake = an_id(load_default="")
    limit = fields.Integer(load_default=200, validate=validate.Range(1, 500))


class ReferralAnswer(Loose):
    referral_id = fields.String(required=True)
    episode_id = fields.String()
    patient_id = fields.String(allow_none=True)
    partnership_id = fields.String()
    referrer_practice_id = fields.String()
    recipient_practice_id = fields.String()
    kind = fields.String()
    urgency = fields.String()
    state = fields.String(required=True)
    reason = fields.String()
    outcome = fields.String()
    version = fields.Integer()
    confirmed = fields.Boolean(metadata={"description": "false: queued, not confirmed"})
    intake = fields.String()
    replaces_referral_id = fields.String()
    continues_referral_id = fields.String()
    moved_by_practice_id = fields.String(metadata={"description": "Empty for the clock's last move"})
    due_at = fields.AwareDateTime(
        format="iso", allow_none=True, metadata={"description": "When the present state's clock runs out"}
    )
    requested_at = fields.AwareDateTime(format="iso")
    changed_at = fields.AwareDateTime(format="iso")
    first_opened_at = fields.AwareDateTime(format="iso", allow_none=True)
    moves = fields.List(fields.String(), metadata={"description": "What this side may do now"})
    identity = fields.Dict(allow_none=True, metadata={"description": "Who the patient is, until taken in"})


class TakeIn(Strict):
    patient_id = an_id(load_default=None, allow_none=True)
    acknowledge_duplicates = fields.Boolean(load_default=False, truthy={True}, falsy={False})


class MoveReferral(Strict):
    reason = fields.String(load_default=None, allow_none=True)
    outcome = fields.String(load_default="")
    comment = Text(8000, load_default="")


class ConfirmFingerprint(Strict):
    digits = Text(100, required=True)


class PartnershipAnswer(Loose):
    partnership_id = fields.String(required=True)
    partner_practice_id = fields.String()
    partner_name = fields.String()
    partner_phone = fields.String()
    partner_on_call_phone = fields.String()
    partner_sites = fields.List(fields.Dict())
    state = fields.String()
    proposed_by_us = fields.Boolean()
    version = fields.Integer()
    fingerprint = fields.String()
    fingerprint_confirmed_at = fields.AwareDateTime(format="iso", allow_none=True)
    changed_at = fields.AwareDateTime(format="iso")


class FingerprintsAnswer(Loose):
    own = fields.String()
    partner = fields.String()
    pinned = fields.Boolean()


class WorklistAnswer(Loose):
    item_id = fields.String(required=True)
    kind = fields.String()
    subject_id = fields.String()
    episode_id = fields.String()
    staff_id = fields.String()
    facts = fields.Dict()
    raised_at = fields.AwareDateTime(format="iso")
    done_at = fields.AwareDateTime(format="iso", allow_none=True)


class AlertAnswer(Loose):
    kind = fields.String(required=True)
    subject_id = fields.String()
    facts = fields.Dict()
    raised_at = fields.AwareDateTime(format="iso")


class CommandInJournal(Loose):
    request_id = fields.String(required=True)
    name = fields.String()
    subject_id = fields.String()
    episode_id = fields.String()
    depends_on = fields.String(allow_none=True)
    author_id = fields.String()
    state = fields.String()
    attempts = fields.Integer()
    last_failure = fields.String()
    refusal_message = fields.String()
    receipt_number = fields.Integer()
    queued_at = fields.AwareDateTime(format="iso")


class AccountingQuery(Strict):
    episode_id = an_id(load_default="")
    since = Moment(load_default=None)


class DisclosureAnswer(Loose):
    entry_id = fields.String(required=True)
    record_id = fields.String()
    patient_id = fields.String()
    episode_id = fields.String()
    recipient_practice_id = fields.String()
    category = fields.String()
    released_at = fields.AwareDateTime(format="iso", allow_none=True)
    delivered_at = fields.AwareDateTime(format="iso", allow_none=True)
    voided_at = fields.AwareDateTime(format="iso", allow_none=True)
    permission_id = fields.String()
    permission_version = fields.Integer()


class AccountingAnswer(Loose):
    disclosures = fields.List(fields.Nested(DisclosureAnswer), required=True)


class AuditQuery(Strict):
    after = fields.Integer(load_default=0, validate=validate.Range(0, 2**53))
    limit = fields.Integer(load_default=200, validate=validate.Range(1, 1000))
    patient_id = an_id(load_default="")


class AuditRecordAnswer(Loose):
    number = fields.Integer(required=True)
    at = fields.AwareDateTime(format="iso")
    action = fields.String()
    staff_id = fields.String()
    patient_id = fields.String()
    subject_id = fields.String()
    facts = fields.Dict()


class FindingAnswer(Loose):
    number = fields.Integer()
    fault = fields.String()


class AddStaff(Strict):
    display_name = Text(200, required=True)
    roles = fields.List(fields.String(), required=True, validate=validate.Length(min=1))


class IssueToken(Strict):
    days = fields.Integer(load_default=None, allow_none=True, strict=True, validate=validate.Range(1, 3650))


class StaffAnswer(Loose):
    staff_id = fields.String(required=True)
    display_name = fields.String()
    roles = fields.List(fields.String())
    token = fields.String(metadata={"description": "Shown this once"})
    confirmed = fields.Boolean()


class HealthAnswer(Loose):
    status = fields.String(required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.Boolean())
