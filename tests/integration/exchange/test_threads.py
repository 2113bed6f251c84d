"""The parts in their threads, as in the processes: how soon an entry is at the partner when Kafka carries nothing."""

import random
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from tandem_clinic.process import _loops as loops_of_clinic
from tandem_clinic.settings import ROLES as CLINIC_ROLES
from tandem_clinic.store.tables import received_entry
from tandem_platform.exchange.log import ROWS
from tandem_platform.exchange.transport.memory import losing
from tandem_platform.lifecycle import Loop, drain
from tandem_referral.bootstrap import _loops as loops_of_hub
from tandem_referral.settings import ROLES as HUB_ROLES

from .conftest import SCORES, Course, either_way

ENTRIES = 5
BOUND = 2.0


@pytest.fixture
def running(course: Course) -> Iterator[Course]:
    """Everything steps by itself, and the clock runs."""
    network = course.network
    network.hub.exchange._period = 30.0
    ended = threading.Event()

    def run_clock() -> None:
        last = time.monotonic()
        while not ended.wait(0.01):
            now = time.monotonic()
            network.clock.advance(timedelta(seconds=now - last))
            last = now

    clock = threading.Thread(target=run_clock)
    loops: list[Loop] = loops_of_hub(network.hub, HUB_ROLES)
    for clinic in (course.juniper, course.riverbend):
        loops += loops_of_clinic(clinic.node, CLINIC_ROLES)
    clock.start()
    for loop in loops:
        loop.start()
    yield course
    network.hub.exchange.end_waiting()
    assert drain(loops, 20)
    ended.set()
    clock.join()
    assert [loop.fault for loop in loops if loop.fault] == []


def seconds_to_the_partner(course: Course) -> float:
    """From commit at Juniper to Riverbend's projection."""
    arrived = len(course.seen())
    course.scores(arrived)
    started = time.monotonic()
    seen = course.riverbend.db.wakeup(ROWS).count
    while _count(course) <= arrived:
        assert time.monotonic() - started < 30, "the entry does not arrive"
        seen = course.riverbend.db.wakeup(ROWS).wait(seen, 0.01)
    return time.monotonic() - started


def _count(course: Course) -> int:
    with course.riverbend.db.reading() as tx:
        row = tx.first(select(func.count()).where(received_entry.c.category == SCORES.value))
    return 0 if row is None else int(row[0])


def median(course: Course) -> float:
    """The machine is shared: one slow turn says nothing."""
    return statistics.median(seconds_to_the_partner(course) for _ in range(ENTRIES))


@either_way
def test_an_entry_is_at_the_partner_at_once(running: Course) -> None:
    assert median(running) < BOUND
    assert running.seen() == list(range(ENTRIES))


def test_with_the_broker_down_an_entry_is_there_within_two_seconds(running: Course) -> None:
    running.broker.down = True
    assert median(running) < BOUND
    assert running.seen() == list(range(ENTRIES))


def test_with_a_broker_that_takes_everything_and_gives_nothing_too(running: Course) -> None:
    """Nobody knows that Kafka fails: each hop gives it its time, and then goes by gRPC."""
    running.broker.faults = losing(1.0, random.Random(1))
    assert median(running) < BOUND
    assert running.seen() == list(range(ENTRIES))
