"""Deciding about entries and giving them to their recipients, always under the scope's shared lock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import or_, select

from tandem.directory.v1.directory_pb2 import Practice
from tandem.exchange.v1.exchange_pb2 import EntryLabels, EntryReleased, RowBody, SealedEntry, WrapRequested
from tandem_care.categories import Purpose
from tandem_care.lifecycle import OPEN
from tandem_care.permission import KEPT_BACK, Permission, Question, decide, needs_redisclosure_notice
from tandem_platform.exchange import log
from tandem_platform.exchange.rows import downlink
from tandem_platform.rpc import words
from tandem_platform.sealing import has_wrap_for, without_wraps_but
from tandem_platform.storage import Transaction
from tandem_platform.storage.lists import among
from tandem_referral.domain.release import PARTIES_CATCHING_UP, Outcome, Result, outcome_of
from tandem_referral.store import audit, entries, permissions
from tandem_referral.store import sync as syncs
from tandem_referral.store.entries import Decided
from tandem_referral.store.permissions import Scope
from tandem_referral.store.tables import episode, partnership, practice, practice_sync, referral

NOTICE_PART2 = "42-cfr-2.32"
SWEEP_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Incoming:
    """An entry that the hub holds, to be decided about."""

    scope: Scope
    sealed: SealedEntry
    before: str = ""
    """What was decided last time, if anything."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a decision rests on beside the permissions; read under the scopes' locks."""

    partnership_active: bool
    referral_live: bool
    treatment_basis: bool
    caught_up: bool


def release_where_permitted(
    tx: Transaction, incoming: Sequence[Incoming], now: datetime, *, sweeping: bool = False
) -> None:
    """Decide about each and release what may be released.

    Takes the scopes' locks shared, then reads: whatever revokes has to wait, or has been waited for.
    """
    if not incoming:
        return
    scopes = sorted({each.scope for each in incoming})
    permissions.lock_scopes_shared(tx, scopes)
    rules, turning = permissions.in_scopes_at(tx, scopes, now)
    standings = _standings(tx, scopes)
    targets = _released_targets(tx, incoming)
    # What comes while history is being swept waits its turn, so that the order of release is the order of entry.
    # So does what comes after a permission has begun by the clock, before the clock has been looked at.
    behind = set() if sweeping else entries.pending_sweeps(tx, scopes) | turning
    for scope in behind & turning:
        entries.ask_sweep(tx, scope, now)
    decided: list[Decided] = []
    wraps_wanted: dict[Scope, list[str]] = {}
    for each in incoming:
        labels = each.sealed.labels
        if each.before == Result.RELEASED or each.scope in behind:
            continue
        outcome = _decide(each, rules[each.scope], standings[each.scope], targets, now)
        if _says_nothing_new(each.before, outcome.result):
            continue
        decided.append(
            Decided(
                labels.entry_id,
                each.scope,
                outcome.result,
                outcome.rule,
                outcome.permission_id,
                outcome.permission_version,
                labels.category,
            )
        )
        _account(tx, labels, each.scope, outcome, now)
        if outcome.result == Result.RELEASED:
            targets.add((labels.entry_id, each.scope.recipient))
            _give(tx, each, outcome, now)
        elif outcome.result == Result.WAITING_FOR_WRAP:
            wraps_wanted.setdefault(each.scope, []).append(labels.entry_id)
        elif outcome.rule == PARTIES_CATCHING_UP:
            # Only for what would be released: a sweep makes what comes after it wait, and that must not tell.
            entries.ask_sweep(tx, each.scope, now)
    entries.decided(tx, decided, now)
    for scope, entry_ids in wraps_wanted.items():
        _ask_for_wraps(tx, scope, entry_ids, now)


