"""What the therapist said of a dose, and whether the prescriber has answered it."""

from collections.abc import Iterable
from datetime import datetime

from tandem_care.entry_kinds import DoseDecision, DoseFeedback, DoseWish


def awaiting_decision(
    feedback: Iterable[DoseFeedback], decisions: Iterable[DoseDecision], now: datetime
) -> tuple[DoseFeedback, ...]:
    """Wishes for another dose that no decision about that session has followed, the oldest first.

    The therapist feeds back, the prescriber decides: a wish changes nothing by itself.
    """
    decided: dict[datetime, datetime] = {}
    for decision in decisions:
        if decision.decided_at <= now:
            session = decision.dosing_session_at
            decided[session] = max(decision.decided_at, decided.get(session, decision.decided_at))
    waiting = [
        each
        for each in feedback
        if each.wish is not DoseWish.KEEP
        and each.given_at <= now
        and (each.dosing_session_at not in decided or decided[each.dosing_session_at] < each.given_at)
    ]
    return tuple(sorted(waiting, key=lambda each: each.given_at))
