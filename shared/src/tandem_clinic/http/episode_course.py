"""How a shared episode goes."""

from marshmallow import fields

from tandem_clinic.http.entrance import caller, clinic, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import Loose, PlanItemAnswer
from tandem_clinic.usecases.episode_course import EpisodeCourse, read_episode_course

api = Resources("episode-course", __name__, __doc__)


class BookedAnswer(Loose):
    appointment_id = fields.String(required=True)
    origin = fields.String()
    session = fields.String()
    status = fields.String()
    cancelled_by = fields.String()
    starts_at = fields.String()
    ends_at = fields.String()
    time_zone = fields.String()
    by_video = fields.Boolean()
    changes = fields.Integer(metadata={"description": "How often it was told anew"})
    told_at = fields.AwareDateTime(format="iso")


class ProgressAnswer(Loose):
    session = fields.String(required=True)
    held = fields.Integer()
    planned = fields.Integer(allow_none=True)
    missed = fields.Integer()


class EpisodeCourseAnswer(Loose):
    appointments = fields.List(fields.Nested(BookedAnswer))
    progress = fields.List(fields.Nested(ProgressAnswer))
    reports = fields.List(fields.Nested(PlanItemAnswer))
    thread = fields.List(fields.Nested(PlanItemAnswer))


@api.get("/patients/<patient_id>/episodes/<episode_id>/course")
@api.answer(200, EpisodeCourseAnswer)
def read_course(patient_id: str, episode_id: str) -> EpisodeCourse:
    """Appointments as they stand, sessions held of those planned, reports, and the thread of messages. Reading is noted."""
    return read(lambda tx: read_episode_course(tx, clinic(), caller(), patient_id, episode_id))
