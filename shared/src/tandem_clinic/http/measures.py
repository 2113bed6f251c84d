"""How well the loop between practices closes."""

from datetime import timedelta
from typing import Any

from marshmallow import fields, validate

from tandem_clinic.http.entrance import caller, clinic, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import Loose, Strict
from tandem_clinic.usecases import loop_measures

api = Resources("measures", __name__, __doc__)


class MeasuresQuery(Strict):
    days = fields.Integer(load_default=90, validate=validate.Range(1, 3650))


class WaitingAnswer(Loose):
    kind = fields.String(required=True)
    items = fields.Integer()
    oldest_hours = fields.Float()


class MeasuresAnswer(Loose):
    since = fields.AwareDateTime(format="iso", required=True)
    inbound = fields.Integer()
    outbound = fields.Integer()
    accepted = fields.Integer()
    to_accept_hours = fields.Float(allow_none=True)
    ended = fields.Integer()
    completed = fields.Integer()
    closure_rate = fields.Float(allow_none=True)
    waiting = fields.List(fields.Nested(WaitingAnswer))


@api.get("/measures")
@api.query(MeasuresQuery)
@api.answer(200, MeasuresAnswer)
def read_measures(query: dict[str, Any]) -> loop_measures.Measures:
    """Time to accept, closure and what waits, over referrals requested in the last *days*."""
    since = clinic().now() - timedelta(days=query["days"])
    return read(lambda tx: loop_measures.measure_loop(tx, clinic(), caller(), since))
