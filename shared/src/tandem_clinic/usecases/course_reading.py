"""A course as one clinic may know it: what it does in the episode, what is on record there, and the newest plan."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tandem_care.courses import Noted, Part, Record, with_doses
from tandem_care.entry_kinds import Content, CoursePlan, from_json
from tandem_care.errors import Invalid, NotAllowed
from tandem_care.pathways import shipped
from tandem_care.plans import Plan, plan_of
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.course_refusals import PathwayNotKnown, PlanNotMade, PlanUnfit, refused
from tandem_clinic.domain.episodes import Episode
from tandem_clinic.domain.refusals import ContentInvalid, PatientNotLinked
from tandem_clinic.store import entries, episodes, partners, referrals
from tandem_platform.storage import Transaction

T = TypeVar("T")

_AGREED = frozenset({"accepted", "in_progress", "cancel_requested"})
"""States of a referral in which its recipient has the patient in hand."""


@dataclass(frozen=True, slots=True)
class Course:
    """``plan`` is as it stands on record; ``own`` says whether this clinic made it, under ``plan_id``."""

    episode: Episode
    patient_id: str
    part: Part
    therapist: str | None
    record: Record
    plan: Plan
    plan_id: str
    own: bool

    @property
    def as_given(self) -> Plan:
        return with_doses(self.plan, self.record)


def checked(work: Callable[[], T], inside: str = "") -> T:
    """What rules of care say, as refusals."""
    try:
        return work()
    except NotAllowed as fault:
        raise refused(fault) from None
    except Invalid as fault:
        raise ContentInvalid(fault, inside) from None


def linked(tx: Transaction, episode_id: str) -> tuple[Episode, str]:
    episode = episodes.get(tx, episode_id)
    if episode.patient_id is None:
        raise PatientNotLinked
    return episode, episode.patient_id


def part_in(tx: Transaction, clinic: Clinic, episode: Episode) -> tuple[Part, str | None]:
    """What this clinic does in the episode, and who gives the therapy, once that was agreed."""
    referral = referrals.of_episode(tx, episode.episode_id)
    if referral is None:
        return Part.ALL, clinic.display_name
    therapy_asked = referral.kind == "psychotherapy"
    asked_by_us = referral.referrer_practice_id == clinic.practice_id
    if therapy_asked != asked_by_us:
        return Part.GIVES_THERAPY, clinic.display_name
    agreed = not therapy_asked or referral.state in _AGREED
    known = partners.with_practice(tx, episode.partner_practice_id)
    return Part.PRESCRIBES, known.partner_name if agreed and known is not None else None


def record_in(tx: Transaction, clinic: Clinic, episode: Episode, patient_id: str) -> Record:
    """What this clinic may know of the course: its own entries, and those given to it in this episode."""
    own = [
        Noted(each.record_id, content, True, each.authored_at)
        for each in entries.own_of_patient(tx, clinic.vault, patient_id)
        if each.state == "active"
        and each.episode_id in (None, episode.episode_id)
        and (content := _content(each.content)) is not None
    ]
    given = [
        Noted(each.entry_id, content, False, each.authored_at)
        for each in entries.received_in(tx, clinic.vault, [episode.episode_id])
        if each.state == "active" and not each.is_marker and (content := _content(each.content)) is not None
    ]
    return Record([*own, *given])


def _content(document: bytes) -> Content | None:
    """None for what was emptied, or is of a kind that this version does not know."""
    try:
        return from_json(document) if document else None
    except Invalid:
        return None


def find_course(tx: Transaction, clinic: Clinic, episode_id: str) -> Course | None:
    """The newest plan that is on record here for the episode."""
    episode, patient_id = linked(tx, episode_id)
    record = record_in(tx, clinic, episode, patient_id)
    made = [each for each in record.noted if isinstance(each.content, CoursePlan)]
    if not made:
        return None
    newest = made[-1]
    assert isinstance(newest.content, CoursePlan)
    part, therapist = part_in(tx, clinic, episode)
    plan = _plan_of(newest.content)
    return Course(episode, patient_id, part, therapist, record, plan, newest.id, newest.own)


def _plan_of(entry: CoursePlan) -> Plan:
    """It may be a partner's, or an EHR's: nothing of it is taken for granted."""
    try:
        pathway = shipped().of(entry.pathway, entry.pathway_version)
    except Invalid:
        raise PathwayNotKnown from None
    try:
        return plan_of(entry, pathway)
    except Invalid:
        raise PlanUnfit from None


def open_course(tx: Transaction, clinic: Clinic, episode_id: str) -> Course:
    found = find_course(tx, clinic, episode_id)
    if found is None:
        raise PlanNotMade
    return found
