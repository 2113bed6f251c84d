"""Handing a patient over, and every move until the loop is closed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tandem.common.v1.common_pb2 import (
    BASIS_WRITTEN,
    CATEGORY_IDENTITY_CONTACT,
    CATEGORY_REFERRAL_STATUS,
    EFFECT_PERMIT,
    PURPOSE_TREATMENT,
)
from tandem.consent.v1.consent_pb2 import Permission
from tandem.referral.v1.referral_pb2 import BasePermission
from tandem_care.lifecycle import CLOCKS, Kind, Move, State, Urgency
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage.database import Transaction
from tandem_referral.domain.errors import NotYours
from tandem_referral.domain.lifecycle import CLOCK, Moved, Referral
from tandem_referral.domain.partnership import Partnership, PartnershipState
from tandem_referral.store import entries, partnerships, permissions, practices, referrals
from tandem_referral.store.permissions import Scope
from tandem_referral.store.referrals import Seen
from tandem_referral.usecases import consent, visibility
from tandem_referral.usecases.directory import check_new_id

# The base permissions open the whole of a new episode: its first entries may have been written, and queued,
# before the hub heard of the referral.
_FROM_THE_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_ROLE_FOR = {Kind.PSYCHOTHERAPY: "therapy_provider", Kind.MEDICAL_EVALUATION: "prescriber"}

Make = Callable[[Referral, datetime], Moved | None]
"""Makes a move at a time."""


class PartnershipNotActive(Refusal):
    def __init__(self, state: PartnershipState) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PARTNERSHIP_NOT_ACTIVE",
            "The partnership is not active.",
            field="partnership_id",
            way_out="Refer once both practices have it active.",
            metadata={"state": state},
        )


class NotOffered(Refusal):
    def __init__(self, role: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "NOT_OFFERED",
            f"The partner is not in the directory as {role}.",
            field="kind",
            way_out="Choose the kind that the partner offers, or another partner.",
        )


class BasePermissionsUnfit(Refusal):
    def __init__(self, message: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "BASE_PERMISSIONS_UNFIT",
            message,
            field="permissions",
            way_out="Give two: one in which each practice is the discloser.",
        )


class WordUnknown(Refusal):
    def __init__(self, field: str, allowed: Sequence[str]) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "WORD_UNKNOWN",
            f"{field} must be one of {', '.join(allowed)}",
            field=field,
        )


class ClosedToYou(Refusal):
    """The one answer to every command of a party from whom the referral was withdrawn."""

    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "REFERRAL_CLOSED",
            "The referral is closed to you.",
            way_out="Ask the patient for a new permission to share identity, contact and referral status.",
            metadata={"state": referrals.CLOSED, "moves": ""},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a referrer asks for. All ids are of its own choosing, so that queued commands can name them."""

    referral_id: str
    episode_id: str
    partnership_id: str
    kind: str
    urgency: str
    permissions: Sequence[BasePermission]
    replaces: str = ""
    continues: str = ""


def request_referral(
    tx: Transaction, wish: Wish, by: str, now: datetime, clocks: Mapping[State, timedelta] = CLOCKS
) -> Referral:
    """Open the episode, its scopes, both base permissions and the referral, or nothing."""
    check_new_id(wish.referral_id, "ref", "referral_id")
    check_new_id(wish.episode_id, "epi", "episode_id")
    kind, urgency = _kind(wish.kind), _urgency(wish.urgency)
    # Shared: a suspension waits for this, or this for the suspension.
    partnership = partnerships.get(tx, wish.partnership_id, visible_to=by, lock="shared")
    if partnership.state is not PartnershipState.ACTIVE:
        raise PartnershipNotActive(partnership.state)
    recipient = partnership.other(by)
    if kind in _ROLE_FOR and _ROLE_FOR[kind] not in practices.roles_of(tx, recipient):
        raise NotOffered(_ROLE_FOR[kind])
    _check_base(wish.permissions, partnership)
    replaced = _to_be_replaced(tx, wish.replaces, by) if wish.replaces else None
    continued = _to_be_continued(tx, wish.continues, by) if wish.continues else None
    referral = Referral.request(
        id=wish.referral_id,
        episode_id=wish.episode_id,
        partnership_id=partnership.id,
        kind=kind,
        referrer=by,
        recipient=recipient,
        at=now,
        urgency=urgency,
        instead_of=replaced,
        continuing=continued,
        clocks=clocks,
    )
    referrals.open_episode(tx, wish.episode_id, partnership.id, by, recipient, now)
    scopes = [Scope(wish.episode_id, by, recipient), Scope(wish.episode_id, recipient, by)]
    permissions.open_scopes(tx, scopes)
    for given in wish.permissions:
        consent.grant(tx, _base_permission(wish.episode_id, given, partnership), by, now, base=True)
    if replaced is not None:
        referrals.save(tx, replaced)
    referrals.add(tx, referral)
    visibility.moved(tx, referral, referrals.REQUEST, now)
    return referral


