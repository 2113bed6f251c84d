"""Permissions: what the patient allows, forbids, or takes back."""

from typing import Any

from tandem_care.categories import category_of
from tandem_care.codec import read_document
from tandem_care.errors import Invalid
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION, OVERSIGHT
from tandem_clinic.http import schemas
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.store import permissions as store
from tandem_clinic.store.permissions import PermissionRecord
from tandem_clinic.usecases import permissions
from tandem_clinic.usecases.permissions import Asked
from tandem_platform.storage import Transaction

api = Resources("consent", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


def _asked(asked: Asked) -> Done:
    return Done({"permission_id": asked.subject_id}, asked.request_id)


@api.post("/permissions")
@api.body(schemas.AskPermission)
@api.answer(201, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def ask_permission(body: dict[str, Any]) -> Answer:
    """Record that the patient permits, or forbids, sharing with the episode's partner."""
    terms = permissions.terms_from(
        body["categories"],
        body["purpose"],
        starts_at=body["starts_at"],
        ends_at=body["ends_at"],
        history_from=body["history_from"],
        record_ids=body["record_ids"],
    )
    evidence = permissions.evidence_from(body["basis"], body["evidence"])

    def work(tx: Transaction) -> Done:
        if body["effect"] == "deny":
            return _asked(
                permissions.deny_permission(tx, clinic(), caller(), body["episode_id"], terms, evidence)
            )
        return _asked(
            permissions.grant_permission(
                tx,
                clinic(),
                caller(),
                body["episode_id"],
                terms,
                evidence,
                reason_after_dosing=body["reason_after_dosing"],
            )
        )

    return perform(work, 201)


@api.get("/permissions")
@api.query(schemas.EpisodeQuery)
@api.answer(200, schemas.PermissionAnswer(many=True))
def list_permissions(query: dict[str, Any]) -> list[PermissionRecord]:
    """All permissions of an episode, in both directions."""
    caller().require(COORDINATION | OVERSIGHT)
    return read(lambda tx: store.of_episode(tx, query["episode_id"]))


@api.get("/permissions/<permission_id>")
@api.answer(200, schemas.PermissionAnswer)
def get_permission(permission_id: str) -> PermissionRecord:
    """One permission."""
    caller().require(COORDINATION | OVERSIGHT)
    return read(lambda tx: store.get(tx, permission_id))


@api.get("/permissions/<permission_id>/evidence")
@api.answer(200)
def get_evidence(permission_id: str) -> dict[str, Any]:
    """The form or attestation behind a permission recorded here."""
    kept = read_document(read(lambda tx: permissions.read_evidence(tx, clinic(), caller(), permission_id)))
    return {"basis": kept["basis"], "evidence": kept["evidence"]}


@api.post("/permissions/<permission_id>/revoke")
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def revoke_permission(permission_id: str) -> Answer:
    """Withdraw a permission. Always possible."""
    return perform(lambda tx: _asked(permissions.revoke_permission(tx, clinic(), caller(), permission_id)))


@api.post("/permissions/<permission_id>/hold")
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def hold_permission(permission_id: str) -> Answer:
    """Stop a permission at once on the patient's word; the signature follows. Any member of staff."""
    return perform(lambda tx: _asked(permissions.hold_permission(tx, clinic(), caller(), permission_id)))


@api.post("/episodes/<episode_id>/declined")
@api.body(schemas.DeclinedToSign)
@api.answer(201, schemas.CommandAnswer)
def record_declined(body: dict[str, Any], episode_id: str) -> Answer:
    """The patient was asked and did not sign. Care goes on."""
    try:
        categories = frozenset(category_of(code, "categories") for code in body["categories"])
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    return perform(
        lambda tx: Done(
            {"answer_id": permissions.record_declined(tx, clinic(), caller(), episode_id, categories)}
        ),
        201,
    )
