"""A plan made or moved keeps the rules of its pathway, wherever and whenever it lies."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.care_courses import CHICAGO, DENVER, PATHWAYS, every_way
from tandem_care.entry_kinds import CoursePlan, Drug, ItemKind, Place, PlannedItem, Route, from_json, to_json
from tandem_care.errors import Invalid, NotAllowed
from tandem_care.local_time import Site
from tandem_care.pathways import NOTICE, ScaleMoment, shipped
from tandem_care.plans import Pace, Plan, held, instantiate, moved, plan_of

DAY = timedelta(days=1)
WITH_THE_PATIENT = {
    ItemKind.PREPARATION,
    ItemKind.DOSE,
    ItemKind.DEBRIEF,
    ItemKind.INTEGRATION,
    ItemKind.DISCHARGE,
}
# Zones whose clocks change at midnight, by half an hour, in opposite seasons, or never.
ZONES = [
    "America/Denver",
    "America/New_York",
    "America/Phoenix",
    "America/Havana",
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/London",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "UTC",
]


def broken_rules(plan: Plan) -> Iterator[str]:
    """What is wrong with *plan*, worked out from its items and its pathway without the code under test."""
    rule = plan.pathway.integration
    by_id = {each.item: each for each in plan.items}
    doses = sorted(
        (each for each in plan.items if each.kind is ItemKind.DOSE), key=lambda each: each.number or 0
    )
    for each in plan.items:
        if each.held_at is not None:
            continue
        if each.starts_at != wall_clock(each):
            yield f"{each.item} is not at its time on the wall"
        site = plan.therapy if each.kind in (ItemKind.PREPARATION, ItemKind.INTEGRATION) else plan.dosing
        staffed = each.kind in WITH_THE_PATIENT | {ItemKind.CHECK}
        if staffed and (each.day in site.closed_days or each.day.weekday() in site.closed_weekdays):
            yield f"{each.item} on a closed day"
        if each.kind is ItemKind.DEBRIEF:
            dose = by_id[each.follows or ""]
            if local_day(each.starts_at, dose.time_zone) != dose.day:
                yield f"{each.item} not on the day of the dose"
        if each.kind is ItemKind.INTEGRATION:
            dose = by_id[each.follows or ""]
            there = local_day(each.starts_at, dose.time_zone)
            if not rule.due_days <= (there - dose.day).days <= rule.deadline_days:
                yield f"{each.item} outside its days"
            following = [other for other in doses if (other.number or 0) == (dose.number or 0) + 1]
            if rule.before_next_dose and following and each.ends_at > following[0].starts_at:
                yield f"{each.item} after the next dose"
        if each.kind is ItemKind.FORM:
            dose, form = by_id[each.follows or ""], plan.medicine.form
            assert form is not None
            if not 0 <= (each.day - dose.day).days <= form.within_days:
                yield f"{each.item} too late"
        if each.kind is ItemKind.SCALE and each.item.startswith("c-ssrs"):
            ahead = by_id[each.follows or ""].starts_at - each.starts_at
            if not timedelta(0) < ahead < 2 * DAY:
                yield f"{each.item} not shortly before its dose"
    yield from broken_densities(plan, doses)
    for number, dose in enumerate(doses, start=1):
        wanted = [f"debrief-{number}"] * rule.same_day_debrief
        wanted += [f"integration-{number}"] * rule.follows(number, dose is doses[-1])
        wanted += [f"form-{number}"] * (plan.medicine.form is not None)
        yield from (f"{item} is missing" for item in wanted if item not in by_id)
    together = [each for each in plan.items if each.kind in WITH_THE_PATIENT and each.held_at is None]
    for before, after in pairwise(sorted(together, key=lambda each: each.starts_at)):
        if before.ends_at > after.starts_at:
            yield f"{before.item} overlaps {after.item}"
    first_dose = min(each.starts_at for each in doses)
    for each in plan.items:
        if each.kind is ItemKind.PREPARATION and each.starts_at >= first_dose:
            yield "prepared after the first dose"
        if each.kind in WITH_THE_PATIENT and each.ends_at > by_id["discharge"].ends_at:
            yield "discharged too soon"
    if len(by_id) != len(plan.items):
        yield "an item twice"


def broken_densities(plan: Plan, doses: list[PlannedItem]) -> Iterator[str]:
    phases = [each.code for each in plan.pathway.phases]
    for place, phase in enumerate(plan.pathway.phases):
        own = [each.day for each in doses if each.phase == phase.code]
        everything = [each.day for each in doses] + list(plan.earlier)
        counted = everything if place == 0 else own
        for limit in phase.densest:
            for first in own:
                window = [day for day in counted if 0 <= (day - first).days < limit.days]
                window += [day for day in counted if place == 0 and day in plan.earlier and day == first]
                if len(window) > limit.doses and any(day in own for day in window):
                    yield f"more than {limit.doses} doses in {limit.days} days of {phase.code}"
    order = [phases.index(each.phase or "") for each in doses]
    if order != sorted(order):
        yield "phases out of order"


def wall_clock(each: PlannedItem) -> datetime:
    shown = datetime.combine(each.day, time.fromisoformat(each.at), ZoneInfo(each.time_zone))
    instant = shown.replace(fold=int(each.again)).astimezone(UTC)
    back = instant.astimezone(ZoneInfo(each.time_zone))
    if back.replace(tzinfo=None, fold=0) != shown.replace(tzinfo=None, fold=0):
        return shown.replace(fold=0).astimezone(UTC)
    return instant


def local_day(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


@st.composite
def sites(draw: st.DrawFn, start: date) -> Site:
    return Site(
        time_zone=draw(st.sampled_from(ZONES)),
        closed_weekdays=draw(st.frozensets(st.integers(0, 6), max_size=3)),
        closed_days=draw(st.frozensets(st.integers(0, 60).map(lambda days: start + days * DAY), max_size=8)),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan that can be made, or the refusal that says why not, drawn again."""
    pathway = draw(st.sampled_from(PATHWAYS))
    start = draw(st.dates(date(2024, 1, 1), date(2032, 12, 31)))
    medicine, route, place = draw(st.sampled_from(every_way(pathway)))
    dosing = draw(sites(start))
    therapy = draw(st.one_of(st.none(), sites(start)))
    sessions = {
        phase.code: draw(st.integers(phase.fewest, min(phase.most, max(phase.fewest, 3))))
        for phase in pathway.phases
    }
    try:
        return instantiate(
            pathway,
            start,
            dosing,
            therapy,
            drug=medicine.drug,
            route=route,
            place=place,
            sessions=sessions,
            pace=draw(st.sampled_from(Pace)),
            dose_at=draw(st.times(time(0), time(20, 59)).map(to_the_minute)),
            therapy_at=draw(st.times().map(to_the_minute)),
            earlier=draw(st.lists(st.integers(-40, 3).map(lambda days: start + days * DAY), max_size=3)),
        )
    except NotAllowed as refusal:
        check_refusal(refusal)
        return draw(st.nothing())


