"""The transport over Kafka: Apache Kafka in production, the embedded broker on one machine."""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.structs import MemberState, OffsetAndMetadata

from tandem_platform.exchange.transport.port import (
    MAX_RECORD_BYTES,
    Message,
    PublishFailed,
    Record,
    refuse_too_large,
)

logger = logging.getLogger(__name__)

_REQUEST_MS = 2500
_DELIVERY_MS = 4000
_PUBLISH_SECONDS = 4.8
_LOOK_SECONDS = 0.1
_SILENCE_SECONDS = 1.0
_CHECK_SECONDS = 5.0
_PARTITIONS_PER_CHECK = 50
_RECONNECT_SECONDS = 0.5
_ANSWER_MS = 1000
_SHORTEST_GROUP_POLL_MS = 100
_MOST_RECORDS = 200
# The embedded broker takes 4 s for 500 when it has thousands, longer than a request may last.
_TOPICS_PER_REQUEST = 100

_REFUSED_FOR_GOOD = (kafka_errors.InvalidRecordError, kafka_errors.InvalidTopicError)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach the brokers.

    ``security`` goes to the client as it stands, under kafka-python's names:
    ``security_protocol``, ``ssl_cafile``, ``ssl_certfile``, ``ssl_keyfile``, ``sasl_mechanism``, and so on.
    ``create_topics`` is False where topics and their ACLs are provisioned by the operator.
    ``forgets`` tells of a broker that keeps nothing over its own restart.
    """

    bootstrap: str
    replication_factor: int = 1
    create_topics: bool = True
    client_id: str = "tandem"
    connect_ms: int = 2000
    fetch_wait_ms: int = 100
    session_timeout_ms: int = 6000
    heartbeat_ms: int = 1500
    max_record_bytes: int = MAX_RECORD_BYTES
    forgets: bool = False
    security: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def for_embedded(cls, bootstrap: str) -> Self:
        """The embedded broker answers a waiting fetch only when its wait is over, so the wait is short.

        Below 10 ms it stalls at times. Its groups are small and may find out soon about a dead member.
        """
        return cls(bootstrap, fetch_wait_ms=30, session_timeout_ms=3000, heartbeat_ms=500, forgets=True)

    def client(self) -> dict[str, Any]:
        """What producer, consumer and administration share."""
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "client_id": self.client_id,
            "bootstrap_timeout_ms": self.connect_ms,
            "request_timeout_ms": _REQUEST_MS,
            "reconnect_backoff_max_ms": 1000,
            **self.security,
        }


class KafkaTransport:
    """Connects lazily: it can be made, and subscriptions with it, while no broker is there."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._topics = _Topics(settings)
        self._publishers: list[_KafkaPublisher] = []

    def ensure_topics(self, topics: Iterable[str]) -> None:
        with contextlib.suppress(KafkaError):
            self._topics.ensure(topics)

    def publisher(self) -> "_KafkaPublisher":
        publisher = _KafkaPublisher(self.settings, self._topics)
        self._publishers.append(publisher)
        return publisher

    def subscribe_one(self, topic: str, offset: int) -> "_OneTopic":
        return _OneTopic(self.settings, self._topics, topic, offset)

    def subscribe_group(self, topics: Sequence[str], group: str) -> "_GroupMember":
        return _GroupMember(self.settings, self._topics, topics, group)

    def close(self) -> None:
        for publisher in self._publishers:
            publisher.close()


def _open(kind: Callable[..., Any], **settings: Any) -> Any:
    """Make a producer, a consumer or an administrator, or leave nothing behind.

    When no broker answers, the constructors of kafka-python 3.0.12 raise without closing what they opened:
    a thread and three descriptors, for each attempt of an outage that may last for days.
    """
    opened: list[KafkaNetClient] = []

    def network(**config: Any) -> KafkaNetClient:
        client = KafkaNetClient(**config)
        opened.append(client)
        # allow_auto_create_topics stops at the constructor and never reaches the requests, so that a reader
        # would bring a lost topic back with whatever number of partitions the broker thinks usual.
        client.cluster.config["allow_auto_create_topics"] = False
        return client

    try:
        return kind(**settings, kafka_client=network)
    except BaseException:
        for client in opened:
            client.close()
        raise


