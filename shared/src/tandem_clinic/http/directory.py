"""The network's directory, and what the clinic says there of itself."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from marshmallow import fields, validate

from tandem.directory.v1.directory_pb2 import Needs, Practice, SearchPracticesResponse
from tandem_care.profile import HIGHEST_PRICE
from tandem_clinic.domain.matches import said
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import CommandAnswer, Loose, Moment, Strict, Text
from tandem_clinic.usecases import capacity, directory
from tandem_clinic.usecases.capacity import Opening, Openings
from tandem_platform.storage import Transaction

api = Resources("directory", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


def codes() -> fields.List[str]:
    return fields.List(Text(40), load_default=list, validate=validate.Length(max=100))


def number(most: int) -> fields.Integer:
    return fields.Integer(load_default=0, strict=True, validate=validate.Range(0, most))


def flag() -> fields.Boolean:
    return fields.Boolean(load_default=False, truthy={True}, falsy={False})


class NeedsBody(Strict):
    """Codes of what is looked for. What is left out is not asked for."""

    role = Text(40, load_default="")
    licence_state = Text(40, load_default="")
    age_group = Text(40, load_default="")
    modalities = codes()
    languages = codes()
    routes = codes()
    access = codes()
    service = Text(40, load_default="")
    payments = codes()
    price_at_most = number(HIGHEST_PRICE)
    telehealth = flag()
    kap_trained = flag()
    openings = flag()


class SearchPractices(Strict):
    """``required``: who does not meet it is not listed. ``preferred``: who meets more stands higher."""

    required = fields.Nested(NeedsBody, load_default=dict)
    preferred = fields.Nested(NeedsBody, load_default=dict)
    page_size = fields.Integer(load_default=50, strict=True, validate=validate.Range(1, 200))
    page_token = Text(1000, load_default="")


class PracticeAnswer(Loose):
    practice_id = fields.String(required=True)
    version = fields.Integer()
    display_name = fields.String()
    npi = fields.String()
    roles = fields.List(fields.String())
    licence_states = fields.List(fields.String())
    modalities = fields.List(fields.String())
    routes = fields.List(fields.String())
    age_groups = fields.List(fields.String())
    languages = fields.List(fields.String())
    telehealth = fields.Boolean()
    contact_phone = fields.String()
    on_call_phone = fields.String()
    allows_treatment_basis = fields.Boolean()
    part2_program = fields.Boolean()
    kap_trainings = fields.List(fields.Dict())
    services = fields.List(fields.Dict())
    sites = fields.List(fields.Dict())
    capacity = fields.Dict(metadata={"description": "With its age; missing where none was ever stated"})


class ReasonAnswer(Loose):
    code = fields.String(required=True)
    values = fields.List(fields.String())
    met = fields.Boolean()
    points = fields.Integer()
    said = fields.String(metadata={"description": "The reason in words"})


class MatchAnswer(Loose):
    practice = fields.Nested(PracticeAnswer, required=True)
    score = fields.Integer()
    reasons = fields.List(fields.Nested(ReasonAnswer), required=True)


class MissedAnswer(Loose):
    code = fields.String(required=True)
    practices = fields.Integer(metadata={"description": "How many meet everything else that is required"})


class SearchAnswer(Loose):
    matches = fields.List(fields.Nested(MatchAnswer), required=True)
    next_page_token = fields.String()
    found = fields.Integer(metadata={"description": "On the first page only"})
    missed = fields.List(fields.Nested(MissedAnswer), metadata={"description": "On the first page only"})


class TrainingBody(Strict):
    program = Text(200, required=True)
    hours = number(10_000)
    completed_year = number(2200)


class ServiceBody(Strict):
    service = Text(40, required=True)
    payments = codes()
    lowest_price = number(HIGHEST_PRICE)
    highest_price = number(HIGHEST_PRICE)


class SiteBody(Strict):
    name = Text(200, required=True)
    address = Text(200, load_default="")
    state = Text(40, load_default="")
    contact_phone = Text(40, load_default="")
    on_call_phone = Text(40, load_default="")
    access = codes()


class ProfileBody(Strict):
    """All that the practice says of itself, in the place of what it said before."""

    version = fields.Integer(required=True, strict=True, validate=validate.Range(0, 2**53))
    display_name = Text(200, required=True)
    npi = Text(40, load_default="")
    licence_states = codes()
    modalities = codes()
    routes = codes()
    age_groups = codes()
    languages = codes()
    telehealth = flag()
    contact_phone = Text(40, load_default="")
    on_call_phone = Text(40, load_default="")
    allows_treatment_basis = flag()
    part2_program = flag()
    kap_trainings = fields.List(
        fields.Nested(TrainingBody), load_default=list, validate=validate.Length(max=100)
    )
    services = fields.List(fields.Nested(ServiceBody), load_default=list, validate=validate.Length(max=100))
    sites = fields.List(fields.Nested(SiteBody), load_default=list, validate=validate.Length(max=100))


class OpeningBody(Strict):
    at = Moment(required=True)
    service = Text(40, load_default="")
    telehealth = flag()


class StateCapacity(Strict):
    openings = fields.Integer(required=True, strict=True)
    next_openings = fields.List(
        fields.Nested(OpeningBody), load_default=list, validate=validate.Length(max=100)
    )


class OpeningAnswer(Loose):
    at = fields.AwareDateTime(format="iso", required=True)
    service = fields.String()
    telehealth = fields.Boolean()


class CapacityAnswer(Loose):
    openings = fields.Integer(required=True)
    next_openings = fields.List(fields.Nested(OpeningAnswer))
    stated_at = fields.AwareDateTime(format="iso")


@api.post("/directory/search")
@api.body(SearchPractices)
@api.answer(200, SearchAnswer)
def search_directory(body: dict[str, Any]) -> dict[str, Any]:
    """Find practices, the best fit first, with the reasons. Nothing about a patient goes to the hub."""
    return shown_matches(
        directory.search_practices(
            clinic(),
            caller(),
            Needs(**body["required"]),
            Needs(**body["preferred"]),
            body["page_size"],
            body["page_token"],
        )
    )


@api.get("/directory/<practice_id>")
@api.answer(200, PracticeAnswer)
def get_practice(practice_id: str) -> dict[str, Any]:
    """What a practice says of itself."""
    return shown_practice(directory.get_practice(clinic(), caller(), practice_id))


@api.get("/profile")
@api.answer(200, PracticeAnswer)
def get_profile() -> dict[str, Any]:
    """What this practice says of itself, as the directory has it."""
    return shown_practice(directory.get_practice(clinic(), caller(), clinic().practice_id))


@api.put("/profile")
@api.body(ProfileBody)
@api.answer(200, CommandAnswer)
@api.or_queued(CommandAnswer)
def replace_profile(body: dict[str, Any]) -> Answer:
    """Say of this practice what others shall find. Its roles are the network operator's to give."""
    profile = Practice(**body)
    return perform(lambda tx: Done({}, directory.replace_profile(tx, clinic(), caller(), profile)))


