"""Referrals."""

from dataclasses import asdict
from typing import Any

from tandem_care.errors import Invalid
from tandem_care.lifecycle import Move
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION
from tandem_clinic.http import schemas
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.store import episodes
from tandem_clinic.store import referrals as store
from tandem_clinic.usecases import permissions, referrals
from tandem_platform.errors import Refusal
from tandem_platform.storage import Transaction

api = Resources("network", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


@api.post("/referrals")
@api.body(schemas.RequestReferral)
@api.answer(201, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def request_referral(body: dict[str, Any]) -> Answer:
    """Refer a patient to a partner; opens an episode with the base permissions both ways."""
    evidence = permissions.evidence_from(body["basis"], body["evidence"])

    def work(tx: Transaction) -> Done:
        made = referrals.request_referral(
            tx,
            clinic(),
            caller(),
            body["patient_id"],
            body["partnership_id"],
            body["kind"],
            evidence,
            urgency=body["urgency"],
            note=body["note"],
            replaces_referral_id=body["replaces_referral_id"],
            continues_referral_id=body["continues_referral_id"],
            reason_after_dosing=body["reason_after_dosing"],
        )
        return Done({"referral_id": made.referral_id, "episode_id": made.episode_id}, made.request_id)

    return perform(work, 201)


@api.get("/referrals")
@api.query(schemas.ReferralsQuery)
@api.answer(200, schemas.ReferralAnswer(many=True))
def list_referrals(query: dict[str, Any]) -> list[dict[str, Any]]:
    """Referrals in both directions, newest first."""
    caller().require(COORDINATION)
    return read(
        lambda tx: [
            _referral(tx, each)
            for each in store.listed(tx, state=query["state"], intake=query["intake"], limit=query["limit"])
        ]
    )


@api.get("/referrals/<referral_id>")
@api.answer(200, schemas.ReferralAnswer)
def get_referral(referral_id: str) -> dict[str, Any]:
    """One referral and what this side may do now; who the patient is, while an inbound one waits to be taken in."""
    caller().require(COORDINATION)

    def work(tx: Transaction) -> dict[str, Any]:
        found = store.get(tx, referral_id)
        shown = _referral(tx, found)
        if found.intake == "waiting":
            shown["identity"] = _identity(tx, found)
        return shown

    return read(work)


def _referral(tx: Transaction, found: ReferralView) -> dict[str, Any]:
    episode = episodes.find(tx, found.episode_id)
    return {
        **asdict(found),
        "confirmed": found.is_confirmed,
        "patient_id": None if episode is None else episode.patient_id,
        "moves": referrals.possible_moves(tx, clinic(), found),
    }


def _identity(tx: Transaction, found: ReferralView) -> dict[str, Any] | None:
    try:
        return referrals.received_identity(tx, clinic(), found.episode_id).to_fields()
    except Refusal:
        return None


@api.post("/referrals/<referral_id>/intake")
@api.body(schemas.TakeIn)
@api.answer(200, schemas.CommandAnswer)
def take_in_referral(body: dict[str, Any], referral_id: str) -> Answer:
    """Say whose inbound referral this is: link it to a patient, or register one from what the referrer sent."""
    return perform(
        lambda tx: Done(
            {
                "referral_id": referral_id,
                "patient_id": referrals.take_in_referral(
                    tx,
                    clinic(),
                    caller(),
                    referral_id,
                    patient_id=body["patient_id"],
                    acknowledge_duplicates=body["acknowledge_duplicates"],
                ),
            }
        )
    )


@api.post("/referrals/<referral_id>/not-ours")
@api.body(schemas.MoveReferral)
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def not_ours(body: dict[str, Any], referral_id: str) -> Answer:
    """Decline an inbound referral that is for nobody here."""

    def work(tx: Transaction) -> Done:
        moved = referrals.refuse_referral_as_not_ours(
            tx, clinic(), caller(), referral_id, body["reason"] or "", body["comment"]
        )
        return Done({"referral_id": referral_id}, moved.request_id)

    return perform(work)


@api.post("/referrals/<referral_id>/open")
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def open_referral(referral_id: str) -> Answer:
    """A person has it before them. The referrer learns of the first time."""

    def work(tx: Transaction) -> Done:
        moved = referrals.open_referral(tx, clinic(), caller(), referral_id)
        return Done({"referral_id": referral_id}, None if moved is None else moved.request_id)

    return perform(work)


@api.post("/referrals/<referral_id>/<move>")
@api.body(schemas.MoveReferral)
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def move_referral(body: dict[str, Any], referral_id: str, move: str) -> Answer:
    """Carry a referral on: accept, decline, waitlist, ask, answer, start, hold, resume, complete, fail, cancel, …"""
    name = move.replace("-", "_")
    if name not in list(Move):
        raise ContentInvalid(Invalid("move", f"must be one of {', '.join(Move)}"))

    def work(tx: Transaction) -> Done:
        moved = referrals.move_referral(
            tx,
            clinic(),
            caller(),
            referral_id,
            Move(name),
            reason=body["reason"],
            outcome=body["outcome"],
            comment=body["comment"],
        )
        return Done({"referral_id": referral_id}, moved.request_id)

    return perform(work)