class _Attempts:
    """One thread connects; those who wait for it share its failure instead of repeating it in turn."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._patience = settings.connect_ms / 1000
        self._busy = threading.Lock()
        self._not_before = 0.0

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        if not self._busy.acquire(timeout=self._patience):
            raise kafka_errors.KafkaTimeoutError("Another thread is still connecting")
        try:
            if time.monotonic() < self._not_before:
                raise kafka_errors.KafkaConnectionError("Connecting failed a moment ago")
            try:
                yield
            except KafkaError:
                self._not_before = time.monotonic() + _RECONNECT_SECONDS
                raise
        finally:
            self._busy.release()


class _Topics:
    """The topics that this process has asked for, and which of them it has not seen at the broker.

    Asking about a topic that was seen costs one look-up, however many there are.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._wanted: set[str] = set()
        self._unseen: set[str] = set()
        self._lock = threading.Lock()
        self._attempts = _Attempts(settings)

    def ensure(self, topics: Iterable[str]) -> None:
        """Create those of *topics*, and of all wanted before, that are missing. Raises KafkaError."""
        if not self._settings.create_topics:
            return
        with self._lock:
            new = [topic for topic in topics if topic not in self._wanted]
            self._wanted.update(new)
            self._unseen.update(new)
        if not self._unseen:
            return
        with self._attempts.attempt():
            with self._lock:
                unseen = set(self._unseen)
            if unseen:
                self._create_missing(unseen)
            with self._lock:
                self._unseen -= unseen

    def _create_missing(self, topics: set[str]) -> None:
        admin = _open(KafkaAdminClient, **self._settings.client())
        try:
            missing = sorted(topics - set(admin.list_topics()))
            for start in range(0, len(missing), _TOPICS_PER_REQUEST):
                self._create(admin, missing[start : start + _TOPICS_PER_REQUEST])
        except RuntimeError as error:
            # The client's way of saying that the cluster has no controller yet.
            raise kafka_errors.NotControllerError from error
        finally:
            admin.close()

    def _create(self, admin: KafkaAdminClient, topics: Sequence[str]) -> None:
        shape = {"num_partitions": 1, "replication_factor": self._settings.replication_factor}
        answer = admin.create_topics(dict.fromkeys(topics, shape), raise_errors=False)
        for topic in answer["topics"]:
            error = kafka_errors.for_code(topic["error_code"])
            if error not in (kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError):
                raise error("Creating a topic")

    def doubt(self) -> None:
        """The broker may have lost its state: look again before relying on a topic."""
        with self._lock:
            self._unseen = set(self._wanted)


