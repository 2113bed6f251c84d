"""Referrals seen whole, whose turn they are, and the shortlist that moves on."""

from typing import Any

from marshmallow import fields

from tandem_care.lifecycle import REASONS
from tandem_clinic.domain.staff import ADMINISTRATION, COORDINATION
from tandem_clinic.http.entrance import caller, clinic, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import JsonObject, Loose, Moment, ReferralAnswer, Strict, Text, an_id
from tandem_clinic.store import turns as turn_store
from tandem_clinic.store.turns import Absence, Attempt
from tandem_clinic.usecases import permissions, referral_course, shortlist_course, turns

api = Resources("referral-course", __name__, __doc__)


class MoveReasonAnswer(Loose):
    code = fields.String(required=True)
    sentence = fields.String()
    moves = fields.List(fields.String())
    parties = fields.List(fields.String(), metadata={"description": "Who may give it"})
    comment_required = fields.Boolean()


class ChoiceAnswer(Loose):
    move = fields.String(required=True)
    reason_required = fields.Boolean()
    reasons = fields.List(fields.Nested(MoveReasonAnswer))
    outcomes = fields.List(fields.String())


class LineAnswer(Loose):
    version = fields.Integer()
    move = fields.String()
    state = fields.String()
    reason = fields.String()
    by_practice_id = fields.String(metadata={"description": "Empty for the clock's"})
    staff_id = fields.String(metadata={"description": "Who of our own people"})
    at = fields.AwareDateTime(format="iso")


class AttemptAnswer(Loose):
    attempt_id = fields.String(required=True)
    channel = fields.String()
    reached = fields.Boolean()
    staff_id = fields.String()
    at = fields.AwareDateTime(format="iso")


class ReferralCourseAnswer(Loose):
    referral_id = fields.String(required=True)
    choices = fields.List(fields.Nested(ChoiceAnswer), metadata={"description": "What this side may do now"})
    is_our_turn = fields.Boolean()
    due_at = fields.AwareDateTime(format="iso", allow_none=True)
    assigned_to = fields.String()
    covered_by = fields.String()
    follows_shortlist = fields.Boolean()
    first_opened_at = fields.AwareDateTime(format="iso", allow_none=True)
    history = fields.List(fields.Nested(LineAnswer))
    earlier = fields.List(fields.Nested(ReferralAnswer))
    later = fields.List(fields.Nested(ReferralAnswer))
    attempts = fields.List(fields.Nested(AttemptAnswer))


class Assign(Strict):
    staff_id = an_id(load_default="")


class LogAttempt(Strict):
    channel = Text(20, required=True)
    reached = fields.Boolean(required=True, truthy={True}, falsy={False})


class HandOver(Strict):
    from_staff_id = an_id(required=True)
    to_staff_id = an_id(required=True)


class HandedOver(Loose):
    referral_ids = fields.List(fields.String(), required=True)


class BeAway(Strict):
    staff_id = an_id(required=True)
    cover_id = an_id(required=True)
    starts_at = Moment(load_default=None, allow_none=True)
    until = Moment(required=True)


class AbsenceAnswer(Loose):
    absence_id = fields.String(required=True)
    staff_id = fields.String()
    cover_id = fields.String()
    starts_at = fields.AwareDateTime(format="iso")
    until = fields.AwareDateTime(format="iso")


class FollowShortlist(Strict):
    follows = fields.Boolean(load_default=True, truthy={True}, falsy={False})


class PermitShortlisted(Strict):
    practice_id = an_id(required=True)
    basis = fields.String(required=True)
    evidence = JsonObject(required=True)


class ForbidShortlisted(Strict):
    practice_id = an_id(required=True)


class Noted(Loose):
    referral_id = fields.String()
    absence_id = fields.String()
    patient_id = fields.String()


@api.get("/referral-reasons")
@api.answer(200, MoveReasonAnswer(many=True))
def list_reasons() -> list[Any]:
    """The coded reasons: for which moves, by whom, and whether a comment, which travels sealed, is required."""
    caller()
    return list(REASONS.values())


