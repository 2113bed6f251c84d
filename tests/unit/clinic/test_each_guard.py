"""Each guard of each pathway keeps a session from beginning, alone, at a clinic that has everything else on record."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.care_courses import DOSE, PATHWAYS, a_preparation, an_integration
from support.clinics import PARTNERSHIP, AClinic, a_clinic, a_form
from support.shared_course import facts_of_the_day, standing_facts
from tandem_care import entry_kinds as kinds
from tandem_care.entry_kinds import Arrangement, Content, GuardState, Place, Route
from tandem_care.guards import session_of
from tandem_care.local_time import Site
from tandem_care.pathways import GuardCode, Pathway, Stage
from tandem_care.plans import Pace
from tandem_clinic.store import referrals
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases import courses, dosing
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.course_reading import open_course
from tandem_clinic.usecases.course_watch import look_at_course
from tandem_clinic.usecases.courses import Wish
from tandem_clinic.usecases.dosing import Spoken, Words
from tandem_clinic.usecases.entries import amend_entry, take_back_entry
from tandem_clinic.usecases.referrals import request_referral
from tandem_platform.errors import Refusal
from tandem_platform.storage import Transaction

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
DENVER = Site(time_zone="America/Denver", closed_weekdays=frozenset({5, 6}))


class Undone(Exception):
    """What a test did is not kept."""


@dataclass
class Ready:
    """A clinic at the time of a course's second dose, with every fact on record, by name."""

    clinic: AClinic
    pathway: Pathway
    episode_id: str
    patient_id: str
    referral_id: str
    facts: dict[str, Content]
    records: dict[str, str]

    def does(self, tx: Transaction, work: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return work(tx, self.clinic.clinic, self.clinic.clinician, *args, **more)

    def puts(self, tx: Transaction, name: str, content: Content | None) -> None:
        """In the place of what is on record under that name; None takes it back."""
        if name not in self.records:
            assert content is not None
            self.does(tx, record_followed, self.patient_id, content)
        elif content is None:
            self.does(tx, take_back_entry, self.records[name])
        else:
            self.does(tx, amend_entry, self.records[name], content)

    def signs(self, tx: Transaction) -> None:
        self.does(tx, dosing.sign_clearance, self.episode_id, "dose-2", DOSE)

    def starts(self, tx: Transaction, *overridden: Spoken) -> dosing.Started:
        words = Words(overridden=overridden)
        started: dosing.Started = self.does(tx, dosing.start_session, self.episode_id, "dose-2", DOSE, words)
        return started

    def undoing(self, work: Callable[[Transaction], None]) -> None:
        with suppress(Undone), self.clinic.db.transaction() as tx:
            work(tx)
            raise Undone


def _begins(directory: Path, pathway: Pathway, place: Place) -> Ready:
    clinic = a_clinic(directory)
    patient_id = clinic.registers()
    with clinic.db.transaction() as tx:
        asked = request_referral(
            tx, clinic.clinic, clinic.clinician, patient_id, PARTNERSHIP, "psychotherapy", a_form()
        )
        referrals.change(tx, referrals.get(tx, asked.referral_id), state="in_progress")
        courses.state_site(tx, clinic.clinic, clinic.clinician, StatedSite(DENVER, ""))
        wish = Wish(pathway=pathway.code, start=clinic.clinic.now().date(), place=place, pace=Pace.DENSEST)
        plan = courses.plan_course(tx, clinic.clinic, clinic.clinician, asked.episode_id, wish).plan
    first, second = plan.item("dose-1"), plan.item("dose-2")
    clinic.network.clock.advance(second.starts_at - clinic.clinic.now())
    now = clinic.clinic.now()
    session = session_of(plan, "dose-2", DOSE)
    facts = {
        **standing_facts(session, now),
        **facts_of_the_day(session, now),
        "preparation": a_preparation(first.starts_at - DAY),
        "dose": kinds.DosingSession(
            drug=plan.drug,
            route=plan.route,
            dose=DOSE,
            place=plan.place,
            started_at=first.starts_at,
            ended_at=first.starts_at + 90 * MINUTE,
            time_zone=first.time_zone,
            logged_by="Noor Haddad",
        ),
        "integration": an_integration(None, now - 5 * MINUTE),
    }
    ready = Ready(clinic, pathway, asked.episode_id, patient_id, asked.referral_id, facts, {})
    with clinic.db.transaction() as tx:
        for name, content in facts.items():
            ready.records[name] = ready.does(tx, record_followed, patient_id, content).record_id
    return ready


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Pathway, Place], Ready]]:
    made: dict[tuple[str, Place], Ready] = {}

    def at(pathway: Pathway, place: Place) -> Ready:
        key = (pathway.code, place)
        if key not in made:
            made[key] = _begins(tmp_path_factory.mktemp("clinic"), pathway, place)
        return made[key]

    yield at
    for each in made.values():
        each.clinic.db.close()


