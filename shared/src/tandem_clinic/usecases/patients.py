"""Registering patients, and keeping what is known of them right."""

from collections.abc import Mapping
from typing import Any

from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.identity import PatientIdentity, resemble
from tandem_clinic.domain.refusals import ContentInvalid, PossibleDuplicate
from tandem_clinic.domain.staff import ADMINISTRATION, COORDINATION, Staff
from tandem_clinic.store import audit, entries, episodes, patients, shortlists
from tandem_clinic.store.patients import Patient
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases.sharing import void_rows
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.storage import Transaction


def identity_from(fields: Mapping[str, Any]) -> PatientIdentity:
    try:
        return PatientIdentity.from_fields(fields)
    except Invalid as fault:
        raise ContentInvalid(fault, "identity") from None


def register_patient(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    identity: PatientIdentity,
    *,
    acknowledge_duplicates: bool = False,
) -> Patient:
    """A new patient. PossibleDuplicate names who is like this one, unless the caller has looked at them."""
    by.require(COORDINATION)
    if not acknowledge_duplicates:
        candidates = likely_duplicates(tx, clinic, identity)
        if candidates:
            raise PossibleDuplicate([candidate.patient_id for candidate in candidates])
    made = patients.add(tx, clinic.vault, new_id("pat"), identity, clinic.now())
    audit.note(tx, "patient-registered", clinic.now(), by=by, patient_id=made.patient_id)
    return made


def likely_duplicates(tx: Transaction, clinic: Clinic, identity: PatientIdentity) -> list[Patient]:
    """Born on the same day with a similar name, or known by the same external identifier."""
    found = {
        candidate.patient_id: candidate
        for candidate in patients.born_on_the_same_day(tx, clinic.vault, identity)
        if resemble(candidate.identity, identity)
    }
    for each in identity.identifiers:
        patient_id = patients.with_identifier(tx, clinic.vault, each.system, each.value)
        if patient_id is not None:
            found[patient_id] = patients.get(tx, clinic.vault, patient_id)
    return [found[patient_id] for patient_id in sorted(found)]


def update_patient(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, identity: PatientIdentity, version: int
) -> Patient:
    """*version* is the one that the caller read."""
    by.require(COORDINATION)
    changed = patients.replace(tx, clinic.vault, patient_id, identity, version, clinic.now())
    audit.note(tx, "patient-updated", clinic.now(), by=by, patient_id=patient_id)
    return changed


def shred_patient(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str) -> int:
    """Make everything here about a patient unreadable for good, in backups too once the keyring was rotated. How many
    sealed entries lost their wraps. Refused while an episode is open: what a partner still relies on is not destroyed.
    """
    by.require(ADMINISTRATION)
    patients.require(tx, patient_id)
    shared = episodes.of_patient(tx, patient_id)
    if any(episode.is_open for episode in shared):
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "EPISODE_OPEN",
            "the patient has an open episode of shared care",
            way_out="close its referral first",
        )
    episode_ids = [episode.episode_id for episode in shared]
    audit.note(tx, "patient-shredded", clinic.now(), by=by, patient_id=patient_id)
    sealed = entries.shred(tx, patient_id, episode_ids)
    void_rows(tx, clinic, sealed, "shredded")
    patients.remove(tx, patient_id)
    shortlists.forget(tx, patient_id)
    for data_key_id in (patient_id, *episode_ids):
        clinic.vault.shred(tx, data_key_id)
    return len(sealed)


def find_patient(tx: Transaction, clinic: Clinic, by: Staff, system: str, value: str) -> Patient:
    """Whom another system knows by this identifier. Identifiers can be guessed, so that who may not read is told nothing."""
    by.require(COORDINATION)
    patient_id = patients.with_identifier(tx, clinic.vault, system, value)
    if patient_id is None:
        raise NotKnown("patient", "identifier")
    return read_patient(tx, clinic, by, patient_id)


def read_patient(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str) -> Patient:
    by.require(COORDINATION)
    found = patients.get(tx, clinic.vault, patient_id)
    audit.note(tx, "patient-read", clinic.now(), by=by, patient_id=patient_id)
    return found


def list_patients(
    tx: Transaction, clinic: Clinic, by: Staff, after: str = "", limit: int = 100
) -> list[Patient]:
    by.require(COORDINATION)
    found = patients.listed(tx, clinic.vault, after, limit)
    audit.note(tx, "patients-listed", clinic.now(), by=by, count=str(len(found)))
    return found
