"""Granting, denying, holding and revoking: each takes its scope exclusively, so that releasing waits or has been waited for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, select

from tandem.common.v1.common_pb2 import BASIS_TREATMENT_RELATIONSHIP, EFFECT_DENY, EFFECT_PERMIT
from tandem.consent.v1.consent_pb2 import Permission
from tandem.directory.v1.directory_pb2 import Practice
from tandem.exchange.v1.exchange_pb2 import PermissionChanged, PermissionRevoked, RowBody
from tandem_care.categories import TREATMENT_RELATIONSHIP
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange import log
from tandem_platform.exchange.rows import downlink
from tandem_platform.ids import is_id
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction
from tandem_referral.store import audit, entries, permissions
from tandem_referral.store.permissions import PENDING, Scope
from tandem_referral.store.tables import episode, practice
from tandem_referral.usecases import release, visibility

MOST_ENTRIES = 500
"""That one denial may name."""

WITHDRAWN = "withdrawn"
"""All that a recipient is told of why a denial, or the end of a permission, took back what was given."""


class PermissionNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "PERMISSION_NOT_FOUND", "there is no such permission")


class EpisodeNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.NOT_FOUND, "EPISODE_NOT_FOUND", "there is no such episode", field="permission.episode_id"
        )


class PermissionUnfit(Refusal):
    """The permission cannot be kept as it stands."""

    def __init__(self, field: str, message: str, way_out: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT, "PERMISSION_UNFIT", message, field=f"permission.{field}", way_out=way_out
        )


class PermissionIdTaken(Refusal):
    # No oracle: an id has 128 random bits, so that only who was told of it can ask about it.
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "ID_TAKEN",
            "the permission_id is in use",
            field="permission.permission_id",
            way_out="make a new random id",
        )


class BasisNotAllowed(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "BASIS_NOT_ALLOWED",
            "the treatment relationship does not serve here as a basis",
            field="permission.basis",
            way_out="ask the patient for a written or attested permission",
        )


class PermissionOver(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PERMISSION_OVER",
            "the permission is revoked or expired",
            way_out="nothing is released under it; make a new one if the patient permits again",
        )


def grant(tx: Transaction, wanted: Permission, by: str, now: datetime, *, base: bool = False) -> Permission:
    """Keep a permission or denial of *by*, who discloses; *base* ones are made with a referral, for either side.

    Raises EpisodeNotFound, PermissionUnfit, BasisNotAllowed, PermissionIdTaken.
    """
    made = _completed(wanted, now)
    scope = Scope(made.episode_id, made.discloser_practice_id, made.recipient_practice_id)
    _check_scope(tx, scope, by, base)
    _check(tx, made)
    permissions.lock_scope_exclusive(tx, scope)
    if permissions.find(tx, made.permission_id) is not None:
        raise PermissionIdTaken
    permissions.insert(tx, made, recorded_by=by, base=base, now=now)
    action = "denied" if made.effect == EFFECT_DENY else "granted"
    _account(tx, made, action, now)
    _tell(tx, made, now)
    # With the base permissions their episode begins: there is nothing yet that could be released.
    if made.state == "active" and made.effect == EFFECT_PERMIT and not base:
        entries.ask_sweep(tx, scope, now)
    visibility.review(tx, scope, now)
    return made


def deny(tx: Transaction, wanted: Permission, by: str, now: datetime) -> tuple[Permission, int]:
    """Forbid, and void what is on its way of it. Returns how many rows were voided."""
    made = grant(tx, wanted, by, now)
    return made, _void_denied(tx, made, now) if made.state == "active" else 0


def end(tx: Transaction, permission_id: str, by: str, now: datetime, state: str) -> tuple[Permission, int]:
    """Revoke or hold. In the same transaction everything of the scope that the recipient has not acknowledged is voided,
    and what other permissions still allow is released anew.

    Revoking again changes nothing. Raises PermissionNotFound, PermissionOver (a hold on what is over).
    """
    row = permissions.find_visible(tx, permission_id, by)
    if row is None:
        raise PermissionNotFound
    scope = permissions.scope_of(row)
    permissions.lock_scope_exclusive(tx, scope)
    row = permissions.find_visible(tx, permission_id, by)
    assert row is not None
    if row.state == state or (row.state == "revoked" and state == "held"):
        if row.state != state:
            raise PermissionOver
        return permissions.to_message(row), 0
    if state == "held" and row.state == "expired":
        raise PermissionOver
    return _end(tx, row, scope, by, now, state)


def _end(
    tx: Transaction, row: Row[Any], scope: Scope, by: str, now: datetime, state: str
) -> tuple[Permission, int]:
    version = permissions.set_state(tx, row, state, by, now)
    changed = permissions.find(tx, row.permission_id)
    assert changed is not None
    message = permissions.to_message(changed)
    _account(tx, message, state, now)
    voided_ids: list[str] = []
    if row.effect == EFFECT_PERMIT:
        permissions.note_revocation(tx, scope.recipient, row.permission_id, version)
        voided_ids = _void_undelivered(tx, scope, state, now)
        _notice(tx, message, state, voided_ids, now)
        _tell_discloser(tx, message, now)
    else:
        _tell(tx, message, now)
    entries.ask_sweep(tx, scope, now)
    visibility.review(tx, scope, now)
    return message, len(voided_ids)


def change_due(tx: Transaction, row: Row[Any], now: datetime) -> None:
    """Write the version that time has brought: started, or expired. Repeating it changes nothing."""
    scope = permissions.scope_of(row)
    permissions.lock_scope_exclusive(tx, scope)
    fresh = permissions.find(tx, row.permission_id)
    if fresh is None or fresh.version != row.version:
        return
    over = fresh.ends_at is not None and fresh.ends_at <= now
    state = "expired" if over else "active"
    permissions.set_state(tx, fresh, state, "hub", now)
    changed = permissions.find(tx, row.permission_id)
    assert changed is not None
    message = permissions.to_message(changed)
    _account(tx, message, "expired" if over else "started", now)
    _tell(tx, message, now)
    if over == (fresh.effect == EFFECT_DENY):
        entries.ask_sweep(tx, scope, now)
    elif not over:
        _void_denied(tx, message, now)
    visibility.review(tx, scope, now)


def withdraw(tx: Transaction, scope: Scope, now: datetime) -> None:
    """Void what is on its way in *scope*, to be decided about anew."""
    permissions.lock_scope_exclusive(tx, scope)
    _withdraw(tx, scope, entries.undelivered(tx, scope), "catching-up", "catching-up", now)


def take_back_lost(tx: Transaction, recipient: str, after: int, now: datetime) -> None:
    """*recipient* stands at *after* and had been further: it comes from a backup, and reads what lies above anew.

    What has ended since, or is denied, it does not get again by its old row, so that is voided.
    What another permission allows, today or later, is given anew.
    """
    name = downlink(recipient)
    scopes = entries.scopes_above(tx, recipient, after)
    # All of them before anything is read: whatever ends a permission then finds these rows under way again.
    for scope in scopes:
        permissions.lock_scope_exclusive(tx, scope)
    known = log.acknowledged(tx, name)
    for scope in scopes:
        rows = [row for row in entries.rows_above(tx, scope, after) if row.sequence <= known]
        ended = permissions.not_active_now(tx, {row.permission_id for row in rows}, now)
        denied = release.denied(tx, scope, [row.entry_id for row in rows], now)
        lost = [row for row in rows if row.permission_id in ended or row.entry_id in denied]
        _withdraw(tx, scope, lost, "ended-before-a-restore", WITHDRAWN, now)
    log.set_back(tx, name, after)


def _withdraw(
    tx: Transaction, scope: Scope, rows: Sequence[Row[Any]], reason: str, reason_told: str, now: datetime
) -> None:
    voided_ids = _void(tx, scope, rows, reason, reason_told, now)
    if voided_ids:
        # Kafka may have brought them meanwhile, and they may not be given again.
        nobodys = Permission(
            episode_id=scope.episode_id,
            discloser_practice_id=scope.discloser,
            recipient_practice_id=scope.recipient,
        )
        _notice(tx, nobodys, WITHDRAWN, voided_ids, now)
        entries.ask_sweep(tx, scope, now)


def close_scope(tx: Transaction, episode_id: str, now: datetime) -> None:
    """The episode's referral is about to end: wait for releases under way in both directions. Called before the referral is locked."""
    row = tx.first(select(episode).where(episode.c.episode_id == episode_id))
    if row is not None:
        sides = (row.opener_practice_id, row.partner_practice_id)
        for each in sorted((Scope(episode_id, *sides), Scope(episode_id, *reversed(sides)))):
            permissions.lock_scope_exclusive(tx, each)


