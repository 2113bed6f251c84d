"""What Sync says, and when."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.network import SimulatedClinic
from tandem.exchange.v1 import exchange_pb2 as pb
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_clinic.domain.refusals import UplinkNotStopped
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import cursor_of
from tandem_platform.exchange.rows import downlink
from tandem_platform.ids import new_id
from tandem_platform.rpc.identity import Caller
from tandem_referral.grpc.exchange import ExchangeServicer
from tandem_referral.store import sync

from .conftest import Course, either_way


def stub_of(course: Course, clinic: SimulatedClinic) -> ExchangeServiceStub:
    return ExchangeServiceStub(course.network.channel(Caller("practice", clinic.name)))


def a_request(clinic: SimulatedClinic, **changes: Any) -> pb.SyncRequest:
    """What the clinic would say now."""
    with clinic.db.reading() as tx:
        request = pb.SyncRequest(
            uplink_head=log.head_of(tx, clinic.clinic.uplink).to_message(),
            downlink_cursor=cursor_of(tx, downlink(clinic.name)).to_message(),
        )
    request.MergeFrom(clinic.node.sync._request(False))
    request.MergeFrom(pb.SyncRequest(**changes))
    return request


def test_it_tells_where_the_hub_stands(course: Course) -> None:
    course.score_and_settle(1)
    answer = stub_of(course, course.juniper).Sync(a_request(course.juniper), timeout=10)
    with course.juniper.db.reading() as tx:
        assert answer.uplink_cursor == log.head_of(tx, course.juniper.clinic.uplink).to_message()
        assert answer.downlink_head == cursor_of(tx, downlink("juniper")).to_message()
    assert not answer.push_wanted
    assert not answer.uplink_stopped
    assert answer.downlink_epoch == 0
    assert answer.next_after.ToTimedelta().total_seconds() >= 0


def test_push_is_wanted_by_a_hub_that_may_have_lost_rows_and_by_no_other(course: Course) -> None:
    course.juniper.running = False
    course.scores(1)
    answer = stub_of(course, course.juniper).Sync(a_request(course.juniper), timeout=10)
    assert not answer.push_wanted, "Kafka has its time"
    course.network.restart_hub()
    answer = stub_of(course, course.juniper).Sync(a_request(course.juniper), timeout=10)
    assert answer.push_wanted


def test_what_is_parked_is_told_to_its_source(course: Course) -> None:
    body = pb.RowBody()
    body.entry.labels.entry_id, body.entry.labels.episode_id = new_id("ent"), course.referred.episode_id
    body.entry.labels.origin_practice_id = "juniper"
    course.juniper.db.run(lambda tx: log.stage(tx, course.juniper.clinic.uplink, body))
    course.score_and_settle(1)
    answer = stub_of(course, course.juniper).Sync(a_request(course.juniper), timeout=10)
    assert len(answer.quarantined) == 2, "the forged row, and the score behind it"
    assert "rows-parked-at-hub" in course.juniper.alerts()
    assert course.seen() == []


def test_a_stopped_uplink_is_told_and_goes_on_in_a_new_epoch_when_its_administrator_says_so(
    course: Course,
) -> None:
    cursor = course.network.hub.database.metadata.tables["exchange_cursor"]
    course.network.hub.database.run(
        lambda tx: tx.execute(
            cursor.update().where(cursor.c.log == "tandem.juniper.up").values(stopped="hash-mismatch")
        )
    )
    course.score_and_settle(1)
    assert course.seen() == []
    assert "uplink-stopped" in course.juniper.alerts()
    course.juniper.node.sync.reopen_uplink()
    assert course.juniper.alerts() == []
    course.network.settle()
    assert course.seen() == [1]
    assert course.juniper.alerts() == []
    course.assert_whole()


def test_an_uplink_that_the_hub_has_not_stopped_is_not_reopened(course: Course) -> None:
    course.score_and_settle(1)
    before = course.rows(course.juniper, "exchange_head")
    with pytest.raises(UplinkNotStopped):
        course.juniper.node.sync.reopen_uplink()
    course.score_and_settle(2)
    assert course.seen() == [1, 2]
    assert [row.epoch for row in course.rows(course.juniper, "exchange_head")] == [
        row.epoch for row in before
    ]
    assert course.juniper.alerts() == []
    course.assert_whole()


def test_a_stopped_downlink_goes_on_when_its_administrator_says_so(course: Course) -> None:
    cursor = course.riverbend.db.metadata.tables["exchange_cursor"]
    course.riverbend.db.run(lambda tx: tx.execute(cursor.update().values(stopped="hash-mismatch")))
    course.score_and_settle(1)
    assert course.seen() == []
    assert "downlink-stopped" in course.riverbend.alerts()
    course.riverbend.node.sync.resume_downlink()
    course.network.settle()
    assert course.seen() == [1]
    course.assert_whole()


def test_read_gives_nothing_above_a_place_that_is_not_of_the_log(course: Course) -> None:
    course.score_and_settle(1)
    stub = stub_of(course, course.riverbend)
    elsewhere = pb.LogPosition(epoch=1, sequence=1, hash=b"\x05" * 32)
    assert list(stub.Read(pb.ReadRequest(after=elsewhere, limit=10), timeout=10).rows) == []
    assert len(stub.Read(pb.ReadRequest(limit=10), timeout=10).rows) > 1


@pytest.fixture
def waiting(course: Course) -> Iterator[Callable[..., Any]]:
    """Calls Sync on a thread of its own, with a hub that lets it wait for ten seconds."""
    course.network.settle()
    course.network.hub.exchange._period = 10.0
    with ThreadPoolExecutor(8) as threads:

        def call(clinic: SimulatedClinic, **changes: Any) -> Any:
            request = a_request(clinic, wait=True, **changes)
            return threads.submit(stub_of(course, clinic).Sync, request, timeout=20)

        yield call
        course.network.hub.exchange.end_waiting()


def until(condition: Callable[[], bool], what: str, seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < end, what
        tick.wait(0.01)


@either_way
def test_a_long_poll_answers_when_the_head_moves(course: Course, waiting: Callable[..., Any]) -> None:
    poll = waiting(course.riverbend)
    quiet = threading.Event()
    quiet.wait(0.3)
    assert not poll.done()
    started = time.monotonic()
    course.scores(1)
    course.juniper.node.sync.push()
    answer = poll.result(timeout=8)
    assert time.monotonic() - started < 2
    with course.riverbend.db.reading() as tx:
        assert answer.downlink_head.sequence > cursor_of(tx, downlink("riverbend")).sequence


def test_a_long_poll_answers_at_once_when_the_clinic_has_something_to_do(
    course: Course, waiting: Callable[..., Any]
) -> None:
    course.riverbend.running = False
    course.score_and_settle(1)
    course.network.hub.exchange._period = 10.0
    assert waiting(course.riverbend).result(timeout=5).downlink_head.sequence > 0


def test_a_long_poll_ends_when_another_run_of_the_hub_begins(
    course: Course, waiting: Callable[..., Any]
) -> None:
    poll = waiting(course.riverbend)
    threading.Event().wait(0.2)
    assert not poll.done()
    clock = course.network.clock
    course.network.hub.database.run(lambda tx: sync.begin_run(tx, "run_another", clock.now()))
    assert poll.result(timeout=5).hub_time.seconds > 0


def test_the_answer_after_a_wait_is_of_now(course: Course, waiting: Callable[..., Any]) -> None:
    poll = waiting(course.juniper)
    threading.Event().wait(0.2)
    course.scores(1)
    course.juniper.node.sync.push()
    with course.juniper.db.reading() as tx:
        head = log.head_of(tx, course.juniper.clinic.uplink).sequence
    course.network.hub.exchange.end_waiting()
    assert poll.result(timeout=5).uplink_cursor.sequence == head


def test_when_too_many_wait_the_hub_says_when_to_come_back(
    course: Course, waiting: Callable[..., Any]
) -> None:
    servicer: ExchangeServicer = course.network.hub.exchange
    servicer._places = threading.BoundedSemaphore(1)
    first = waiting(course.juniper)
    until(lambda: _is_taken(servicer._places), "waits")
    for kafka_failing, shortest, longest in ((False, 5.0, 15.0), (True, 0.2, 1.0)):
        request = a_request(course.riverbend, wait=True)
        request.kafka_failing = kafka_failing
        answer = stub_of(course, course.riverbend).Sync(request, timeout=10)
        assert shortest <= answer.next_after.ToTimedelta().total_seconds() <= longest
    course.network.hub.exchange.end_waiting()
    first.result(timeout=5)


def _is_taken(places: threading.BoundedSemaphore) -> bool:
    if not places.acquire(blocking=False):
        return True
    places.release()
    return False
