"""Who still sees a referral.

A party from whom identity-contact or referral-status was withdrawn sees one fixed state and nothing that happens
from then on: not in answers, lists and histories, not on its downlink, not in its audit chain.
"""

from datetime import datetime

from tandem.exchange.v1.exchange_pb2 import ReferralChanged, RowBody
from tandem_care.categories import Category, Purpose
from tandem_care.permission import Question, decide
from tandem_platform.exchange.log import stage
from tandem_platform.exchange.rows import downlink
from tandem_platform.storage.database import Transaction
from tandem_referral.domain.lifecycle import CLOCK, Referral
from tandem_referral.store import audit, permissions, referrals
from tandem_referral.store.permissions import Scope
from tandem_referral.store.referrals import CLOSED, Closure

NEEDED = (Category.IDENTITY_CONTACT, Category.REFERRAL_STATUS)


def review(tx: Transaction, scope: Scope, now: datetime) -> None:
    """Close the episode's referrals to the scope's recipient, or show them again, as its permissions now say.

    Called under the scope's exclusive lock, after every change in it. Repeating it changes nothing.
    """
    may_see = _may_see(tx, scope, now)
    for referral in referrals.of_episode(tx, scope.episode_id, lock="exclusive"):
        closure = referrals.closure(tx, referral.id, scope.recipient)
        if closure is None and not may_see:
            _close(tx, referral, scope.recipient, now)
        elif closure is not None and may_see:
            _show_again(tx, referral, scope.recipient, closure, now)


def moved(tx: Transaction, referral: Referral, move: str, now: datetime) -> None:
    """Record the move in the chains of all parties that may see it, and tell them. A first opening has no new version."""
    closed = referrals.closed_to(tx, referral.id)
    for party in sides(referral):
        if party not in closed:
            _account_to(tx, referral, party, "referral-moved", move, now)
            _tell(tx, referral, party, now)


def sides(referral: Referral) -> tuple[str, str]:
    return referral.referrer, referral.recipient


def _may_see(tx: Transaction, scope: Scope, now: datetime) -> bool:
    rules = permissions.in_scopes(tx, [scope])[scope]
    return all(
        decide(
            rules,
            Question(
                discloser=scope.discloser,
                recipient=scope.recipient,
                episode=scope.episode_id,
                category=category,
                authored_at=now,
                now=now,
                purpose=Purpose.TREATMENT,
            ),
            partnership_active=True,
            referral_live=True,
            treatment_relationship_allowed=True,
        ).permitted
        for category in NEEDED
    )


def _close(tx: Transaction, referral: Referral, party: str, now: datetime) -> None:
    as_seen = Closure(referral.version + 1, referrals.count_moves(tx, referral.id), now)
    referrals.close_to(tx, referral.id, party, as_seen)
    stage(tx, downlink(party), _closed(referral, party, as_seen), at=now, episode_id=referral.episode_id)
    _account_to(tx, referral, party, "referral-closed", "", now)


def _show_again(tx: Transaction, referral: Referral, party: str, closure: Closure, now: datetime) -> None:
    referrals.open_to(tx, referral.id, party)
    if referral.version <= closure.version:
        # The party holds the closed version; what it is shown now must be newer.
        referral.version = closure.version + 1
        referrals.save(tx, referral)
        closed = referrals.closed_to(tx, referral.id)
        for seeing in sides(referral):
            if seeing not in closed:
                _tell(tx, referral, seeing, now)
    else:
        _tell(tx, referral, party, now)
    _account_to(tx, referral, party, "referral-shown-again", "", now)


def _tell(tx: Transaction, referral: Referral, party: str, now: datetime) -> None:
    """Put the referral as it stands on the party's downlink."""
    stage(tx, downlink(party), _changed(referral, party), at=now, episode_id=referral.episode_id)


def _account_to(
    tx: Transaction, referral: Referral, party: str, action: str, move: str, now: datetime
) -> None:
    audit.append(
        tx,
        party,
        at=now,
        action=action,
        episode_id=referral.episode_id,
        counterpart_practice_id=referral.recipient if party == referral.referrer else referral.referrer,
        rule=move,
        referral_id=referral.id,
    )


def _changed(referral: Referral, party: str) -> RowBody:
    changed = _known_for_good(referral, party)
    changed.state = referral.state
    changed.reason = referral.reason or ""
    changed.outcome = referral.outcome or ""
    changed.version = referral.version
    changed.changed_at.FromDatetime(referral.changed_at)
    changed.move = referral.last_move or referrals.REQUEST
    changed.moved_by_practice_id = mover(referral)
    changed.cancel_from = referral.cancel_from or ""
    changed.closed_from = referral.closed_from or ""
    changed.due_at.FromDatetime(referral.due_at)
    if referral.opened_at is not None:
        changed.opened_at.FromDatetime(referral.opened_at)
    return RowBody(referral_changed=changed)


def mover(referral: Referral) -> str:
    """Whose the last move was; empty for the clock's."""
    by = referral.last_by or referral.referrer
    return "" if by == CLOCK else by


def _closed(referral: Referral, party: str, closure: Closure) -> RowBody:
    changed = _known_for_good(referral, party)
    changed.state = CLOSED
    changed.version = closure.version
    changed.changed_at.FromDatetime(closure.closed_at)
    return RowBody(referral_changed=changed)


def _known_for_good(referral: Referral, party: str) -> ReferralChanged:
    return ReferralChanged(
        referral_id=referral.id,
        episode_id=referral.episode_id,
        partnership_id=referral.partnership_id,
        referrer_practice_id=referral.referrer,
        recipient_practice_id=referral.recipient,
        kind=referral.kind,
        urgency=referral.urgency,
        replaces_referral_id=(referral.replaces or "") if party == referral.referrer else "",
        continues_referral_id=referral.continues or "",
    )