def check_refusal(refusal: NotAllowed) -> None:
    assert refusal.rule.isupper()
    assert refusal.reason.endswith(".")
    assert refusal.way_out.endswith(".")


def to_the_minute(at: time) -> time:
    return at.replace(second=0, microsecond=0, fold=0)


@settings(max_examples=150)
@given(plans())
def test_no_plan_breaks_the_rules_of_its_pathway(plan):
    assert list(broken_rules(plan)) == []
    assert plan.faults() == ()


@settings(max_examples=150)
@given(plans(), st.data())
def test_a_moved_plan_breaks_none_either_or_says_why_not(plan, data):
    for _ in range(data.draw(st.integers(1, 3))):
        item = data.draw(st.sampled_from(plan.items))
        day = item.day + data.draw(st.integers(-8, 20)) * DAY
        at = data.draw(st.one_of(st.none(), st.times().map(to_the_minute)))
        later_too = data.draw(st.booleans())
        try:
            after = moved(plan, item.item, day, at, later_too=later_too)
        except NotAllowed as refusal:
            check_refusal(refusal)
            continue
        assert list(broken_rules(after)) == []
        assert after.faults() == ()
        there = after.item(item.item)
        assert (there.day, there.at) == (day, item.at if at is None else f"{at:%H:%M}")
        plan = after


