"""An episode of shared care, and the referral that opened it, as this clinic knows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

OVER: Final = frozenset({"declined", "expired", "failed", "cancelled", "completed", "closed", "refused"})
"""States in which a referral is over; "closed" is all that a party sees from whom the base permission was withdrawn."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Belongs to one partnership. ``patient_id`` is unset while nobody has said whose it is here."""

    episode_id: str
    partnership_id: str
    partner_practice_id: str
    patient_id: str | None
    state: str
    opened_at: datetime

    @property
    def is_open(self) -> bool:
        return self.state == "open"


@dataclass(frozen=True, slots=True)
class ReferralView:
    """A referral as the hub last told, or as it was asked for. ``version`` 0: queued, not confirmed."""

    referral_id: str
    episode_id: str
    partnership_id: str
    referrer_practice_id: str
    recipient_practice_id: str
    kind: str
    urgency: str
    state: str
    reason: str
    outcome: str
    version: int
    intake: str
    replaces_referral_id: str
    requested_by: str
    requested_at: datetime
    changed_at: datetime
    first_opened_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def is_confirmed(self) -> bool:
        return self.version > 0
