"""Guards that whoever is there sees to when the session begins."""

from datetime import timedelta

from tandem_care import local_time
from tandem_care.entry_kinds import Arrangement, Logistics, Place, RiskLevel
from tandem_care.guards.facts import Case, Facts, Session
from tandem_care.guards.findings import Verdict, attest, blocks, passes
from tandem_care.pathways import Beyond
from tandem_care.scales import ScaleCode


def risk_screen(case: Case) -> Verdict | None:
    risk = case.facts.risk
    if risk is None or risk.at > case.now or risk.scale not in (None, ScaleCode.CSSRS):
        return None
    if case.now - risk.at > timedelta(days=case.rule.valid_days or 0):
        return blocks(f"The last risk screen is older than {case.rule.valid_days} days.", "Ask again.")
    if risk.level is RiskLevel.SEVERE:
        return blocks("The risk screen is severe.", "Follow the plan for risk; the prescriber decides.")
    if not risk.complete:
        return blocks("The risk screen is not complete.", "Ask what is missing.")
    if risk.level is RiskLevel.MODERATE:
        return attest("The risk screen is moderate.", "Say who has spoken with the patient about it.")
    return passes("The risk screen is current.")


def blood_pressure(case: Case) -> Verdict | None:
    """Above 140/90 weigh delay (SPRAVATO prescribing information, section 2)."""
    taken = [each for each in case.facts.blood_pressure if each.taken_at <= case.now]
    if not taken:
        return None
    newest = max(taken, key=lambda each: each.taken_at)
    if case.now - newest.taken_at > timedelta(minutes=case.rule.valid_minutes or 0):
        return blocks(
            f"The last blood pressure is older than {case.rule.valid_minutes} minutes.", "Measure it again."
        )
    limit = f"{case.rule.systolic}/{case.rule.diastolic}"
    if newest.systolic > (case.rule.systolic or 0) or newest.diastolic > (case.rule.diastolic or 0):
        if case.rule.beyond is Beyond.ATTEST:
            return attest(
                f"Blood pressure is above {limit}.", "Weigh delay, and say why the dose is given now."
            )
        return blocks(f"Blood pressure is above {limit}.", "Rest and measure again, or postpone.")
    return passes(f"Blood pressure is not above {limit}.")


def fasting(case: Case) -> Verdict | None:
    wanted = next((each.fasting for each in case.pathway.medicines if each.drug is case.session.drug), None)
    if wanted is None:
        return passes("No fasting is asked for.")
    for last, minutes, what in (
        (case.facts.last_food_at, wanted.food_minutes, "food"),
        (case.facts.last_liquid_at, wanted.liquid_minutes, "liquid"),
    ):
        if minutes is None:
            continue
        if last is None:
            return None
        if case.now - last < timedelta(minutes=minutes):
            clear = local_time.wall(last + timedelta(minutes=minutes), case.session.time_zone)
            return blocks(f"No {what} for {minutes} minutes before the dose.", f"Wait until {clear:%H:%M}.")
    return passes("The patient has fasted.")


def held_medication(case: Case) -> Verdict | None:
    if case.facts.holds is None:
        return None
    due = {
        each.medication
        for each in case.facts.holds
        if each.hold_from <= case.session.at and (each.resume_at is None or case.session.at < each.resume_at)
    }
    if due - case.facts.held_medication:
        return blocks("A medication that should be paused was not confirmed as paused.", "Ask the patient.")
    return passes("Medication was paused as told.")


def ride(case: Case) -> Verdict | None:
    logistics = _of_the_day(case.session, case.facts)
    if logistics is None or logistics.ride is Arrangement.NEEDED:
        return None
    if logistics.ride is Arrangement.NOT_NEEDED and case.session.place is not Place.HOME:
        return attest("The ride is marked as not needed.", "Say how the patient gets home without driving.")
    return passes("The way home is arranged.")


def support_person(case: Case) -> Verdict | None:
    logistics = _of_the_day(case.session, case.facts)
    if logistics is None or logistics.support is Arrangement.NEEDED:
        return None
    if logistics.support is Arrangement.NOT_NEEDED:
        return attest(
            "A support person is marked as not needed.",
            "Say who is with the patient for the rest of the day.",
        )
    return passes("A support person is there for the rest of the day.")


def attendant(case: Case) -> Verdict | None:
    return passes(f"{case.facts.attendants[0].name} attends.") if case.facts.attendants else None


def chaperone(case: Case) -> Verdict | None:
    logistics = _of_the_day(case.session, case.facts)
    there = logistics is not None and logistics.chaperone is not None
    return passes("A chaperone is with the patient.") if there else None


def supply(case: Case) -> Verdict | None:
    count = case.facts.supply
    if count is None or count.counted_at > case.now:
        return None
    if case.now - count.counted_at > timedelta(days=case.rule.valid_days or 0):
        return blocks(
            f"The supply was last counted over {case.rule.valid_days} days ago.", "Count it on video."
        )
    if count.found < 1:
        return blocks("There is no dose left at home.", "Have one dispensed, or postpone.")
    if count.found != count.expected:
        return attest(
            f"{count.found} doses were counted where {count.expected} should be.", "Say how that came about."
        )
    return passes("The supply at home is as it should be.")


def prescriber_on_site(case: Case) -> Verdict | None:
    return passes(f"{case.facts.prescriber_on_site} is on site.") if case.facts.prescriber_on_site else None


def _of_the_day(session: Session, facts: Facts) -> Logistics | None:
    """Arrangements are for one session; those of another day say nothing about this one."""
    found = facts.logistics
    if found is None or local_time.day_of(found.session_at, session.time_zone) != session.day:
        return None
    return found
