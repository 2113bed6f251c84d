"""A course in a clinic that is alone with its partner's name, and words that let its first dose begin."""

from datetime import timedelta
from typing import Any

from support.care_courses import DOSE
from support.clinics import AClinic
from support.sealing import NOON
from tandem_care.guards import State
from tandem_care.local_time import Site
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases import courses, dosing
from tandem_clinic.usecases.courses import Wish

START = NOON.date() + timedelta(days=3)
A_SITE: dict[str, Any] = {
    "time_zone": "America/Denver",
    "closed_weekdays": [5, 6],
    "closed_days": ["2026-12-25"],
}
A_DOSE = DOSE.to_fields()


def plans(clinic: AClinic, episode_id: str) -> str:
    """The episode, with a plan."""
    site = StatedSite(Site(time_zone="America/Denver", closed_weekdays=frozenset({5, 6})), "+1 503 555 0111")
    with clinic.db.transaction() as tx:
        courses.state_site(tx, clinic.clinic, clinic.clinician, site)
        wish = Wish(pathway="two-practice-course", start=START)
        courses.plan_course(tx, clinic.clinic, clinic.clinician, episode_id, wish)
    return episode_id


def words_against_all(
    clinic: AClinic, episode_id: str, *, but_clearance: bool = False
) -> list[dict[str, str]]:
    """An override of each guard that does not pass now, as a person would say it."""
    with clinic.db.transaction() as tx:
        found = dosing.ask_guards(tx, clinic.clinic, clinic.clinician, episode_id, "dose-1", DOSE)
    stands = [each for each in found if each.state is not State.PASSES]
    if but_clearance:
        stands = [each for each in stands if each.stage == "clearance"]
    return [{"guard": each.guard, "reason": "As agreed.", "by": "Dr. Imani Wells"} for each in stands]
