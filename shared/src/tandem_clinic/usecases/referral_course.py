"""A referral seen whole: what may be done now and why one may not, how it came here, what came before it."""

from dataclasses import dataclass
from datetime import datetime

from tandem_care.lifecycle import OUTCOMES, REASON_REQUIRED, Kind, Move, Reason, reasons_for
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.staff import COORDINATION, Staff
from tandem_clinic.store import episodes, referral_lines, referrals, turns
from tandem_clinic.store.referral_lines import Line
from tandem_clinic.store.turns import Attempt
from tandem_clinic.usecases.referrals import possible_moves
from tandem_platform.storage import Transaction


@dataclass(frozen=True, slots=True)
class Choice:
    """A move that is open to this side now, with the words that it takes."""

    move: Move
    reason_required: bool
    reasons: tuple[Reason, ...]
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """``history``: as told by the hub, in order. ``earlier``, ``later``: what it replaces and what replaces it, oldest first.

    ``is_our_turn``: whether the clock of the present state, which runs out at ``due_at``, is this clinic's.
    """

    referral_id: str
    choices: tuple[Choice, ...]
    is_our_turn: bool
    due_at: datetime | None
    assigned_to: str
    covered_by: str
    follows_shortlist: bool
    first_opened_at: datetime | None
    history: tuple[Line, ...]
    earlier: tuple[ReferralView, ...]
    later: tuple[ReferralView, ...]
    attempts: tuple[Attempt, ...]


def read_course(tx: Transaction, clinic: Clinic, by: Staff, referral_id: str) -> Course:
    by.require(COORDINATION)
    referral = referrals.get(tx, referral_id)
    assigned_to = turns.assigned_to(tx, referral_id)
    return Course(
        referral_id=referral_id,
        choices=tuple(_choice(move, referral) for move in possible_moves(tx, clinic, referral)),
        is_our_turn=referral.is_owned_by(clinic.practice_id),
        due_at=None if referral.is_over else referral.due_at,
        assigned_to=assigned_to,
        covered_by=turns.cover_of(tx, assigned_to, clinic.now()) if assigned_to else "",
        follows_shortlist=turns.follows_shortlist(tx, referral_id),
        first_opened_at=referral.first_opened_at,
        history=tuple(referral_lines.of(tx, referral_id)),
        earlier=tuple(reversed(_replaced_by(tx, referral))),
        later=tuple(_replacing(tx, referral)),
        attempts=tuple(turns.attempts(tx, referral_id)),
    )


def _choice(move: Move, referral: ReferralView) -> Choice:
    outcomes = OUTCOMES[Kind(referral.kind)] if move is Move.COMPLETE else ()
    return Choice(move, move in REASON_REQUIRED, reasons_for(move), tuple(outcomes))


def _replaced_by(tx: Transaction, referral: ReferralView) -> list[ReferralView]:
    """Newest first. Only a referrer was ever told of any."""
    found: list[ReferralView] = []
    while referral.replaces_referral_id:
        before = referrals.find(tx, referral.replaces_referral_id)
        if before is None or before in found:
            break
        found.append(before)
        referral = before
    return found


def _replacing(tx: Transaction, referral: ReferralView) -> list[ReferralView]:
    found: list[ReferralView] = []
    while (after := referrals.successor(tx, referral.referral_id)) is not None and after not in found:
        found.append(after)
        referral = after
    return found


def known_patient(tx: Transaction, continued_id: str) -> str | None:
    """Whose the continued referral was here."""
    continued = referrals.find(tx, continued_id) if continued_id else None
    return None if continued is None else episodes.get(tx, continued.episode_id).patient_id
