"""What the service does by itself, outside any use case: keys published and fetched, profiles refreshed, receipts watched."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tandem.directory.v1.directory_pb2 import ListKeyBundlesRequest
from tandem_care.permission import Decision, Permission, PermissionState
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import Episode
from tandem_clinic.store import entries, episodes, partners, permissions, watches, worklist
from tandem_clinic.store.entries import Sealing
from tandem_clinic.store.permissions import PermissionRecord
from tandem_clinic.usecases import partner
from tandem_clinic.usecases.course_watch import look_at_course
from tandem_clinic.usecases.sharing import WRAP_WANTED, outlook
from tandem_clinic.usecases.shortlist_course import move_on
from tandem_clinic.usecases.turns import look_at_clocks
from tandem_clinic.usecases.wraps import give_wanted_wraps
from tandem_platform.errors import Refusal
from tandem_platform.exchange.signing import HUB
from tandem_platform.sealing import SignedBundle, pin, usable
from tandem_platform.storage import Transaction

_log = logging.getLogger(__name__)

RECEIPT_EXPECTED_WITHIN = timedelta(hours=24)
LOOK_EVERY = timedelta(minutes=5)
PAGE = 200
COURSES_AT_ONCE = 20
_FROM_THE_FIRST = (datetime(1970, 1, 1, tzinfo=UTC), "")
TRY_AGAIN_AFTER = timedelta(seconds=2)
_MOMENT = timedelta(microseconds=1)
RECONSIDER_EVERY = timedelta(seconds=5)


class Upkeep:
    """One clinic's upkeep. Every step is short, and calls the hub outside of transactions."""

    def __init__(self, clinic: Clinic, keys_learned: Callable[[], None] = lambda: None) -> None:
        """*keys_learned*: told when a partner's newer keys are pinned."""
        self._clinic = clinic
        self._keys_learned = keys_learned
        self._introduced = False
        self._looked_at: datetime | None = None
        self._looked_up_to = _FROM_THE_FIRST
        self._reconsidered_at: datetime | None = None
        self._rest_until: datetime | None = None
        self._wanted: Mapping[str, Callable[[Clinic, str], None]] = {
            "key-bundle-changed": partner.refresh_keys,
            partner.PROFILE_WANTED: partner.refresh_profile,
            "partnership-wanted": partner.refresh_partnership,
        }

    def step(self) -> bool:
        """True if something was done. Rests a little after the hub was away."""
        now = self._clinic.now()
        gave = self._reconsider(now)
        if not _is_within(LOOK_EVERY, self._looked_at, now):
            # Before the hub is asked anything: one that drops rows would else only have to refuse to answer.
            self._looked_at = now
            self._looked_up_to = self._clinic.db.run(self._look_for_overdue_receipts)
            self._clinic.db.run(lambda tx: look_at_clocks(tx, self._clinic, self._clinic.remind_before))
            move_on(self._clinic)
        gave = self._look_at_courses(now) or gave
        if self._rest_until is not None and timedelta(0) < self._rest_until - now <= TRY_AGAIN_AFTER:
            return gave
        try:
            did = self._introduce() or self._fetch_wanted()
        except Refusal as refusal:
            _log.info("upkeep waits", extra={"reason": refusal.reason})
            self._rest_until = now + TRY_AGAIN_AFTER
            return gave
        return did or gave

    def _look_at_courses(self, now: datetime) -> bool:
        """Before the hub is asked anything: clocks go on without it."""
        with self._clinic.db.glancing() as tx:
            due = watches.due(tx, now, COURSES_AT_ONCE)
        for episode_id in due:
            self._clinic.db.run(lambda tx, of=episode_id: look_at_course(tx, self._clinic, of))  # type: ignore[misc]
        return bool(due)

    def _reconsider(self, now: datetime) -> bool:
        """Wraps that could not be given when the hub asked."""
        if _is_within(RECONSIDER_EVERY, self._reconsidered_at, now):
            return False
        self._reconsidered_at = now
        with self._clinic.db.glancing() as tx:
            if not worklist.of_service(tx, [WRAP_WANTED]):
                return False
        return self._clinic.db.run(lambda tx: give_wanted_wraps(tx, self._clinic))

    def introduce_again(self) -> None:
        """One side does not know the other's newest keys."""
        self._introduced = False

    def _introduce(self) -> bool:
        """Once a run: know the hub by its keys, and be known by ours."""
        if self._introduced:
            return False
        pin_hub(self._clinic)
        partner.publish_keys(self._clinic)
        self._introduced = True
        return True

    def _fetch_wanted(self) -> bool:
        with self._clinic.db.glancing() as tx:
            wanted = worklist.of_service(tx, self._wanted)
        for item in wanted:
            self._wanted[item.kind](self._clinic, item.subject_id)
            if item.kind == "key-bundle-changed":
                self._keys_learned()
        return bool(wanted)

    def _look_for_overdue_receipts(self, tx: Transaction) -> tuple[datetime, str]:
        """What we released should have arrived: a hub that drops rows is found here. A page at each look, round and round."""
        now = self._clinic.now()
        page = entries.sealings_without_receipt(tx, self._looked_up_to, now - RECEIPT_EXPECTED_WITHIN, PAGE)
        for sealing in page:
            went = sealing.rule == "permitted" and sealing.partner_wrapped
            if went or self._was_permitted_since(tx, sealing, now):
                worklist.raise_item(
                    tx, "receipt-overdue", sealing.entry_id, now, episode_id=sealing.episode_id
                )
        return (page[-1].sealed_at, page[-1].entry_id) if len(page) == PAGE else _FROM_THE_FIRST

    def _was_permitted_since(self, tx: Transaction, sealing: Sealing, now: datetime) -> bool:
        """Whether what was not to go when it was sealed may go now, by a permission that has stood for long enough.

        Or might go in between: what a permission let go before it ended by itself should have arrived, too.
        """
        record = entries.own(tx, self._clinic.vault, sealing.record_id)
        episode = episodes.get(tx, sealing.episode_id)
        if not sealing.partner_wrapped and not self._keys_are_usable(tx, episode, now):
            # It waits for the partner's keys, not for the hub.
            return False
        view = outlook(tx, self._clinic, episode)
        asked = (record.category, record.derived_from, record.authored_at)
        item = self._named_as(tx, sealing.entry_id)
        known = _permitting(tx, view.decide(*asked, item=item))
        if known is not None:
            return known.changed_at <= now - RECEIPT_EXPECTED_WITHIN
        ends = [
            rule.ends_at for rule in view.rules if rule.ends_at and sealing.sealed_at < rule.ends_at <= now
        ]
        in_its_time = replace(view, rules=[_by_its_times(rule) for rule in view.rules])
        ended = [_permitting(tx, in_its_time.decide(*asked, at=end - _MOMENT, item=item)) for end in ends]
        return any(each and each.starts_at <= now - RECEIPT_EXPECTED_WITHIN for each in ended)

    def _named_as(self, tx: Transaction, entry_id: str) -> str:
        found = entries.sealed(tx, entry_id)
        return (found[0].labels.amends_entry_id if found else "") or entry_id

    def _keys_are_usable(self, tx: Transaction, episode: Episode, now: datetime) -> bool:
        pins = partners.Pins(tx, self._clinic.clock)
        return usable(pins, episode.partner_practice_id, now) is not None


def _permitting(tx: Transaction, decision: Decision) -> PermissionRecord | None:
    return permissions.find(tx, decision.permission_id or "") if decision.permitted else None


def _by_its_times(rule: Permission) -> Permission:
    """They alone say whether it is over."""
    return replace(rule, state=PermissionState.ACTIVE) if rule.state is PermissionState.EXPIRED else rule


def _is_within(period: timedelta, since: datetime | None, now: datetime) -> bool:
    """Not if the clock was set back since."""
    return since is not None and timedelta(0) <= now - since < period


def pin_hub(clinic: Clinic) -> None:
    """The hub signs downlinks and audit roots: its keys are verified against the network's authority, and pinned."""
    answer = clinic.gateway.ask(
        clinic.gateway.directory.ListKeyBundles, ListKeyBundlesRequest(practice_id=HUB)
    )
    signed = SignedBundle.from_message(answer.bundles[-1])
    clinic.db.run(lambda tx: pin(partners.Pins(tx, clinic.clock), signed, clinic.trust, HUB, clinic.now()))
