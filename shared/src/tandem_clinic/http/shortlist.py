"""A patient's shortlist of practices, which stays in the clinic."""

from typing import Any

from marshmallow import fields, validate

from tandem_clinic.domain.shortlist import Shortlisted, Standing
from tandem_clinic.http.entrance import caller, clinic, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import Loose, Strict, Text, an_id
from tandem_clinic.usecases import shortlist
from tandem_platform.storage import Transaction

api = Resources("shortlist", __name__, __doc__)


class ShortlistPractice(Strict):
    practice_id = an_id(required=True)
    display_name = Text(200, required=True)
    contact_phone = Text(40, load_default="")
    place = fields.Integer(load_default=0, strict=True, validate=validate.Range(0, 1000))
    standing = fields.String(
        load_default=Standing.TO_ASK.value, validate=validate.OneOf([each.value for each in Standing])
    )
    reasons = fields.List(Text(200), load_default=list, validate=validate.Length(max=30))
    note = Text(2000, load_default="")


class TakeOff(Strict):
    practice_id = an_id(required=True)


class ShortlistedAnswer(Loose):
    practice_id = fields.String(required=True)
    display_name = fields.String()
    contact_phone = fields.String()
    place = fields.Integer(metadata={"description": "The patient's own order, from 1; 0 where not asked"})
    standing = fields.String()
    reasons = fields.List(fields.String())
    note = fields.String()
    added_by = fields.String()
    added_at = fields.AwareDateTime(format="iso")


# Practices are named in bodies, not in paths: paths are logged, and remembered beside patients' ids.


@api.get("/patients/<patient_id>/shortlist")
@api.answer(200, ShortlistedAnswer(many=True))
def read_shortlist(patient_id: str) -> list[Shortlisted]:
    """Whom the patient considers, in the patient's own order."""
    return read(lambda tx: shortlist.read_shortlist(tx, clinic(), caller(), patient_id))


@api.put("/patients/<patient_id>/shortlist")
@api.body(ShortlistPractice)
@api.answer(200, ShortlistedAnswer)
def shortlist_practice(body: dict[str, Any], patient_id: str) -> Shortlisted:
    """Put a practice on the shortlist, or replace what is said of one that is there."""

    def work(tx: Transaction) -> Shortlisted:
        item = Shortlisted(
            **body | {"standing": Standing(body["standing"]), "reasons": tuple(body["reasons"])},
            added_by=caller().staff_id,
            added_at=clinic().now(),
        )
        return shortlist.shortlist_practice(tx, clinic(), caller(), patient_id, item)

    return read(work)


@api.post("/patients/<patient_id>/shortlist/remove")
@api.body(TakeOff)
@api.answer(200, ShortlistedAnswer(many=True))
def take_off_shortlist(body: dict[str, Any], patient_id: str) -> list[Shortlisted]:
    """Take a practice off the shortlist. What is left."""
    return read(
        lambda tx: shortlist.take_off_shortlist(tx, clinic(), caller(), patient_id, body["practice_id"])
    )
