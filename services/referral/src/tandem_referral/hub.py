"""The hub, put together: servicers, uplink readers, relay, sweeper and clock, each stepped from outside."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from tandem.audit.v1 import audit_pb2
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1 import exchange_pb2
from tandem.referral.v1 import referral_pb2
from tandem_care.lifecycle import CLOCKS, State
from tandem_platform.clock import Clock
from tandem_platform.exchange.feed import KafkaFeed
from tandem_platform.exchange.reader import LogReader
from tandem_platform.exchange.relay import Relay
from tandem_platform.exchange.rows import Verify, practice_of, uplink
from tandem_platform.exchange.signing import HUB, signer, verifier
from tandem_platform.exchange.transport.port import GroupSubscription, Transport
from tandem_platform.ids import new_id
from tandem_platform.rpc.dispatch import Dispatcher, Outcomes
from tandem_platform.sealing import PracticeKeys
from tandem_platform.storage import Database, Transaction
from tandem_referral.grpc.audit import AuditServicer
from tandem_referral.grpc.consent import ConsentServicer
from tandem_referral.grpc.directory import DirectoryServicer
from tandem_referral.grpc.exchange import ExchangeServicer
from tandem_referral.grpc.pages import PageTokens
from tandem_referral.grpc.referral import ReferralServicer
from tandem_referral.store import audit, entries, keys, permissions, practices, referrals, sync
from tandem_referral.store.commands import RememberedCommands
from tandem_referral.usecases import consent
from tandem_referral.usecases.audit import RootPublisher
from tandem_referral.usecases.directory import KeyTrust
from tandem_referral.usecases.exchange import UplinkHandler
from tandem_referral.usecases.hub_time import HubTime
from tandem_referral.usecases.referrals import expire_referral
from tandem_referral.usecases.release import sweep_once

_log = logging.getLogger(__name__)

GROUP = "tandem-hub"
REMEMBER_EVERY = timedelta(seconds=10)
LOOK_EVERY = timedelta(seconds=1)
REBUILD_AFTER = timedelta(seconds=10)
"""How long a new consumer has to find its group before it counts as deaf."""


class Hub:
    """One process of the hub. Nothing runs by itself: the process steps its parts in threads, a test one by one.

    transport: None for a hub without Kafka, which then serves by gRPC alone.
    """

    def __init__(
        self,
        database: Database,
        keys_of_hub: PracticeKeys,
        trust: KeyTrust,
        clock: Clock,
        transport: Transport | None,
        page_key: bytes,
        *,
        ticking: Callable[[], float] | None,
        sync_period: float = 30.0,
        outcomes: Outcomes | None = None,
        serves: bool = True,
        clocks: Mapping[State, timedelta] = CLOCKS,
    ) -> None:
        """*serves*: clinics call this process. Its start begins a new run, in which they sync before anything is released.

        clocks: how long a referral may stay in each state.
        """
        self._serves = serves
        self._clocks = clocks
        self.database = database
        self.time = HubTime(clock, ticking)
        self._clock = clock
        self._sign = signer(keys_of_hub)
        handler = UplinkHandler(self.time)
        self.uplinks = LogReader(database, handler, self._verifier_of, clock.now, keep=True)
        self.dispatcher = self._dispatcher(trust, page_key, sync_period, outcomes)
        self.relay = (
            None
            if transport is None
            else Relay(database, transport, self._sign, "tandem-hub", downlinks_that_may_leave)
        )
        self.feed = None if transport is None else UplinkFeed(database, self.uplinks, transport, clock)
        self.sweeper = Sweeper(database, self.time)
        self.ticker = Ticker(database, self.time)
        self.roots = RootPublisher(database, clock, keys_of_hub)
        database.run(lambda tx: self._begin(tx, keys_of_hub))

    def _begin(self, tx: Transaction, keys_of_hub: PracticeKeys) -> None:
        """What this database holds may come from a backup: clinics sync anew with this run."""
        if self._serves:
            sync.begin_run(tx, new_id("run"), self._clock.now())
            # The mark is stored now and then only; what was decided since must not come to lie in the future.
            decided_at = audit.last_written_at(tx)
            if decided_at is not None:
                sync.raise_high_water(tx, decided_at)
        own, known = keys_of_hub.signed_bundle.to_message(), practices.last_bundle(tx, HUB)
        if known is None or known.version < own.version:
            practices.add_bundle(tx, own, self._clock.now())
        elif known.bundle == own.bundle and known.certificate_chain != own.certificate_chain:
            practices.certify_bundle_anew(tx, own)

    def _verifier_of(self, tx: Transaction, log: str) -> Verify:
        return verifier(keys.newest(tx, practice_of(log)), self._clock.now())

    def _dispatcher(
        self, trust: KeyTrust, page_key: bytes, sync_period: float, outcomes: Outcomes | None
    ) -> Dispatcher:
        database, time, pages = self.database, self.time, PageTokens(page_key)
        dispatcher = Dispatcher(
            self._clock, memory=RememberedCommands(database, self._clock), outcomes=outcomes
        )
        self.exchange = ExchangeServicer(database, self.uplinks, time, self._sign, pages, period=sync_period)
        services = (
            (
                DirectoryServicer(database, pages, trust),
                directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"],
            ),
            (
                ReferralServicer(database, time, pages, self._clocks),
                referral_pb2.DESCRIPTOR.services_by_name["ReferralService"],
            ),
            (
                ConsentServicer(database, time, pages),
                consent_pb2.DESCRIPTOR.services_by_name["ConsentService"],
            ),
            (AuditServicer(database, pages), audit_pb2.DESCRIPTOR.services_by_name["AuditService"]),
        )
        for servicer, service in services:
            dispatcher.register(servicer, service)
        dispatcher.register(
            self.exchange, exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"], waiting=["Sync"]
        )
        return dispatcher

    def close(self) -> None:
        for part in (self.relay, self.feed):
            if part is not None:
                part.close()
        self.database.close()


def downlinks_that_may_leave(tx: Transaction, names: list[str]) -> set[str]:
    """After a restore the relay must not bring a practice what a lost revocation forbids."""
    there = sync.caught_up(tx, [practice_of(name) for name in names])
    return {name for name in names if practice_of(name) in there}


class UplinkFeed:
    """Reads all practices' uplinks from Kafka, shared with the hub's other processes through a consumer group.

    A consumer that hears nothing while Push brings what Kafka should have brought is built anew.
    """

    def __init__(self, database: Database, uplinks: LogReader, transport: Transport, clock: Clock) -> None:
        self._clock = clock
        self._looked_at: datetime | None = None
        self._built_at = clock.now()
        self._rescued_before = 0
        self._heard_before = 0
        self._database = database
        self._uplinks = uplinks
        self._transport = transport
        self._watched: frozenset[str] = frozenset()
        self._subscription: GroupSubscription | None = None
        self._feed: KafkaFeed | None = None

    def step(self, timeout: float = 0.0) -> bool:
        now = self._clock.now()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            self._look(now)
        return self._feed is not None and self._feed.step(timeout)

    def _look(self, now: datetime) -> None:
        with self._database.glancing() as tx:
            topics = frozenset(uplink(practice_id) for practice_id in practices.all_ids(tx))
            rescued = sync.rescued_total(tx)
        if self._feed is not None and rescued > self._rescued_before:
            if self._feed.heard > self._heard_before:
                self._heard_before = self._feed.heard
            elif now - self._built_at >= REBUILD_AFTER:
                self._feed.close()
                self._subscription, self._feed, self._watched = None, None, frozenset()
        self._rescued_before = rescued
        if topics != self._watched and topics:
            self._watch(topics)
            self._built_at = now

    def _watch(self, topics: frozenset[str]) -> None:
        self._transport.ensure_topics(topics)
        if self._subscription is None:
            self._subscription = self._transport.subscribe_group(sorted(topics), GROUP)
            self._feed = KafkaFeed(self._subscription, self._uplinks, in_group=True)
            self._heard_before = 0
        else:
            self._subscription.watch(sorted(topics))
        self._watched = topics

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()


class Sweeper:
    """Looks again, in chunks, at what was withheld in scopes that have changed."""

    def __init__(self, database: Database, time: HubTime) -> None:
        self._database = database
        self._time = time

    def step(self) -> bool:
        """One chunk of every scope that is due. True if there may be more."""
        with self._database.glancing() as tx:
            due = entries.sweeps(tx)
        for scope in due:
            self._database.run(partial(self._sweep, scope=scope))
        return bool(due)

    def _sweep(self, tx: Transaction, scope: permissions.Scope) -> bool:
        return sweep_once(tx, scope, self._time.decision_time(tx))


class Ticker:
    """What time alone brings: permissions that start or end, referrals that expire, the hub's high-water mark."""

    def __init__(self, database: Database, time: HubTime) -> None:
        self._database = database
        self._time = time
        self._remembered_at: datetime | None = None

    def step(self) -> bool:
        """True if something's time had come."""
        with self._database.reading() as tx:
            now = self._time.decision_time(tx)
            due = permissions.due(tx, now)
            overdue = referrals.due(tx, now)
        for row in due:
            self._database.run(partial(consent.change_due, row=row, now=now))
        for referral_id in overdue:
            self._database.run(partial(expire_referral, referral_id=referral_id, now=now))
        if self._remembered_at is None or now - self._remembered_at >= REMEMBER_EVERY:
            self._database.run(self._time.remember)
            self._remembered_at = now
        return bool(due or overdue)
