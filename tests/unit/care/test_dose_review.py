"""A dose that was given is always recorded; what was out of the ordinary opens its review."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from support.care_courses import DENVER, DOSE, facts_of
from tandem_care.clocks import Given
from tandem_care.dose_review import ReviewReason, reasons_to_review
from tandem_care.entry_kinds import (
    Attendant,
    Dose,
    DosingClearance,
    DosingSession,
    DosingStart,
    Drug,
    Effect,
    Grade,
    ObservedEffect,
    Place,
    Route,
    VitalsMoment,
)
from tandem_care.guards import Word, session_of, sign, start
from tandem_care.pathways import GuardCode, shipped
from tandem_care.plans import instantiate

TWO = shipped().of("two-practice-course")
HOUR = timedelta(hours=1)


def begun() -> tuple[DosingStart, DosingClearance]:
    plan = instantiate(TWO, date(2026, 3, 2), DENVER)
    session = session_of(plan, "dose-1", DOSE)
    facts = facts_of(plan, session, session.at)
    clearance = sign(TWO, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE)
    return start(TWO, session, facts, clearance, session.at, by="Noor Haddad"), clearance


START, CLEARANCE = begun()


def a_dose_as_started(**changes: Any) -> DosingSession:
    fields: dict[str, Any] = {
        "drug": START.drug,
        "route": START.route,
        "dose": START.dose,
        "place": START.place,
        "started_at": START.started_at,
        "ended_at": START.started_at + HOUR,
        "discharged_at": START.started_at + 2 * HOUR,
        "time_zone": START.time_zone,
        "effects": tuple(
            ObservedEffect(effect=effect, grade=Grade.NONE)
            for effect in (Effect.SEDATION, Effect.DISSOCIATION)
        ),
        "attendants": (Attendant(name="Noor Haddad", role="nurse"),),
        "logged_by": "Noor Haddad",
    }
    return DosingSession(**(fields | changes))


def reasons(
    session: DosingSession | None = None,
    started: DosingStart | None = START,
    clearance: DosingClearance | None = CLEARANCE,
    others: tuple[Given, ...] = (),
    late: timedelta = 3 * HOUR,
) -> set[ReviewReason]:
    session = session or a_dose_as_started()
    return set(reasons_to_review(session, started, clearance, TWO, others, START.started_at + late))


def test_a_dose_that_went_as_it_should_needs_no_review():
    assert reasons() == set()


def test_a_dose_recorded_afterwards_always_opens_its_review():
    assert reasons(started=None) == {ReviewReason.RECORDED_AFTERWARDS}
    assert reasons(started=None, clearance=None) == {
        ReviewReason.RECORDED_AFTERWARDS,
        ReviewReason.NOT_CLEARED,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dose": Dose(amount=DOSE.amount + 1, unit=DOSE.unit)}, ReviewReason.NOT_AS_CLEARED),
        ({"route": Route.INTRAMUSCULAR}, ReviewReason.NOT_AS_CLEARED),
        ({"place": Place.THERAPIST_OFFICE}, ReviewReason.NOT_AS_CLEARED),
        ({"discharged_at": START.started_at + timedelta(minutes=89)}, ReviewReason.LEFT_EARLY),
        ({"effects": ()}, ReviewReason.LEFT_EARLY),
    ],
)
def test_each_departure_is_a_reason(changes, reason):
    assert reasons(a_dose_as_started(**changes)) == {reason}


def test_a_severe_effect_is_a_reason():
    severe = ObservedEffect(effect=Effect.ANXIETY, grade=Grade.SEVERE)
    calm = a_dose_as_started().effects
    assert reasons(a_dose_as_started(effects=(*calm, severe))) == {ReviewReason.SEVERE_EFFECT}


def test_a_reading_before_leaving_that_is_missing_is_no_early_leaving():
    assert all(each.moment is not VitalsMoment.BEFORE_LEAVING for each in a_dose_as_started().blood_pressure)
    assert reasons() == set()


def test_a_day_late_is_late():
    assert reasons(late=25 * HOUR) == set()
    assert reasons(late=25 * HOUR + timedelta(minutes=1)) == {ReviewReason.RECORDED_LATE}


def test_a_dose_too_close_to_another_is_a_reason_whichever_was_first():
    for days in (-1, 1):
        at = START.started_at + timedelta(days=days)
        assert reasons(others=(Given(at, at + HOUR, START.time_zone),)) == {ReviewReason.TOO_DENSE}
    later = START.started_at + timedelta(days=2)
    assert reasons(others=(Given(later, later + HOUR, START.time_zone),)) == set()


def test_a_drug_that_the_pathway_does_not_have_is_recorded_all_the_same():
    other = a_dose_as_started(drug=Drug.ESKETAMINE, route=Route.INTRANASAL, place=Place.HOME)
    assert reasons(other) == {ReviewReason.NOT_AS_CLEARED, ReviewReason.NOT_ON_PATHWAY}


def test_an_override_at_the_start_is_a_reason():
    plan = instantiate(TWO, date(2026, 3, 2), DENVER)
    session = session_of(plan, "dose-1", DOSE)
    facts = replace(facts_of(plan, session, session.at), attendants=())
    word = Word(GuardCode.ATTENDANT, "Dr. Imani Wells", "She came ten minutes later.")
    overridden = start(TWO, session, facts, CLEARANCE, session.at, by="Noor", overridden=[word])
    assert reasons(started=overridden) == {ReviewReason.GUARD_OVERRIDDEN}
