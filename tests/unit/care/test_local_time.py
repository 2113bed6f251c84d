"""Days and times on the wall are those of the place, through every change of the clocks."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_care.errors import Invalid
from tandem_care.local_time import Site, day_of, end_of, instant, wall

ZONES = ["America/Denver", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Chatham", "UTC"]


@pytest.mark.parametrize(
    ("day", "at", "zone", "expected"),
    [
        (date(2026, 3, 7), time(9), "America/Denver", datetime(2026, 3, 7, 16, tzinfo=UTC)),
        (date(2026, 3, 8), time(9), "America/Denver", datetime(2026, 3, 8, 15, tzinfo=UTC)),
        (date(2026, 3, 8), time(2, 30), "America/Denver", datetime(2026, 3, 8, 9, 30, tzinfo=UTC)),
        (date(2026, 11, 1), time(1, 30), "America/Denver", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        (date(2026, 11, 1), time(1, 30, fold=1), "America/Denver", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
        (date(2026, 3, 8), time(2, 30, fold=1), "America/Denver", datetime(2026, 3, 8, 9, 30, tzinfo=UTC)),
        (date(2028, 2, 29), time(12), "Asia/Kathmandu", datetime(2028, 2, 29, 6, 15, tzinfo=UTC)),
        (date(2026, 3, 8), time(0, 30), "America/Havana", datetime(2026, 3, 8, 5, 30, tzinfo=UTC)),
    ],
)
def test_a_time_on_the_wall_is_one_instant(day, at, zone, expected):
    assert instant(day, at, zone) == expected


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 7), 24), (date(2026, 3, 8), 23), (date(2026, 11, 1), 25)]
)
def test_a_day_is_as_long_as_the_clocks_make_it(day, hours):
    began = end_of(day - timedelta(days=1), "America/Denver")
    assert end_of(day, "America/Denver") - began == timedelta(hours=hours)


@given(
    st.integers(0, 40 * 366 * 24 * 60).map(
        lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    st.sampled_from(ZONES),
)
def test_every_instant_lies_within_its_day_there(moment, zone):
    day = day_of(moment, zone)
    assert end_of(day - timedelta(days=1), zone) <= moment < end_of(day, zone)
    shown = wall(moment, zone)
    assert instant(shown.date(), shown.time().replace(fold=shown.fold), zone) == moment


def test_a_moment_without_its_offset_is_refused():
    with pytest.raises(Invalid):
        wall(datetime(2026, 3, 8), "UTC")  # noqa: DTZ001


def test_a_site_is_closed_on_its_weekdays_and_days():
    site = Site(
        time_zone="America/Denver",
        closed_weekdays=frozenset({5, 6}),
        closed_days=frozenset({date(2026, 7, 3)}),
    )
    assert list(site.open_days(date(2026, 7, 2), date(2026, 7, 7))) == [
        date(2026, 7, 2),
        date(2026, 7, 6),
        date(2026, 7, 7),
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"closed_weekdays": frozenset({7})}, "closed_weekdays"),
        ({"closed_weekdays": frozenset(range(7))}, "closed_weekdays"),
    ],
)
def test_a_site_that_cannot_be_is_refused(changes, field):
    with pytest.raises(Invalid) as refusal:
        Site(**({"time_zone": "UTC"} | changes))
    assert refusal.value.field == field