def _decide(
    each: Incoming,
    rules: Sequence[Permission],
    standing: _Standing,
    targets: set[tuple[str, str]],
    now: datetime,
) -> Outcome:
    labels, scope = each.sealed.labels, each.scope
    decision = decide(
        rules,
        _question(labels, scope, now),
        standing.partnership_active,
        standing.referral_live,
        treatment_relationship_allowed=standing.treatment_basis,
    )
    return outcome_of(
        decision,
        wrapped=has_wrap_for(each.sealed, scope.recipient),
        target_released=not labels.amends_entry_id or (labels.amends_entry_id, scope.recipient) in targets,
        caught_up=standing.caught_up,
    )


def _says_nothing_new(before: str, now: Result) -> bool:
    """A voided entry that stays withheld is still accounted for as voided."""
    return now == before or (before == Result.VOIDED and now == Result.WITHHELD)


def _question(labels: EntryLabels, scope: Scope, now: datetime) -> Question:
    return Question(
        discloser=scope.discloser,
        recipient=scope.recipient,
        episode=scope.episode_id,
        category=words.category_code(labels.category),
        authored_at=labels.authored_at.ToDatetime(UTC),
        now=now,
        purpose=Purpose.TREATMENT,
        derived_from=frozenset(words.category_code(number) for number in labels.derived_from),
        part2=labels.part2,
        # What amends an entry goes where that went: its own id nobody could have named.
        item=labels.amends_entry_id or labels.entry_id,
    )


def denied(tx: Transaction, scope: Scope, entry_ids: Sequence[str], now: datetime) -> set[str]:
    """Which of the scope's entries, given in the order of their release, a denial forbids, and what amends those.

    Called under the scope's exclusive lock.
    """
    rules = permissions.in_scopes(tx, [scope])[scope]
    sealed = entries.sealed(tx, entries.held(tx, entry_ids))
    forbidden: set[str] = set()
    for entry_id in entry_ids:
        if entry_id not in sealed:
            # Shredded: nothing of it should be on its way.
            forbidden.add(entry_id)
            continue
        labels = sealed[entry_id].labels
        if labels.amends_entry_id in forbidden or _is_denied(rules, labels, scope, now):
            forbidden.add(entry_id)
    return forbidden


def _is_denied(rules: Sequence[Permission], labels: EntryLabels, scope: Scope, now: datetime) -> bool:
    """Each category by itself: what else is wrong with another one must not hide the denial."""
    whole = _question(labels, scope, now)
    parts = [
        replace(whole, category=code, derived_from=frozenset())
        for code in (whole.category, *whole.derived_from)
    ]
    return any(
        decide(rules, part, partnership_active=True, referral_live=True).rule in KEPT_BACK for part in parts
    )


def _released_targets(tx: Transaction, incoming: Sequence[Incoming]) -> set[tuple[str, str]]:
    released = set()
    for scope in {each.scope for each in incoming}:
        amended = [
            each.sealed.labels.amends_entry_id
            for each in incoming
            if each.scope == scope and each.sealed.labels.amends_entry_id
        ]
        if amended:
            results = entries.results(tx, amended, scope.recipient)
            released |= {
                (entry_id, scope.recipient)
                for entry_id, result in results.items()
                if result == Result.RELEASED
            }
    return released


def _give(tx: Transaction, each: Incoming, outcome: Outcome, now: datetime) -> None:
    labels, recipient = each.sealed.labels, each.scope.recipient
    codes = [words.category_code(number) for number in (labels.category, *labels.derived_from)]
    released = EntryReleased(
        entry=without_wraps_but(each.sealed, recipient),
        permission_id=outcome.permission_id,
        permission_version=outcome.permission_version,
        notice=NOTICE_PART2 if needs_redisclosure_notice(codes, labels.part2) else "",
    )
    log.stage(
        tx,
        downlink(recipient),
        RowBody(entry_released=released),
        at=now,
        entry_id=labels.entry_id,
        episode_id=labels.episode_id,
        permission_id=outcome.permission_id,
    )


