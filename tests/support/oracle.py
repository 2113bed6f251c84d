"""What the promises say, told a second time: permissions, referrals, and what every practice must and may hold.

It imports nothing of the system. It is told facts (a command was answered, a row was written, a row was applied),
each as it happens, and raises PromiseBroken at the first that must not be.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


class PromiseBroken(AssertionError):
    """The message begins with the promise's number."""


def hold(promise: str, held: object, said: str) -> None:
    if not held:
        raise PromiseBroken(f"{promise}: {said}")


# Referral states and moves, as the table of the referral lifecycle gives them.
REFERRER, RECIPIENT, CLOCK = "referrer", "recipient", "clock"
MOVES: dict[tuple[str, str], tuple[str, str]] = {
    ("requested", "receive"): (RECIPIENT, "received"),
    ("requested", "cancel"): (REFERRER, "cancelled"),
    ("received", "accept"): (RECIPIENT, "accepted"),
    ("received", "decline"): (RECIPIENT, "declined"),
    ("received", "waitlist"): (RECIPIENT, "waitlisted"),
    ("received", "ask"): (RECIPIENT, "info_requested"),
    ("received", "expire"): (CLOCK, "expired"),
    ("received", "cancel"): (REFERRER, "cancelled"),
    ("info_requested", "answer"): (REFERRER, "received"),
    ("info_requested", "expire"): (CLOCK, "expired"),
    ("info_requested", "cancel"): (REFERRER, "cancelled"),
    ("waitlisted", "accept"): (RECIPIENT, "accepted"),
    ("waitlisted", "decline"): (RECIPIENT, "declined"),
    ("waitlisted", "ask"): (RECIPIENT, "info_requested"),
    ("waitlisted", "expire"): (CLOCK, "expired"),
    ("waitlisted", "cancel"): (REFERRER, "cancelled"),
    ("accepted", "start"): (RECIPIENT, "in_progress"),
    ("accepted", "cancel"): (REFERRER, "cancelled"),
    ("accepted", "fail"): (RECIPIENT, "failed"),
    ("accepted", "expire"): (CLOCK, "expired"),
    ("in_progress", "hold"): (RECIPIENT, "on_hold"),
    ("in_progress", "complete"): (RECIPIENT, "completed"),
    ("in_progress", "fail"): (RECIPIENT, "failed"),
    ("in_progress", "request_cancel"): (REFERRER, "cancel_requested"),
    ("on_hold", "resume"): (RECIPIENT, "in_progress"),
    ("on_hold", "complete"): (RECIPIENT, "completed"),
    ("on_hold", "fail"): (RECIPIENT, "failed"),
    ("on_hold", "request_cancel"): (REFERRER, "cancel_requested"),
    ("cancel_requested", "agree_cancel"): (RECIPIENT, "cancelled"),
    ("cancel_requested", "refuse_cancel"): (RECIPIENT, "the state before"),
}
FINAL = frozenset({"declined", "expired", "failed", "cancelled", "completed"})
UNDO_WITHIN = timedelta(minutes=10)
BASE = frozenset({"identity-contact", "referral-status"})


@dataclass
class Permission:
    permission_id: str
    episode: str
    discloser: str
    recipient: str
    categories: frozenset[str]
    permits: bool
    starts: datetime
    ends: datetime | None
    history: datetime
    state: str = "active"
    acknowledged: bool = False

    def in_force(self, now: datetime) -> bool:
        """A hold stops a permit at once, and opens nothing that a denial closes."""
        stopped = ("revoked", "held") if self.permits else ("revoked",)
        return self.state not in stopped and self.starts <= now and (self.ends is None or now < self.ends)


@dataclass
class Referral:
    referral_id: str
    episode: str
    referrer: str
    recipient: str
    state: str = "requested"
    version: int = 1
    before_cancel: str = ""
    before_final: str = ""
    last: tuple[str, str, str] = ("", "", "")
    changed_at: datetime | None = None
    received: bool = False
    opened: bool = False


@dataclass
class Release:
    """One time that the hub gave an entry away."""

    number: int
    permission_id: str
    at: datetime
    voided: str = ""