@settings(max_examples=80)
@given(plans(), st.data())
def test_whatever_is_held_is_recorded_and_what_hangs_on_it_counts_from_there(plan, data):
    dose = data.draw(st.sampled_from(plan.doses))
    at = dose.starts_at + timedelta(minutes=data.draw(st.integers(-3 * 1440, 9 * 1440)), seconds=17)
    after = held(plan, dose.item, at)
    assert after.item(dose.item).held_at == at
    assert {each.item for each in after.doses} == {each.item for each in plan.doses}
    number = dose.number or 0
    if f"integration-{number}" in after.by_id:
        due = after.item(f"integration-{number}")
        days = plan.pathway.integration.due_days
        assert due.earliest_at >= at
        assert (local_day(due.earliest_at, dose.time_zone) - local_day(at, dose.time_zone)).days in (
            days,
            days - 1,
            0,
            1,
        )
    with pytest.raises(NotAllowed, match="has been held"):
        moved(after, dose.item, dose.day + DAY)


@settings(max_examples=80)
@given(plans(), st.data())
def test_what_is_held_as_planned_moves_nothing(plan, data):
    items = sorted(data.draw(st.sets(st.sampled_from([each.item for each in plan.items]), min_size=1)))
    after = plan
    for item in items:
        after = held(after, item, after.item(item).starts_at)
    assert [(each.item, each.starts_at) for each in after.items] == [
        (each.item, each.starts_at) for each in plan.items
    ]
    assert after.faults() == ()


TWO = shipped().of("two-practice-course")
RETREAT = shipped().of("retreat-intensive")
FOUR = shipped().of("four-to-eight-sessions")
REMS = shipped().of("esketamine-rems")
MONDAY = date(2026, 3, 2)


def days_of(plan: Plan, kind: ItemKind = ItemKind.DOSE) -> list[str]:
    return [f"{each.day:%m-%d}" for each in plan.of_kind(kind)]


def test_the_retreat_fits_three_doses_into_a_week_and_no_more():
    plan = instantiate(RETREAT, MONDAY, Site(time_zone="America/Denver"), pace=Pace.DENSEST)
    assert days_of(plan) == ["03-03", "03-05", "03-07", "03-10", "03-12", "03-14"]
    assert days_of(plan, ItemKind.DEBRIEF) == days_of(plan)
    assert (plan.item("dose-6").day - plan.item("dose-1").day).days <= 21


