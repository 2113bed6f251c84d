"""Kafka down, deaf, lying or empty: gRPC brings everything, says what it rescued, and builds the consumer anew."""

import random

import pytest

from tandem_clinic.exchange.sync import LEASE
from tandem_platform.exchange.transport.memory import corrupting, duplicating, losing, reordering, together

from .conftest import Course

# A network without Kafka has nothing of it to lose.
pytestmark = pytest.mark.parametrize("beginning", ["kafka"], indirect=True, scope="session")


def rescued(course: Course) -> int:
    """Rows of Riverbend's downlink that only gRPC has brought."""
    (cursor,) = course.rows(course.riverbend, "exchange_cursor")
    return int(cursor.rescued_total)


def rescued_at_hub(course: Course) -> int:
    return sum(row.rescued_total for row in course.hub_rows("exchange_cursor"))


def test_when_kafka_works_nothing_is_rescued(course: Course) -> None:
    before = (rescued(course), rescued_at_hub(course))
    course.score_and_settle(1, 2, 3)
    assert course.seen() == [1, 2, 3]
    assert (rescued(course), rescued_at_hub(course)) == before


def test_with_the_broker_down_grpc_carries_everything(course: Course) -> None:
    course.broker.down = True
    course.score_and_settle(1, 2)
    assert course.seen() == [1, 2]
    assert not course.juniper.node.kafka_works()
    course.broker.down = False
    course.score_and_settle(3)
    assert course.seen() == [1, 2, 3]
    assert course.juniper.node.kafka_works()
    course.assert_whole()


def test_a_row_that_kafka_lost_on_its_way_down_is_rescued_and_the_consumer_built_anew(course: Course) -> None:
    before, feed = rescued(course), course.riverbend.node.feed
    course.network.advance(10)
    course.scores(1)
    assert course.juniper.node.relay is not None
    course.juniper.node.relay.step()
    course.network.step_hub()
    course.broker.lose_all()
    course.network.settle()
    assert course.seen() == [1]
    assert rescued(course) > before
    assert course.riverbend.node.feed is not feed
    course.score_and_settle(2)
    assert course.seen() == [1, 2]
    course.assert_whole()


def test_a_row_that_kafka_lost_on_its_way_up_is_counted_at_the_hub(course: Course) -> None:
    before = rescued_at_hub(course)
    course.broker.drop(1)
    course.score_and_settle(1)
    assert course.seen() == [1]
    assert rescued_at_hub(course) > before


def test_a_hub_whose_consumer_is_deaf_builds_a_new_one(course: Course) -> None:
    course.network.advance(60)
    feed = course.network.hub.feed
    assert feed is not None
    deaf = feed._subscription
    assert deaf is not None
    deaf.close()
    for total in range(1, 8):
        course.network.advance(5)
        course.score_and_settle(total)
    assert course.seen() == list(range(1, 8))
    assert feed._subscription is not deaf
    before = rescued_at_hub(course)
    course.score_and_settle(8)
    assert course.seen()[-1] == 8
    assert rescued_at_hub(course) == before, "Kafka carries again"


def test_a_broker_that_came_back_empty_with_a_clinics_offset_beyond_its_end(course: Course) -> None:
    course.score_and_settle(1, 2, 3)
    (cursor,) = course.rows(course.riverbend, "exchange_cursor")
    assert cursor.kafka_offset > 0
    course.broker.lose_all()
    course.riverbend.restart()
    course.score_and_settle(4)
    assert course.seen() == [1, 2, 3, 4]
    (after,) = course.rows(course.riverbend, "exchange_cursor")
    assert 0 < after.kafka_offset < cursor.kafka_offset
    course.assert_whole()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_broker_does_everything_arrives_once_and_in_order(course: Course, seed: int) -> None:
    chance = random.Random(seed)
    course.broker.faults = together(
        losing(0.2, chance), duplicating(0.2, chance), corrupting(0.2, chance), reordering(0.2, chance)
    )
    for total in range(1, 7):
        course.scores(total)
        course.network.advance(1)
        if chance.random() < 0.5:
            course.network.settle(rounds=2)
        if chance.random() < 0.2:
            course.broker.lose_all()
    course.network.settle()
    assert course.seen() == [1, 2, 3, 4, 5, 6]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_copies_are_not_applied_without_a_recent_sync(course: Course) -> None:
    """The list of revocations comes with Sync: without it a copy may hold what is not to be given any more."""
    course.riverbend.reach.away = True
    course.network.advance(LEASE.total_seconds() + 1)
    course.score_and_settle(1)
    assert course.seen() == []
    course.riverbend.reach.away = False
    course.network.settle()
    assert course.seen() == [1]


def test_a_copy_within_the_lease_is_applied(course: Course) -> None:
    course.riverbend.reach.away = True
    course.score_and_settle(1)
    assert course.seen() == [1]


def test_the_list_of_revocations_is_honoured_before_a_copy_is_applied(course: Course) -> None:
    """The copy of the released row waits in Kafka; Sync tells of the revocation; then the copy is read."""
    course.riverbend.running = False
    course.score_and_settle(7)
    course.juniper.revokes(course.permission)
    course.network.settle()
    node = course.riverbend.node
    assert node.step_sync()
    node.step_feed()
    assert course.seen() == []
    received = [
        row for row in course.rows(course.riverbend, "received_entry") if row.category == "scale-score"
    ]
    assert received == []


def test_a_clinic_that_was_just_started_applies_no_copy_before_its_first_sync(course: Course) -> None:
    course.riverbend.running = False
    course.score_and_settle(1)
    course.riverbend.restart()
    course.riverbend.node.step_feed()
    assert course.seen() == []
    course.riverbend.node.step_sync()
    course.riverbend.node.step_feed()
    assert course.seen() == [1]