def move_referral(
    tx: Transaction,
    referral_id: str,
    by: str,
    now: datetime,
    make: Make,
    *,
    may_end: bool = False,
    clocks: Mapping[State, timedelta] = CLOCKS,
) -> Referral:
    """Let *make* move the referral, and tell all who may see it. A repeated move changes nothing.

    may_end: the move can end the referral, or take its end back: releases under way are waited for first.
    """
    if may_end:
        ending = referrals.get(tx, referral_id, visible_to=by).referral
        consent.close_scope(tx, ending.episode_id, now)
    seen = referrals.get(tx, referral_id, visible_to=by, lock="exclusive")
    if seen.closure is not None:
        raise ClosedToYou
    seen.referral.clocks = clocks
    _move(tx, seen.referral, make, now)
    return seen.referral


def expire_referral(tx: Transaction, referral_id: str, now: datetime) -> None:
    """End what nobody has moved in time. Changes nothing if somebody has."""
    consent.close_scope(tx, referrals.get_any(tx, referral_id).episode_id, now)
    referral = referrals.get_any(tx, referral_id, lock="exclusive")
    if Move.EXPIRE in referral.moves(CLOCK, now):
        _move(tx, referral, lambda due, at: due.expire(at), now)


def moves_of(seen: Seen, by: str, now: datetime) -> list[Move]:
    """What *by* may do now."""
    return [] if seen.closure is not None else seen.referral.moves(by, now)


def _move(tx: Transaction, referral: Referral, make: Make, now: datetime) -> None:
    was_final = referral.state.is_final
    moved = make(referral, now)
    if moved is None:
        return
    referrals.save(tx, referral)
    referrals.add_move(tx, referral.id, moved)
    visibility.moved(tx, referral, moved.move.value, now)
    if was_final and not referral.state.is_final:
        _sweep(tx, referral, now)


def _sweep(tx: Transaction, referral: Referral, now: datetime) -> None:
    """What was withheld while the referral was over is decided again."""
    one, other = visibility.sides(referral)
    scopes = [(one, other), (other, one)]
    for discloser, recipient in scopes:
        entries.ask_sweep(tx, Scope(referral.episode_id, discloser, recipient), now)


def _to_be_replaced(tx: Transaction, referral_id: str, by: str) -> Referral:
    seen = referrals.get(tx, referral_id, visible_to=by, lock="exclusive")
    if seen.referral.referrer != by:
        raise NotYours
    if seen.closure is not None:
        raise ClosedToYou
    return seen.referral


def _to_be_continued(tx: Transaction, referral_id: str, by: str) -> Referral:
    # Held shared: an undo of its completion waits, or has been waited for.
    seen = referrals.get(tx, referral_id, visible_to=by, lock="shared")
    if seen.closure is not None:
        raise ClosedToYou
    return seen.referral


def _check_base(given: Sequence[BasePermission], partnership: Partnership) -> None:
    if sorted(each.discloser_practice_id for each in given) != sorted(partnership.sides):
        raise BasePermissionsUnfit("a referral needs one permission in each direction")
    for each in given:
        length = len(each.evidence_hash)
        if length != 32 and (length or each.basis == BASIS_WRITTEN):
            raise BasePermissionsUnfit("evidence_hash must be the SHA-256 of the form")


def _base_permission(episode_id: str, given: BasePermission, partnership: Partnership) -> Permission:
    permission = Permission(
        permission_id=given.permission_id,
        episode_id=episode_id,
        discloser_practice_id=given.discloser_practice_id,
        recipient_practice_id=partnership.other(given.discloser_practice_id),
        categories=[CATEGORY_IDENTITY_CONTACT, CATEGORY_REFERRAL_STATUS],
        purpose=PURPOSE_TREATMENT,
        basis=given.basis,
        effect=EFFECT_PERMIT,
        evidence_hash=given.evidence_hash,
    )
    permission.history_from.FromDatetime(_FROM_THE_BEGINNING)
    if given.HasField("ends_at"):
        permission.ends_at.CopyFrom(given.ends_at)
    return permission


def _kind(word: str) -> Kind:
    try:
        return Kind(word)
    except ValueError:
        raise WordUnknown("kind", list(Kind)) from None


def _urgency(word: str) -> Urgency:
    """Routine, if none is given."""
    try:
        return Urgency(word or Urgency.ROUTINE)
    except ValueError:
        raise WordUnknown("urgency", list(Urgency)) from None