@api.put("/capacity")
@api.body(StateCapacity)
@api.answer(200, CommandAnswer)
@api.or_queued(CommandAnswer)
def state_capacity(body: dict[str, Any]) -> Answer:
    """State the openings now; the directory shows them until they go stale."""
    next_openings = [Opening(**each) for each in body["next_openings"]]

    def work(tx: Transaction) -> Done:
        return Done({}, capacity.state_capacity(tx, clinic(), caller(), body["openings"], next_openings))

    return perform(work)


@api.get("/capacity")
@api.answer(200, CapacityAnswer)
def get_capacity() -> Openings:
    """What was stated last."""
    return read(lambda tx: capacity.stated_capacity(tx, caller()))


def shown_matches(found: SearchPracticesResponse) -> dict[str, Any]:
    return {
        "matches": [
            {
                "practice": shown_practice(match.practice),
                "score": match.score,
                "reasons": [
                    {
                        "code": reason.code,
                        "values": list(reason.values),
                        "met": reason.met,
                        "points": reason.points,
                        "said": said(reason.code, reason.values, met=reason.met),
                    }
                    for reason in match.because
                ],
            }
            for match in found.matches
        ],
        "next_page_token": found.next_page_token,
        "found": found.found,
        "missed": [{"code": each.code, "practices": each.practices} for each in found.missed],
    }


def shown_practice(practice: Practice) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(
        practice, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # JSON of protobuf gives numbers of 64 bits as text.
    return shown | {"version": practice.version}
