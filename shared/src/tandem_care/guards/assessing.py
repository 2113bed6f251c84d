"""Asking the guards of a pathway."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from tandem_care.guards import before_the_day as before
from tandem_care.guards import on_the_day as day
from tandem_care.guards.facts import Case, Facts, Session
from tandem_care.guards.findings import Finding, Verdict, attest, blocks
from tandem_care.pathways import GuardCode, GuardRule, Pathway, Stage

Ask = Callable[[Case], Verdict | None]
"""Answers None where the fact is not on record here."""

_ASK: Final[Mapping[GuardCode, tuple[Ask, str, str]]] = MappingProxyType(
    {
        GuardCode.THERAPIST: (before.therapist, "No therapist is on the episode", "Name one"),
        GuardCode.PREPARATION: (before.preparation, "No preparation is on record", "Hold it first"),
        GuardCode.CONSENT: (before.consent, "No consent to treatment is on record", "Take it first"),
        GuardCode.PRESCRIPTION: (before.prescription, "No prescription is on record", "Prescribe first"),
        GuardCode.SCREENING: (before.screening, "No evaluation is on record", "Evaluate first"),
        GuardCode.ROUTE_AND_PLACE: (before.route_and_place, "", ""),
        GuardCode.SCHEDULE: (before.schedule, "", ""),
        GuardCode.INTEGRATION: (
            before.integration,
            "No integration of the last dose is on record",
            "Hold it before the next dose",
        ),
        GuardCode.LABS: (before.labs, "It is not known whether laboratory results are outstanding", "Look"),
        GuardCode.HOLDS: (day.held_medication, "It is not known which medication to pause", "Look"),
        GuardCode.RISK_SCREEN: (day.risk_screen, "No risk screen is on record", "Ask the C-SSRS screener"),
        GuardCode.BLOOD_PRESSURE: (day.blood_pressure, "No blood pressure is on record", "Measure it"),
        GuardCode.FASTING: (day.fasting, "Fasting was not asked about", "Ask when the patient ate and drank"),
        GuardCode.RIDE: (day.ride, "No way home is arranged", "Arrange a driver"),
        GuardCode.SUPPORT_PERSON: (
            day.support_person,
            "No support person is arranged",
            "Arrange one for the rest of the day",
        ),
        GuardCode.ATTENDANT: (day.attendant, "Nobody attends the session", "Name who attends"),
        GuardCode.HOME_ADDRESS: (
            before.home_address,
            "The address of the session is not known",
            "Ask for it",
        ),
        GuardCode.CHAPERONE: (day.chaperone, "No chaperone is with the patient", "Arrange one"),
        GuardCode.VIDEO_THERAPIST: (before.video_therapist, "No therapist is there by video", "Name one"),
        GuardCode.SUPPLY: (day.supply, "The supply at home was not counted", "Count it on video"),
        GuardCode.REMS_ENROLMENT: (before.enrolment, "No enrolment in the REMS is on record", "Enrol first"),
        GuardCode.REMS_SETTING: (
            before.setting,
            "It is not on record that this setting is certified under the REMS",
            "Give the dose in a certified setting",
        ),
        GuardCode.REMS_PRESCRIBER: (
            day.prescriber_on_site,
            "No prescriber is on site",
            "Begin when one is there",
        ),
    }
)


def assess(
    pathway: Pathway, session: Session, facts: Facts, now: datetime, stage: Stage
) -> tuple[Finding, ...]:
    """What every guard finds that is asked at *stage*, in the order of the pathway.

    At the start all are asked, those of the clearance again: what was true when it was signed may have changed.
    """
    return tuple(
        _finding(rule, pathway, session, facts, now)
        for rule in pathway.guards
        if rule.asked_at(session.place) and (stage is Stage.START or rule.stage is Stage.CLEARANCE)
    )


def _finding(rule: GuardRule, pathway: Pathway, session: Session, facts: Facts, now: datetime) -> Finding:
    ask, unknown, remedy = _ASK[rule.guard]
    verdict = ask(Case(rule, pathway, session, facts, now))
    if verdict is None and rule.guard in facts.elsewhere:
        verdict = attest(f"{unknown} here.", "Ask the other practice, and attest what it says.")
    elif verdict is None:
        verdict = blocks(f"{unknown}.", f"{remedy}.")
    return Finding(
        rule.guard, rule.stage, verdict.state, verdict.reason, verdict.way_out, rule.never_overridden
    )