class _KafkaPublisher:
    """An idempotent producer, and a new one after every failure.

    A broker that lost its state poisons an idempotent producer for ever, and after a failure whose outcome
    is unknown the order of later batches could no longer be told. Starting afresh answers both.
    """

    def __init__(self, settings: KafkaSettings, topics: _Topics) -> None:
        self._settings = settings
        self._topics = topics
        self._attempts = _Attempts(settings)
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._proven: set[int] = set()
        """The brokers to which this producer has delivered: a connection that is still being made may take its time."""

    def publish(self, topic: str, batch: Sequence[Message]) -> None:
        deadline = time.monotonic() + _PUBLISH_SECONDS
        refuse_too_large(batch, self._settings.max_record_bytes)
        producer: KafkaProducer | None = None
        try:
            producer = self._connected(topic)
            sent = [
                producer.send(topic, value=value, key=key, headers=list(headers), partition=0)
                for key, value, headers in batch
            ]
            for future in sent:
                self._await(future, producer, topic, deadline)
            self._proven.update(_leader_of(producer, topic))
        except _TOO_LARGE as error:
            raise PublishFailed(type(error).__name__, retriable=False, too_large=True) from None
        except KafkaError as error:
            self._discard(producer)
            # The text of a client error may quote a record, its name cannot.
            raise PublishFailed(
                type(error).__name__, retriable=not isinstance(error, _REFUSED_FOR_GOOD)
            ) from None

    def _await(self, sent: Any, producer: KafkaProducer, topic: str, deadline: float) -> None:
        """Until *sent* is delivered. Raises KafkaError at the latest at *deadline*, and soon once the broker is gone.

        The client itself would try, and keep a processor busy, until the whole time for delivery is over.
        """
        while not sent.is_done:
            remaining = deadline - time.monotonic()
            with contextlib.suppress(kafka_errors.KafkaTimeoutError):
                sent.get(timeout=max(0.0, min(remaining, _LOOK_SECONDS)))
            if not sent.is_done and (remaining <= 0 or self._is_cut_off(producer, topic)):
                raise kafka_errors.KafkaConnectionError("Not delivered")
        sent.get(timeout=0.0)

    def _is_cut_off(self, producer: KafkaProducer, topic: str) -> bool:
        """Whether the connection to the broker that leads *topic* stood, and stands no more."""
        client: KafkaNetClient = producer._sender._client
        return any(client.is_disconnected(leader) for leader in _leader_of(producer, topic) & self._proven)

    def _connected(self, topic: str) -> KafkaProducer:
        self._topics.ensure((topic,))
        if (producer := self._producer) is not None:
            return producer
        with self._attempts.attempt():
            if self._producer is None:
                self._producer = self._connect()
            return self._producer

    def _connect(self) -> KafkaProducer:
        return _open(
            KafkaProducer,
            **self._settings.client(),
            acks="all",
            enable_idempotence=True,
            max_block_ms=self._settings.connect_ms,
            delivery_timeout_ms=_DELIVERY_MS,
            # Room for hundreds of rows of usual size in one request; a larger row travels alone.
            batch_size=512 * 1024,
            max_request_size=max(4 * 1024 * 1024, 2 * self._settings.max_record_bytes),
            linger_ms=0,
        )

    def _discard(self, producer: KafkaProducer | None) -> None:
        self._topics.doubt()
        with self._lock:
            if producer is None or producer is not self._producer:
                return
            self._producer, self._proven = None, set()
        _abandon(producer)

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _abandon(producer)


def _leader_of(producer: KafkaProducer, topic: str) -> set[int]:
    """The broker that leads *topic*, if the client knows it."""
    leader = producer._sender._client.cluster.leader_for_partition(TopicPartition(topic, 0))
    return set() if leader is None or leader < 0 else {leader}


def _abandon(producer: KafkaProducer) -> None:
    """Close *producer* without sending what it still holds."""
    try:
        producer.close(timeout=0)
    except kafka_errors.KafkaTimeoutError:
        # close() waits for unsent batches first and gives up before it stops its thread when they are stuck.
        # The thread would then go on and deliver them behind those of the next producer.
        producer._sender.force_close()
        producer._sender.join(_ANSWER_MS / 1000)
        with contextlib.suppress(kafka_errors.KafkaTimeoutError):
            producer.close(timeout=0)


