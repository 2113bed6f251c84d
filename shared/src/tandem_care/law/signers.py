"""Whose signature makes a consent valid: the patient's, a representative's within authority and dates, a minor's own."""

from datetime import date, timedelta
from enum import StrEnum

from tandem_care.entry_kinds import Representative


class Capacity(StrEnum):
    """What the patient can do on the day of signing."""

    ADULT = "adult"
    MINOR_ACTING_ALONE = "minor-acting-alone"
    """State law lets this minor obtain the care in question without a parent."""
    MINOR = "minor"
    ADJUDICATED_INCAPABLE = "adjudicated-incapable"
    INCAPABLE = "incapable"
    """For now, by a medical condition; no court has spoken."""
    DECEASED = "deceased"


class SignedBy(StrEnum):
    NOBODY = "nobody"
    PATIENT = "patient"
    REPRESENTATIVE = "representative"
    BOTH = "both"


class SignatureFault(StrEnum):
    SIGNATURE_MISSING = "signature-missing"
    PATIENT_MUST_SIGN = "patient-must-sign"
    REPRESENTATIVE_MUST_SIGN = "representative-must-sign"
    BOTH_MUST_SIGN = "both-must-sign"
    AUTHORITY_NOT_STATED = "authority-not-stated"
    AUTHORITY_NOT_IN_FORCE = "authority-not-in-force"
    NOBODY_MAY_SIGN_NOW = "nobody-may-sign-now"
    """42 CFR 2.15(a)(2) lets the program's director consent to payment only. A medical emergency stays open."""


def acts_for(representative: Representative, day: date) -> bool:
    """A representative's access ends with their authority, at majority for instance. The last day is included."""
    return representative.valid_from <= day and (
        representative.valid_until is None or day <= representative.valid_until
    )


def signature_fault(
    capacity: Capacity,
    signed_by: SignedBy,
    representative: Representative | None,
    signed_on: date,
    *,
    part2: bool,
) -> SignatureFault | None:
    """What is wrong with a signature given on *signed_on*; None where it is valid.

    ``representative``: whom the patient's record names, with authority and dates.
    42 CFR 2.14 and 2.15 for records of a Part 2 program, 45 CFR 164.502(g) for all others.
    """
    if signed_by is SignedBy.NOBODY:
        return SignatureFault.SIGNATURE_MISSING
    if part2 and capacity is Capacity.INCAPABLE:
        return SignatureFault.NOBODY_MAY_SIGN_NOW
    if part2 and capacity is Capacity.MINOR and signed_by is not SignedBy.BOTH:
        return SignatureFault.BOTH_MUST_SIGN
    if signed_by is not SignedBy.REPRESENTATIVE and capacity in _SIGN_FOR_THEMSELVES:
        return None
    if signed_by is SignedBy.PATIENT:
        return SignatureFault.REPRESENTATIVE_MUST_SIGN
    if capacity is Capacity.MINOR_ACTING_ALONE or (part2 and capacity is Capacity.ADULT):
        return SignatureFault.PATIENT_MUST_SIGN
    if representative is None:
        return SignatureFault.AUTHORITY_NOT_STATED
    return None if acts_for(representative, signed_on) else SignatureFault.AUTHORITY_NOT_IN_FORCE


def authority_ends_on(
    capacity: Capacity, signed_by: SignedBy, representative: Representative | None, comes_of_age: date
) -> date | None:
    """The first day on which what another signed for the patient carries no more; None where there is no such day.

    The representative's last day has passed, or the patient has come of age: the patient decides from then on.
    """
    if capacity in _SIGN_FOR_THEMSELVES and signed_by is not SignedBy.REPRESENTATIVE:
        return None
    days = []
    if representative is not None and representative.valid_until is not None:
        days.append(representative.valid_until + timedelta(days=1))
    if capacity is Capacity.MINOR:
        days.append(comes_of_age)
    return min(days, default=None)


_SIGN_FOR_THEMSELVES = frozenset({Capacity.ADULT, Capacity.MINOR_ACTING_ALONE})
