"""Doses and measures: guards, clearance, start, answers to scales, and the word on a dose."""

from typing import Any

from tandem_care.entry_kinds import Dose
from tandem_care.pathways import NOTICE
from tandem_clinic.http import course_schemas as schemas
from tandem_clinic.http.courses import recorded
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import RecordedAnswer
from tandem_clinic.usecases import dose_feedback, dosing, measures
from tandem_clinic.usecases.course_reading import checked
from tandem_clinic.usecases.dosing import Spoken, Words
from tandem_platform.storage import Transaction

api = Resources("dosing", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


def _dose(fields: dict[str, Any], name: str = "dose") -> Dose:
    return checked(lambda: Dose.from_fields(fields), name)


def _words(body: dict[str, Any]) -> Words:
    return Words(
        attested=[Spoken(**each) for each in body["attested"]],
        overridden=[Spoken(**each) for each in body["overridden"]],
    )


@api.post("/episodes/<episode_id>/course/<item>/guards")
@api.body(schemas.AskGuards)
@api.answer(200, schemas.GuardsAnswer)
def ask_guards(body: dict[str, Any], episode_id: str, item: str) -> dict[str, Any]:
    """What stands for and against starting this session now. Changes nothing; asking is noted."""
    dose = _dose(body["dose"])
    found = read(lambda tx: dosing.ask_guards(tx, clinic(), caller(), episode_id, item, dose))
    return {"findings": list(found), "notice": NOTICE}


@api.post("/episodes/<episode_id>/course/<item>/clearance")
@api.body(schemas.SignClearance)
@api.answer(201, schemas.GuardedAnswer)
def sign_clearance(body: dict[str, Any], episode_id: str, item: str) -> Answer:
    """Sign the clearance of one session. 409 names each guard that stands against it. Clinicians who prescribe."""
    dose, words = _dose(body["dose"]), _words(body)
    highest = None if body["highest_dose"] is None else _dose(body["highest_dose"], "highest_dose")

    def work(tx: Transaction) -> Done:
        made = dosing.sign_clearance(tx, clinic(), caller(), episode_id, item, dose, highest, words)
        return Done({**recorded(made.recorded), "content": made.clearance.to_fields()})

    return perform(work, 201)


@api.post("/episodes/<episode_id>/course/<item>/start")
@api.body(schemas.StartSession)
@api.answer(201, schemas.GuardedAnswer)
def start_session(body: dict[str, Any], episode_id: str, item: str) -> Answer:
    """Begin a dosing session now. 409 names each guard that stands against it, and the way out."""
    dose, words = _dose(body["dose"]), _words(body)

    def work(tx: Transaction) -> Done:
        made = dosing.start_session(tx, clinic(), caller(), episode_id, item, dose, words)
        return Done({**recorded(made.recorded), "content": made.start.to_fields()})

    return perform(work, 201)


@api.post("/patients/<patient_id>/measures")
@api.body(schemas.RecordMeasure)
@api.answer(201, schemas.MeasureAnswer)
def record_measure(body: dict[str, Any], patient_id: str) -> Answer:
    """Record answers to a scale; they are scored, held against the first, and looked through for risk."""

    def work(tx: Transaction) -> Done:
        made = measures.record_measure(
            tx,
            clinic(),
            caller(),
            patient_id,
            body["scale"],
            body["answers"],
            body["taken_at"],
            respondent=body["respondent"],
            thresholds=body["thresholds"],
        )
        return Done(
            {
                **recorded(made.recorded),
                "total": made.score.total,
                "band": made.score.band,
                "missing": list(made.score.missing),
                "risk_assessment_needed": made.score.risk_assessment_needed,
                "attention": made.attention.value,
                "change": None if made.change is None else schemas.ChangeAnswer().dump(made.change),
                "notice": NOTICE,
            }
        )

    return perform(work, 201)


@api.post("/episodes/<episode_id>/dose-feedback")
@api.body(schemas.GiveDoseFeedback)
@api.answer(201, RecordedAnswer)
def give_dose_feedback(body: dict[str, Any], episode_id: str) -> Answer:
    """Say of a dose whether it left room for dialogue, and what is wished; the prescriber decides."""
    return perform(
        lambda tx: Done(
            recorded(dose_feedback.give_dose_feedback(tx, clinic(), caller(), episode_id, **body))
        ),
        201,
    )


@api.post("/episodes/<episode_id>/dose-decisions")
@api.body(schemas.DecideDose)
@api.answer(201, RecordedAnswer)
def decide_dose(body: dict[str, Any], episode_id: str) -> Answer:
    """Decide on the next dose after feedback. Clinicians who prescribe."""
    wanted = {**body, "next_dose": _dose(body["next_dose"], "next_dose")}
    return perform(
        lambda tx: Done(recorded(dose_feedback.decide_dose(tx, clinic(), caller(), episode_id, **wanted))),
        201,
    )