def test_esketamine_goes_from_twice_a_week_to_weekly_to_every_two_weeks():
    plan = instantiate(REMS, MONDAY, DENVER)
    weeks = [(each.day - MONDAY).days // 7 + 1 for each in plan.doses]
    assert weeks == [1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 11, 13, 15]
    assert plan.item("form-1").latest_at == datetime(2026, 3, 10, 6, 0, tzinfo=UTC)


def test_a_plan_keeps_the_time_on_the_wall_when_the_clocks_change():
    plan = instantiate(TWO, MONDAY, DENVER, dose_at=time(9, 30))
    before, after = plan.item("dose-1"), plan.item("dose-2")
    assert (before.at, after.at) == ("09:30", "09:30")
    assert (before.starts_at.hour, after.starts_at.hour) == (16, 15)


def test_a_time_that_the_clocks_skip_is_as_much_later_as_they_jump():
    sunday = date(2026, 3, 8)
    open_site = Site(time_zone="America/Denver")
    plan = instantiate(REMS, sunday, open_site, dose_at=time(2, 30), sessions={"weeks-1-to-4": 1})
    dose = plan.item("dose-1")
    assert (dose.day, dose.at) == (sunday, "02:30")
    assert dose.starts_at == datetime(2026, 3, 8, 9, 30, tzinfo=UTC)


def test_a_debrief_in_the_hour_that_comes_twice_is_in_the_right_one():
    night = date(2026, 11, 1)
    here = Site(time_zone="America/Denver")
    plan = instantiate(RETREAT, night - DAY, here, dose_at=time(0, 30), sessions={"course": 4})
    assert plan.item("dose-1").day == night
    debrief = plan.item("debrief-1")
    assert (debrief.at, debrief.again) == ("01:30", True)
    assert debrief.starts_at - plan.item("dose-1").starts_at == timedelta(minutes=120)


def test_a_leap_day_is_a_day_like_any_other():
    plan = instantiate(TWO, date(2028, 2, 21), Site(time_zone="America/Denver"), pace=Pace.USUAL)
    assert plan.item("dose-2").day == date(2028, 2, 29)
    assert plan.item("integration-2").day == date(2028, 3, 1)
    assert plan.item("integration-2").latest_at == datetime(2028, 3, 8, 7, 0, tzinfo=UTC)


def test_two_practices_in_different_zones_each_keep_their_own_clock():
    plan = instantiate(TWO, MONDAY, DENVER, CHICAGO, dose_at=time(16), therapy_at=time(8))
    integration = plan.item("integration-1")
    assert (integration.time_zone, integration.at) == ("America/Chicago", "08:00")
    assert integration.starts_at == datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
    # The deadline is the end of the patient's day, in Denver, for both.
    assert integration.latest_at == datetime(2026, 3, 11, 6, 0, tzinfo=UTC)


def test_a_closed_day_moves_the_dose_where_its_integration_would_find_no_day():
    """Closed from Thursday to Monday: a dose on Wednesday could not be integrated within three days."""
    away = replace(CHICAGO, closed_days=frozenset(date(2026, 3, day) for day in (5, 6, 9)))
    plan = instantiate(RETREAT, date(2026, 3, 3), DENVER, away)
    assert plan.item("preparation-1").day == date(2026, 3, 3)
    assert plan.item("dose-1").day == date(2026, 3, 10)


def test_where_no_day_fits_it_is_said_with_a_way_out():
    closed = frozenset(MONDAY + number * DAY for number in range(200))
    with pytest.raises(NotAllowed) as refusal:
        instantiate(TWO, MONDAY, replace(DENVER, closed_days=closed))
    assert refusal.value.rule == "NO_DAY_FITS"
    assert "Open a day" in refusal.value.way_out


def test_doses_given_before_count_for_the_schedule():
    boosters = shipped().of("ketamine-maintenance")
    plan = instantiate(boosters, MONDAY, DENVER, pace=Pace.DENSEST, earlier=[date(2026, 2, 26)])
    assert plan.item("dose-1").day == date(2026, 3, 12)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"drug": Drug.ESKETAMINE}, "drug"),
        ({"route": Route.INTRANASAL}, "route"),
        ({"place": Place.HOME}, "place"),
        ({"sessions": {"course": 13}}, "sessions"),
        ({"sessions": {"course": 0}}, "sessions"),
        ({"sessions": {"weeks": 2}}, "phase"),
    ],
)
def test_what_the_pathway_does_not_have_is_refused(changes, field):
    with pytest.raises(Invalid) as refusal:
        instantiate(TWO, MONDAY, DENVER, **changes)
    assert refusal.value.field == field


def test_a_dose_takes_along_what_hangs_on_it():
    plan = instantiate(FOUR, MONDAY, DENVER)
    after = moved(plan, "dose-2", date(2026, 3, 11), time(11))
    shifted = {
        each.item: (after.item(each.item).starts_at - each.starts_at)
        for each in plan.items
        if each.follows == "dose-2" or each.item == "dose-2"
    }
    assert {"dose-2", "debrief-2", "integration-2", "c-ssrs-screen-before-dose-2"} <= shifted.keys()
    assert shifted["dose-2"] == DAY + timedelta(hours=2)
    assert shifted["debrief-2"] == DAY + timedelta(hours=2)
    assert shifted["integration-2"] == DAY
    assert after.item("dose-3") == plan.item("dose-3")


