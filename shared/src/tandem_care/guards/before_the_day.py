"""Guards that a prescriber sees to when signing: who treats, what was agreed, prescribed and found."""

from collections.abc import Sequence

from tandem_care.clocks import held_after
from tandem_care.entry_kinds import Dose, IntegrationKind, Prescription, Readiness
from tandem_care.guards.facts import Case, Facts, Session
from tandem_care.guards.findings import Verdict, attest, blocks, passes
from tandem_care.plans.density import in_words, too_dense
from tandem_care.screening import Outcome


def therapist(case: Case) -> Verdict | None:
    return passes(f"{case.facts.therapist} is on the episode.") if case.facts.therapist else None


def preparation(case: Case) -> Verdict | None:
    done = case.facts.preparation
    if done is None or done.held_at > case.now:
        return None
    if done.readiness is Readiness.NOT_YET:
        return blocks("The therapist does not find the patient ready yet.", "Prepare further, and record it.")
    if done.readiness is Readiness.READY_WITH_CONDITIONS:
        return attest("Ready under conditions.", "Say that the conditions of the preparation are met.")
    return passes("Preparation is done.")


def consent(case: Case) -> Verdict | None:
    signed = case.facts.consent
    if signed is None:
        return None
    if signed.drug is not case.session.drug:
        return blocks("Consent to treatment names another drug.", "Take consent to this one.")
    if not signed.in_force(max(case.now, case.session.at)):
        return blocks(
            "Consent to treatment was withdrawn or is over.", "Take it again, if the patient agrees."
        )
    return passes("Consent to treatment is in force.")


def prescription(case: Case) -> Verdict | None:
    if not case.facts.prescriptions:
        return None
    same = [
        each
        for each in case.facts.prescriptions
        if (each.drug, each.route) == (case.session.drug, case.session.route)
    ]
    if not same:
        return blocks(
            "Nothing is prescribed for this drug and route.", "Prescribe it, or change the session."
        )
    live = [each for each in same if _live(each, case.session, case.facts)]
    if not live:
        return blocks("The prescription is over or used up.", "Renew it.")
    if not any(each.place is case.session.place for each in live):
        return blocks("It is not prescribed for this place.", "Prescribe it, or change the place.")
    here = [each.dose for each in live if each.place is case.session.place]
    if any(within(case.session.dose, dose) for dose in here):
        return passes("A live prescription covers it.")
    if any(dose.unit is not case.session.dose.unit for dose in here):
        return attest(
            "Dose and prescription are in different units.", "Say how the one follows from the other."
        )
    return blocks("The dose is above the prescribed one.", "Lower it, or prescribe it.")


def _live(each: Prescription, session: Session, facts: Facts) -> bool:
    stopped = each.stopped_at is not None and each.stopped_at <= session.at
    used = sum(1 for dose in facts.doses if each.prescribed_at <= dose.started_at < session.at)
    left = each.sessions is None or used < each.sessions
    return each.prescribed_at <= session.at < each.expires_at and not stopped and left


def within(dose: Dose, limit: Dose) -> bool:
    """Whether *dose* is known not to exceed *limit*: amounts in different units cannot be compared."""
    return dose.unit is limit.unit and dose.amount <= limit.amount


def screening(case: Case) -> Verdict | None:
    found = case.facts.screening
    if found is None:
        return None
    if found.expires_at <= max(case.now, case.session.at):
        return blocks("The evaluation has expired.", "Evaluate again.")
    if found.outcome is Outcome.NOT_ELIGIBLE:
        return blocks(
            "The evaluation found the patient not eligible.", "Evaluate again, if something changed."
        )
    if found.outcome is Outcome.ELIGIBLE_WITH_CONDITIONS:
        return attest("Eligible under conditions.", "Say that the conditions of the evaluation are met.")
    return passes("The evaluation is current.")


def route_and_place(case: Case) -> Verdict | None:
    for each in case.pathway.medicines:
        if each.drug is case.session.drug:
            if case.session.route not in each.routes:
                return blocks("The pathway does not have this route.", f"Choose {_or(each.routes)}.")
            if case.session.place not in each.places:
                return blocks("The pathway does not have this place.", f"Choose {_or(each.places)}.")
            return passes("Drug, route and place are those of the pathway.")
    drugs = [each.drug for each in case.pathway.medicines]
    return blocks("The pathway does not have this drug.", f"Choose {_or(drugs)}, or another pathway.")


def _or(choices: Sequence[str]) -> str:
    return " or ".join(choices)


def schedule(case: Case) -> Verdict | None:
    days = [dose.day for dose in case.facts.doses]
    began = case.session.phase_began or case.session.day
    broken = too_dense(
        case.pathway,
        case.session.phase,
        [day for day in days if day >= began],
        [day for day in days if day < began],
        case.session.day,
    )
    if broken is not None:
        return blocks(
            f"Too soon after another dose: the pathway allows {in_words(broken)}.", "Move the session later."
        )
    return passes("The densest schedule allows it.")


def integration(case: Case) -> Verdict | None:
    before = [dose for dose in case.facts.doses if dose.started_at < case.session.at]
    if not before:
        return passes("There is no earlier dose to integrate.")
    last = max(before, key=lambda dose: dose.started_at)
    held = held_after(before, case.facts.integrations, IntegrationKind.INTEGRATION)[last.started_at]
    return passes("The last dose has been integrated.") if any(at <= case.now for at in held) else None


def labs(case: Case) -> Verdict | None:
    if case.facts.labs_outstanding is None:
        return None
    if case.facts.labs_outstanding:
        return blocks("Ordered laboratory results have not been seen.", "Wait for them, or cancel the order.")
    return passes("No laboratory result is outstanding.")


def enrolment(case: Case) -> Verdict | None:
    if case.facts.rems is None:
        return None
    if not case.facts.rems.in_force(case.session.day):
        return blocks("The patient is not enrolled in the REMS on that day.", "Enrol before the session.")
    return passes("The patient is enrolled in the REMS.")


def setting(case: Case) -> Verdict | None:
    if case.facts.setting_certified is None:
        return None
    if not case.facts.setting_certified:
        return blocks(
            "This setting is not certified under the REMS.", "Give the dose in a certified setting."
        )
    return passes("The setting is certified under the REMS.")


def home_address(case: Case) -> Verdict | None:
    known = case.facts.logistics is not None and case.facts.logistics.address is not None
    return passes("The address of the session is known.") if known else None


def video_therapist(case: Case) -> Verdict | None:
    return passes(f"{case.facts.video_therapist} is there by video.") if case.facts.video_therapist else None