class _KafkaSubscription:
    """What both kinds of subscription share: connecting, noticing silence, starting afresh."""

    def __init__(self, settings: KafkaSettings, topics: _Topics) -> None:
        self._settings = settings
        self._topics = topics
        self._consumer: KafkaConsumer | None = None
        self._next: dict[str, int] = {}
        self._answered = False
        self._answered_at = 0.0
        self._checked_at = 0.0
        self._reconnect_at = 0.0
        self._closed = threading.Event()

    def poll(self, timeout: float) -> list[Record]:
        deadline = time.monotonic() + timeout
        try:
            consumer = self._connected()
            if consumer is None:
                self._closed.wait(max(0.0, deadline - time.monotonic()))
                return []
            records = self._poll(consumer, max(0, int((deadline - time.monotonic()) * 1000)))
            now = time.monotonic()
            if records:
                self._answered_at = now
            if now - self._answered_at > _SILENCE_SECONDS or now - self._checked_at > _CHECK_SECONDS:
                self._check(consumer)
        except KafkaError as error:
            self._start_afresh(error)
            return []
        else:
            return records

    def _connected(self) -> KafkaConsumer | None:
        if self._consumer is None and not self._closed.is_set() and time.monotonic() >= self._reconnect_at:
            self._topics.ensure(self._read_topics())
            self._consumer = self._connect()
            self._heard()
        return self._consumer

    def _consumer_settings(self) -> dict[str, Any]:
        return {
            **self._settings.client(),
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": self._settings.fetch_wait_ms,
            "max_partition_fetch_bytes": max(1024 * 1024, 2 * self._settings.max_record_bytes),
            "fetch_max_bytes": max(16 * 1024 * 1024, 2 * self._settings.max_record_bytes),
            "max_poll_records": _MOST_RECORDS,
            # A change of topics that meets a metadata request under way is not seen before the next one.
            "metadata_max_age_ms": 5000,
        }

    def _poll(self, consumer: KafkaConsumer, timeout_ms: int) -> list[Record]:
        found: list[Record] = []
        for partition, batch in consumer.poll(timeout_ms).items():
            if batch[0].offset < self._next.get(partition.topic, 0):
                self._read_from_the_earliest(consumer, partition)
                continue
            found.extend(_records(batch))
            self._next[partition.topic] = batch[-1].offset + 1
        return found

    def _read_from_the_earliest(self, consumer: KafkaConsumer, partition: TopicPartition) -> None:
        """The broker went back behind what it once handed out, so it lost records and numbers anew."""
        logger.warning("The broker lost records; reading from the earliest")
        self._next[partition.topic] = 0
        consumer.seek_to_beginning(partition)

    def _check(self, consumer: KafkaConsumer) -> None:
        """Tell a quiet log from a broker that is gone, hung, or has lost records."""
        topics = self._read_topics()
        if topics:
            consumer.beginning_offsets([TopicPartition(topics[0], 0)], timeout_ms=_ANSWER_MS)
        self._heard()
        read = list(consumer.assignment())
        sample = random.sample(read, min(len(read), _PARTITIONS_PER_CHECK))
        if any(self._went_back(consumer, partition) for partition in sample):
            for partition in read:
                if self._went_back(consumer, partition):
                    self._read_from_the_earliest(consumer, partition)

    def _went_back(self, consumer: KafkaConsumer, partition: TopicPartition) -> bool:
        """Whether the broker's log now ends before what was read of it.

        The embedded broker answers a fetch beyond its end with nothing, for ever.
        Apache Kafka has the client go back to the last offset both know, though what lies below it may be new.
        """
        end = consumer.highwater(partition)
        position = consumer.position(partition, timeout_ms=_ANSWER_MS)
        if end is None or position is None:
            return False
        return bool(min(end, position) < max(position, self._next.get(partition.topic, 0)))

    def _heard(self) -> None:
        self._answered = True
        self._answered_at = self._checked_at = time.monotonic()

    def _start_afresh(self, error: KafkaError) -> None:
        if self._answered:
            logger.warning("The broker does not answer: %s", type(error).__name__)
        self._answered = False
        self._topics.doubt()
        self._reconnect_at = time.monotonic() + _RECONNECT_SECONDS
        self._disconnect()
        if self._settings.forgets:
            # Its new log may already be longer than the old one was, which no offset could show.
            # Rows that are read twice cost a comparison, rows that are passed over cost a fetch.
            self._next = dict.fromkeys(self._next, 0)

    def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError):
                consumer.close(autocommit=False, timeout_ms=_ANSWER_MS)

    def healthy(self) -> bool:
        return self._answered

    def seek(self, topic: str, offset: int) -> None:
        self._next[topic] = offset
        partition = TopicPartition(topic, 0)
        if self._consumer is not None and partition in self._consumer.assignment():
            self._consumer.seek(partition, offset)

    def close(self) -> None:
        self._closed.set()
        self._answered = False
        self._disconnect()

    def _read_topics(self) -> Sequence[str]:
        raise NotImplementedError

    def _connect(self) -> KafkaConsumer:
        raise NotImplementedError


