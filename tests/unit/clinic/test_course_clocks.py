"""What falls due after a dose comes to the worklist at its instant, and goes when it was done: over odd days and clocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.care_courses import DOSE, an_integration
from support.clinics import JUNIPER, PARTNERSHIP, AClinic, a_clinic, a_form
from tandem_care import entry_kinds as kinds
from tandem_care.clocks import Given, given, integration_times
from tandem_care.entry_kinds import Appointment, AppointmentStatus, Content, SessionKind
from tandem_care.local_time import Site, day_of
from tandem_care.plans import Plan
from tandem_clinic.domain.staff import Role
from tandem_clinic.store import referrals, watches, worklist
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases import courses
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.course_watch import look_at_course
from tandem_clinic.usecases.courses import Wish
from tandem_clinic.usecases.referrals import request_referral

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
WEEKEND = frozenset({5, 6})


@dataclass
class Under:
    """A course under way at one clinic."""

    clinic: AClinic
    episode_id: str
    patient_id: str

    @property
    def now(self) -> datetime:
        return self.clinic.clinic.now()

    def does(self, work: Any, *args: Any, **more: Any) -> Any:
        with self.clinic.db.transaction() as tx:
            return work(tx, self.clinic.clinic, self.clinic.clinician, *args, **more)

    def records(self, content: Content) -> str:
        """A second after what was recorded before."""
        self.is_at(self.now + SECOND)
        return str(self.does(record_followed, self.patient_id, content).record_id)

    def is_at(self, moment: datetime) -> None:
        assert moment >= self.now
        self.clinic.network.clock.advance(moment - self.now)

    def looks(self) -> None:
        """As the service does, at what it is to look at."""
        with self.clinic.db.transaction() as tx:
            due = watches.due(tx, self.now, 20)
        for episode_id in due:
            with self.clinic.db.transaction() as tx:
                look_at_course(tx, self.clinic.clinic, episode_id)

    def waits(self, kind: str) -> list[str]:
        """The standings of what waits of a kind; looked at anew."""
        self.looks()
        with self.clinic.db.reading() as tx:
            return [item.facts.get("stand", "") for item in worklist.waiting(tx) if item.kind == kind]

    def stand(self, item: str) -> str:
        view = self.does(courses.read_course, self.episode_id)
        return next(str(each.stand) for each in view.items if each.item.item == item)

    @property
    def plan(self) -> Plan:
        plan: Plan = self.does(courses.read_course, self.episode_id).course.as_given
        return plan

    def doses(self, number: int = 1) -> Given:
        """The dose as planned, recorded when its time has passed."""
        planned = self.plan.item(f"dose-{number}")
        self.is_at(max(self.now, planned.starts_at + 3 * HOUR))
        session = kinds.DosingSession(
            drug=self.plan.drug,
            route=self.plan.route,
            dose=DOSE,
            place=self.plan.place,
            started_at=planned.starts_at,
            ended_at=planned.starts_at + 90 * timedelta(minutes=1),
            time_zone=planned.time_zone,
            logged_by="Noor Haddad",
        )
        self.records(session)
        return given(session)

    def books(self, at: datetime, status: AppointmentStatus = AppointmentStatus.BOOKED) -> None:
        self.records(
            Appointment(
                appointment_id="one",
                session=SessionKind.INTEGRATION,
                status=status,
                starts_at=at,
                ends_at=at + HOUR,
                time_zone="America/Chicago",
            )
        )


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[AClinic]:
    made = a_clinic(tmp_path)
    yield made
    made.db.close()


def under_way(
    clinic: AClinic,
    start: date,
    here: Site,
    there: Site | None = None,
    pathway: str = "two-practice-course",
    kind: str = "psychotherapy",
    **wish: Any,
) -> Under:
    patient_id = clinic.registers()
    clinic.network.clock.advance(
        datetime(start.year, start.month, start.day, tzinfo=UTC) - clinic.clinic.now()
    )
    # Keys of the first day have run out by then.
    keys = clinic.network.keys(JUNIPER, clinic.clinic.now())
    clinic.clinic = replace(clinic.clinic, keys=keys)
    with clinic.db.transaction() as tx:
        asked = request_referral(tx, clinic.clinic, clinic.clinician, patient_id, PARTNERSHIP, kind, a_form())
        referrals.change(tx, referrals.get(tx, asked.referral_id), state="in_progress")
        courses.state_site(tx, clinic.clinic, clinic.clinician, StatedSite(here, ""))
        wanted = Wish(pathway=pathway, start=start, partner_site=there, **wish)
        courses.plan_course(tx, clinic.clinic, clinic.clinician, asked.episode_id, wanted)
    return Under(clinic, asked.episode_id, patient_id)


DENVER = Site(time_zone="America/Denver", closed_weekdays=WEEKEND)
ODD_DAYS = {
    "clocks go forward": (date(2026, 3, 3), DENVER, DENVER),
    "clocks go back": (date(2026, 10, 27), DENVER, DENVER),
    "a leap day": (date(2028, 2, 24), DENVER, DENVER),
    "the date line between them": (
        date(2026, 3, 3),
        Site(time_zone="Pacific/Kiritimati", closed_weekdays=WEEKEND),
        Site(time_zone="Pacific/Honolulu"),
    ),
    "the therapist closed for days": (
        date(2026, 3, 3),
        DENVER,
        Site(
            time_zone="America/Chicago",
            closed_weekdays=WEEKEND,
            closed_days=frozenset({date(2026, 3, 10), date(2026, 3, 11), date(2026, 3, 12)}),
        ),
    ),
}


@pytest.mark.parametrize("kind", ["psychotherapy", "medical-evaluation"])
@pytest.mark.parametrize(("start", "here", "there"), ODD_DAYS.values(), ids=ODD_DAYS.keys())
def test_integration_waits_at_either_practice_from_its_instants_on(clinic, start, here, there, kind):
    if kind == "medical-evaluation":
        here, there = there, here
    course = under_way(clinic, start, here, there, kind=kind)
    dose = course.doses()
    rule = course.plan.pathway.integration
    times = integration_times(rule, dose)
    assert (day_of(times.deadline_at - SECOND, dose.time_zone) - dose.day).days == rule.deadline_days

    course.is_at(max(course.now, times.book_by - SECOND))
    assert (course.stand("integration-1"), course.waits("course-integration")) == ("to-book", [])
    course.is_at(times.book_by + timedelta(minutes=5))
    assert (course.stand("integration-1"), course.waits("course-integration")) == (
        "not-booked",
        ["not-booked"],
    )
    course.books(times.deadline_at + HOUR)
    assert course.waits("course-integration") == ["booked-too-late"]
    course.books(times.deadline_at - HOUR)
    assert (course.stand("integration-1"), course.waits("course-integration")) == ("booked", [])
    course.books(times.deadline_at - HOUR, AppointmentStatus.CANCELLED)
    assert course.waits("course-integration") == ["not-booked"]
    course.is_at(times.deadline_at - SECOND)
    assert course.stand("integration-1") == "not-booked"
    course.is_at(times.deadline_at + timedelta(minutes=5))
    assert (course.stand("integration-1"), course.waits("course-integration")) == ("overdue", ["overdue"])
    course.records(an_integration(dose.started_at, course.now))
    assert (course.stand("integration-1"), course.waits("course-integration")) == ("done", [])


def test_what_a_person_took_off_the_worklist_stays_off_until_its_standing_changes(clinic):
    course = under_way(clinic, date(2026, 3, 3), DENVER)
    times = integration_times(course.plan.pathway.integration, course.doses())
    course.is_at(max(course.now, times.book_by + timedelta(minutes=5)))
    assert course.waits("course-integration") == ["not-booked"]
    with clinic.db.transaction() as tx:
        item = next(each for each in worklist.waiting(tx) if each.kind == "course-integration")
        worklist.finish(tx, item.item_id, clinic.somebody(Role.COORDINATOR), course.now)
    course.is_at(course.now + HOUR)
    assert course.waits("course-integration") == []
    course.is_at(times.deadline_at + HOUR)
    assert course.waits("course-integration") == ["overdue"]


def test_the_form_of_a_session_waits_from_it_on_and_is_overdue_after_the_seventh_day(clinic):
    course = under_way(clinic, date(2026, 3, 3), DENVER, pathway="esketamine-rems")
    dose = course.doses()
    form = course.plan.medicine.form
    assert form is not None
    assert "due" in course.waits("course-form")
    item = next(each for each in course.plan.of_kind(kinds.ItemKind.FORM) if each.follows == "dose-1")
    course.is_at(item.latest_at + timedelta(minutes=5))
    assert course.stand(item.item) == "overdue"
    assert (item.latest_at - SECOND).astimezone(UTC) < course.now
    course.records(
        kinds.MonitoringForm(
            form=form.form,
            dosing_session_at=dose.started_at,
            submitted_at=course.now,
            submitted_by="Noor Haddad",
        )
    )
    assert course.stand(item.item) == "done"
    assert course.waits("course-form") == []


def test_checks_of_long_use_wait_two_weeks_ahead_and_go_when_they_were_done(clinic):
    course = under_way(clinic, date(2026, 3, 3), DENVER, pathway="ketamine-maintenance")
    course.doses()
    check = next(
        each
        for each in course.plan.of_kind(kinds.ItemKind.CHECK)
        if each.subject == kinds.CheckSubject.BLADDER
    )
    course.is_at(check.latest_at - timedelta(days=14) - SECOND)
    assert course.stand(check.item) == "planned"
    course.is_at(check.latest_at - timedelta(days=14) + timedelta(minutes=5))
    assert course.stand(check.item) == "due"
    assert "due" in course.waits("course-check")
    course.records(
        kinds.MaintenanceCheck(
            subject=kinds.CheckSubject.BLADDER,
            finding=kinds.CheckFinding.NO_CONCERN,
            checked_at=course.now,
            checked_by="Dr. Imani Wells",
        )
    )
    assert course.stand(check.item) == "done"


def test_a_scale_waits_to_be_sent_and_goes_when_it_is_answered(clinic):
    from support.care_examples import a_phq9

    course = under_way(clinic, date(2026, 3, 3), DENVER)
    asked = next(each for each in course.plan.of_kind(kinds.ItemKind.SCALE) if each.subject == "phq-9")
    course.is_at(max(course.now, asked.earliest_at) + timedelta(minutes=5))
    assert course.stand(asked.item) == "due"
    assert "due" in course.waits("course-scale")
    course.records(a_phq9(12, course.now))
    assert course.stand(asked.item) == "done"


def test_who_was_not_seen_off_waits_when_the_time_of_observation_is_over(clinic):
    course = under_way(clinic, date(2026, 3, 3), DENVER)
    planned = course.plan.item("dose-1")
    course.is_at(planned.starts_at)
    start = kinds.DosingStart(
        started_at=course.now,
        time_zone=planned.time_zone,
        drug=course.plan.drug,
        route=course.plan.route,
        dose=DOSE,
        place=course.plan.place,
        pathway=course.plan.pathway.code,
        pathway_version=course.plan.pathway.version,
        guards=(),
        started_by="Noor Haddad",
    )
    course.records(start)
    minutes = timedelta(minutes=course.plan.medicine.observation.minutes)
    course.is_at(planned.starts_at + minutes - SECOND)
    assert course.waits("observation") == []
    course.is_at(planned.starts_at + minutes + timedelta(minutes=5))
    assert course.waits("observation") == [""]
    course.records(
        kinds.DosingSession(
            drug=course.plan.drug,
            route=course.plan.route,
            dose=DOSE,
            place=course.plan.place,
            started_at=planned.starts_at,
            ended_at=planned.starts_at + HOUR,
            discharged_at=course.now,
            time_zone=planned.time_zone,
            logged_by="Noor Haddad",
        )
    )
    assert course.waits("observation") == []
