"""The paper behind a permission: the signed form, or the word of a patient that somebody attests."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from tandem_care.categories import Basis, Purpose
from tandem_care.codec import Part, Text, write_document
from tandem_care.errors import Invalid
from tandem_care.law.elements import NO_EXPIRY_ALLOWED, is_none


class Signer(StrEnum):
    PATIENT = "patient"
    REPRESENTATIVE = "representative"


@dataclass(frozen=True, slots=True)
class ConsentForm(Part):
    """A written consent with every element of 42 CFR 2.31(a)."""

    patient: Annotated[str, Text(200)]
    discloser: Annotated[str, Text(200)]
    information: Annotated[str, Text(2000)]
    """How much and what kind, described meaningfully to the patient."""
    recipient: Annotated[str, Text(200)]
    purpose: Annotated[str, Text(400)]
    right_to_revoke: Annotated[str, Text(1000)]
    """That it can be revoked, and how."""
    expiry: Annotated[str, Text(400)]
    """A date, an event, or "none" where the purpose allows that."""
    signed_by: Annotated[str, Text(200)]
    signature_ref: Annotated[str, Text(200)]
    """Where the signature is kept: a scan, an electronic signature."""
    signed_on: date
    signer: Signer = Signer.PATIENT
    authority: Annotated[str, Text(200)] | None = None
    redisclosure_statement: bool = True
    """42 CFR 2.31(a)(4): the form says that what is disclosed may be disclosed again."""

    def agree(self) -> None:
        if self.signer is Signer.REPRESENTATIVE and self.authority is None:
            raise Invalid("authority", "is required where a representative signs (42 CFR 2.14, 2.15)")
        if not self.redisclosure_statement:
            raise Invalid("redisclosure_statement", "must stand on the form (42 CFR 2.31(a)(4))")

    def fits(self, purpose: Purpose, ends_at: datetime | None, today: date) -> None:
        """Raises Invalid where form and permission do not say the same."""
        if is_none(self.expiry) and purpose not in NO_EXPIRY_ALLOWED:
            raise Invalid(
                "expiry", "may be none only for treatment, payment or operations (42 CFR 2.31(a)(7))"
            )
        if ends_at is not None and is_none(self.expiry):
            raise Invalid("expiry", "must name the end that the permission has")
        if self.signed_on > today:
            raise Invalid("signed_on", "must not lie in the future")


@dataclass(frozen=True, slots=True)
class VerbalAttestation(Part):
    """The patient said so to a named person; the signature follows."""

    attested_by: Annotated[str, Text(200)]
    said_at: datetime
    words: Annotated[str, Text(1000)]


@dataclass(frozen=True, slots=True)
class TreatmentRelationship(Part):
    """45 CFR 164.506: both practices treat the patient, who has been told and has not objected."""

    stated_by: Annotated[str, Text(200)]


Evidence = ConsentForm | VerbalAttestation | TreatmentRelationship


def basis_of(evidence: Evidence) -> Basis:
    match evidence:
        case ConsentForm():
            return Basis.WRITTEN
        case VerbalAttestation():
            return Basis.VERBAL
        case TreatmentRelationship():
            return Basis.TREATMENT_RELATIONSHIP


def document(evidence: Evidence) -> bytes:
    """What is kept, with a salt: its hash goes to the hub, where names and dates could otherwise be guessed."""
    return write_document(
        {"basis": basis_of(evidence).value, "evidence": evidence.to_fields(), "salt": secrets.token_hex(16)}
    ).encode()


def hash_of(kept: bytes) -> bytes:
    return hashlib.sha256(b"tandem-consent-evidence-1" + kept).digest()
