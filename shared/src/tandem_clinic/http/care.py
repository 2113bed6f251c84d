"""Patients, their entries and their care plan."""

from typing import Any

from tandem_clinic.domain.staff import COORDINATION
from tandem_clinic.http import schemas
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.store import episodes
from tandem_clinic.store.patients import Patient
from tandem_clinic.usecases import entries, patients, permissions, plan
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.entries import ExternalIdentifier, Recorded
from tandem_platform.storage import Transaction

api = Resources("care", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


def _patient(found: Patient) -> dict[str, Any]:
    return {
        "patient_id": found.patient_id,
        "identity": found.identity.to_fields(),
        "version": found.version,
        "registered_at": found.registered_at,
    }


def _kept(found: Patient) -> Done:
    """As it may be remembered: times as text."""
    return Done({**_patient(found), "registered_at": found.registered_at.isoformat()})


def _recorded(made: Recorded) -> Done:
    return Done({"record_id": made.record_id, "entry_ids": list(made.entry_ids), "is_new": made.is_new})


@api.post("/patients")
@api.body(schemas.RegisterPatient)
@api.answer(201)
def register_patient(body: dict[str, Any]) -> Answer:
    """Register a patient. 409 with candidates if somebody like them is known."""
    identity = patients.identity_from(body["identity"])
    return perform(
        lambda tx: _kept(
            patients.register_patient(
                tx, clinic(), caller(), identity, acknowledge_duplicates=body["acknowledge_duplicates"]
            )
        ),
        201,
    )


@api.get("/patients")
@api.query(schemas.PageQuery)
@api.answer(200, schemas.PatientsAnswer)
def list_patients(query: dict[str, Any]) -> dict[str, Any]:
    """A page of patients."""
    found = read(lambda tx: patients.list_patients(tx, clinic(), caller(), query["after"], query["limit"]))
    following = found[-1].patient_id if len(found) == query["limit"] else ""
    return {"items": [_patient(each) for each in found], "next_after": following}


@api.get("/patients/<patient_id>")
@api.answer(200, schemas.PatientAnswer)
def get_patient(patient_id: str) -> dict[str, Any]:
    """One patient."""
    return _patient(read(lambda tx: patients.read_patient(tx, clinic(), caller(), patient_id)))


@api.put("/patients/<patient_id>")
@api.body(schemas.UpdatePatient)
@api.answer(200)
def update_patient(body: dict[str, Any], patient_id: str) -> Answer:
    """Replace what is known of a patient. 409 if it changed since the version given."""
    identity = patients.identity_from(body["identity"])
    return perform(
        lambda tx: _kept(
            patients.update_patient(tx, clinic(), caller(), patient_id, identity, body["version"])
        )
    )


@api.post("/patients/<patient_id>/shred")
@api.answer(200)
def shred_patient(patient_id: str) -> Answer:
    """Make everything here about a patient unreadable for good. Administrators; not while an episode is open."""

    def work(tx: Transaction) -> Done:
        return Done({"shredded_entries": patients.shred_patient(tx, clinic(), caller(), patient_id)})

    return perform(work)


@api.get("/patients/<patient_id>/episodes")
@api.answer(200, schemas.EpisodeAnswer(many=True))
def list_episodes(patient_id: str) -> list[Any]:
    """The patient's episodes of shared care, oldest first."""
    caller().require(COORDINATION)

    def work(tx: Transaction) -> list[Any]:
        patients.read_patient(tx, clinic(), caller(), patient_id)
        return list(episodes.of_patient(tx, patient_id))

    return read(work)


@api.post("/patients/<patient_id>/entries")
@api.body(schemas.RecordEntry)
@api.answer(201, schemas.RecordedAnswer)
def record_entry(body: dict[str, Any], patient_id: str) -> Answer:
    """Record an entry of any kind. It is sealed for every open episode, and released where the patient permits."""
    content = entries.content_from(body["kind"], body["content"])
    given = body["identifier"]
    identifier = None if given is None else ExternalIdentifier(given["system"], given["value"])
    return perform(
        lambda tx: _recorded(
            record_followed(
                tx,
                clinic(),
                caller(),
                patient_id,
                content,
                episode_id=body["episode_id"],
                authored_at=body["authored_at"],
                derived_from=body["derived_from"],
                identifier=identifier,
            )
        ),
        201,
    )


@api.post("/entries/<record_id>/amend")
@api.body(schemas.AmendEntry)
@api.answer(201, schemas.RecordedAnswer)
def amend_entry(body: dict[str, Any], record_id: str) -> Answer:
    """Put new content of the same kind in the entry's place."""

    def work(tx: Transaction) -> Done:
        kind = entries.kind_of_record(tx, clinic(), caller(), record_id)
        content = entries.content_from(kind, body["content"])
        return _recorded(
            entries.amend_entry(tx, clinic(), caller(), record_id, content, derived_from=body["derived_from"])
        )

    return perform(work, 201)


@api.post("/entries/<record_id>/entered-in-error")
@api.answer(200, schemas.RecordedAnswer)
def take_back_entry(record_id: str) -> Answer:
    """Take an entry back; partners who have it are told to hide it."""
    return perform(lambda tx: _recorded(entries.take_back_entry(tx, clinic(), caller(), record_id)))


@api.get("/entries/<entry_id>/explain")
@api.answer(200, schemas.ExplanationAnswer)
def explain_entry(entry_id: str) -> permissions.Explanation:
    """Why a sealed entry was or was not disclosed: permission, version and rule."""
    return permissions.explain_entry(clinic(), caller(), entry_id)


@api.get("/patients/<patient_id>/plan")
@api.query(schemas.PlanQuery)
@api.answer(200, schemas.PlanAnswer)
def read_plan(query: dict[str, Any], patient_id: str) -> dict[str, Any]:
    """Own and received entries, in the order of their making. Reading is noted."""
    episode_id = query["episode_id"]
    items = read(lambda tx: plan.read_care_plan(tx, clinic(), caller(), patient_id, episode_id=episode_id))
    return {"items": items}
