"""How each person is told that something waits, and what became of it."""

from typing import Any

from marshmallow import fields, validate

from tandem_clinic.domain.staff import OVERSIGHT
from tandem_clinic.http.entrance import caller, clinic, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import Loose, Strict, Text, an_id
from tandem_clinic.store import notices
from tandem_clinic.usecases import notifications

api = Resources("notifications", __name__, __doc__)

_DAY = 24 * 60


class ChannelSchema(Strict):
    channel = fields.String(required=True, validate=validate.OneOf(("email", "sms", "webhook")))
    address = Text(254, required=True)


class SetReach(Strict):
    channels = fields.List(fields.Nested(ChannelSchema), required=True, validate=validate.Length(1, 5))
    time_zone = Text(64, required=True)
    quiet_from = fields.Time(required=True, format="%H:%M")
    quiet_until = fields.Time(required=True, format="%H:%M")
    digest_minutes = fields.Integer(load_default=0, strict=True, validate=validate.Range(0, 7 * _DAY))
    cover_staff_id = an_id(load_default="")
    escalate_after_minutes = fields.Integer(
        load_default=_DAY, strict=True, validate=validate.Range(1, 30 * _DAY)
    )


class ReachAnswer(Loose):
    staff_id = fields.String(required=True)
    channels = fields.List(fields.Nested(ChannelSchema))
    time_zone = fields.String()
    quiet_from = fields.String()
    quiet_until = fields.String()
    digest_minutes = fields.Integer()
    cover_staff_id = fields.String()
    escalate_after_minutes = fields.Integer()


class MessageAnswer(Loose):
    message_id = fields.String(required=True)
    staff_id = fields.String()
    channel = fields.String()
    items = fields.Integer()
    state = fields.String()
    attempts = fields.Integer()
    created_at = fields.AwareDateTime(format="iso")
    sent_at = fields.AwareDateTime(format="iso", allow_none=True)


@api.put("/staff/<staff_id>/notifications")
@api.body(SetReach)
@api.answer(200, ReachAnswer)
def set_reach(body: dict[str, Any], staff_id: str) -> dict[str, Any]:
    """Say how a person is told: by which channels, in this order, when not, how often, and who is their cover."""
    wanted = notices.Reached(
        staff_id=staff_id,
        channels=[[each["channel"], each["address"]] for each in body["channels"]],
        time_zone=body["time_zone"],
        quiet_from=body["quiet_from"].hour * 60 + body["quiet_from"].minute,
        quiet_until=body["quiet_until"].hour * 60 + body["quiet_until"].minute,
        digest_minutes=body["digest_minutes"],
        cover_staff_id=body["cover_staff_id"],
        escalate_after_minutes=body["escalate_after_minutes"],
    )
    return _shown(read(lambda tx: notifications.set_reach(tx, clinic(), caller(), wanted)))


@api.get("/staff/<staff_id>/notifications")
@api.answer(200, ReachAnswer)
def read_reach(staff_id: str) -> dict[str, Any]:
    """How a person is told that something waits."""
    return _shown(read(lambda tx: notifications.get_reach(tx, caller(), staff_id)))


def _shown(person: notices.Reached) -> dict[str, Any]:
    shown = {name: getattr(person, name) for name in notices.Reached.__slots__}
    channels = [{"channel": channel, "address": address} for channel, address in person.channels]
    times = {name: f"{shown[name] // 60:02}:{shown[name] % 60:02}" for name in ("quiet_from", "quiet_until")}
    return shown | times | {"channels": channels}


@api.get("/notifications")
@api.answer(200, MessageAnswer(many=True))
def read_notifications() -> list[notices.Message]:
    """What was sent, newest first, and what became of it."""
    caller().require(OVERSIGHT)
    return read(notices.listed)


@api.post("/notifications/<message_id>/bounced")
@api.answer(200, MessageAnswer)
def note_bounce(message_id: str) -> notices.Message:
    """Say that a notification came back."""
    return read(lambda tx: notifications.note_bounce(tx, clinic(), caller(), message_id))
