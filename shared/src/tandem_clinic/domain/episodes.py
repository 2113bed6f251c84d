"""An episode of shared care, and the referral that opened it, as this clinic knows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tandem_care.lifecycle import OWNER, Party, State
from tandem_care.referral_place import Place

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
    continues_referral_id: str = ""
    moved_by_practice_id: str = ""
    cancel_from: str = ""
    closed_from: str = ""
    due_at: datetime | None = None

    def place(self) -> Place | None:
        """None where the state is none of the lifecycle: refused by the hub, or closed to us."""
        if self.state not in list(State):
            return None
        return Place(
            state=State(self.state),
            cancel_from=State(self.cancel_from) if self.cancel_from else None,
            closed_from=State(self.closed_from) if self.closed_from else None,
            moved_by=self.party(self.moved_by_practice_id),
            moved_at=self.changed_at,
        )

    def party(self, practice_id: str) -> Party:
        """Which side a practice is on; the clock has no practice."""
        sides = {self.referrer_practice_id: Party.REFERRER, self.recipient_practice_id: Party.RECIPIENT}
        return sides.get(practice_id, Party.CLOCK)

    def is_owned_by(self, practice_id: str) -> bool:
        """Whether it is this practice's turn."""
        return (
            not self.is_over and self.state in OWNER and OWNER[State(self.state)] is self.party(practice_id)
        )

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def is_confirmed(self) -> bool:
        return self.version > 0