@dataclass
class Entry:
    entry_id: str
    episode: str
    origin: str
    recipient: str
    category: str
    derived_from: frozenset[str]
    authored_at: datetime
    amends: str
    takes_back: bool
    at_hub: bool = False
    releases: list[Release] = field(default_factory=list)
    held_by_recipient: bool = False
    times_received: int = 0
    read_at: datetime | None = None

    @property
    def categories(self) -> frozenset[str]:
        return self.derived_from | {self.category}

    @property
    def is_out(self) -> bool:
        """Given and not taken back on its way."""
        return bool(self.releases) and not self.releases[-1].voided


class Oracle:
    def __init__(self) -> None:
        self.permissions: dict[str, Permission] = {}
        self.referrals: dict[str, Referral] = {}
        self.suspended: dict[frozenset[str], set[str]] = defaultdict(set)
        self.entries: dict[str, Entry] = {}
        self.of_scope: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        self.refused_episodes: set[str] = set()
        self.audited: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)

    # What is committed at the hub ------------------------------------------------------------

    def permission_made(self, made: Permission) -> None:
        hold("P1", made.permission_id not in self.permissions, f"{made.permission_id} was made twice")
        self.permissions[made.permission_id] = made

    def permission_ended(self, permission_id: str, state: str, by: str) -> None:
        ended = self.permissions[permission_id]
        hold("P2", by in (ended.discloser, ended.recipient), f"{by} ended a permission of others")
        if ended.state != "revoked":
            ended.state = state

    def partnership_suspended(self, sides: Iterable[str], by: str) -> None:
        self.suspended[frozenset(sides)].add(by)

    def partnership_resumed(self, sides: Iterable[str], by: str) -> None:
        self.suspended[frozenset(sides)].discard(by)

    def referral_requested(self, requested: Referral, at: datetime) -> None:
        requested.changed_at = at
        self.referrals[requested.referral_id] = requested

    def referral_refused(self, episode: str) -> None:
        """Nobody but its author ever has what was meant for this episode."""
        self.refused_episodes.add(episode)

    def referral_moved(
        self, referral_id: str, move: str, by: str, at: datetime, reason: str = "", outcome: str = ""
    ) -> Referral:
        """The hub has answered that it made this move."""
        referral = self.referrals[referral_id]
        if self._changes_nothing(referral, move, by, reason, outcome):
            return referral
        to = self.destination(referral, move, by, at)
        hold("P4", to, f"{move} by {by} was made on a referral that is {referral.state}")
        if move == "open":
            referral.opened = True
            return referral
        if to in FINAL:
            referral.before_final = referral.state
        if move == "request_cancel":
            referral.before_cancel = referral.state
        if move == "receive":
            referral.received = True
        referral.state, referral.last, referral.changed_at = to, (move, by, reason + outcome), at
        referral.version += 1
        return referral

    def _changes_nothing(self, referral: Referral, move: str, by: str, reason: str, outcome: str) -> bool:
        if move == "receive":
            return by == referral.recipient and referral.received
        if move == "open":
            return by == referral.recipient and referral.opened
        return referral.last == (move, by, reason + outcome)

    def destination(self, referral: Referral, move: str, by: str, at: datetime) -> str:
        """Where the move leads, or nothing if it may not be made."""
        side = {referral.referrer: REFERRER, referral.recipient: RECIPIENT}.get(by, by)
        if move == "undo":
            mine = side != CLOCK and referral.last[1] == by and referral.state in FINAL
            assert referral.changed_at is not None
            return referral.before_final if mine and at - referral.changed_at <= UNDO_WITHIN else ""
        if move == "open":
            may = side == RECIPIENT and not referral.opened and referral.state not in {*FINAL, "requested"}
            return referral.state if may else ""
        who, to = MOVES.get((referral.state, move), ("", ""))
        if who != side:
            return ""
        return referral.before_cancel if to == "the state before" else to

    def may_move(self, referral_id: str, move: str, by: str, at: datetime, reason: str, outcome: str) -> bool:
        referral = self.referrals[referral_id]
        return self._changes_nothing(referral, move, by, reason, outcome) or bool(
            self.destination(referral, move, by, at)
        )

    def is_closed_to(self, referral: Referral, party: str, now: datetime) -> bool:
        """Whether identity-contact or referral-status is no longer given to *party*: it sees one fixed state then."""
        other = referral.referrer if party == referral.recipient else referral.recipient
        return not all(
            self.permits(other, party, referral.episode, {category}, now, now) for category in sorted(BASE)
        )

    # Permission ------------------------------------------------------------------------------

    def permits(
        self,
        discloser: str,
        recipient: str,
        episode: str,
        categories: Iterable[str],
        authored_at: datetime,
        now: datetime,
    ) -> bool:
        """Whether the permissions alone let an entry of all these categories pass."""
        scope = [
            each
            for each in self.permissions.values()
            if (each.discloser, each.recipient, each.episode) == (discloser, recipient, episode)
            and each.in_force(now)
        ]
        for category in categories:
            naming = [each for each in scope if category in each.categories]
            if any(not each.permits for each in naming):
                return False
            if not any(each.permits and each.history <= authored_at for each in naming):
                return False
        return True

    def standing(self, entry: Entry) -> bool:
        """Within a live referral of an active partnership."""
        live = any(
            each.episode == entry.episode and each.state not in FINAL for each in self.referrals.values()
        )
        return live and not self.suspended[frozenset({entry.origin, entry.recipient})]

    def may_have(self, entry: Entry, now: datetime) -> bool:
        """Whether the recipient may be given the entry at *now*."""
        target = self.entries.get(entry.amends)
        return (
            self.standing(entry)
            and self.permits(
                entry.origin, entry.recipient, entry.episode, entry.categories, entry.authored_at, now
            )
            and (target is None or target.is_out)
        )

    # Entries ---------------------------------------------------------------------------------

    def entry_committed(self, entry: Entry) -> None:
        hold("P3", entry.entry_id not in self.entries, f"{entry.entry_id} was committed twice")
        self.entries[entry.entry_id] = entry
        self.of_scope[entry.episode, entry.origin].append(entry)

    def entry_at_hub(self, entry_id: str) -> None:
        entry = self.entries[entry_id]
        hold("P3", not entry.at_hub, f"{entry_id} took effect at the hub twice")
        entry.at_hub = True

    def released(
        self, entry_id: str, to: str, number: int, permission_id: str, at: datetime, *, wrapped: set[str]
    ) -> None:
        """A row with the entry was written for *to*. *wrapped*: entries that the hub could give, for their wraps."""
        entry = self.entries[entry_id]
        hold("P1", to == entry.recipient, f"{entry_id} was given to {to}")
        used = self.permissions.get(permission_id)
        hold("P1", self.may_have(entry, at), f"{entry_id} ({entry.category}) was given without a permission")
        hold(
            "P1",
            used is not None and used.in_force(at) and used.permits and entry.category in used.categories,
            f"{entry_id} was given under {permission_id}, which does not permit it",
        )
        hold("P3", not entry.is_out, f"{entry_id} was given twice")
        for earlier in self.of_scope[entry.episode, entry.origin]:
            if earlier is entry:
                break
            overtaken = (
                earlier.at_hub
                and not earlier.is_out
                and earlier.entry_id in wrapped
                and self.may_have(earlier, at)
            )
            hold("P3", not overtaken, f"{entry_id} was given before {earlier.entry_id}")
        entry.releases.append(Release(number, permission_id, at))
        for chain in (entry.origin, entry.recipient):
            self.audited[chain][entry_id, "released"] += 1

    def voided(self, entry_id: str, number: int, reason: str) -> None:
        entry = self.entries[entry_id]
        last = entry.releases[-1]
        hold("P2", last.number == number and not last.voided, f"row {number} was voided out of turn")
        last.voided = reason
        for chain in (entry.origin, entry.recipient):
            self.audited[chain][entry_id, "voided"] += 1

    def received(self, entry_id: str, by: str) -> None:
        """The entry is new in the recipient's projection."""
        entry = self.entries[entry_id]
        hold("P1", by == entry.recipient, f"{by} holds {entry_id}")
        hold("P1", entry.releases, f"{by} holds {entry_id}, which was never given")
        # What was voided on its way and given anew is taken anew.
        hold("P3", entry.times_received < len(entry.releases), f"{by} took {entry_id} twice")
        if not entry.times_received:
            for chain in (entry.origin, entry.recipient):
                self.audited[chain][entry_id, "delivered"] += 1
        entry.held_by_recipient = True
        entry.times_received += 1

    def forgotten(self, entry_id: str, by: str) -> None:
        entry = self.entries[entry_id]
        gone = bool(entry.releases) and any(each.voided for each in entry.releases)
        hold("P3", gone, f"{by} lost {entry_id}, which nobody had withdrawn")
        hold("P2", entry.read_at is None, f"{by} lost {entry_id}, which a person had read")
        entry.held_by_recipient = False

    def read(self, entry_id: str, at: datetime) -> None:
        entry = self.entries[entry_id]
        entry.read_at = entry.read_at or at

    # When everything has settled -------------------------------------------------------------

    def must_hold(self, now: datetime) -> list[Entry]:
        """What has to be at its recipient once nothing moves any more."""
        return [each for each in self._ordered() if self.may_have(each, now)]

    def check_settled(self, now: datetime) -> None:
        for entry in self._ordered():
            arrives = entry.episode not in self.refused_episodes
            hold("P3", entry.at_hub or not arrives, f"{entry.entry_id} never reached the hub")
            name = f"{entry.entry_id} ({entry.category}, {entry.origin} to {entry.recipient})"
            if self.may_have(entry, now):
                hold("P3", entry.is_out, f"{name} is permitted, and was not given")
            if entry.is_out:
                hold("P3", entry.held_by_recipient, f"{name} was given, and did not arrive")
            elif entry.releases:
                kept = entry.read_at is not None
                hold(
                    "P2",
                    not entry.held_by_recipient or kept,
                    f"{name} was voided unread, and is still held",
                )
            else:
                hold("P1", not entry.held_by_recipient, f"{name} was never given, and is held")

    def _ordered(self) -> list[Entry]:
        """Targets before what amends them."""
        return list(self.entries.values())

    def check_audit(self, chain: str, records: Iterable[tuple[str, str]]) -> None:
        """*records*: entry and action of every record in the hub's chain of a practice."""
        told = Counter(
            (entry_id, action)
            for entry_id, action in records
            if action in ("released", "voided", "delivered")
        )
        expected = +self.audited[chain]
        for entry_id, action in sorted(set(told) | set(expected)):
            hold(
                "P8",
                told[entry_id, action] == expected[entry_id, action],
                f"{chain}'s chain says {told[entry_id, action]} times that {entry_id} was {action}, "
                f"which happened {expected[entry_id, action]} times",
            )

    def check_withheld(self, chain: str, records: Iterable[tuple[str, str]]) -> None:
        """What was not given is in its discloser's chain, and in nobody else's."""
        withheld = {entry_id for entry_id, action in records if action in ("withheld", "waiting-for-wrap")}
        for entry in self._ordered():
            if entry.entry_id in withheld:
                hold("P7", entry.origin == chain, f"{chain} can see that {entry.entry_id} was withheld")
            elif entry.origin == chain and entry.at_hub and not entry.releases:
                raise PromiseBroken(f"P8: nothing says that {entry.entry_id} was withheld")

    def check_accounting(
        self, discloser: str, disclosed: dict[str, tuple[bool, bool]], now: datetime
    ) -> None:
        """*disclosed*: of each entry in the account, whether it was delivered and whether it was voided."""
        expected = {
            each.entry_id: (each.times_received > 0, not each.is_out)
            for each in self._ordered()
            if each.origin == discloser and each.releases
        }
        for entry_id in sorted(set(expected) | set(disclosed)):
            hold(
                "P8",
                expected.get(entry_id) == disclosed.get(entry_id),
                f"{discloser}'s account of {entry_id} is (delivered, voided) {disclosed.get(entry_id)} "
                f"and should be {expected.get(entry_id)} at {now}",
            )
