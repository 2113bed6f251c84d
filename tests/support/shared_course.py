"""Two practices on one episode with a plan, and everything on record that its doses need."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from support.care_courses import (
    DOSE,
    a_consent_to,
    a_preparation,
    a_prescription_for,
    a_pressure,
    arrangements_for,
)
from support.network import Network, Referred, SimulatedClinic
from tandem_care import entry_kinds as kinds
from tandem_care.categories import Category
from tandem_care.entry_kinds import Content
from tandem_care.guards import Session, session_of
from tandem_care.local_time import Site
from tandem_care.plans import Plan
from tandem_care.scales import CSSRS
from tandem_care.screening import Outcome
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases import courses
from tandem_clinic.usecases.consequences import record_followed
from tandem_clinic.usecases.courses import Planned, Wish
from tandem_clinic.usecases.entries import Recorded

WEEKDAYS = frozenset({5, 6})
OFTEN_SHARED = frozenset(Category) - {Category.SUBSTANCE_USE, Category.OTHER_SENSITIVE}
SCREENED = {item.code: 0 for item in CSSRS.items}


def standing_facts(session: Session, now: datetime) -> dict[str, Content]:
    """What holds for weeks, by whose it is to record: all the prescriber's."""
    days = timedelta(days=1)
    return {
        "consent": a_consent_to(session),
        "prescription": a_prescription_for(session),
        "evaluation": kinds.ScreeningResult(
            outcome=Outcome.ELIGIBLE,
            evaluated_at=now,
            expires_at=session.at + 300 * days,
            evaluated_by="Dr. Imani Wells",
        ),
        "labs": kinds.LabReview(reviewed_at=now, reviewed_by="Dr. Imani Wells"),
        "pause": kinds.MedicationPause(asked_at=now, none_needed=True, asked_by="Dr. Imani Wells"),
        "rems": kinds.RemsEnrolment(
            program="spravato", enrolled_on=date(2020, 1, 1), recorded_by="Noor Haddad"
        ),
        "setting": kinds.CertifiedSetting(
            program="spravato",
            setting="Juniper, second floor",
            certified_on=date(2020, 1, 1),
            recorded_by="Noor Haddad",
        ),
    }


def facts_of_the_day(session: Session, now: datetime) -> dict[str, Content]:
    """What is found shortly before the dose, at the time it is now."""
    return {
        "check": kinds.SessionCheck(
            checked_at=now,
            last_food_at=now - timedelta(hours=12),
            last_liquid_at=now - timedelta(hours=4),
            attendants=(kinds.Attendant(name="Noor Haddad", role="nurse"),),
            prescriber_on_site="Dr. Imani Wells",
            video_therapist="Lena Fischer",
            checked_by="Noor Haddad",
        ),
        "vitals": kinds.Vitals(blood_pressure=(a_pressure(now, 120, 80),), logged_by="Noor Haddad"),
        "risk": kinds.ScaleScore.scored(CSSRS, SCREENED, now),
        "supply": kinds.SupplyCounted(counted_at=now, found=3, expected=3, counted_by="Noor Haddad"),
        "logistics": arrangements_for(session),
    }


class SharedCourse:
    """Juniper prescribes and has the doses, Riverbend gives the therapy; each with its own zone."""

    def __init__(
        self,
        network: Network,
        juniper_shares: Iterable[Category] = OFTEN_SHARED,
        riverbend_shares: Iterable[Category] = OFTEN_SHARED,
        juniper_site: Site | None = None,
        riverbend_site: Site | None = None,
    ) -> None:
        self.network = network
        self.juniper = network.clinic("juniper", "prescriber")
        self.riverbend = network.clinic("riverbend", "therapy_provider")
        self.juniper_site = juniper_site or Site(time_zone="America/Denver", closed_weekdays=WEEKDAYS)
        self.riverbend_site = riverbend_site or Site(time_zone="America/Chicago", closed_weekdays=WEEKDAYS)
        self.juniper.partners_with(self.riverbend)
        for clinic, site in ((self.juniper, self.juniper_site), (self.riverbend, self.riverbend_site)):
            clinic.do(courses.state_site, StatedSite(site, "+1 503 555 0111"))
        patient_id = self.juniper.registers()
        self.referred: Referred = self.juniper.refers(patient_id, self.riverbend)
        network.settle()
        self.there = self.riverbend.takes_in(self.referred)
        network.settle()
        self.riverbend.moves(self.referred, "accept")
        network.settle()
        self.riverbend.moves(self.referred, "start")
        for clinic, shares in ((self.juniper, juniper_shares), (self.riverbend, riverbend_shares)):
            if found := frozenset(shares):
                clinic.grants(self.referred, found)
        network.settle()

    @property
    def episode_id(self) -> str:
        return self.referred.episode_id

    @property
    def now(self) -> datetime:
        return self.network.clock.now()

    def patient_of(self, clinic: SimulatedClinic) -> str:
        return self.referred.patient_id if clinic is self.juniper else self.there

    def plans(
        self, pathway: str = "two-practice-course", by: SimulatedClinic | None = None, **wish: Any
    ) -> Planned:
        clinic = by or self.juniper
        other = self.riverbend_site if clinic is self.juniper else self.juniper_site
        wanted = Wish(**{"pathway": pathway, "start": self.now.date(), "partner_site": other, **wish})
        planned: Planned = clinic.do(courses.plan_course, self.episode_id, wanted)
        self.network.settle()
        return planned

    def records(self, clinic: SimulatedClinic, *contents: Content) -> Recorded:
        for content in contents:
            made: Recorded = clinic.do(record_followed, self.patient_of(clinic), content)
        self.network.settle()
        return made

    def sees(self, clinic: SimulatedClinic) -> dict[str, str]:
        """Where each item stands, as this clinic sees it."""
        view = clinic.do(courses.read_course, self.episode_id)
        return {each.item.item: each.stand.value for each in view.items}

    def plan_at(self, clinic: SimulatedClinic) -> Plan:
        view = clinic.do(courses.read_course, self.episode_id)
        plan: Plan = view.course.as_given
        return plan

    def waits_until(self, moment: datetime) -> None:
        """To that time, with everything that moves by itself."""
        if moment > self.now:
            self.network.clock.advance(moment - self.now)
        for _ in range(3):
            self.network.settle()

    def session(self, item: str = "dose-1") -> Session:
        return session_of(self.plan_at(self.juniper), item, DOSE)

    def standing_facts(self, session: Session) -> dict[str, Content]:
        return standing_facts(session, self.now)

    def facts_of_the_day(self, session: Session) -> dict[str, Content]:
        return facts_of_the_day(session, self.now)

    def preparation(self) -> kinds.PreparationSummary:
        return a_preparation(self.now)

    def dose(self, started_at: datetime, **changes: Any) -> kinds.DosingSession:
        plan = self.plan_at(self.juniper)
        fields: dict[str, Any] = {
            "drug": plan.drug,
            "route": plan.route,
            "dose": DOSE,
            "place": plan.place,
            "started_at": started_at,
            "ended_at": started_at + timedelta(minutes=90),
            "discharged_at": started_at + timedelta(minutes=plan.medicine.observation.minutes + 5),
            "effects": tuple(
                kinds.ObservedEffect(effect=each, grade=kinds.Grade.NONE, observed_at=started_at)
                for each in plan.medicine.observation.resolved
            ),
            "time_zone": plan.dosing.time_zone,
            "logged_by": "Noor Haddad",
        }
        return kinds.DosingSession(**(fields | changes))
