"""Time that can be held still, and identifiers that tell nothing."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tandem_platform.clock import SimulatedClock, SystemClock
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import PREFIXES, is_id, new_id


def test_the_present_is_aware_and_in_utc():
    assert SystemClock().now().tzinfo is UTC


def test_a_simulated_clock_moves_only_when_moved():
    clock = SimulatedClock(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == clock.now() == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert clock.advance(timedelta(minutes=-5)) == clock.now() == datetime(2026, 1, 1, 9, 55, tzinfo=UTC)


def test_a_simulated_clock_refuses_a_naive_start():
    with pytest.raises(ValueError, match="aware"):
        SimulatedClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake in question


@pytest.mark.parametrize("prefix", sorted(PREFIXES))
def test_an_id_has_its_prefix_and_128_random_bits(prefix):
    made = {new_id(prefix) for _ in range(200)}
    assert len(made) == 200
    assert all(is_id(one, prefix) and len(one) == len(prefix) + 27 for one in made)


def test_ids_made_one_after_the_other_are_not_in_order():
    made = [new_id("ent") for _ in range(50)]
    assert made != sorted(made)


@pytest.mark.parametrize(
    "text", ["", "req", "req_", "req_" + "a" * 25, "req_" + "A" * 26, "req_" + "a" * 26 + "\n"]
)
def test_what_is_not_an_id_is_told_from_one(text):
    assert not is_id(text)


def test_a_refusal_that_may_pass_by_itself_is_told_from_one_that_will_not():
    transient = {code for code in Code if Refusal(code, "R", "m").is_transient()}
    assert transient == {
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
    }