def _void_undelivered(tx: Transaction, scope: Scope, reason: str, now: datetime) -> list[str]:
    return _void(tx, scope, entries.undelivered(tx, scope), reason, reason, now)


def _void_denied(tx: Transaction, denial: Permission, now: datetime) -> int:
    """Void what a denial in force forbids, and nothing else: where nothing of it was on its way, its recipient learns of nothing."""
    scope = Scope(denial.episode_id, denial.discloser_practice_id, denial.recipient_practice_id)
    rows = entries.undelivered(tx, scope)
    forbidden = release.denied(tx, scope, [row.entry_id for row in rows], now)
    on_its_way = [row for row in rows if row.entry_id in forbidden]
    voided_ids = _void(tx, scope, on_its_way, "denied", WITHDRAWN, now)
    if voided_ids:
        _notice(tx, denial, WITHDRAWN, voided_ids, now)
    return len(voided_ids)


def _void(
    tx: Transaction, scope: Scope, rows: Sequence[Row[Any]], reason: str, reason_told: str, now: datetime
) -> list[str]:
    """*reason_told* is what the recipient gets to know of the reason."""
    entry_ids = [row.entry_id for row in rows]
    log.void(tx, downlink(scope.recipient), [row.sequence for row in rows], reason_told)
    entries.voided(tx, entry_ids, scope.recipient, now)
    chains = (
        (scope.discloser, scope.recipient, reason),
        (scope.recipient, scope.discloser, reason_told),
    )
    for entry_id in entry_ids:
        for chain, counterpart, rule in chains:
            audit.append(
                tx,
                chain,
                at=now,
                action="voided",
                episode_id=scope.episode_id,
                entry_id=entry_id,
                counterpart_practice_id=counterpart,
                rule=rule,
            )
    return entry_ids


