"""The port that carries rows between the logs' writers and readers.

A topic has one partition.
An *offset* is a transport's own number for a record; it means nothing beyond the broker's life,
and only the sequence number inside the row orders the log.
What a transport hands over is a hint: it may lose, repeat and reorder, and the exchange still delivers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[str, bytes]]
Message = tuple[bytes, bytes, Headers]
"""Key, value and headers of a record that is not published yet."""


@dataclass(frozen=True, slots=True)
class Record:
    topic: str
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


Fault = Callable[[Record], Iterable[Record]]
"""What becomes of a published record: none, one or several records, possibly altered or held back."""


class PublishFailed(Exception):
    """Not every record of the batch was acknowledged; those before the failure may have arrived.

    ``retriable`` is False when the same batch will never pass.
    ``too_large`` says that a record is the cause, and ``index`` which one of the batch where that is known.
    """

    def __init__(
        self, why: str, *, retriable: bool = True, too_large: bool = False, index: int | None = None
    ) -> None:
        super().__init__(why)
        self.retriable = retriable
        self.too_large = too_large
        self.index = index


MAX_RECORD_BYTES = 1_000_000
"""Key, value and headers together; Apache Kafka takes 1 MiB for a whole batch unless told otherwise."""


def refuse_too_large(batch: Sequence[Message], limit: int) -> None:
    """Raise PublishFailed naming the first record over *limit*, before any of the batch is sent."""
    for index, (key, value, headers) in enumerate(batch):
        size = len(key) + len(value) + sum(len(name) + len(content) for name, content in headers)
        if size > limit:
            raise PublishFailed("The record is too large", retriable=False, too_large=True, index=index)


class Publisher(Protocol):
    """May be used by several threads. Each publish is bounded by five seconds."""

    def publish(self, topic: str, batch: Sequence[Message]) -> None:
        """Return when all are acknowledged by all replicas, in order; raise PublishFailed otherwise."""
        ...

    def close(self) -> None: ...


class Subscription(Protocol):
    """Used by one thread. Never raises for a broker that is away: it polls empty and is not healthy."""

    def poll(self, timeout: float) -> list[Record]:
        """What arrived, in order per topic, after at most about *timeout* seconds.

        Finding out that a broker is gone, or connecting to one, may take up to three seconds more.
        """
        ...

    def seek(self, topic: str, offset: int) -> None:
        """Read *topic* from *offset* next."""
        ...

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Remember for the group, per topic, the offset to read next. Losing it costs only repetition."""
        ...

    def healthy(self) -> bool:
        """Whether the broker answered when it was last asked."""
        ...

    def close(self) -> None: ...


class GroupSubscription(Subscription, Protocol):
    def watch(self, topics: Iterable[str]) -> None:
        """Read these topics from now on. Takes effect at the next poll, with a rebalance of the group."""
        ...


class Transport(Protocol):
    def ensure_topics(self, topics: Iterable[str]) -> None:
        """Create what is missing. With the broker away this is done when it is back."""
        ...

    def publisher(self) -> Publisher: ...

    def subscribe_one(self, topic: str, offset: int) -> Subscription:
        """Read one topic from *offset*, which the caller keeps beside its cursor.

        An offset beyond the broker's end shows that the broker lost its state: reading starts at the earliest.
        """
        ...

    def subscribe_group(self, topics: Sequence[str], group: str) -> GroupSubscription:
        """Share *topics* with the other members of *group*, from the last committed offset or the earliest."""
        ...

    def close(self) -> None: ...
