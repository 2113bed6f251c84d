"""A broker that may be hurt, transports to it, and what tests say over them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.exchange.transport.port import Message, Publisher, Record, Subscription, Transport

AnySubscription = TypeVar("AnySubscription", bound=Subscription)


class Hurt(Protocol):
    """What a test may do to a broker."""

    @property
    def forgets(self) -> bool: ...

    @property
    def version(self) -> str: ...

    def start(self) -> object: ...

    def kill(self) -> None: ...

    def empty(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class MemoryBroker:
    forgets = False
    version = "memory"

    def __init__(self) -> None:
        self.transport = MemoryTransport()

    def start(self) -> None:
        self.transport.down = False

    def kill(self) -> None:
        self.transport.down = True

    def empty(self) -> None:
        self.transport.lose_all()

    freeze = kill
    thaw = start


@dataclass
class Stage:
    """A broker, and transports to it that end with the test."""

    broker: Hurt
    connect: Callable[[], Transport]
    bootstrap: str = ""
    _open: list[Transport] = field(default_factory=list)
    _subscriptions: list[Subscription] = field(default_factory=list)

    def transport(self) -> Transport:
        transport = self.connect()
        self._open.append(transport)
        return transport

    def reads(self, topic: str, offset: int = 0) -> Subscription:
        return self.kept(self.transport().subscribe_one(topic, offset))

    def kept(self, subscription: AnySubscription) -> AnySubscription:
        self._subscriptions.append(subscription)
        return subscription

    def publisher(self) -> Publisher:
        return self.transport().publisher()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        for transport in self._open:
            transport.close()


def numbered(count: int, start: int = 0, size: int = 0) -> list[Message]:
    return [(b"k", str(number).zfill(size).encode(), ()) for number in range(start, start + count)]


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(record.value) for record in records]


def read(subscription: Subscription, count: int, within: float = 15) -> list[Record]:
    """The next *count* records, or as many as came in time."""
    deadline = time.monotonic() + within
    found: list[Record] = []
    while len(found) < count and time.monotonic() < deadline:
        found += subscription.poll(0.2)
    return found


def eventually(what: str, holds: Callable[[], bool], within: float = 15) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