def _completed(wanted: Permission, now: datetime) -> Permission:
    made = Permission()
    made.CopyFrom(wanted)
    made.version = 1
    made.changed_at.FromDatetime(now)
    if not made.HasField("starts_at"):
        made.starts_at.FromDatetime(now)
        if made.HasField("history_from") and made.history_from.ToDatetime(UTC) > now:
            # "From now on", by a clinic whose clock is ahead of ours.
            made.history_from.FromDatetime(now)
    made.state = PENDING if made.starts_at.ToDatetime(UTC) > now else "active"
    return made


_EPISODE = select(episode).where(episode.c.episode_id == bindparam("of"))


def _check_scope(tx: Transaction, scope: Scope, by: str, base: bool) -> None:
    row = tx.first(_EPISODE, of=scope.episode_id)
    sides = set() if row is None else {row.opener_practice_id, row.partner_practice_id}
    if by not in sides:
        raise EpisodeNotFound
    if scope.discloser != by and not base:
        raise PermissionUnfit(
            "discloser_practice_id",
            "a practice permits its own disclosures only",
            "name yourself as discloser",
        )
    if {scope.discloser, scope.recipient} != sides:
        raise PermissionUnfit(
            "recipient_practice_id",
            "the recipient is not the episode's other practice",
            "name the partner of this episode",
        )


def _check(tx: Transaction, made: Permission) -> None:
    if not is_id(made.permission_id, "perm"):
        raise PermissionUnfit(
            "permission_id", "the id is not a permission id", "make a new random id that begins with perm_"
        )
    if not made.categories or any(not words.category_code(number) for number in made.categories):
        raise PermissionUnfit(
            "categories", "the permission names no category, or an unknown one", "name at least one category"
        )
    if not words.purpose_code(made.purpose):
        raise PermissionUnfit("purpose", "the permission names no purpose", "say what the disclosure is for")
    if not words.basis_code(made.basis):
        raise PermissionUnfit("basis", "the permission names no basis", "say what it rests on")
    if made.effect not in (EFFECT_PERMIT, EFFECT_DENY):
        raise PermissionUnfit("effect", "the permission neither permits nor denies", "give an effect")
    _check_entries(made)
    starts = made.starts_at.ToDatetime(UTC)
    if made.HasField("ends_at") and made.ends_at.ToDatetime(UTC) <= starts:
        raise PermissionUnfit("ends_at", "the permission ends before it starts", "give a later end, or none")
    if made.HasField("history_from") and made.history_from.ToDatetime(UTC) > starts:
        raise PermissionUnfit(
            "history_from", "the history begins after the permission", "give an earlier time, or none"
        )
    if made.basis == BASIS_TREATMENT_RELATIONSHIP and made.effect == EFFECT_PERMIT:
        _check_treatment_basis(tx, made)


