"""What the hub's answers to commands change here: one table for the journal."""

from collections.abc import Mapping
from typing import Final

from tandem_clinic.hub.journal import Answered, Refused
from tandem_clinic.usecases.partner import partnership_answered, partnership_refused
from tandem_clinic.usecases.permissions import consent_granted, consent_refused
from tandem_clinic.usecases.referrals import REQUESTS, referral_answered, referral_refused

_OF_PARTNERSHIPS = (
    "ProposePartnership",
    "ConfirmPartnership",
    "ProposeTerms",
    "AcceptTerms",
    "SuspendPartnership",
    "ResumePartnership",
)

ANSWERED: Final[Mapping[str, Answered]] = {
    **dict.fromkeys(["RequestReferral", *(name for name, _ in REQUESTS.values())], referral_answered),
    **dict.fromkeys(["GrantConsent", "DenyConsent", "RevokeConsent", "HoldConsent"], consent_granted),
    **dict.fromkeys(_OF_PARTNERSHIPS, partnership_answered),
}

REFUSED: Final[Mapping[str, Refused]] = {
    **dict.fromkeys(["RequestReferral", "OpenReferral"], referral_refused),
    **dict.fromkeys(["GrantConsent", "DenyConsent", "RevokeConsent", "HoldConsent"], consent_refused),
    **dict.fromkeys(_OF_PARTNERSHIPS, partnership_refused),
}
