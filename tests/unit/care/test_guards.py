"""Starting a session needs a clearance; every guard of every pathway blocks alone, and none blocks the record."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from support.care_courses import (
    CHICAGO,
    DENVER,
    DOSE,
    PATHWAYS,
    a_consent_to,
    a_preparation,
    a_prescription_for,
    a_pressure,
    an_evaluation,
    an_integration,
    arrangements_for,
    every_way,
    facts_of,
)
from tandem_care import entry_kinds as kinds
from tandem_care.clocks import Given
from tandem_care.entry_kinds import Drug, GuardState, Place, RiskLevel, Route
from tandem_care.errors import Invalid, NotAllowed
from tandem_care.guards import (
    Facts,
    NotCleared,
    Session,
    State,
    SupplyCount,
    Word,
    assess,
    ready_to_start,
    session_of,
    sign,
    start,
)
from tandem_care.pathways import NOTICE, GuardCode, Pathway, Stage, shipped
from tandem_care.plans import Pace, Plan, instantiate
from tandem_care.risk import Risk, risk_in
from tandem_care.scales import CSSRS, ScaleCode
from tandem_care.screening import Outcome

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
WAYS = [
    pytest.param(pathway, *way, id=f"{pathway.code}-{way[1]}-{way[2]}")
    for pathway in PATHWAYS
    for way in every_way(pathway)
]


@cache
def a_plan(
    pathway: Pathway,
    drug: Drug | None = None,
    route: Route | None = None,
    place: Place | None = None,
) -> Plan:
    return instantiate(
        pathway,
        date(2026, 3, 2),
        DENVER,
        CHICAGO,
        drug=drug,
        route=route,
        place=place,
        pace=Pace.DENSEST,
    )


@pytest.mark.parametrize(("pathway", "medicine", "route", "place"), WAYS)
def test_the_densest_schedule_passes_every_guard_without_a_word(pathway, medicine, route, place):
    plan = a_plan(pathway, drug=medicine.drug, route=route, place=place)
    begun: list[kinds.DosingStart] = []
    for dose in plan.doses:
        session = session_of(plan, dose.item, DOSE)
        signed_at = session.at - timedelta(minutes=30)
        clearance = sign(
            pathway,
            session,
            facts_of(plan, session, signed_at),
            signed_at,
            by="Dr. Imani Wells",
            highest_dose=DOSE,
        )
        facts = replace(facts_of(plan, session, session.at), starts=tuple(begun))
        begun.append(start(pathway, session, facts, clearance, session.at, by="Noor Haddad"))
        assert {guard.state for guard in begun[-1].guards} == {GuardState.MET}
    assert len(begun) == len(plan.doses)
    assert len({each.cleared_session_at for each in begun}) == len(begun)


Broken = tuple[Session, Facts]
Break = Callable[[Pathway, Session, Facts], Broken]


def without(**changes: Any) -> Break:
    return lambda pathway, session, facts: (session, replace(facts, **changes))


def _schedule(pathway: Pathway, session: Session, facts: Facts) -> Broken:
    yesterday = session.at - DAY
    dose = Given(yesterday, yesterday + 90 * MINUTE, session.time_zone)
    held = an_integration(yesterday, session.at - 5 * MINUTE)
    return session, replace(facts, doses=(*facts.doses, dose), integrations=(*facts.integrations, held))


def _integration(pathway: Pathway, session: Session, facts: Facts) -> Broken:
    return session, replace(facts, integrations=facts.integrations[:-1])


def _route_and_place(pathway: Pathway, session: Session, facts: Facts) -> Broken:
    others = sorted(set(Route) - set(pathway.medicines[0].routes))
    if session.drug is Drug.ESKETAMINE:
        changed = replace(session, drug=Drug.RACEMIC_KETAMINE)
    elif others:
        changed = replace(session, route=others[0])
    else:
        changed = replace(session, drug=Drug.ESKETAMINE, route=Route.INTRANASAL, place=Place.CLINIC)
    return changed, replace(
        facts,
        consent=a_consent_to(changed),
        prescriptions=(a_prescription_for(changed),),
        logistics=arrangements_for(changed),
    )


def _logistics(**changes: Any) -> Break:
    return lambda pathway, session, facts: (
        session,
        replace(facts, logistics=arrangements_for(session, **changes)),
    )


def _hold(pathway: Pathway, session: Session, facts: Facts) -> Broken:
    hold = kinds.MedicationHoldInstruction(
        medication="Clonazepam", hold_from=session.at - DAY, instruction="Skip it.", ordered_by="Dr. Wells"
    )
    return session, replace(facts, holds=(hold,))


BREAK: dict[GuardCode, Break] = {
    GuardCode.THERAPIST: without(therapist=None),
    GuardCode.PREPARATION: without(preparation=None),
    GuardCode.CONSENT: without(consent=None),
    GuardCode.PRESCRIPTION: without(prescriptions=()),
    GuardCode.SCREENING: without(screening=None),
    GuardCode.ROUTE_AND_PLACE: _route_and_place,
    GuardCode.SCHEDULE: _schedule,
    GuardCode.INTEGRATION: _integration,
    GuardCode.LABS: without(labs_outstanding=("ALT",)),
    GuardCode.HOLDS: _hold,
    GuardCode.RISK_SCREEN: without(risk=None),
    GuardCode.BLOOD_PRESSURE: without(blood_pressure=()),
    GuardCode.FASTING: without(last_food_at=None),
    GuardCode.RIDE: _logistics(ride=kinds.Arrangement.NEEDED, ride_home=None),
    GuardCode.SUPPORT_PERSON: _logistics(support=kinds.Arrangement.NEEDED, support_person=None),
    GuardCode.ATTENDANT: without(attendants=()),
    GuardCode.HOME_ADDRESS: _logistics(address=None),
    GuardCode.CHAPERONE: _logistics(chaperone=None),
    GuardCode.VIDEO_THERAPIST: without(video_therapist=None),
    GuardCode.SUPPLY: without(supply=None),
    GuardCode.REMS_ENROLMENT: without(rems=None),
    GuardCode.REMS_SETTING: without(setting_certified=None),
    GuardCode.REMS_PRESCRIBER: without(prescriber_on_site=None),
}


def test_every_guard_can_be_broken_here():
    assert set(BREAK) == set(GuardCode) - {GuardCode.CLEARANCE}


EACH_GUARD = [
    pytest.param(pathway, place, rule.guard, id=f"{pathway.code}-{place}-{rule.guard}")
    for pathway in PATHWAYS
    for place in pathway.medicines[0].places
    for rule in pathway.guards
    if rule.asked_at(place)
]


@pytest.mark.parametrize(("pathway", "place", "guard"), EACH_GUARD)
def test_each_guard_of_each_pathway_blocks_alone(pathway, place, guard):
    plan = a_plan(pathway, place=place)
    session = session_of(plan, "dose-2", DOSE)
    facts = facts_of(plan, session, session.at)
    clearance = sign(pathway, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE)
    session, facts = BREAK[guard](pathway, session, facts)
    clearance = replace(clearance, drug=session.drug, route=session.route, place=session.place)
    found = {each.guard: each for each in ready_to_start(pathway, session, facts, clearance, session.at)}
    assert [code for code, each in found.items() if each.state is not State.PASSES] == [guard]
    assert found[guard].state is State.BLOCKS
    assert found[guard].reason.endswith(".")
    assert found[guard].way_out.endswith(".")
    assert found[guard].notice == NOTICE
    with pytest.raises(NotCleared) as refusal:
        start(pathway, session, facts, clearance, session.at, by="Noor Haddad")
    assert [each.guard for each in refusal.value.findings] == [guard]

    word = Word(guard, "Dr. Imani Wells", "Seen and weighed.")
    if pathway.guard(guard).never_overridden is not None:
        with pytest.raises(NotAllowed) as forbidden:
            start(pathway, session, facts, clearance, session.at, by="Noor Haddad", overridden=[word])
        assert forbidden.value.rule == "NEVER_OVERRIDDEN"
        assert "REMS" in forbidden.value.reason
        return
    begun = start(pathway, session, facts, clearance, session.at, by="Noor Haddad", overridden=[word])
    assert [each.code for each in begun.guards if each.state is GuardState.OVERRIDDEN] == [guard]
    with pytest.raises(NotCleared):
        start(pathway, session, facts, clearance, session.at, by="Noor Haddad", attested=[word])


@pytest.mark.parametrize(("pathway", "place", "guard"), EACH_GUARD)
def test_a_guard_of_the_clearance_keeps_the_prescriber_from_signing(pathway, place, guard):
    plan = a_plan(pathway, place=place)
    session = session_of(plan, "dose-2", DOSE)
    session, facts = BREAK[guard](pathway, session, facts_of(plan, session, session.at))
    if pathway.guard(guard).stage is Stage.START:
        sign(pathway, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE)
        return
    with pytest.raises(NotCleared) as refusal:
        sign(pathway, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE)
    assert [each.guard for each in refusal.value.findings] == [guard]


def test_only_what_the_rems_forbids_is_never_overridden():
    never = {
        (pathway.code, rule.guard)
        for pathway in PATHWAYS
        for rule in pathway.guards
        if rule.never_overridden is not None
    }
    rems = "esketamine-rems"
    assert never == {(rems, GuardCode.REMS_ENROLMENT), (rems, GuardCode.REMS_SETTING)}


# One pathway stands for all where the rule is the same in each.

TWO = shipped().of("two-practice-course")
REMS = shipped().of("esketamine-rems")


def a_case(pathway: Pathway = TWO) -> tuple[Session, Facts]:
    plan = a_plan(pathway)
    session = session_of(plan, "dose-2", DOSE)
    return session, facts_of(plan, session, session.at)


def found(pathway: Pathway, guard: GuardCode, session: Session, facts: Facts, **changes: Any) -> State:
    facts = replace(facts, **changes)
    findings = assess(pathway, session, facts, session.at, Stage.START)
    return next(each.state for each in findings if each.guard is guard)


def test_a_fact_that_the_partner_records_is_attested_by_hand():
    session, facts = a_case()
    facts = replace(facts, preparation=None, elsewhere=frozenset({GuardCode.PREPARATION}))
    assert found(TWO, GuardCode.PREPARATION, session, facts) is State.NEEDS_ATTESTATION
    with pytest.raises(NotCleared):
        sign(TWO, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE)
    word = Word(GuardCode.PREPARATION, "Noor Haddad", "Lena Fischer said so on the telephone.")
    clearance = sign(
        TWO, session, facts, session.at, by="Dr. Imani Wells", highest_dose=DOSE, attested=[word]
    )
    attested = next(each for each in clearance.guards if each.code == GuardCode.PREPARATION)
    assert (attested.state, attested.by, attested.reason) == (GuardState.ATTESTED, word.by, word.reason)
    begun = start(TWO, session, facts, clearance, session.at, by="Noor Haddad")
    assert attested in begun.guards


def test_an_attestation_does_not_outlive_what_it_attested():
    session, facts = a_case()
    elsewhere = replace(facts, preparation=None, elsewhere=frozenset({GuardCode.PREPARATION}))
    word = Word(GuardCode.PREPARATION, "Noor Haddad", "Said so.")
    clearance = sign(TWO, session, elsewhere, session.at, by="Dr. Wells", highest_dose=DOSE, attested=[word])
    not_yet = a_preparation(session.at - DAY, readiness=kinds.Readiness.NOT_YET)
    with pytest.raises(NotCleared) as refusal:
        start(TWO, session, replace(elsewhere, preparation=not_yet), clearance, session.at, by="Noor")
    assert [each.guard for each in refusal.value.findings] == [GuardCode.PREPARATION]


def test_what_was_withheld_and_what_was_never_written_look_the_same():
    session, facts = a_case()
    elsewhere = frozenset({GuardCode.PREPARATION})
    nothing = replace(facts, preparation=None, elsewhere=elsewhere)
    findings = assess(TWO, session, nothing, session.at, Stage.START)
    assert next(each for each in findings if each.guard is GuardCode.PREPARATION).reason == (
        "No preparation is on record here."
    )


def test_a_clearance_ends_and_serves_once():
    session, facts = a_case()
    clearance = sign(TWO, session, facts, session.at, by="Dr. Wells", highest_dose=DOSE)
    assert clearance.expires_at == session.at + timedelta(hours=TWO.clearance_hours)
    begun = start(TWO, session, facts, clearance, session.at, by="Noor")
    again = replace(facts, starts=(begun,))

    def reason(session: Session, facts: Facts, clearance: Any, later: timedelta = timedelta()) -> str:
        first = ready_to_start(TWO, session, facts, clearance, session.at + later)[0]
        assert first.guard is GuardCode.CLEARANCE
        return "" if first.state is State.PASSES else first.reason

    assert reason(session, facts, clearance) == ""
    assert "served" in reason(session, again, clearance)
    assert "No clearance" in reason(session, facts, None)
    assert "expired" in reason(session, facts, clearance, timedelta(hours=12))
    assert reason(session, facts, clearance, timedelta(hours=12) - MINUTE) == ""
    assert "another day" in reason(session, facts, clearance, DAY)
    assert "another pathway" in reason(replace(session, route=Route.SUBLINGUAL), facts, clearance)
    assert "another pathway" in reason(session, facts, replace(clearance, pathway="therapist-office"))
    higher = kinds.Dose(amount=DOSE.amount + 1, unit=DOSE.unit)
    assert "highest" in reason(replace(session, dose=higher), facts, clearance)
    by_weight = kinds.Dose(amount=Decimal("0.5"), unit=kinds.DoseUnit.MG_PER_KG)
    assert "highest" in reason(replace(session, dose=by_weight), facts, clearance)


def test_starting_without_a_clearance_needs_a_named_override():
    session, facts = a_case()
    with pytest.raises(NotCleared) as refusal:
        start(TWO, session, facts, None, session.at, by="Noor Haddad")
    assert [each.guard for each in refusal.value.findings] == [GuardCode.CLEARANCE]
    word = Word(GuardCode.CLEARANCE, "Dr. Imani Wells", "Agreed on the telephone.")
    begun = start(TWO, session, facts, None, session.at, by="Noor Haddad", overridden=[word])
    assert begun.cleared_session_at is None
    for nameless in (Word(GuardCode.CLEARANCE, "", "Agreed."), Word(GuardCode.CLEARANCE, "Dr. Wells", " ")):
        with pytest.raises(Invalid):
            start(TWO, session, facts, None, session.at, by="Noor Haddad", overridden=[nameless])


def test_an_override_in_the_clearance_holds_at_the_start():
    session, facts = a_case()
    facts = replace(facts, screening=None)
    word = Word(GuardCode.SCREENING, "Dr. Imani Wells", "Evaluated on paper.")
    clearance = sign(TWO, session, facts, session.at, by="Dr. Wells", highest_dose=DOSE, overridden=[word])
    begun = start(TWO, session, facts, clearance, session.at, by="Noor")
    assert [(each.code, each.by) for each in begun.guards if each.state is GuardState.OVERRIDDEN] == [
        (GuardCode.SCREENING, word.by)
    ]
    over = replace(clearance, expires_at=session.at)
    now = Word(GuardCode.CLEARANCE, "Dr. Imani Wells", "An hour late.")
    with pytest.raises(NotCleared):
        start(TWO, session, facts, over, session.at, by="Noor", overridden=[now])


def test_a_word_for_a_guard_that_is_not_asked_is_refused():
    session, facts = a_case()
    with pytest.raises(Invalid, match="chaperone"):
        sign(
            TWO,
            session,
            facts,
            session.at,
            by="Dr. Wells",
            highest_dose=DOSE,
            attested=[Word(GuardCode.CHAPERONE, "Noor", "There.")],
        )


def test_no_clearance_is_signed_for_the_past_or_above_the_highest_dose():
    session, facts = a_case()
    with pytest.raises(NotAllowed, match="over"):
        sign(TWO, session, facts, session.at + DAY, by="Dr. Wells", highest_dose=DOSE)
    low = kinds.Dose(amount=DOSE.amount - 1, unit=DOSE.unit)
    with pytest.raises(NotAllowed, match="highest"):
        sign(TWO, session, facts, session.at, by="Dr. Wells", highest_dose=low)


def test_the_day_that_counts_is_the_day_on_which_it_begins():
    """Cleared for Thursday, begun on Wednesday: the schedule is asked about Wednesday."""
    session, facts = a_case()
    findings = ready_to_start(TWO, session, facts, None, session.at - DAY)
    assert next(each for each in findings if each.guard is GuardCode.SCHEDULE).state is State.BLOCKS


@pytest.mark.parametrize(
    ("systolic", "diastolic", "minutes", "racemic", "esketamine"),
    [
        (140, 90, 60, State.PASSES, State.PASSES),
        (141, 90, 60, State.BLOCKS, State.NEEDS_ATTESTATION),
        (140, 91, 60, State.BLOCKS, State.NEEDS_ATTESTATION),
        (120, 80, 61, State.BLOCKS, State.BLOCKS),
    ],
)
def test_blood_pressure_above_140_over_90_is_weighed(systolic, diastolic, minutes, racemic, esketamine):
    for pathway, expected in ((TWO, racemic), (REMS, esketamine)):
        session, facts = a_case(pathway)
        readings = (
            a_pressure(session.at - 200 * MINUTE, 190, 110),
            a_pressure(session.at - minutes * MINUTE, systolic, diastolic),
        )
        got = found(pathway, GuardCode.BLOOD_PRESSURE, session, facts, blood_pressure=readings)
        assert got is expected


@pytest.mark.parametrize(
    ("pathway", "food", "liquid", "state"),
    [
        (REMS, 120, 30, State.PASSES),
        (REMS, 119, 30, State.BLOCKS),
        (REMS, 120, 29, State.BLOCKS),
        (REMS, 120, None, State.BLOCKS),
        (TWO, 240, None, State.PASSES),
        (TWO, 239, None, State.BLOCKS),
    ],
)
def test_fasting_is_that_of_the_medicine(pathway, food, liquid, state):
    session, facts = a_case(pathway)
    eaten = {"last_food_at": session.at - food * MINUTE}
    drunk = {"last_liquid_at": None if liquid is None else session.at - liquid * MINUTE}
    assert found(pathway, GuardCode.FASTING, session, facts, **eaten, **drunk) is state


@pytest.mark.parametrize(
    ("level", "age", "scale", "state"),
    [
        (None, 3 * DAY, ScaleCode.CSSRS, State.PASSES),
        (None, 3 * DAY + MINUTE, ScaleCode.CSSRS, State.BLOCKS),
        (RiskLevel.LOW, DAY, ScaleCode.CSSRS, State.PASSES),
        (RiskLevel.MODERATE, DAY, ScaleCode.CSSRS, State.NEEDS_ATTESTATION),
        (RiskLevel.SEVERE, DAY, ScaleCode.CSSRS, State.BLOCKS),
        (None, DAY, None, State.PASSES),
        (None, DAY, ScaleCode.PHQ9, State.BLOCKS),
    ],
)
def test_the_risk_screen_is_the_cssrs_or_an_assessment_and_recent(level, age, scale, state):
    session, facts = a_case()
    assert (
        found(TWO, GuardCode.RISK_SCREEN, session, facts, risk=Risk(level, session.at - age, scale)) is state
    )


def test_a_risk_screen_that_leaves_open_how_far_it_goes_does_not_pass():
    session, facts = a_case()
    partial = kinds.ScaleScore.scored(CSSRS, {"1": 1, "2": 1, "6": 0}, session.at - DAY)
    assert found(TWO, GuardCode.RISK_SCREEN, session, facts, risk=risk_in(partial)) is State.BLOCKS


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"expires_at_days": 0}, State.BLOCKS),
        ({"outcome": Outcome.NOT_ELIGIBLE}, State.BLOCKS),
        (
            {"outcome": Outcome.ELIGIBLE_WITH_CONDITIONS, "conditions": ("Home readings",)},
            State.NEEDS_ATTESTATION,
        ),
    ],
)
def test_the_evaluation_must_be_current_and_its_conditions_met(changes, state):
    session, facts = a_case()
    if "expires_at_days" in changes:
        changes = {"expires_at": session.at}
    result = an_evaluation(session.at, **changes)
    assert found(TWO, GuardCode.SCREENING, session, facts, screening=result) is state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"stopped_at_day": 0}, State.BLOCKS),
        ({"expires_at_day": 0}, State.BLOCKS),
        ({"sessions": 1}, State.BLOCKS),
        ({"sessions": 2}, State.PASSES),
        ({"place": Place.THERAPIST_OFFICE}, State.BLOCKS),
        ({"route": Route.SUBLINGUAL}, State.BLOCKS),
        ({"dose": kinds.Dose(amount=Decimal(55), unit=kinds.DoseUnit.MG)}, State.BLOCKS),
        ({"dose": kinds.Dose(amount=Decimal(1), unit=kinds.DoseUnit.MG_PER_KG)}, State.NEEDS_ATTESTATION),
    ],
)
def test_a_prescription_is_live_for_drug_route_place_dose_and_number(changes, state):
    session, facts = a_case()
    at = {
        field.removesuffix("_day"): session.at + days * DAY
        for field, days in changes.items()
        if "_day" in field
    }
    plain = {field: value for field, value in changes.items() if "_day" not in field}
    prescribed = (a_prescription_for(session, **at, **plain),)
    assert found(TWO, GuardCode.PRESCRIPTION, session, facts, prescriptions=prescribed) is state


def test_consent_to_treatment_is_to_the_drug_and_in_force():
    session, facts = a_case()

    def state(**changes: Any) -> State:
        return found(TWO, GuardCode.CONSENT, session, facts, consent=a_consent_to(session, **changes))

    assert state() is State.PASSES
    assert state(withdrawn_at=session.at) is State.BLOCKS
    assert state(expires_at=session.at) is State.BLOCKS
    assert state(drug=Drug.ESKETAMINE) is State.BLOCKS


def test_a_ride_that_is_not_needed_is_explained_away_from_home():
    session, facts = a_case()
    walks = arrangements_for(session, ride=kinds.Arrangement.NOT_NEEDED, ride_home=None)
    assert found(TWO, GuardCode.RIDE, session, facts, logistics=walks) is State.NEEDS_ATTESTATION
    at_home = replace(session, place=Place.HOME)
    assert found(TWO, GuardCode.RIDE, at_home, facts, logistics=walks) is State.PASSES
    alone = arrangements_for(session, support=kinds.Arrangement.NOT_NEEDED, support_person=None)
    assert found(TWO, GuardCode.SUPPORT_PERSON, session, facts, logistics=alone) is State.NEEDS_ATTESTATION


def test_arrangements_of_another_day_say_nothing():
    session, facts = a_case()
    other = arrangements_for(replace(session, at=session.at - 2 * DAY))
    assert found(TWO, GuardCode.RIDE, session, facts, logistics=other) is State.BLOCKS


@pytest.mark.parametrize(
    ("days", "counted", "expected", "state"),
    [
        (7, 3, 3, State.PASSES),
        (8, 3, 3, State.BLOCKS),
        (1, 0, 0, State.BLOCKS),
        (1, 2, 3, State.NEEDS_ATTESTATION),
    ],
)
def test_the_supply_at_home_is_counted(days, counted, expected, state):
    home = shipped().of("supported-at-home")
    session, facts = a_case(home)
    supply = SupplyCount(session.at - days * DAY, counted, expected)
    assert found(home, GuardCode.SUPPLY, session, facts, supply=supply) is state


def test_medication_that_was_paused_as_told_passes():
    retreat = shipped().of("retreat-intensive")
    session, facts = a_case(retreat)
    hold = kinds.MedicationHoldInstruction(
        medication="Clonazepam", hold_from=session.at - DAY, instruction="Skip it.", ordered_by="Dr. Wells"
    )
    over = replace(hold, medication="Lithium", resume_at=session.at - MINUTE)
    held = {"holds": (hold, over), "held_medication": frozenset({"Clonazepam"})}
    assert found(retreat, GuardCode.HOLDS, session, facts, **held) is State.PASSES
    assert found(retreat, GuardCode.HOLDS, session, facts, holds=None) is State.BLOCKS


def test_enrolment_and_certification_that_ended_block():
    session, facts = a_case(REMS)
    ended = kinds.RemsEnrolment(
        program="spravato", enrolled_on=date(2020, 1, 1), ended_on=session.day, recorded_by="Noor"
    )
    assert found(REMS, GuardCode.REMS_ENROLMENT, session, facts, rems=ended) is State.BLOCKS
    assert found(REMS, GuardCode.REMS_SETTING, session, facts, setting_certified=False) is State.BLOCKS