def _check_entries(made: Permission) -> None:
    # A permit is told to its recipient, who must not learn that there is something which is kept back.
    if made.entry_ids and made.effect != EFFECT_DENY:
        raise PermissionUnfit(
            "entry_ids", "a permit names entries to keep back", "keep them back by a denial of their own"
        )
    if len(made.entry_ids) > MOST_ENTRIES:
        raise PermissionUnfit("entry_ids", "the denial names too many entries", "make several denials")
    if not all(is_id(entry_id, "ent") for entry_id in made.entry_ids):
        raise PermissionUnfit("entry_ids", "one of them is not an entry id", "name entries by their ids")


def _check_treatment_basis(tx: Transaction, made: Permission) -> None:
    sides = (made.discloser_practice_id, made.recipient_practice_id)
    profiles = tx.all(select(practice.c.profile).where(practice.c.practice_id.in_(sides)))
    willing = all(Practice.FromString(row.profile).allows_treatment_basis for row in profiles)
    covered = all(words.category_code(number) in TREATMENT_RELATIONSHIP for number in made.categories)
    if not willing or not covered:
        raise BasisNotAllowed


def _tell(tx: Transaction, changed: Permission, now: datetime) -> None:
    """A denial is told to its discloser only: what is withheld is invisible to the recipient."""
    _tell_discloser(tx, changed, now)
    if changed.effect == EFFECT_PERMIT:
        body = RowBody(permission_changed=_changed(changed))
        log.stage(tx, downlink(changed.recipient_practice_id), body, at=now, episode_id=changed.episode_id)


def _tell_discloser(tx: Transaction, changed: Permission, now: datetime) -> None:
    body = RowBody(permission_changed=_changed(changed))
    log.stage(tx, downlink(changed.discloser_practice_id), body, at=now, episode_id=changed.episode_id)


def _notice(tx: Transaction, ended: Permission, state: str, voided_ids: list[str], now: datetime) -> None:
    notice = PermissionRevoked(
        # A denial has an id that the recipient must not learn.
        permission_id=ended.permission_id if ended.effect == EFFECT_PERMIT else "",
        permission_version=ended.version if ended.effect == EFFECT_PERMIT else 0,
        episode_id=ended.episode_id,
        discloser_practice_id=ended.discloser_practice_id,
        state=state,
        voided_entry_ids=voided_ids,
    )
    log.stage(
        tx,
        downlink(ended.recipient_practice_id),
        RowBody(permission_revoked=notice),
        at=now,
        episode_id=ended.episode_id,
    )


def _changed(permission: Permission) -> PermissionChanged:
    changed = PermissionChanged(
        permission_id=permission.permission_id,
        permission_version=permission.version,
        episode_id=permission.episode_id,
        discloser_practice_id=permission.discloser_practice_id,
        recipient_practice_id=permission.recipient_practice_id,
        categories=permission.categories,
        purpose=permission.purpose,
        basis=permission.basis,
        effect=permission.effect,
        state=permission.state,
        starts_at=permission.starts_at,
        entry_ids=permission.entry_ids,
    )
    if permission.HasField("ends_at"):
        changed.ends_at.CopyFrom(permission.ends_at)
    if permission.HasField("history_from"):
        changed.history_from.CopyFrom(permission.history_from)
    return changed


def _account(tx: Transaction, permission: Permission, action: str, now: datetime) -> None:
    sides = [(permission.discloser_practice_id, permission.recipient_practice_id)]
    if permission.effect == EFFECT_PERMIT:
        sides.append((permission.recipient_practice_id, permission.discloser_practice_id))
    for chain, counterpart in sides:
        audit.append(
            tx,
            chain,
            at=now,
            action=action,
            episode_id=permission.episode_id,
            counterpart_practice_id=counterpart,
            permission_id=permission.permission_id,
            permission_version=permission.version,
        )
