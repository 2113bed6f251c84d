"""A clinic's moving parts, put together: each is stepped from outside, by threads in a process and one by one in a test."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select, update

from tandem_clinic.clinic import Clinic
from tandem_clinic.exchange.downlink import KEY_NOT_KNOWN, DownlinkHandler
from tandem_clinic.exchange.sync import Sync
from tandem_clinic.exchange.upkeep import Upkeep
from tandem_clinic.hub.journal import Journal
from tandem_clinic.store import partners
from tandem_clinic.store.tables import exchange
from tandem_clinic.usecases.outcomes import ANSWERED, REFUSED
from tandem_platform.errors import Refusal
from tandem_platform.exchange.feed import KafkaFeed
from tandem_platform.exchange.reader import LogReader
from tandem_platform.exchange.relay import Relay
from tandem_platform.exchange.rows import Verify, downlink
from tandem_platform.exchange.signing import HUB, signer, verifier
from tandem_platform.exchange.transport.port import Transport
from tandem_platform.storage import Transaction

_log = logging.getLogger(__name__)

REBUILD_AFTER = timedelta(seconds=5)
"""How long a new consumer has to show that it hears before it is built anew again."""


class ClinicNode:
    """transport: None for a clinic without Kafka, which then moves everything by gRPC."""

    def __init__(self, clinic: Clinic, transport: Transport | None) -> None:
        self.clinic = clinic
        self._transport = transport
        self._relay_sign = signer(clinic.keys)
        self.reader = LogReader(clinic.db, DownlinkHandler(clinic), self._verifier_of, clinic.now)
        self.upkeep = Upkeep(clinic, keys_learned=self._try_again_what_lacked_a_key)
        self.sync = Sync(
            clinic,
            self.reader,
            kafka_works=self.kafka_works,
            rescued=self._note_rescued,
            commands_paused=lambda: self.journal.paused(),
            keys_unknown=self.upkeep.introduce_again,
        )
        self.journal = Journal(clinic, ANSWERED, REFUSED, push_uplink=self.sync.push)
        self.relay = (
            None if transport is None else Relay(clinic.db, transport, self._relay_sign, clinic.practice_id)
        )
        self.feed: KafkaFeed | None = None
        self._feed_built_at: datetime | None = None
        self._feed_is_deaf = False

    @property
    def has_kafka(self) -> bool:
        return self._transport is not None

    def health(self) -> dict[str, bool]:
        """By dependency, whether it works. A clinic goes on without hub and broker."""
        return {
            "hub": self.sync.hub_is_reached(),
            "kafka": self.kafka_works() or not self.has_kafka,
            "database": True,
        }

    def kafka_works(self) -> bool:
        """Whether Kafka carries rows both ways just now, as far as it can be told from here."""
        return (
            self.relay is not None and not self.relay.failing and self.feed is not None and self.feed.healthy
        )

    def _try_again_what_lacked_a_key(self) -> None:
        self.reader.retry_parked_for(downlink(self.clinic.practice_id), KEY_NOT_KNOWN)

    def _verifier_of(self, tx: Transaction, log: str) -> Verify:
        return verifier(partners.Pins(tx, self.clinic.clock).get(HUB), self.clinic.now())

    def step_feed(self, timeout: float = 0.0) -> bool:
        if self._transport is None:
            return False
        feed = self.feed
        if feed is not None and self._feed_is_deaf:
            feed.close()
            feed = None
        if feed is None:
            self._feed_is_deaf = False
            self._feed_built_at = self.clinic.now()
            self.feed = feed = self._new_feed(self._transport)
        return feed.step(timeout)

    def _new_feed(self, transport: Transport) -> KafkaFeed:
        name = downlink(self.clinic.practice_id)
        cursor = exchange.cursor
        with self.clinic.db.glancing() as tx:
            row = tx.first(select(cursor.c.kafka_offset).where(cursor.c.log == name))
        transport.ensure_topics([name])
        subscription = transport.subscribe_one(name, 0 if row is None else row.kafka_offset)
        return KafkaFeed(subscription, self.reader, in_group=False, may_apply=self.sync.may_apply_copies)

    def _note_rescued(self, rows: int) -> None:
        """Kafka should have brought these: count them, and have the consumer built anew by the thread that owns it."""
        cursor = exchange.cursor
        name = downlink(self.clinic.practice_id)
        self.clinic.db.run(
            lambda tx: tx.execute(
                update(cursor).where(cursor.c.log == name).values(rescued_total=cursor.c.rescued_total + rows)
            )
        )
        built_at = self._feed_built_at
        if built_at is not None and self.clinic.now() - built_at >= REBUILD_AFTER:
            self._feed_is_deaf = True

    def step_sync(self, *, wait: bool = False) -> bool:
        """One Sync, and whatever it shows to be missing here. False if the hub is away."""
        try:
            self.sync.step(wait=wait)
            self.journal.hub_is_back()
            if not self.kafka_works():
                self.step_catch_up()
        except Refusal as refusal:
            _log.info("the hub is away", extra={"reason": refusal.reason})
            return False
        return True

    def step_catch_up(self) -> bool:
        """Fetch by gRPC what Kafka has not brought. True if anything came."""
        try:
            return self.sync.fetch_missing() > 0
        except Refusal:
            return False

    def step_push(self) -> bool:
        """Bring by gRPC what Kafka has not brought to the hub."""
        try:
            return self.sync.bring_missing()
        except Refusal:
            return False

    @property
    def parts(self) -> list[Callable[[], bool]]:
        """Everything that moves, in an order in which a single round does the most."""
        relay = [] if self.relay is None else [self.relay.step]
        return [
            self.upkeep.step,
            self.journal.step,
            *relay,
            self.step_push,
            self.step_sync,
            self.step_feed,
            self.step_catch_up,
        ]

    def close(self) -> None:
        for part in (self.relay, self.feed):
            if part is not None:
                part.close()
        self.clinic.db.close()