@api.get("/referrals/<referral_id>/course")
@api.answer(200, ReferralCourseAnswer)
def read_course(referral_id: str) -> referral_course.Course:
    """What may be done now and with which reasons, the history with who did what and why, the chain of re-routes."""
    return read(lambda tx: referral_course.read_course(tx, clinic(), caller(), referral_id))


@api.put("/referrals/<referral_id>/assignee")
@api.body(Assign)
@api.answer(200, Noted)
def assign_referral(body: dict[str, Any], referral_id: str) -> dict[str, str]:
    """Whose referral it is inside the clinic; empty for everybody who coordinates."""
    read(lambda tx: turns.assign_referral(tx, clinic(), caller(), referral_id, body["staff_id"]))
    return {"referral_id": referral_id}


@api.post("/referrals/<referral_id>/attempts")
@api.body(LogAttempt)
@api.answer(201, AttemptAnswer)
def log_attempt(body: dict[str, Any], referral_id: str) -> Attempt:
    """That somebody tried to reach the patient. After three in vain, "lost-to-follow-up" may be given."""
    return read(
        lambda tx: turns.log_attempt(
            tx, clinic(), caller(), referral_id, body["channel"], reached=body["reached"]
        )
    )


@api.put("/referrals/<referral_id>/shortlist")
@api.body(FollowShortlist)
@api.answer(200, Noted)
def follow_shortlist(body: dict[str, Any], referral_id: str) -> dict[str, str]:
    """Whether a refusal or expiry is followed by the next practice on the patient's shortlist."""
    read(
        lambda tx: shortlist_course.follow_shortlist(
            tx, clinic(), caller(), referral_id, follows=body["follows"]
        )
    )
    return {"referral_id": referral_id}


@api.post("/patients/<patient_id>/shortlist/permit")
@api.body(PermitShortlisted)
@api.answer(200, Noted)
def permit_shortlisted(body: dict[str, Any], patient_id: str) -> dict[str, str]:
    """The patient permits a referral to a practice on the shortlist, should the list come to it."""
    evidence = permissions.evidence_from(body["basis"], body["evidence"])
    read(
        lambda tx: shortlist_course.permit_shortlisted(
            tx, clinic(), caller(), patient_id, body["practice_id"], evidence
        )
    )
    return {"patient_id": patient_id}


@api.post("/patients/<patient_id>/shortlist/forbid")
@api.body(ForbidShortlisted)
@api.answer(200, Noted)
def forbid_shortlisted(body: dict[str, Any], patient_id: str) -> dict[str, str]:
    """The patient takes that permission back."""
    read(
        lambda tx: shortlist_course.forbid_shortlisted(
            tx, clinic(), caller(), patient_id, body["practice_id"]
        )
    )
    return {"patient_id": patient_id}


@api.post("/staff/hand-over")
@api.body(HandOver)
@api.answer(200, HandedOver)
def hand_over(body: dict[str, Any]) -> dict[str, Any]:
    """All referrals and open items of one person become another's."""
    moved = read(
        lambda tx: turns.hand_over(tx, clinic(), caller(), body["from_staff_id"], body["to_staff_id"])
    )
    return {"referral_ids": moved}


@api.post("/absences")
@api.body(BeAway)
@api.answer(201, AbsenceAnswer)
def be_away(body: dict[str, Any]) -> Absence:
    """Somebody is away until a time, and somebody else sees what waits for them meanwhile."""
    return read(
        lambda tx: turns.be_away(
            tx,
            clinic(),
            caller(),
            body["staff_id"],
            body["cover_id"],
            body["until"],
            body["starts_at"],
        )
    )


@api.get("/absences")
@api.answer(200, AbsenceAnswer(many=True))
def list_absences() -> list[Absence]:
    """Who is away or will be, and who covers."""
    caller().require(COORDINATION | ADMINISTRATION)
    return read(lambda tx: turn_store.absences(tx, clinic().now()))


@api.post("/absences/<absence_id>/end")
@api.answer(200, Noted)
def end_absence(absence_id: str) -> dict[str, str]:
    """They are back, or will not be away."""
    read(lambda tx: turns.end_absence(tx, clinic(), caller(), absence_id))
    return {"absence_id": absence_id}
