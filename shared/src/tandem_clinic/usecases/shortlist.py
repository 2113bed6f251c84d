"""A patient's shortlist. It stays in the clinic: the hub never learns that somebody is considered for anybody."""

from dataclasses import replace

from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ShortlistFull
from tandem_clinic.domain.shortlist import Shortlisted
from tandem_clinic.domain.staff import COORDINATION, Staff
from tandem_clinic.store import audit, patients, shortlists
from tandem_platform.storage import Transaction

MOST = 50


def shortlist_practice(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, item: Shortlisted
) -> Shortlisted:
    """Add a practice, or replace what is said of one that is there. Who added it, and when, stays.

    The account of it does not name the practice, which is encrypted where it is kept.
    """
    by.require(COORDINATION)
    patients.require(tx, patient_id)
    present = {each.practice_id: each for each in shortlists.of(tx, clinic.vault, patient_id)}
    before = present.get(item.practice_id)
    if before is not None:
        item = replace(item, added_by=before.added_by, added_at=before.added_at)
    elif len(present) >= MOST:
        raise ShortlistFull(MOST)
    shortlists.put(tx, clinic.vault, patient_id, item, clinic.now())
    audit.note(tx, "practice-shortlisted", clinic.now(), by=by, patient_id=patient_id)
    return item


def read_shortlist(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str) -> list[Shortlisted]:
    by.require(COORDINATION)
    patients.require(tx, patient_id)
    audit.note(tx, "shortlist-read", clinic.now(), by=by, patient_id=patient_id)
    return shortlists.of(tx, clinic.vault, patient_id)


def take_off_shortlist(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, practice_id: str
) -> list[Shortlisted]:
    """What is left."""
    by.require(COORDINATION)
    patients.require(tx, patient_id)
    shortlists.remove(tx, clinic.vault, patient_id, practice_id)
    audit.note(tx, "practice-taken-off-shortlist", clinic.now(), by=by, patient_id=patient_id)
    return shortlists.of(tx, clinic.vault, patient_id)
