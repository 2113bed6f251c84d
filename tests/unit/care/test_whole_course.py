"""Each pathway runs from preparation to discharge at its densest, and leaves nothing open behind."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest

from support.care_courses import DOSE, PATHWAYS, an_integration, facts_of
from tandem_care import entry_kinds as kinds
from tandem_care.clocks import (
    Given,
    IntegrationStanding,
    Standing,
    debrief_standing,
    form_standing,
    held_after,
    integration_standing,
    integration_times,
    next_check,
    observation,
)
from tandem_care.dose_review import reasons_to_review
from tandem_care.entry_kinds import DosingSession, Effect, Grade, IntegrationKind, ItemKind, VitalsMoment
from tandem_care.guards import session_of, sign, start
from tandem_care.local_time import Site, day_of
from tandem_care.pathways import Medicine, Pathway
from tandem_care.plans import Pace, Plan, held, instantiate

# Two practices an hour apart, around the night in March when the clocks of both go forward, and a closed Monday.
HERE = Site(time_zone="America/Denver", closed_weekdays=frozenset({6}))
THERE = Site(
    time_zone="America/Chicago", closed_weekdays=frozenset({5, 6}), closed_days=frozenset({date(2028, 3, 13)})
)
LEAP_YEAR = date(2028, 2, 24)
MINUTE = timedelta(minutes=1)

every_pathway = pytest.mark.parametrize("pathway", PATHWAYS, ids=lambda pathway: pathway.code)


def a_session_as_begun(begun: kinds.DosingStart, medicine: Medicine) -> DosingSession:
    over = begun.started_at + medicine.observation.minutes * MINUTE
    return DosingSession(
        drug=begun.drug,
        route=begun.route,
        dose=begun.dose,
        place=begun.place,
        started_at=begun.started_at,
        ended_at=over,
        discharged_at=over,
        time_zone=begun.time_zone,
        blood_pressure=tuple(
            kinds.BloodPressure(moment=moment, taken_at=begun.started_at, systolic=128, diastolic=82)
            for moment in (VitalsMoment.BEFORE, VitalsMoment.AT_40_MINUTES, VitalsMoment.BEFORE_LEAVING)
        ),
        effects=tuple(
            kinds.ObservedEffect(effect=each, grade=Grade.NONE) for each in Effect if each != Effect.OTHER
        ),
        logged_by="Noor Haddad",
    )


def begun_as_planned(plan: Plan, dose: kinds.PlannedItem) -> tuple[kinds.DosingStart, kinds.DosingClearance]:
    session = session_of(plan, dose.item, DOSE)
    facts = facts_of(plan, session, session.at)
    clearance = sign(plan.pathway, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE)
    return start(plan.pathway, session, facts, clearance, session.at, by="Noor Haddad"), clearance


@every_pathway
def test_a_course_runs_from_preparation_to_discharge(pathway: Pathway):
    plan = instantiate(pathway, LEAP_YEAR, HERE, THERE, pace=Pace.DENSEST)
    doses: list[Given] = []
    summaries: list[kinds.IntegrationSummary] = []
    forms: list[kinds.MonitoringForm] = []
    for item in plan.items:
        planned = plan.item(item.item)
        assert planned.starts_at == item.starts_at, "a course that goes as planned moves nothing"
        if item.kind is ItemKind.DOSE:
            begun, clearance = begun_as_planned(plan, item)
            session = a_session_as_begun(begun, plan.medicine)
            assert session.discharged_at is not None
            assert observation(plan.medicine, session, session.discharged_at).may_leave
            assert reasons_to_review(session, begun, clearance, pathway, doses, session.discharged_at) == ()
            doses.append(Given(session.started_at, session.discharged_at, session.time_zone))
        dose_at = None if item.follows is None else plan.item(item.follows).starts_at
        if item.kind in (ItemKind.DEBRIEF, ItemKind.INTEGRATION):
            summary = an_integration(dose_at, item.starts_at)
            if item.kind is ItemKind.DEBRIEF:
                summary = replace(summary, session=IntegrationKind.SAME_DAY_DEBRIEF)
            summaries.append(summary)
        if item.kind is ItemKind.FORM and item.subject is not None and dose_at is not None:
            forms.append(
                kinds.MonitoringForm(
                    form=item.subject,
                    dosing_session_at=dose_at,
                    submitted_at=item.starts_at,
                    submitted_by="Noor",
                )
            )
        plan = held(plan, item.item, item.starts_at)
        assert plan.faults() == ()
    leave_nothing_open(plan, doses, summaries, forms)


def leave_nothing_open(
    plan: Plan,
    doses: list[Given],
    summaries: list[kinds.IntegrationSummary],
    forms: list[kinds.MonitoringForm],
) -> None:
    pathway, now = plan.pathway, plan.item("discharge").starts_at
    integrated = held_after(doses, summaries, IntegrationKind.INTEGRATION)
    debriefed = held_after(doses, summaries, IntegrationKind.SAME_DAY_DEBRIEF)
    for number, dose in enumerate(doses, start=1):
        times = integration_times(pathway.integration, dose)
        if pathway.integration.follows(number, number == len(doses)):
            stands = integration_standing(times, [], integrated[dose.started_at], now)
            assert stands is IntegrationStanding.HELD
        assert debrief_standing(times, debriefed[dose.started_at], now) in (None, IntegrationStanding.HELD)
        if plan.medicine.form is not None:
            assert form_standing(plan.medicine.form, dose, forms, now) is Standing.DONE
    for rule in pathway.checks:
        checked = [each.starts_at for each in plan.of_kind(ItemKind.CHECK) if each.subject == rule.subject]
        due = next_check(rule, doses, checked)
        assert due is not None
        assert due.standing(now) is not Standing.OVERDUE
    assert all(each.held_at is not None for each in plan.items)


@every_pathway
def test_the_densest_course_is_as_dense_as_the_pathway_allows(pathway: Pathway):
    """A week without closed days holds as many doses as the tightest limit of the first phase lets it."""
    always = Site(time_zone="America/Denver")
    plan = instantiate(pathway, LEAP_YEAR, always, pace=Pace.DENSEST)
    first = [each for each in plan.doses if each.phase == pathway.phases[0].code]
    for limit in pathway.phases[0].densest:
        spans = [
            (after.day - before.day).days for before, after in zip(first, first[limit.doses :], strict=False)
        ]
        assert all(span >= limit.days for span in spans)
    gaps = [(after.day - before.day).days for before, after in pairwise(first)]
    assert min(gaps) == max(limit.days for limit in pathway.phases[0].densest if limit.doses == 1)


@every_pathway
def test_an_integration_that_nobody_booked_shows_at_both_practices_at_the_same_instant(pathway: Pathway):
    """Each practice works it out from the dose and the pathway alone; their own zones do not come into it."""
    plan = instantiate(pathway, LEAP_YEAR, HERE, THERE, pace=Pace.DENSEST)
    dose = plan.given(plan.doses[-1])
    times = integration_times(pathway.integration, dose)
    assert integration_standing(times, [], [], times.book_by - MINUTE) is IntegrationStanding.TO_BOOK
    for now in (times.book_by, times.deadline_at - MINUTE):
        assert integration_standing(times, [], [], now) is IntegrationStanding.NOT_BOOKED
        assert integration_standing(times, [], [], now).on_worklists
    assert integration_standing(times, [], [], times.deadline_at) is IntegrationStanding.OVERDUE
    late = times.deadline_at + MINUTE
    assert not integration_standing(times, [], [late], late).on_worklists
    last_day = day_of(times.deadline_at - MINUTE, dose.time_zone)
    assert (last_day - dose.day).days == pathway.integration.deadline_days
