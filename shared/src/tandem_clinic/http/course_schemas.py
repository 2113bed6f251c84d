"""Shapes of what is asked and answered about courses."""

from typing import Any

from marshmallow import fields, validate

from tandem_care.entry_kinds import DoseWish, Drug, Place, Respondent, Route
from tandem_care.plans import Pace
from tandem_clinic.http.schemas import JsonObject, Loose, Moment, RecordedAnswer, Strict, Text


def a_choice(
    kind: type[DoseWish | Drug | Place | Respondent | Route | Pace], **more: Any
) -> "fields.Enum[Any]":
    return fields.Enum(kind, by_value=True, **more)


class OpenDays(Strict):
    time_zone = Text(60, required=True)
    closed_weekdays = fields.List(
        fields.Integer(strict=True, validate=validate.Range(0, 6)),
        load_default=list,
        validate=validate.Length(max=7),
        metadata={"description": "From Monday, 0, to Sunday, 6"},
    )
    closed_days = fields.List(fields.Date(), load_default=list, validate=validate.Length(max=200))


class StateSite(OpenDays):
    on_call_phone = Text(
        40, load_default="", metadata={"description": "Whom a partner calls who may not be told why"}
    )


class SiteAnswer(Loose):
    time_zone = fields.String(required=True)
    closed_weekdays = fields.List(fields.Integer())
    closed_days = fields.List(fields.Date())
    on_call_phone = fields.String()


class PathwayAnswer(Loose):
    code = fields.String(required=True)
    version = fields.Integer()
    title = fields.String()
    summary = fields.String()
    notice = fields.String()


class PlanCourse(Strict):
    pathway = Text(60, required=True)
    version = fields.Integer(
        strict=True, load_default=None, allow_none=True, validate=validate.Range(1, 10_000)
    )
    start = fields.Date(required=True)
    drug = a_choice(Drug, load_default=None, allow_none=True)
    route = a_choice(Route, load_default=None, allow_none=True)
    place = a_choice(Place, load_default=None, allow_none=True)
    sessions = fields.Dict(
        keys=Text(60),
        values=fields.Integer(strict=True, validate=validate.Range(0, 200)),
        load_default=None,
        allow_none=True,
        metadata={"description": "Number of doses by phase; 0 leaves a phase out"},
    )
    pace = a_choice(Pace, load_default=Pace.USUAL)
    dose_at = fields.Time(format="%H:%M", load_default=None, allow_none=True)
    therapy_at = fields.Time(format="%H:%M", load_default=None, allow_none=True)
    partner_site = fields.Nested(OpenDays, load_default=None, allow_none=True)


class PlannedAnswer(RecordedAnswer):
    plan = fields.Dict(required=True)
    notice = fields.String()


class FollowedAnswer(Loose):
    item = fields.Dict(required=True)
    starts_at = fields.AwareDateTime(format="iso")
    stand = fields.String(required=True)
    due_at = fields.AwareDateTime(format="iso")


class FaultAnswer(Loose):
    item = fields.String()
    rule = fields.String()
    reason = fields.String()
    way_out = fields.String()


class CourseAnswer(Loose):
    plan_id = fields.String(required=True)
    own = fields.Boolean()
    pathway = fields.String()
    pathway_version = fields.Integer()
    items = fields.List(fields.Nested(FollowedAnswer), required=True)
    faults = fields.List(fields.Nested(FaultAnswer))
    notice = fields.String()


class MoveSession(Strict):
    day = fields.Date(required=True)
    at = fields.Time(format="%H:%M", load_default=None, allow_none=True)
    later_too = fields.Boolean(load_default=False, truthy={True}, falsy={False})


class HoldSession(Strict):
    started_at = Moment(required=True)
    ended_at = Moment(required=True)
    summary = JsonObject(load_default=None, allow_none=True)


class HeldAnswer(Loose):
    recorded = fields.List(fields.Nested(RecordedAnswer), required=True)
    confirmed = fields.Boolean()


class SpokenWord(Strict):
    guard = Text(60, required=True)
    reason = Text(1000, required=True)
    by = Text(200, load_default="")


class AskGuards(Strict):
    dose = JsonObject(required=True)


class StartSession(AskGuards):
    attested = fields.List(fields.Nested(SpokenWord), load_default=list, validate=validate.Length(max=40))
    overridden = fields.List(fields.Nested(SpokenWord), load_default=list, validate=validate.Length(max=40))


class SignClearance(StartSession):
    highest_dose = JsonObject(load_default=None, allow_none=True)


class GuardFinding(Loose):
    guard = fields.String(required=True)
    stage = fields.String()
    state = fields.String(required=True)
    reason = fields.String()
    way_out = fields.String()
    never_overridden = fields.String(allow_none=True)


class GuardsAnswer(Loose):
    findings = fields.List(fields.Nested(GuardFinding), required=True)
    notice = fields.String()


class GuardedAnswer(RecordedAnswer):
    content = fields.Dict(required=True)


class RecordMeasure(Strict):
    scale = Text(60, required=True)
    answers = fields.Dict(keys=Text(20), values=fields.Integer(strict=True, allow_none=True), required=True)
    taken_at = Moment(required=True)
    respondent = a_choice(Respondent, load_default=Respondent.PATIENT)
    thresholds = Text(60, load_default=None, allow_none=True)


class ChangeAnswer(Loose):
    drop = fields.Integer()
    response = fields.Boolean(allow_none=True)
    remission = fields.Boolean(allow_none=True)
    important = fields.Boolean(allow_none=True)
    reliable = fields.Boolean(allow_none=True)
    provisional = fields.Boolean(allow_none=True)
    source = fields.String(allow_none=True)


class MeasureAnswer(RecordedAnswer):
    total = fields.Integer(allow_none=True)
    band = fields.String(allow_none=True)
    missing = fields.List(fields.String())
    risk_assessment_needed = fields.Boolean()
    attention = fields.String()
    change = fields.Nested(ChangeAnswer, allow_none=True)
    notice = fields.String()


class GiveDoseFeedback(Strict):
    dosing_session_at = Moment(required=True)
    wish = a_choice(DoseWish, required=True)
    dialogue_possible = fields.Boolean(load_default=None, allow_none=True, truthy={True}, falsy={False})
    note = Text(1000, load_default=None, allow_none=True)


class DecideDose(Strict):
    dosing_session_at = Moment(required=True)
    decision = a_choice(DoseWish, required=True)
    next_dose = JsonObject(required=True)
    reason = Text(1000, required=True)
