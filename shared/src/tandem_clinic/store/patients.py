"""Patients, with their identity encrypted and found again by keyed hashes."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, literal, select, update

from tandem_care.codec import read_document, write_document
from tandem_clinic.domain.identity import PatientIdentity
from tandem_clinic.store.refusals import ChangedMeanwhile, NotKnown
from tandem_clinic.store.tables import patient, patient_identifier
from tandem_clinic.store.vault import Vault
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.lists import among

_IDENTITY = "patient.identity"
_EXIST = select(patient.c.patient_id).where(among(patient.c.patient_id, "ids"))


@dataclass(frozen=True, slots=True)
class Patient:
    patient_id: str
    identity: PatientIdentity
    version: int
    registered_at: datetime


class IdentifierTaken(Refusal):
    """Another patient has this number of that system."""

    def __init__(self, patient_id: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "IDENTIFIER_TAKEN",
            "another patient has one of these identifiers",
            field="identity.identifiers",
            way_out="open that patient, or correct the identifier",
            metadata={"patient_id": patient_id},
        )


def add(tx: Transaction, vault: Vault, patient_id: str, identity: PatientIdentity, now: datetime) -> Patient:
    tx.execute(
        patient.insert().values(
            patient_id=patient_id,
            identity=_closed(tx, vault, patient_id, identity),
            birth_date_index=_birth_index(vault, identity),
            version=1,
            registered_at=now,
            changed_at=now,
        )
    )
    _keep_identifiers(tx, vault, patient_id, identity)
    return Patient(patient_id, identity, 1, now)


def get(tx: Transaction, vault: Vault, patient_id: str) -> Patient:
    row = tx.first(select(patient).where(patient.c.patient_id == patient_id))
    if row is None:
        raise NotKnown("patient", "patient_id")
    opened = read_document(vault.decrypt(tx, row.identity, _IDENTITY, patient_id, patient_id))
    return Patient(
        patient_id, PatientIdentity.from_fields(opened, newer=True), row.version, row.registered_at
    )


def require(tx: Transaction, *patient_ids: str) -> None:
    """Refuse if there is not every one of these patients."""
    if len(tx.all(_EXIST, ids=[*patient_ids])) < len({*patient_ids}):
        raise NotKnown("patient", "patient_id")


def replace(
    tx: Transaction, vault: Vault, patient_id: str, identity: PatientIdentity, version: int, now: datetime
) -> Patient:
    """*version* is the one being replaced."""
    require(tx, patient_id)
    changed = (
        update(patient)
        .where(patient.c.patient_id == patient_id, patient.c.version == literal(version, BigInteger))
        .values(
            identity=_closed(tx, vault, patient_id, identity),
            birth_date_index=_birth_index(vault, identity),
            # Counted by the database, and compared as a larger number: the caller's may be beyond any that it holds.
            version=patient.c.version + 1,
            changed_at=now,
        )
        .returning(patient.c.registered_at)
    )
    row = tx.execute(changed).first()
    if row is None:
        raise ChangedMeanwhile("patient")
    tx.execute(patient_identifier.delete().where(patient_identifier.c.patient_id == patient_id))
    _keep_identifiers(tx, vault, patient_id, identity)
    return Patient(patient_id, identity, version + 1, row.registered_at)


def listed(tx: Transaction, vault: Vault, after: str = "", limit: int = 100) -> list[Patient]:
    """In order of id, which says nothing."""
    query = select(patient.c.patient_id).where(patient.c.patient_id > after).order_by(patient.c.patient_id)
    return [get(tx, vault, row.patient_id) for row in tx.all(query.limit(limit))]


def born_on_the_same_day(tx: Transaction, vault: Vault, identity: PatientIdentity) -> list[Patient]:
    query = select(patient.c.patient_id).where(patient.c.birth_date_index == _birth_index(vault, identity))
    return [get(tx, vault, row.patient_id) for row in tx.all(query)]


def with_identifier(tx: Transaction, vault: Vault, system: str, value: str) -> str | None:
    row = tx.first(
        select(patient_identifier.c.patient_id).where(
            patient_identifier.c.system == system,
            patient_identifier.c.value_index == _identifier_index(vault, system, value),
        )
    )
    return None if row is None else row.patient_id


def _keep_identifiers(tx: Transaction, vault: Vault, patient_id: str, identity: PatientIdentity) -> None:
    for each in identity.identifiers:
        index = _identifier_index(vault, each.system, each.value)
        values = {"system": each.system, "value_index": index, "patient_id": patient_id}
        if not insert_new(tx, patient_identifier, values):
            raise IdentifierTaken(with_identifier(tx, vault, each.system, each.value) or "")


def remove(tx: Transaction, patient_id: str) -> None:
    """Forget that there was such a patient; the account of what was done remembers the id."""
    require(tx, patient_id)
    tx.execute(patient_identifier.delete().where(patient_identifier.c.patient_id == patient_id))
    tx.execute(patient.delete().where(patient.c.patient_id == patient_id))


def _closed(tx: Transaction, vault: Vault, patient_id: str, identity: PatientIdentity) -> bytes:
    return vault.encrypt(tx, write_document(identity.to_fields()), _IDENTITY, patient_id, patient_id)


def _birth_index(vault: Vault, identity: PatientIdentity) -> bytes:
    return vault.index(identity.birth_date.isoformat(), "patient.birth_date")


def _identifier_index(vault: Vault, system: str, value: str) -> bytes:
    return vault.index(f"{system}\n{value}", "patient.identifier")