class _OneTopic(_KafkaSubscription):
    """Assigns itself the topic's partition; the offset lives with the caller."""

    def __init__(self, settings: KafkaSettings, topics: _Topics, topic: str, offset: int) -> None:
        super().__init__(settings, topics)
        self._topic = topic
        self._next[topic] = offset

    def _read_topics(self) -> Sequence[str]:
        return (self._topic,)

    def _connect(self) -> KafkaConsumer:
        consumer = _open(KafkaConsumer, **self._consumer_settings(), group_id=None)
        partition = TopicPartition(self._topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, self._next[self._topic])
        return consumer

    def commit(self, offsets: Mapping[str, int]) -> None:
        """The caller keeps its own offset."""


class _GroupMember(_KafkaSubscription):
    """Reads its share of the watched topics."""

    def __init__(self, settings: KafkaSettings, topics: _Topics, watched: Sequence[str], group: str) -> None:
        super().__init__(settings, topics)
        self._group = group
        self._watched = tuple(dict.fromkeys(watched))
        self._subscribed: tuple[str, ...] = ()
        self._uncommitted: dict[str, int] = {}

    def watch(self, topics: Iterable[str]) -> None:
        self._watched = tuple(dict.fromkeys(topics))

    def _read_topics(self) -> Sequence[str]:
        return self._watched

    def _connect(self) -> KafkaConsumer:
        self._subscribed = ()
        self._next.clear()
        return _open(
            KafkaConsumer,
            **self._consumer_settings(),
            group_id=self._group,
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=self._settings.heartbeat_ms,
            # Also how long a rebalance waits for a member that does not come. The cursor's lock fences it anyway.
            max_poll_interval_ms=30_000,
            # Topics have one partition each, which the default assignor would all give to the first member.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )

    def _poll(self, consumer: KafkaConsumer, timeout_ms: int) -> list[Record]:
        if self._subscribed != self._watched:
            self._topics.ensure(self._watched)
            self._subscribed = self._watched
            consumer.subscribe(list(self._subscribed), listener=_Forgetting(self._next))
        if consumer.group_metadata().state is MemberState.REBALANCING:
            # On the surface this might seem redundant, because polling takes part in a rebalance by itself.
            # But kafka-python 3.0.12 forgets why it rejoins once it has asked; when the answer outlasts that
            # poll, nobody takes it, heartbeats stay off and the member reads nothing for ever.
            consumer._coordinator.request_rejoin()
        # A poll that is too short never joins the group.
        return super()._poll(consumer, max(timeout_ms, _SHORTEST_GROUP_POLL_MS))

    def commit(self, offsets: Mapping[str, int]) -> None:
        self._uncommitted.update(offsets)
        if self._consumer is not None:
            with contextlib.suppress(KafkaError):
                self._consumer.commit_async(_offsets(offsets))

    def close(self) -> None:
        if self._consumer is not None and self._uncommitted and self._answered:
            mine = {p.topic for p in self._consumer.assignment()}
            last = {topic: offset for topic, offset in self._uncommitted.items() if topic in mine}
            with contextlib.suppress(KafkaError):
                self._consumer.commit(_offsets(last), timeout_ms=_ANSWER_MS)
        super().close()


class _Forgetting(ConsumerRebalanceListener):  # type: ignore[misc]  # the client carries no types
    """Where this member stood means nothing once another may have read on."""

    def __init__(self, positions: dict[str, int]) -> None:
        self._positions = positions

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            self._positions.pop(partition.topic, None)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Reading starts at the committed offset."""


def _offsets(offsets: Mapping[str, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1) for topic, offset in offsets.items()}


def _records(batch: Iterable[Any]) -> Iterator[Record]:
    for found in batch:
        yield Record(found.topic, found.offset, found.key, found.value or b"", tuple(found.headers))
