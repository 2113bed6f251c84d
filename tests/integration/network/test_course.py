"""One course at two practices: planned, moved, cleared, begun, held and followed, each by what it may see."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.care_courses import DOSE
from support.network import Network, SimulatedClinic
from support.shared_course import OFTEN_SHARED, SCREENED, SharedCourse
from tandem_care import entry_kinds as kinds
from tandem_care.categories import Category
from tandem_care.entry_kinds import DoseWish, GuardState
from tandem_care.scales import CSSRS, PHQ9
from tandem_clinic.store import worklist
from tandem_clinic.usecases import courses, dose_feedback, dosing, measures
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.dosing import Spoken, Words
from tandem_platform.errors import Refusal

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    yield made
    made.close()


@pytest.fixture
def course(network: Network) -> SharedCourse:
    return SharedCourse(network)


def waits_at(clinic: SimulatedClinic, *kinds_of: str) -> list[tuple[str, str]]:
    """Kind and standing, or kind alone, of what waits there."""
    with clinic.db.reading() as tx:
        return [
            (item.kind, item.facts.get("stand", ""))
            for item in worklist.waiting(tx)
            if item.kind.startswith(kinds_of)
        ]


def makes_ready(course: SharedCourse, item: str = "dose-1") -> datetime:
    """Everything before the dose is on record; it is the time of the dose."""
    session = course.session(item)
    course.records(course.juniper, *course.standing_facts(session).values())
    course.records(course.riverbend, course.preparation())
    course.waits_until(session.at - timedelta(minutes=5))
    course.records(course.juniper, *course.facts_of_the_day(session).values())
    return session.at


def starts(course: SharedCourse, item: str = "dose-1", by: SimulatedClinic | None = None, **words: object):
    return (by or course.juniper).do(
        dosing.start_session,
        course.episode_id,
        item,
        DOSE,
        Words(**words),  # type: ignore[arg-type]
    )


def gives(course: SharedCourse, item: str = "dose-1") -> datetime:
    """The dose is cleared, begun and recorded as it should be; when it began."""
    makes_ready(course, item)
    course.juniper.do(dosing.sign_clearance, course.episode_id, item, DOSE)
    begun: datetime = starts(course, item).start.started_at
    course.waits_until(begun + 3 * HOUR)
    course.records(course.juniper, course.dose(begun))
    return begun


def test_both_practices_see_the_plan_and_a_session_that_is_moved(course):
    course.plans()
    assert course.sees(course.riverbend) == course.sees(course.juniper)
    assert course.sees(course.riverbend)["dose-1"] == "planned"
    first = course.plan_at(course.juniper).item("dose-1")
    course.juniper.do(courses.move_session, course.episode_id, "dose-1", first.day + 7 * DAY, later_too=True)
    course.network.settle()
    there = course.plan_at(course.riverbend)
    assert there.item("dose-1").day == first.day + 7 * DAY
    assert there == course.plan_at(course.juniper)


def test_a_move_that_breaks_a_rule_says_which_and_what_would_fit(course):
    course.plans()
    first = course.plan_at(course.juniper).item("dose-1")
    saturday = first.day + (5 - first.day.weekday()) % 7 * DAY
    with pytest.raises(Refusal) as refused:
        course.juniper.do(courses.move_session, course.episode_id, "dose-1", saturday)
    assert refused.value.reason == "CLOSED_DAY"
    assert "would fit" in (refused.value.way_out or "")


def test_the_partner_holds_its_sessions_and_moves_nothing_of_a_plan_that_is_not_its_own(course):
    course.plans()
    preparation = course.plan_at(course.juniper).item("preparation-1")
    course.waits_until(preparation.starts_at + HOUR)
    summary = {"readiness": "ready", "summary": "Ready for the first session."}
    course.riverbend.do(
        courses.hold_session,
        course.episode_id,
        "preparation-1",
        preparation.starts_at,
        preparation.starts_at + HOUR,
        summary,
    )
    course.network.settle()
    assert course.sees(course.juniper)["preparation-1"] == "done"
    assert course.sees(course.riverbend)["preparation-1"] == "done"
    with pytest.raises(Refusal) as refused:
        course.riverbend.do(courses.move_session, course.episode_id, "dose-1", preparation.day + 9 * DAY)
    assert refused.value.reason == "PLAN_IS_PARTNERS"


def test_without_permission_the_plan_stays_where_it_was_made(network):
    course = SharedCourse(network, juniper_shares=())
    course.plans()
    with pytest.raises(Refusal) as refused:
        course.sees(course.riverbend)
    assert refused.value.reason == "PLAN_NOT_MADE"


def test_a_session_is_cleared_and_begun_when_every_guard_passes(course):
    course.plans()
    begun = gives(course)
    assert course.sees(course.juniper)["dose-1"] == "done" == course.sees(course.riverbend)["dose-1"]
    start = course.plan_at(course.riverbend).item("dose-1")
    assert start.held_at == begun
    assert waits_at(course.juniper, "dosing-review", "observation") == []


def test_a_refusal_names_each_guard_that_stands_against_it_with_its_way_out(course):
    course.plans()
    with pytest.raises(Refusal) as refused:
        starts(course)
    assert refused.value.reason == "NOT_STARTED"
    named = refused.value.metadata["guards"].split(",")
    assert {"dosing-clearance", "treatment-consent", "blood-pressure", "ride"} <= set(named)
    assert refused.value.metadata["blood-pressure"] == "No blood pressure is on record. Measure it."


def test_a_dose_of_the_plan_begins_once(course):
    course.plans()
    makes_ready(course)
    course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE)
    starts(course)
    with pytest.raises(Refusal) as refused:
        starts(course)
    assert refused.value.reason == "DOSE_GIVEN"


def test_an_override_is_named_and_opens_a_review(course):
    course.plans()
    makes_ready(course)
    course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE)
    high = kinds.BloodPressure(
        moment=kinds.VitalsMoment.BEFORE, taken_at=course.now, systolic=171, diastolic=101
    )
    course.records(course.juniper, kinds.Vitals(blood_pressure=(high,), logged_by="Noor Haddad"))
    with pytest.raises(Refusal) as refused:
        starts(course)
    assert refused.value.metadata["guards"] == "blood-pressure"
    word = Spoken("blood-pressure", "White coat; 120/80 at home this morning.")
    begun = starts(course, overridden=(word,))
    spoken = [each for each in begun.start.guards if each.state is not GuardState.MET]
    assert [(each.code, each.by) for each in spoken] == [("blood-pressure", "The keeper")]
    course.waits_until(begun.start.started_at + 3 * HOUR)
    course.records(course.juniper, course.dose(begun.start.started_at))
    assert waits_at(course.juniper, "dosing-review") == [("dosing-review", "")]


def test_a_fact_that_the_partner_may_not_share_is_attested_by_hand(network):
    course = SharedCourse(network, riverbend_shares=())
    course.plans()
    makes_ready(course)
    with pytest.raises(Refusal) as refused:
        course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE)
    assert refused.value.metadata["guards"] == "preparation-done"
    said = Words(attested=(Spoken("preparation-done", "Lena Fischer said so on the telephone."),))
    signed = course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE, None, said)
    assert {each.code for each in signed.clearance.guards if each.state is GuardState.ATTESTED} == {
        "preparation-done"
    }


def test_what_a_person_said_for_a_guard_is_shared_only_with_who_may_see_what_it_speaks_of(network):
    course = SharedCourse(network, juniper_shares=OFTEN_SHARED - {Category.SAFETY_RISK, Category.SCALE_SCORE})
    course.plans()
    makes_ready(course)
    moderate = SCREENED | {"1": 1, "2": 1, "3": 1}
    course.records(course.juniper, kinds.ScaleScore.scored(CSSRS, moderate, course.now))
    course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE)
    starts(course, attested=(Spoken("risk-screen-current", "Spoke with the patient; a plan is in place."),))
    course.network.settle()
    assert course.sees(course.juniper)["dose-1"] == "done"
    assert course.sees(course.riverbend)["dose-1"] == "planned"


def answers(*given: int) -> dict[str, int | None]:
    return {str(number): value for number, value in enumerate(given, start=1)}


def measures_phq9(course: SharedCourse, *given: int) -> measures.Measured:
    made: measures.Measured = course.juniper.do(
        measures.record_measure,
        course.referred.patient_id,
        PHQ9.code.value,
        answers(*given),
        course.now,
    )
    for _ in range(3):
        course.network.settle()
    return made


def test_a_measure_is_scored_and_held_against_the_first(course):
    first = measures_phq9(course, 2, 2, 2, 2, 2, 2, 2, 2, 0)
    assert (first.score.total, first.score.band, first.change) == (16, "moderately-severe", None)
    course.network.clock.advance(14 * DAY)
    later = measures_phq9(course, 1, 1, 1, 1, 0, 0, 0, 0, 0)
    assert later.change is not None
    assert (later.change.drop, later.change.response, later.change.remission) == (12, True, True)


def test_new_and_worse_risk_interrupts_at_both_practices_and_steady_low_risk_waits(course):
    measures_phq9(course, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert waits_at(course.juniper, "risk") == [("risk-interrupts", "")]
    assert waits_at(course.riverbend, "risk") == [("risk-interrupts", "")]
    assert course.riverbend.sees(Category.SAFETY_SIGNAL) == []
    course.network.clock.advance(DAY)
    measures_phq9(course, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert waits_at(course.juniper, "risk") == [("risk-interrupts", ""), ("risk", "")]
    assert waits_at(course.riverbend, "risk") == [("risk-interrupts", ""), ("risk", "")]


def test_without_permission_only_the_safety_signal_goes_and_only_where_the_risk_interrupts(network):
    course = SharedCourse(network, juniper_shares=OFTEN_SHARED - {Category.SCALE_SCORE})
    measures_phq9(course, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    (signal,) = course.riverbend.sees(Category.SAFETY_SIGNAL)
    assert signal["content"] == {"on_call_number": "+1 503 555 0111"}
    assert waits_at(course.riverbend, "risk") == []
    course.network.clock.advance(DAY)
    measures_phq9(course, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert len(course.riverbend.sees(Category.SAFETY_SIGNAL)) == 1


def test_a_wish_for_another_dose_waits_for_the_prescriber_until_it_is_decided(course):
    course.plans()
    begun = gives(course)
    course.riverbend.do(
        dose_feedback.give_dose_feedback,
        course.episode_id,
        begun,
        DoseWish.LOWER,
        dialogue_possible=False,
        note="Too deep for words until the end.",
    )
    for _ in range(3):
        course.network.settle()
    assert waits_at(course.juniper, "dose-feedback") == [("dose-feedback", "")]
    assert waits_at(course.riverbend, "dose-feedback") == []
    with pytest.raises(Refusal) as refused:
        course.riverbend.do(
            dose_feedback.decide_dose, course.episode_id, begun, DoseWish.LOWER, DOSE, "A little less."
        )
    assert refused.value.reason == "DECIDED_BY_THE_PRESCRIBER"
    course.juniper.do(
        dose_feedback.decide_dose, course.episode_id, begun, DoseWish.LOWER, DOSE, "A little less."
    )
    for _ in range(3):
        course.network.settle()
    assert waits_at(course.juniper, "dose-feedback") == []


def test_integration_that_nobody_booked_waits_at_both_practices_until_it_was_held(course):
    course.plans()
    begun = gives(course)
    course.waits_until(begun + 30 * DAY)
    for clinic in (course.juniper, course.riverbend):
        assert ("course-integration", "overdue") in waits_at(clinic, "course-integration")
    course.riverbend.do(
        courses.hold_session,
        course.episode_id,
        "integration-1",
        course.now - HOUR,
        course.now,
        {"summary": "Late, and good."},
    )
    for _ in range(3):
        course.network.settle()
    for clinic in (course.juniper, course.riverbend):
        assert course.sees(clinic)["integration-1"] == "done"
        assert ("course-integration", "overdue") not in waits_at(clinic, "course-integration")


def test_a_session_at_the_therapists_office_begins_there_on_the_prescribers_clearance(network):
    course = SharedCourse(network)
    course.plans("therapist-office")
    makes_ready(course)
    course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE)
    course.network.settle()
    begun = starts(course, by=course.riverbend)
    assert begun.start.cleared_session_at is not None
    course.network.settle()
    assert course.sees(course.juniper)["dose-1"] == "done"


def test_where_the_clearance_may_not_be_shared_it_is_attested_by_hand(network):
    course = SharedCourse(network, juniper_shares=OFTEN_SHARED - {Category.MEDICATION_PRESCRIPTION})
    course.plans("therapist-office")
    makes_ready(course)
    course.juniper.do(dosing.sign_clearance, course.episode_id, "dose-1", DOSE)
    course.network.settle()
    with pytest.raises(Refusal) as refused:
        starts(course, by=course.riverbend)
    stands = refused.value.metadata["guards"].split(",")
    assert set(stands) == {"dosing-clearance", "prescription-live"}
    said = tuple(Spoken(each, "Dr. Wells read it out on the telephone.") for each in stands)
    begun = starts(course, by=course.riverbend, attested=said)
    assert {each.code for each in begun.start.guards if each.state is GuardState.ATTESTED} == set(stands)


def test_p7_what_is_withheld_makes_no_difference_to_a_course_at_the_partner(tmp_path):
    """Two runs that differ by what Juniper withholds: Riverbend's course, worklist and guards are the same."""

    def run(name: str, *, withheld: bool) -> object:
        directory = tmp_path / name
        directory.mkdir()
        network = Network(directory)
        try:
            course = SharedCourse(
                network, juniper_shares={Category.TREATMENT_PLAN, Category.MEDICATION_MONITORING}
            )
            course.plans("therapist-office")
            session = course.session()
            course.records(course.juniper, course.standing_facts(session)["consent"])
            if withheld:
                risk = kinds.SafetyRisk(
                    level=kinds.RiskLevel.SEVERE,
                    course=kinds.Course.NEW,
                    assessed_at=course.now,
                    assessed_by="Dr. Imani Wells",
                    summary="Plans.",
                )
                facts = course.standing_facts(session)
                hidden = [facts[each] for each in ("prescription", "evaluation", "labs", "pause")]
                course.juniper.do(records_all, course.referred.patient_id, [risk, *hidden])
                course.juniper.do(
                    dosing.sign_clearance,
                    course.episode_id,
                    "dose-1",
                    DOSE,
                    None,
                    Words(attested=(Spoken("preparation-done", "Said so on the telephone."),)),
                )
            course.waits_until(course.plan_at(course.juniper).item("dose-1").starts_at)
            findings = course.riverbend.do(dosing.ask_guards, course.episode_id, "dose-1", DOSE)
            with course.riverbend.db.reading() as tx:
                waiting = [(item.kind, item.facts) for item in worklist.waiting(tx)]
            return course.sees(course.riverbend), [(each.guard, each.reason) for each in findings], waiting
        finally:
            network.close()

    assert run("with", withheld=True) == run("without", withheld=False)


def records_all(tx, clinic, by, patient_id, contents):
    for content in contents:
        record_followed(tx, clinic, by, patient_id, content)


def test_a_plan_that_was_moved_after_a_dose_goes_only_to_who_may_see_doses(network):
    course = SharedCourse(network, juniper_shares=OFTEN_SHARED - {Category.MEDICATION_MONITORING})
    course.plans()
    gives(course)
    before = course.plan_at(course.riverbend).item("dose-3").day
    course.juniper.do(courses.move_session, course.episode_id, "dose-3", before + 7 * DAY, later_too=True)
    course.network.settle()
    assert course.plan_at(course.juniper).item("dose-3").day == before + 7 * DAY
    assert course.plan_at(course.riverbend).item("dose-3").day == before
