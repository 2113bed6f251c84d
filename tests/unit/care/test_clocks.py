"""What falls due around a dose, to the minute, on both sides of every limit."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from support.care_courses import DOSE as DOSE_GIVEN
from support.care_courses import a_pressure, an_integration
from support.care_examples import a_dosing_session
from tandem_care import clocks
from tandem_care import entry_kinds as kinds
from tandem_care.clocks import (
    Given,
    IntegrationStanding,
    Standing,
    asks,
    awaiting_decision,
    days_to_book,
    debrief_standing,
    form_due_by,
    form_standing,
    held_after,
    integration_standing,
    integration_times,
    next_check,
    observation,
    scale_standing,
)
from tandem_care.entry_kinds import Drug, Effect, Grade, IntegrationKind, Route, VitalsMoment
from tandem_care.local_time import Site
from tandem_care.pathways import NOTICE, CheckRule, FormRule, IntegrationRule, ScaleMoment, shipped
from tandem_care.scales import ScaleCode

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
RETREAT = shipped().of("retreat-intensive")
REMS = shipped().of("esketamine-rems")
RULE = RETREAT.integration


def utc(month: int, day: int, hour: int = 0, minute: int = 0, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def a_dose(started_at: datetime, zone: str = "America/Denver", minutes: int = 120) -> Given:
    return Given(started_at, started_at + minutes * MINUTE, zone)


# A Wednesday, 09:00 in Denver; the clocks there go forward on the following Sunday.
DOSE = a_dose(utc(3, 4, 16))


# Integration


@pytest.mark.parametrize(
    ("dose", "due_at", "deadline_at"),
    [
        (DOSE, utc(3, 5, 7), utc(3, 8, 7)),
        # The clocks change on Sunday 8 March: the day is an hour shorter.
        (a_dose(utc(3, 6, 16)), utc(3, 7, 7), utc(3, 10, 6)),
        # And go back on Sunday 1 November.
        (a_dose(utc(10, 30, 15)), utc(10, 31, 6), utc(11, 3, 7)),
        # Over a leap day.
        (a_dose(utc(2, 27, 16, year=2028)), utc(2, 28, 7, year=2028), utc(3, 2, 7, year=2028)),
        # Over the end of February in another year.
        (a_dose(utc(2, 27, 16, year=2027)), utc(2, 28, 7, year=2027), utc(3, 3, 7, year=2027)),
        # An hour before midnight in Denver is the next day in Chicago: the place of the dose decides.
        (a_dose(utc(3, 5, 6, 30)), utc(3, 5, 7), utc(3, 8, 7)),
        (a_dose(utc(3, 5, 6, 30), "America/Chicago"), utc(3, 6, 6), utc(3, 9, 5)),
    ],
)
def test_integration_is_due_and_over_by_the_days_of_the_place_of_the_dose(dose, due_at, deadline_at):
    times = integration_times(RULE, dose)
    assert (times.due_at, times.deadline_at) == (due_at, deadline_at)
    assert times.book_by == dose.ended_at + 12 * HOUR


def test_the_window_of_plasticity_opens_peaks_and_closes():
    times = integration_times(RULE, DOSE)
    assert times.window_opens_at == DOSE.ended_at + 24 * HOUR
    assert times.window_peaks_at == DOSE.ended_at + 72 * HOUR
    assert times.window_closes_at == utc(3, 26, 6)


TIMES = integration_times(RULE, DOSE)


@pytest.mark.parametrize(
    ("booked", "held", "now", "expected"),
    [
        ([], [], TIMES.book_by - INSTANT, IntegrationStanding.TO_BOOK),
        ([], [], TIMES.book_by, IntegrationStanding.NOT_BOOKED),
        ([], [], TIMES.deadline_at - INSTANT, IntegrationStanding.NOT_BOOKED),
        ([], [], TIMES.deadline_at, IntegrationStanding.OVERDUE),
        ([utc(3, 6, 16)], [], utc(3, 5, 16), IntegrationStanding.BOOKED),
        ([utc(3, 6, 16)], [], utc(3, 7, 16) - INSTANT, IntegrationStanding.BOOKED),
        ([utc(3, 6, 16)], [], utc(3, 7, 16), IntegrationStanding.NOT_BOOKED),
        ([TIMES.deadline_at], [], utc(3, 5, 16), IntegrationStanding.BOOKED_TOO_LATE),
        ([TIMES.deadline_at - INSTANT], [], utc(3, 5, 16), IntegrationStanding.BOOKED),
        ([TIMES.deadline_at + HOUR], [], TIMES.deadline_at, IntegrationStanding.OVERDUE),
        ([], [utc(3, 6, 16)], utc(3, 6, 17), IntegrationStanding.HELD),
        ([], [utc(3, 20, 16)], utc(3, 20, 17), IntegrationStanding.HELD),
        ([], [utc(3, 20, 16)], utc(3, 19, 17), IntegrationStanding.OVERDUE),
    ],
)
def test_where_an_integration_stands(booked, held, now, expected):
    assert integration_standing(TIMES, booked, held, now) is expected


def test_what_is_wanting_shows_on_both_worklists_and_clears_when_it_is_held():
    shown = {each for each in IntegrationStanding if each.on_worklists}
    assert shown == {
        IntegrationStanding.NOT_BOOKED,
        IntegrationStanding.BOOKED_TOO_LATE,
        IntegrationStanding.OVERDUE,
    }


@examples(
    st.integers(0, 8 * 366 * 24 * 60).map(lambda minutes: utc(1, 1, year=2024) + minutes * MINUTE),
    st.sampled_from(["America/Denver", "America/Havana", "Asia/Beirut", "Pacific/Chatham"]),
)
def test_without_a_booking_it_goes_from_to_book_to_not_booked_to_overdue_until_it_is_held(started_at, zone):
    times = integration_times(RULE, a_dose(started_at, zone))
    order = [
        integration_standing(times, [], [], now)
        for now in (
            times.book_by - INSTANT,
            times.book_by,
            times.deadline_at - INSTANT,
            times.deadline_at,
        )
    ]
    assert order == [
        IntegrationStanding.TO_BOOK,
        IntegrationStanding.NOT_BOOKED,
        IntegrationStanding.NOT_BOOKED,
        IntegrationStanding.OVERDUE,
    ]
    assert started_at < times.due_at < times.deadline_at
    assert timedelta(days=3) <= times.deadline_at - started_at <= timedelta(days=4, hours=1)


@pytest.mark.parametrize(
    ("held", "now", "expected"),
    [
        ([], utc(3, 5, 7) - INSTANT, IntegrationStanding.BOOKED),
        ([], utc(3, 5, 7), IntegrationStanding.OVERDUE),
        ([utc(3, 4, 18)], utc(3, 5, 7), IntegrationStanding.HELD),
    ],
)
def test_the_debrief_is_on_the_day_of_the_dose(held, now, expected):
    assert debrief_standing(TIMES, held, now) is expected


def test_a_pathway_without_a_debrief_asks_for_none():
    two = shipped().of("two-practice-course")
    assert debrief_standing(integration_times(two.integration, DOSE), [], utc(3, 9)) is None


def test_a_session_belongs_to_the_dose_that_it_names_or_to_the_last_before_it():
    second = a_dose(DOSE.started_at + 2 * DAY)
    third = a_dose(DOSE.started_at + 5 * DAY)
    held = [
        an_integration(DOSE.started_at, second.ended_at + HOUR),
        an_integration(None, second.ended_at + 2 * HOUR),
        an_integration(None, DOSE.started_at - DAY),
        replace(an_integration(None, third.ended_at), session=IntegrationKind.SAME_DAY_DEBRIEF),
    ]
    found = held_after([DOSE, second, third], held, IntegrationKind.INTEGRATION)
    assert found == {
        DOSE.started_at: [second.ended_at + HOUR],
        second.started_at: [second.ended_at + 2 * HOUR],
        third.started_at: [],
    }


def test_closed_days_leave_fewer_days_to_book_and_the_deadline_where_it_is():
    away = Site(time_zone="America/Chicago", closed_days=frozenset({date(2026, 3, 6)}))
    assert days_to_book(TIMES, away, DOSE.ended_at) == (date(2026, 3, 5), date(2026, 3, 7), date(2026, 3, 8))
    assert days_to_book(TIMES, away, utc(3, 7, 16)) == (date(2026, 3, 7), date(2026, 3, 8))
    closed = replace(away, closed_days=frozenset(date(2026, 3, day) for day in range(1, 20)))
    assert days_to_book(TIMES, closed, DOSE.ended_at) == ()
    assert integration_standing(TIMES, [], [], TIMES.deadline_at) is IntegrationStanding.OVERDUE


def test_an_integration_due_at_once_is_due_when_the_dose_ends():
    at_once = IntegrationRule.from_fields(RULE.to_fields() | {"due_days": 0})
    assert integration_times(at_once, DOSE).due_at == DOSE.ended_at


# Forms


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (DOSE.ended_at - INSTANT, Standing.NOT_YET),
        (DOSE.ended_at, Standing.DUE),
        (utc(3, 12, 6) - INSTANT, Standing.DUE),
        (utc(3, 12, 6), Standing.OVERDUE),
    ],
)
def test_the_monitoring_form_is_due_within_seven_days(now, expected):
    rule = REMS.medicines[0].form
    assert rule is not None
    # The clocks went forward in between: midnight is at 06:00.
    assert form_due_by(rule, DOSE) == utc(3, 12, 6)
    assert form_standing(rule, DOSE, [], now) is expected


def test_a_form_counts_for_its_own_session_only():
    rule = FormRule(form="rems-monitoring-form", within_days=7)
    sent = kinds.MonitoringForm(
        form=rule.form,
        dosing_session_at=DOSE.started_at,
        submitted_at=DOSE.ended_at + HOUR,
        submitted_by="Noor Haddad",
    )
    other = replace(sent, dosing_session_at=DOSE.started_at - 2 * DAY)
    assert form_standing(rule, DOSE, [other, sent], DOSE.ended_at + HOUR) is Standing.DONE
    assert form_standing(rule, DOSE, [other], DOSE.ended_at + HOUR) is Standing.DUE
    assert form_standing(rule, DOSE, [replace(sent, form="other")], DOSE.ended_at + HOUR) is Standing.DUE


# Observation


ESKETAMINE = REMS.medicines[0]


def an_effect(
    effect: Effect, grade: Grade, minutes: int, resolved: int | None = None
) -> kinds.ObservedEffect:
    return kinds.ObservedEffect(
        effect=effect,
        grade=grade,
        observed_at=DOSE.started_at + minutes * MINUTE,
        resolved_at=None if resolved is None else DOSE.started_at + resolved * MINUTE,
    )


CALM = tuple(
    an_effect(effect, Grade.NONE, 110)
    for effect in (Effect.SEDATION, Effect.DISSOCIATION, Effect.RESPIRATORY_DEPRESSION)
)


def a_session(**changes: Any) -> kinds.DosingSession:
    readings = tuple(
        replace(a_pressure(DOSE.started_at), moment=moment)
        for moment in (VitalsMoment.BEFORE, VitalsMoment.AT_40_MINUTES, VitalsMoment.BEFORE_LEAVING)
    )
    fields: dict[str, Any] = {
        "drug": Drug.ESKETAMINE,
        "route": Route.INTRANASAL,
        "started_at": DOSE.started_at,
        "ended_at": None,
        "discharged_at": None,
        "effects": CALM,
        "blood_pressure": readings,
    }
    return a_dosing_session(**(fields | changes))


def waiting(session: kinds.DosingSession, minutes: int) -> set[str]:
    return {
        each.code for each in observation(ESKETAMINE, session, DOSE.started_at + minutes * MINUTE).waiting
    }


def test_nobody_leaves_before_two_hours():
    assert waiting(a_session(), 119) == {"time"}
    assert waiting(a_session(), 120) == set()
    seen = observation(ESKETAMINE, a_session(), DOSE.started_at + 120 * MINUTE)
    assert (seen.may_leave, seen.over, seen.until) == (True, False, DOSE.started_at + 2 * HOUR)
    assert seen.notice == NOTICE


@pytest.mark.parametrize("effect", [Effect.SEDATION, Effect.DISSOCIATION, Effect.RESPIRATORY_DEPRESSION])
def test_each_effect_must_have_been_assessed_and_have_resolved(effect):
    others = tuple(each for each in CALM if each.effect is not effect)
    assert waiting(a_session(effects=others), 130) == {effect}
    still = an_effect(effect, Grade.MILD, 115)
    assert waiting(a_session(effects=(*CALM, still)), 130) == {effect}
    resolved = an_effect(effect, Grade.MODERATE, 40, resolved=125)
    assert waiting(a_session(effects=(*others, resolved)), 124) == {effect}
    assert waiting(a_session(effects=(*others, resolved)), 125) == set()
    passed = (an_effect(effect, Grade.SEVERE, 40), *CALM)
    assert waiting(a_session(effects=passed), 130) == set()


def test_of_effects_without_a_time_the_last_written_counts():
    def written(*grades: Grade) -> Iterable[kinds.ObservedEffect]:
        return (kinds.ObservedEffect(effect=Effect.SEDATION, grade=grade) for grade in grades)

    others = CALM[1:]
    assert waiting(a_session(effects=(*written(Grade.NONE, Grade.MILD), *others)), 130) == {"sedation"}
    assert waiting(a_session(effects=(*written(Grade.MILD, Grade.NONE), *others)), 130) == set()


def test_blood_pressure_is_taken_at_its_moments():
    none = a_session(blood_pressure=())
    assert waiting(none, 130) == {"before-leaving"}

    def late(minutes: int) -> tuple[VitalsMoment, ...]:
        return observation(ESKETAMINE, none, DOSE.started_at + minutes * MINUTE).readings_late

    assert late(50) == ()
    assert late(51) == (VitalsMoment.AT_40_MINUTES,)


def test_after_leaving_the_observation_stays_as_it_was():
    left = a_session(discharged_at=DOSE.started_at + 100 * MINUTE, ended_at=DOSE.started_at + 90 * MINUTE)
    assert waiting(left, 1000) == {"time"}
    assert observation(ESKETAMINE, left, DOSE.started_at + DAY).over


# Maintenance


BLADDER = CheckRule(subject="bladder", every_days=90, every_doses=3)


def test_a_check_is_due_after_days_or_doses_whichever_comes_first():
    doses = [a_dose(utc(1, 5, 16) + 28 * number * DAY) for number in range(3)]
    assert next_check(BLADDER, [], []) is None
    by_days = next_check(BLADDER, doses[:2], [])
    assert by_days is not None
    assert (by_days.on, by_days.by_doses) == (date(2026, 4, 5), False)
    by_doses = next_check(BLADDER, doses, [])
    assert by_doses is not None
    assert (by_doses.on, by_doses.by_doses) == (doses[2].day, True)


def test_a_check_that_was_done_starts_the_count_again():
    doses = [a_dose(utc(1, 5, 16) + 28 * number * DAY) for number in range(4)]
    due = next_check(BLADDER, doses, [doses[2].started_at + HOUR])
    assert due is not None
    assert due.on == doses[2].day + 90 * DAY
    assert not due.by_doses


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (utc(3, 23, 6) - INSTANT, Standing.NOT_YET),
        (utc(3, 23, 6), Standing.DUE),
        (utc(4, 6, 6) - INSTANT, Standing.DUE),
        (utc(4, 6, 6), Standing.OVERDUE),
    ],
)
def test_a_check_shows_two_weeks_ahead_and_is_overdue_after_its_day(now, expected):
    due = next_check(BLADDER, [a_dose(utc(1, 5, 16))], [])
    assert due is not None
    assert due.standing(now) is expected


# What the therapist says of a dose


def a_feedback(
    wish: kinds.DoseWish, given_at: datetime, dose_at: datetime = DOSE.started_at
) -> kinds.DoseFeedback:
    return kinds.DoseFeedback(
        dosing_session_at=dose_at,
        wish=wish,
        note="Too deep to talk.",
        given_at=given_at,
        given_by="Lena Fischer",
    )


def a_decision(decided_at: datetime, dose_at: datetime = DOSE.started_at) -> kinds.DoseDecision:
    return kinds.DoseDecision(
        dosing_session_at=dose_at,
        decision=kinds.DoseWish.LOWER,
        next_dose=DOSE_GIVEN,
        reason="So that there is room to talk.",
        decided_at=decided_at,
        decided_by="Dr. Imani Wells",
    )


def test_a_wish_for_another_dose_waits_until_the_prescriber_decides():
    next_day, later = DOSE.started_at + DAY, DOSE.started_at + 2 * DAY
    lower, keep = a_feedback(kinds.DoseWish.LOWER, next_day), a_feedback(kinds.DoseWish.KEEP, next_day)
    assert awaiting_decision([keep, lower], [], later) == (lower,)
    assert awaiting_decision([lower], [], next_day - INSTANT) == ()
    assert awaiting_decision([lower], [a_decision(next_day)], later) == ()
    assert awaiting_decision([lower], [a_decision(next_day - INSTANT)], later) == (lower,)
    assert awaiting_decision([lower], [a_decision(later)], later - INSTANT) == (lower,)
    other = DOSE.started_at - 7 * DAY
    assert awaiting_decision([lower], [a_decision(later, other)], later) == (lower,)


# Scales


def test_scales_are_asked_before_and_after_each_dose_and_never_twice_a_day():
    doses = [DOSE, a_dose(DOSE.started_at + 2 * DAY)]
    found = asks(RETREAT, doses, date(2026, 3, 2), date(2026, 3, 20))
    screens = [each for each in found if each.scale is ScaleCode.CSSRS]
    assert [each.send_at for each in screens] == [dose.started_at - DAY for dose in doses]
    assert [each.over_at for each in screens] == [dose.started_at for dose in doses]
    assert len({(each.scale, each.send_at) for each in found}) == len(found)
    assert asks(RETREAT, [], date(2026, 3, 2), date(2026, 3, 20)) == ()


def test_a_scale_of_the_same_day_is_sent_an_hour_before_the_dose():
    found = asks(REMS, [DOSE], DOSE.day, DOSE.day + 14 * DAY)
    baseline = [each for each in found if each.moment is ScaleMoment.BASELINE]
    assert {each.send_at for each in baseline} == {DOSE.started_at - HOUR}


def test_an_answer_counts_for_the_last_asking_before_it_even_if_it_is_late():
    found = asks(RETREAT, [DOSE, a_dose(DOSE.started_at + 7 * DAY)], DOSE.day, DOSE.day + 20 * DAY)
    after = [each for each in found if each.scale is ScaleCode.PHQ9 and each.moment is ScaleMoment.AFTER_DOSE]
    first, second = after
    phq9 = [each for each in found if each.scale is ScaleCode.PHQ9]

    def stands(answered: list[datetime], now: datetime) -> Standing:
        return scale_standing(first, phq9, answered, now)

    assert stands([], first.send_at - INSTANT) is Standing.NOT_YET
    assert stands([], first.send_at) is Standing.DUE
    assert stands([], first.over_at) is Standing.OVERDUE
    assert stands([first.over_at + HOUR], first.over_at + HOUR) is Standing.DONE
    assert stands([second.send_at], second.send_at) is Standing.OVERDUE


def test_an_unfinished_session_counts_from_its_start():
    session = a_session()
    assert clocks.given(session) == Given(session.started_at, session.started_at, session.time_zone)