def _account(tx: Transaction, labels: EntryLabels, scope: Scope, outcome: Outcome, now: datetime) -> None:
    """Every decision goes into the discloser's chain; what was given, into the recipient's too."""
    chains = [(scope.discloser, scope.recipient)]
    if outcome.result == Result.RELEASED:
        chains.append((scope.recipient, scope.discloser))
    for chain, counterpart in chains:
        audit.append(
            tx,
            chain,
            at=now,
            action=outcome.result.value,
            episode_id=labels.episode_id,
            entry_id=labels.entry_id,
            counterpart_practice_id=counterpart,
            category=labels.category,
            permission_id=outcome.permission_id,
            permission_version=outcome.permission_version,
            rule=outcome.rule,
        )


def _ask_for_wraps(tx: Transaction, scope: Scope, entry_ids: list[str], now: datetime) -> None:
    """The source decides again, on its own consents and pinned key."""
    entries.wraps_requested(tx, entry_ids, scope.recipient, now)
    asked = WrapRequested(entry_ids=entry_ids, recipient_practice_id=scope.recipient)
    log.stage(
        tx, downlink(scope.discloser), RowBody(wrap_requested=asked), at=now, episode_id=scope.episode_id
    )


def _standings(tx: Transaction, scopes: Sequence[Scope]) -> Mapping[Scope, _Standing]:
    held = tx.all(_EPISODES_HELD, episodes=sorted({scope.episode_id for scope in scopes}))
    active = {row.episode_id for row in held if row.state == "active"}
    live = {row.episode_id for row in held if row.live}
    practice_ids = sorted({side for scope in scopes for side in (scope.discloser, scope.recipient)})
    practices = tx.all(_PRACTICES, practices=practice_ids)
    allowing = {
        row.practice_id for row in practices if Practice.FromString(row.profile).allows_treatment_basis
    }
    caught_up = {row.practice_id for row in practices if row.caught_up}
    return {
        scope: _Standing(
            partnership_active=scope.episode_id in active,
            referral_live=scope.episode_id in live,
            treatment_basis={scope.discloser, scope.recipient} <= allowing,
            caught_up={scope.discloser, scope.recipient} <= caught_up,
        )
        for scope in scopes
    }


_LIVE = (
    select(referral.c.referral_id)
    .where(
        referral.c.episode_id == episode.c.episode_id,
        or_(*(referral.c.state == state.value for state in OPEN)),
    )
    .exists()
)
# The partnership shared, because suspending it ends releases as surely as a revocation does.
_EPISODES_HELD = (
    select(episode.c.episode_id, partnership.c.state, _LIVE.label("live"))
    .join(partnership, partnership.c.partnership_id == episode.c.partnership_id)
    .where(among(episode.c.episode_id, "episodes"))
    .order_by(partnership.c.partnership_id)
    .with_for_update(read=True, of=partnership)
)
_PRACTICES = (
    select(practice.c.practice_id, practice.c.profile, syncs.HAS_CAUGHT_UP.label("caught_up"))
    .join(practice_sync, practice_sync.c.practice_id == practice.c.practice_id, isouter=True)
    .where(among(practice.c.practice_id, "practices"))
)


def sweep_once(tx: Transaction, scope: Scope, now: datetime) -> bool:
    """Look again at the next chunk of what is withheld in *scope*. True while there is more."""
    permissions.lock_scopes_shared(tx, [scope])
    after = entries.sweep_position(tx, scope)
    if after is None:
        return False
    if {scope.discloser, scope.recipient} - syncs.caught_up(tx, [scope.discloser, scope.recipient]):
        return False
    rows = entries.of_scope(tx, scope, after, SWEEP_CHUNK)
    entries.sweep_moved(tx, scope, rows[-1].uplink_sequence if len(rows) == SWEEP_CHUNK else None)
    sealed = entries.sealed(tx, rows)
    again = [
        Incoming(scope, sealed[row.entry_id], row.result or "")
        for row in rows
        if row.entry_id in sealed and row.result != Result.RELEASED
    ]
    release_where_permitted(tx, again, now, sweeping=True)
    return len(rows) == SWEEP_CHUNK
