"""Partners: agreeing with them, on keys and on terms."""

from typing import Any

from marshmallow import fields, validate

from tandem_care.terms import LONGEST
from tandem_clinic.domain.staff import COORDINATION, OVERSIGHT
from tandem_clinic.http import schemas
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import Loose, Strict, Text, an_id
from tandem_clinic.store import partners
from tandem_clinic.store.partners import Partnership
from tandem_clinic.usecases import agreements, directory, partner
from tandem_clinic.usecases.permissions import Asked

api = Resources("partners", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


class ProposePartnership(Strict):
    practice_id = an_id(required=True)
    terms = Text(LONGEST, load_default=None, allow_none=True)


class TermsText(Strict):
    text = Text(LONGEST, required=True)


class AcceptTerms(Strict):
    number = fields.Integer(required=True, strict=True, validate=validate.Range(1, 2**31 - 1))


class TermsAnswer(Loose):
    number = fields.Integer(required=True)
    state = fields.String(metadata={"description": "in-force, waiting or past"})
    text = fields.String(allow_none=True, metadata={"description": "null where only the partner has it"})
    text_hash = fields.String(metadata={"description": "SHA-256 of the text, in hexadecimal digits"})
    proposed_by_us = fields.Boolean()
    proposed_at = fields.AwareDateTime(format="iso")
    accepted_at = fields.AwareDateTime(format="iso", allow_none=True)


@api.get("/partners")
@api.answer(200, schemas.PartnershipAnswer(many=True))
def list_partners() -> list[Partnership]:
    """Partnerships in every state."""
    caller().require(COORDINATION | OVERSIGHT)
    return read(partners.listed)


def _asked(asked: Asked) -> Done:
    return Done({"partnership_id": asked.subject_id}, asked.request_id)


@api.post("/partners")
@api.body(ProposePartnership)
@api.answer(201, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def propose_partnership(body: dict[str, Any]) -> Answer:
    """Offer a partnership to a practice of the directory."""
    practice = directory.get_practice(clinic(), caller(), body["practice_id"])
    return perform(
        lambda tx: _asked(partner.propose_partnership(tx, clinic(), caller(), practice, body["terms"])), 201
    )


@api.get("/partners/<partnership_id>/fingerprints")
@api.answer(200, schemas.FingerprintsAnswer)
def get_fingerprints(partnership_id: str) -> partner.Fingerprints:
    """The digits of our keys and of the partner's, for two people to compare on the phone."""
    return partner.fingerprints(clinic(), caller(), partnership_id)


@api.post("/partners/<partnership_id>/fingerprint")
@api.body(schemas.ConfirmFingerprint)
@api.answer(200, schemas.PartnershipAnswer)
def confirm_fingerprint(body: dict[str, Any], partnership_id: str) -> Partnership:
    """Pin the partner's keys by the digits that it read out."""
    return partner.confirm_fingerprint(clinic(), caller(), partnership_id, body["digits"])


@api.post("/partners/<partnership_id>/confirm")
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def confirm_partnership(partnership_id: str) -> Answer:
    """Agree to a proposed partnership and its terms; its fingerprint has been confirmed."""
    return perform(lambda tx: _asked(partner.confirm_partnership(tx, clinic(), caller(), partnership_id)))


@api.get("/partners/<partnership_id>/terms")
@api.answer(200, TermsAnswer(many=True))
def read_terms(partnership_id: str) -> list[dict[str, Any]]:
    """All terms that were proposed, the latest first; one is in force, one may wait."""
    return read(lambda tx: _shown(agreements.read_terms(tx, caller(), partnership_id)))


@api.post("/partners/<partnership_id>/terms")
@api.body(TermsText)
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def propose_terms(body: dict[str, Any], partnership_id: str) -> Answer:
    """Propose other terms; those in force stay so until the partner accepts."""
    return perform(
        lambda tx: _asked(agreements.propose_terms(tx, clinic(), caller(), partnership_id, body["text"]))
    )


@api.post("/partners/<partnership_id>/terms/text")
@api.body(TermsText)
@api.answer(200, TermsAnswer(many=True))
def hand_in_text(body: dict[str, Any], partnership_id: str) -> list[dict[str, Any]]:
    """Hand in the text of the partner's terms, which came another way than by this network."""
    return read(
        lambda tx: _shown(agreements.hand_in_text(tx, clinic(), caller(), partnership_id, body["text"]))
    )


@api.post("/partners/<partnership_id>/terms/accept")
@api.body(AcceptTerms)
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def accept_terms(body: dict[str, Any], partnership_id: str) -> Answer:
    """Accept the terms that the partner has proposed and that were read here."""
    return perform(
        lambda tx: _asked(agreements.accept_terms(tx, clinic(), caller(), partnership_id, body["number"]))
    )


def _shown(terms: list[agreements.Shown]) -> list[dict[str, Any]]:
    return [
        {
            **{
                name: getattr(each, name)
                for name in ("number", "state", "text", "text_hash", "proposed_by_us")
            },
            "proposed_at": each.agreement.proposed_at,
            "accepted_at": each.agreement.accepted_at,
        }
        for each in terms
    ]


@api.post("/partners/<partnership_id>/suspend")
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def suspend_partnership(partnership_id: str) -> Answer:
    """Stop everything towards the partner for now."""
    return perform(lambda tx: _asked(partner.suspend_partnership(tx, clinic(), caller(), partnership_id)))


@api.post("/partners/<partnership_id>/resume")
@api.answer(200, schemas.CommandAnswer)
@api.or_queued(schemas.CommandAnswer)
def resume_partnership(partnership_id: str) -> Answer:
    """Take a suspended partnership up again."""
    return perform(lambda tx: _asked(partner.resume_partnership(tx, clinic(), caller(), partnership_id)))