Break = Callable[[Ready, Transaction], None]


def without(name: str) -> Break:
    return lambda ready, tx: ready.puts(tx, name, None)


def changed(name: str, **changes: Any) -> Break:
    return lambda ready, tx: ready.puts(tx, name, replace(ready.facts[name], **changes))  # type: ignore[type-var]


def _no_therapist(ready: Ready, tx: Transaction) -> None:
    referrals.change(tx, referrals.get(tx, ready.referral_id), state="received")


def _dosed_yesterday(ready: Ready, tx: Transaction) -> None:
    dose = ready.facts["dose"]
    assert isinstance(dose, kinds.DosingSession)
    at = ready.clinic.clinic.now() - DAY
    ready.puts(tx, "dose", replace(dose, started_at=at, ended_at=at + 90 * MINUTE))


def _hold(ready: Ready, tx: Transaction) -> None:
    hold = kinds.MedicationHoldInstruction(
        medication="Clonazepam",
        hold_from=ready.clinic.clinic.now() - DAY,
        instruction="Skip it.",
        ordered_by="Dr. Imani Wells",
    )
    ready.puts(tx, "hold", hold)


BREAK: dict[GuardCode, Break] = {
    GuardCode.THERAPIST: _no_therapist,
    GuardCode.PREPARATION: without("preparation"),
    GuardCode.CONSENT: without("consent"),
    GuardCode.PRESCRIPTION: without("prescription"),
    GuardCode.SCREENING: without("evaluation"),
    GuardCode.SCHEDULE: _dosed_yesterday,
    GuardCode.INTEGRATION: without("integration"),
    GuardCode.LABS: changed("labs", outstanding=("ALT",)),
    GuardCode.HOLDS: _hold,
    GuardCode.RISK_SCREEN: without("risk"),
    GuardCode.BLOOD_PRESSURE: without("vitals"),
    GuardCode.FASTING: changed("check", last_food_at=None),
    GuardCode.RIDE: changed("logistics", ride=Arrangement.NEEDED, ride_home=None),
    GuardCode.SUPPORT_PERSON: changed("logistics", support=Arrangement.NEEDED, support_person=None),
    GuardCode.ATTENDANT: changed("check", attendants=()),
    GuardCode.HOME_ADDRESS: changed("logistics", address=None),
    GuardCode.CHAPERONE: changed("logistics", chaperone=None),
    GuardCode.VIDEO_THERAPIST: changed("check", video_therapist=None),
    GuardCode.SUPPLY: without("supply"),
    GuardCode.REMS_ENROLMENT: without("rems"),
    GuardCode.REMS_SETTING: without("setting"),
    GuardCode.REMS_PRESCRIBER: changed("check", prescriber_on_site=None),
}
EVERY_PLACE = [(pathway, place) for pathway in PATHWAYS for place in pathway.medicines[0].places]
EACH_GUARD = [
    pytest.param(pathway, place, rule.guard, id=f"{pathway.code}-{place}-{rule.guard}")
    for pathway, place in EVERY_PLACE
    for rule in pathway.guards
    if rule.asked_at(place) and rule.guard in BREAK
]


def named(refused: pytest.ExceptionInfo[Refusal]) -> list[str]:
    return refused.value.metadata["guards"].split(",")


def test_every_guard_but_that_of_a_plan_off_its_pathway_is_broken_here():
    assert set(BREAK) == set(GuardCode) - {GuardCode.CLEARANCE, GuardCode.ROUTE_AND_PLACE}


@pytest.mark.parametrize(
    ("pathway", "place"), [pytest.param(*each, id=f"{each[0].code}-{each[1]}") for each in EVERY_PLACE]
)
def test_with_every_fact_on_record_nothing_stands_against_it(ready, pathway, place):
    at = ready(pathway, place)

    def work(tx: Transaction) -> None:
        at.signs(tx)
        assert {guard.state for guard in at.starts(tx).start.guards} == {GuardState.MET}

    at.undoing(work)