def test_a_move_that_is_too_dense_is_refused_with_a_day_that_fits():
    plan = instantiate(FOUR, MONDAY, DENVER)
    assert days_of(plan)[:3] == ["03-03", "03-10", "03-17"]
    with pytest.raises(NotAllowed) as refusal:
        moved(plan, "dose-2", date(2026, 3, 16))
    assert refusal.value.rule == "DENSEST_SCHEDULE"
    assert "at most one dose in 3 days" in refusal.value.reason
    assert "would fit" in refusal.value.way_out
    after = moved(plan, "dose-2", date(2026, 3, 16), later_too=True)
    assert days_of(after)[:3] == ["03-03", "03-16", "03-23"]


def test_a_dose_cannot_overtake_the_one_before_it():
    plan = instantiate(TWO, MONDAY, DENVER)
    with pytest.raises(NotAllowed) as refusal:
        moved(plan, "dose-1", date(2026, 3, 13))
    assert refusal.value.rule == "ORDER"


@pytest.mark.parametrize(
    ("item", "day", "rule"),
    [
        ("integration-1", date(2026, 3, 3), "TOO_EARLY"),
        ("integration-1", date(2026, 3, 11), "TOO_LATE"),
        ("integration-1", date(2026, 3, 7), "CLOSED_DAY"),
        ("preparation-1", date(2026, 3, 3), "TOO_LATE"),
        ("dose-1", date(2026, 3, 7), "CLOSED_DAY"),
        ("debrief-1", date(2026, 3, 4), "TOO_LATE"),
        ("discharge", date(2026, 3, 27), "TOO_EARLY"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_rule(item, day, rule):
    plan = instantiate(FOUR, MONDAY, DENVER)
    with pytest.raises(NotAllowed) as refusal:
        moved(plan, item, day, time(8) if item == "integration-1" else None)
    assert refusal.value.rule == rule
    assert refusal.value.way_out


def test_the_patient_is_not_in_two_sessions_at_once():
    plan = instantiate(TWO, MONDAY, DENVER)
    assert plan.item("dose-2").day == date(2026, 3, 10)
    for at in (time(8, 30), time(9), time(10, 29)):
        with pytest.raises(NotAllowed) as refusal:
            moved(plan, "integration-1", date(2026, 3, 10), at)
        assert refusal.value.rule == "OVERLAP"
    for at in (time(8, 10), time(10, 30)):
        assert moved(plan, "integration-1", date(2026, 3, 10), at).faults() == ()


def test_integration_comes_before_the_next_dose_where_the_pathway_says_so():
    plan = instantiate(FOUR, MONDAY, DENVER, pace=Pace.DENSEST)
    assert days_of(plan)[:2] == ["03-03", "03-06"]
    with pytest.raises(NotAllowed) as refusal:
        moved(plan, "integration-1", date(2026, 3, 6), time(10))
    assert refusal.value.rule == "TOO_LATE"


def test_an_item_that_was_moved_by_hand_keeps_its_distance_from_the_dose():
    plan = moved(instantiate(TWO, MONDAY, DENVER), "integration-1", date(2026, 3, 5), time(14))
    after = moved(plan, "dose-1", date(2026, 3, 4))
    there = after.item("integration-1")
    assert (there.day, there.at, there.moved) == (date(2026, 3, 6), "14:00", True)
    # Where its distance would end on a closed day, it goes where it would have been put.
    friday = moved(plan, "dose-1", date(2026, 3, 5))
    assert (friday.item("integration-1").day, friday.item("integration-1").moved) == (date(2026, 3, 6), False)


def test_a_dose_given_late_leaves_the_later_ones_where_they_are_and_says_which_are_too_close():
    plan = instantiate(TWO, MONDAY, DENVER)
    after = held(plan, "dose-1", datetime(2026, 3, 9, 16, 0, tzinfo=UTC))
    assert [(fault.item, fault.rule) for fault in after.faults()] == [("dose-2", "DENSEST_SCHEDULE")]
    assert after.item("integration-1").day == date(2026, 3, 11)
    mended = moved(after, "dose-2", date(2026, 3, 12))
    assert mended.faults() == ()


def test_a_dose_given_elsewhere_counts_on_the_days_of_that_place():
    plan = instantiate(TWO, MONDAY, DENVER)
    late = datetime(2026, 3, 4, 6, 30, tzinfo=UTC)
    assert held(plan, "dose-1", late).item("dose-1").day == date(2026, 3, 3)
    assert held(plan, "dose-1", late, "America/Chicago").item("dose-1").day == date(2026, 3, 4)


def test_a_check_that_was_held_sets_the_next():
    boosters = shipped().of("ketamine-maintenance")
    plan = instantiate(boosters, MONDAY, DENVER, sessions={"boosters": 6})
    first = plan.item("check-bladder-1")
    assert first.latest_at - first.earliest_at <= 31 * DAY
    early = first.starts_at - 14 * DAY
    after = held(plan, "check-bladder-1", early)
    assert after.item("check-bladder-1").held_at == early
    assert after.item("check-bladder-2").starts_at < plan.item("check-bladder-2").starts_at


def test_a_plan_travels_as_an_entry_and_is_the_same_again():
    plan = instantiate(RETREAT, MONDAY, DENVER, CHICAGO, therapy_at=time(13))
    entry = from_json(to_json(plan.entry(datetime(2026, 3, 1, tzinfo=UTC), "Dr. Imani Wells")))
    assert isinstance(entry, CoursePlan)
    assert plan_of(entry, RETREAT, DENVER, CHICAGO) == plan
    assert moved(plan_of(entry, RETREAT, DENVER, CHICAGO), "dose-6", date(2026, 3, 23)) == moved(
        plan, "dose-6", date(2026, 3, 23)
    )
    with pytest.raises(Invalid):
        plan_of(entry, TWO, DENVER, CHICAGO)


def test_a_plan_too_long_for_one_entry_is_refused():
    boosters = shipped().of("ketamine-maintenance")
    long = instantiate(boosters, MONDAY, DENVER, sessions={"boosters": 12, "spaced-out": 12})
    assert len(long.items) <= 200


def test_scales_are_sent_when_the_pathway_says():
    plan = instantiate(RETREAT, MONDAY, DENVER)
    by_moment: Mapping[str, list[PlannedItem]] = {
        moment: [each for each in plan.of_kind(ItemKind.SCALE) if f"-{moment}" in each.item]
        for moment in ScaleMoment
    }
    assert {each.subject for each in by_moment["baseline"]} == {"phq-9", "gad-7", "pcl-5"}
    assert len(by_moment["before-dose"]) == len(plan.doses)
    assert {each.subject for each in by_moment["end"]} == {"phq-9", "gad-7", "pcl-5"}
    assert len({(each.subject, each.day) for each in plan.of_kind(ItemKind.SCALE)}) == len(
        plan.of_kind(ItemKind.SCALE)
    )


def test_a_plan_says_that_it_is_decision_support():
    assert instantiate(TWO, MONDAY, DENVER).notice == NOTICE


def test_an_item_that_is_not_in_the_plan_cannot_be_moved():
    with pytest.raises(Invalid, match="not in the plan"):
        moved(instantiate(TWO, MONDAY, DENVER), "dose-99", MONDAY)


@pytest.mark.parametrize("pathway", PATHWAYS, ids=lambda pathway: pathway.code)
@pytest.mark.parametrize("pace", Pace)
def test_every_pathway_makes_a_plan_from_preparation_to_discharge(pathway, pace):
    plan = instantiate(pathway, MONDAY, DENVER, CHICAGO, pace=pace)
    assert list(broken_rules(plan)) == []
    assert plan.items[-1].kind in (ItemKind.DISCHARGE, ItemKind.SCALE)
    assert len(plan.items) <= 200