@pytest.mark.parametrize(("pathway", "place", "guard"), EACH_GUARD)
def test_each_guard_blocks_alone(ready, pathway, place, guard):
    at = ready(pathway, place)
    rule = pathway.guard(guard)

    def work(tx: Transaction) -> None:
        at.signs(tx)
        BREAK[guard](at, tx)
        with pytest.raises(Refusal) as refused:
            at.starts(tx)
        assert named(refused) == [guard]
        assert refused.value.metadata[guard].endswith(".")
        word = Spoken(guard, "Seen and weighed.")
        if rule.never_overridden is None:
            spoken = [each for each in at.starts(tx, word).start.guards if each.by is not None]
            assert [(each.code, each.state) for each in spoken] == [(guard, GuardState.OVERRIDDEN)]
        else:
            with pytest.raises(Refusal) as refused:
                at.starts(tx, word)
            assert refused.value.reason == "NEVER_OVERRIDDEN"

    def signing(tx: Transaction) -> None:
        BREAK[guard](at, tx)
        with pytest.raises(Refusal) as refused:
            at.signs(tx)
        assert named(refused) == [guard]

    at.undoing(work)
    if rule.stage is Stage.CLEARANCE:
        at.undoing(signing)


@pytest.mark.parametrize("pathway", PATHWAYS, ids=lambda each: each.code)
def test_a_plan_off_its_pathway_is_not_cleared(ready, pathway):
    """No use case makes one; a partner's entry, or an EHR's, may hold it."""
    at = ready(pathway, pathway.medicines[0].places[0])

    def work(tx: Transaction) -> None:
        plan = open_course(tx, at.clinic.clinic, at.episode_id).plan
        medicine = pathway.medicines[0]
        route = next((each for each in Route if each not in medicine.routes), None)
        place = next((each for each in Place if each not in medicine.places), None)
        # What allows every route at every place is left only by another drug, which it knows nothing of.
        off = {"route": route} if route else {"place": place} if place else {"drug": kinds.Drug.ESKETAMINE}
        entry = replace(plan.entry(at.clinic.clinic.now(), "Somebody"), **off)
        at.does(tx, record_followed, at.patient_id, entry, episode_id=at.episode_id)
        with pytest.raises(Refusal) as refused:
            at.signs(tx)
        if "drug" in off:
            assert refused.value.reason == "PLAN_UNFIT"
            return
        assert GuardCode.ROUTE_AND_PLACE in named(refused)

    at.undoing(work)


@pytest.mark.parametrize("spoilt", ["no doses", "another drug", "no such phase", "no such scale", "far away"])
def test_a_plan_that_does_not_go_with_its_pathway_is_not_followed(ready, spoilt):
    pathway = next(each for each in PATHWAYS if each.code == "two-practice-course")
    at = ready(pathway, pathway.medicines[0].places[0])

    def work(tx: Transaction) -> None:
        now = at.clinic.clinic.now()
        entry = open_course(tx, at.clinic.clinic, at.episode_id).plan.entry(now, "Somebody")
        doses = [each for each in entry.items if each.kind is kinds.ItemKind.DOSE]
        scales = [each for each in entry.items if each.kind is kinds.ItemKind.SCALE]
        wrong: dict[str, dict[str, Any]] = {
            "no doses": {"items": tuple(each for each in entry.items if each not in doses)},
            "another drug": {"drug": kinds.Drug.ESKETAMINE},
            "no such phase": {"items": (replace(doses[0], phase="after-hours"),)},
            "no such scale": {"items": (doses[0], replace(scales[0], subject="mood"))},
            "far away": {"items": (doses[0], replace(doses[1], day=date(2190, 1, 1)))},
        }
        at.does(tx, record_followed, at.patient_id, replace(entry, **wrong[spoilt]), episode_id=at.episode_id)
        look_at_course(tx, at.clinic.clinic, at.episode_id)
        with pytest.raises(Refusal) as refused:
            at.starts(tx)
        assert refused.value.reason == "PLAN_UNFIT"
        at.puts(tx, "given", at.facts["dose"])

    at.undoing(work)


def test_a_session_that_begins_a_day_late_is_asked_with_the_facts_of_that_day(tmp_path):
    pathway = next(each for each in PATHWAYS if each.code == "two-practice-course")
    at = _begins(tmp_path, pathway, Place.CLINIC)
    with at.clinic.db.transaction() as tx:
        at.signs(tx)
    at.clinic.network.clock.advance(DAY)
    with at.clinic.db.transaction() as tx:
        plan = open_course(tx, at.clinic.clinic, at.episode_id).as_given
        now = at.clinic.clinic.now()
        today = replace(session_of(plan, "dose-2", DOSE), at=now)
        for name, content in facts_of_the_day(today, now).items():
            at.puts(tx, name, content)
        with pytest.raises(Refusal) as refused:
            at.starts(tx)
    assert named(refused) == ["dosing-clearance"]
    assert "another day" in refused.value.message
    at.clinic.db.close()
