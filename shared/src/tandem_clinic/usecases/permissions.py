"""Asking the patient, writing the answer down, and telling the hub."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from tandem.consent.v1.consent_pb2 import (
    DenyConsentRequest,
    ExplainReleaseRequest,
    ExplainReleaseResponse,
    GrantConsentRequest,
    HoldConsentRequest,
    RevokeConsentRequest,
)
from tandem.consent.v1.consent_pb2 import Permission as PermissionMessage
from tandem_care.categories import (
    PART2,
    TREATMENT_RELATIONSHIP,
    Basis,
    Category,
    Effect,
    Purpose,
    category_of,
)
from tandem_care.entry_kinds import DosingSession, from_json
from tandem_care.errors import Invalid
from tandem_care.law.signers import acts_for
from tandem_care.local_time import end_of
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain import consent
from tandem_clinic.domain.consent import (
    ConsentForm,
    Evidence,
    Signer,
    TreatmentRelationship,
    VerbalAttestation,
)
from tandem_clinic.domain.episodes import Episode
from tandem_clinic.domain.refusals import ContentInvalid, EpisodeClosed, PatientNotLinked, TooSoonAfterDosing
from tandem_clinic.domain.staff import COORDINATION, Staff
from tandem_clinic.hub import journal
from tandem_clinic.hub.times import put_time
from tandem_clinic.store import audit, entries, episodes, partners, patients, permissions, worklist
from tandem_clinic.store.permissions import PermissionRecord
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases.sharing import own_view, withhold_unsent
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction

_EVIDENCE = "permission.evidence"
_REST_AFTER_DOSING: Final = timedelta(hours=24)

FORMS: Final[Mapping[Basis, type[Evidence]]] = {
    Basis.WRITTEN: ConsentForm,
    Basis.VERBAL: VerbalAttestation,
    Basis.TREATMENT_RELATIONSHIP: TreatmentRelationship,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What the patient allows, or forbids. Times unset: from now, without an end, nothing from before."""

    categories: frozenset[Category]
    purpose: Purpose = Purpose.TREATMENT
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    history_from: datetime | None = None
    record_ids: frozenset[str] = frozenset()
    """Of a denial: the records that it keeps back, with what amends them, and nothing else."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command on its way: what it is about, and under which request id the journal knows it."""

    subject_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an entry was or was not disclosed. ``hub_result`` is empty where the hub was not reached."""

    entry_id: str
    own_rule: str
    own_sentence: str
    hub_result: str
    hub_rule: str
    permission_id: str
    permission_version: int


def terms_from(
    codes: Iterable[str], purpose: str, *, record_ids: Iterable[str] = (), **times: datetime | None
) -> Terms:
    try:
        categories = frozenset(category_of(code, "categories") for code in codes)
        if not categories:
            raise Invalid("categories", "must name at least one")
        if purpose not in list(Purpose):
            raise Invalid("purpose", f"must be one of {', '.join(Purpose)}")
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    return Terms(categories, Purpose(purpose), record_ids=frozenset(record_ids), **times)


def evidence_from(basis: str, fields: Mapping[str, Any]) -> Evidence:
    try:
        if basis not in list(Basis):
            raise Invalid("basis", f"must be one of {', '.join(Basis)}")
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    try:
        return FORMS[Basis(basis)].from_fields(fields)
    except Invalid as fault:
        raise ContentInvalid(fault, "evidence") from None


def grant_permission(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    terms: Terms,
    evidence: Evidence,
    *,
    reason_after_dosing: str = "",
) -> Asked:
    """Let the episode's partner have these categories. Takes effect when the hub has answered."""
    by.require(COORDINATION)
    episode = _open_episode(tx, episode_id)
    if terms.starts_at is None and terms.history_from is None:
        # From the patient's word on, although the hub may hear of it much later.
        terms = replace(terms, history_from=clinic.now())
    refuse_signing_after_dosing(tx, clinic, episode.patient_id or "", reason_after_dosing)
    record = write_permission(
        tx,
        clinic,
        by,
        episode,
        terms,
        evidence,
        Effect.PERMIT,
        clinic.practice_id,
        episode.partner_practice_id,
    )
    request = GrantConsentRequest(permission=to_message(record, terms))
    return _ask(tx, clinic, by, "GrantConsent", request, record, "granted")


def deny_permission(
    tx: Transaction, clinic: Clinic, by: Staff, episode_id: str, terms: Terms, evidence: Evidence
) -> Asked:
    """Forbid these categories, whatever else permits them. The patient's word is enough."""
    by.require(COORDINATION)
    episode = _open_episode(tx, episode_id)
    # Before the journal's own lock, which is taken last by everybody.
    episodes.hold(tx, episode_id, "exclusive")
    record = write_permission(
        tx, clinic, by, episode, terms, evidence, Effect.DENY, clinic.practice_id, episode.partner_practice_id
    )
    request = DenyConsentRequest(permission=to_message(record, terms))
    asked = _ask(tx, clinic, by, "DenyConsent", request, record, "denied", withholds=True)
    withhold_unsent(tx, clinic, episode_id, "revoked")
    return asked


def revoke_permission(tx: Transaction, clinic: Clinic, by: Staff, permission_id: str) -> Asked:
    """Withdraw a permission, ours or one given to us: the patient may tell either practice. Always works."""
    return _withdraw(tx, clinic, by, permission_id, "RevokeConsent", "revoked")


def hold_permission(tx: Transaction, clinic: Clinic, by: Staff, permission_id: str) -> Asked:
    """Stop a permission at once on the patient's word; anybody on the staff may, and the signature follows."""
    record = permissions.get(tx, permission_id)
    if record.state in ("revoked", "expired", "refused"):
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "PERMISSION_OVER",
            f"the permission is {record.state} already",
            field="permission_id",
            way_out="nothing is disclosed under it; no hold is needed",
        )
    return _withdraw(tx, clinic, by, permission_id, "HoldConsent", "held")


def _withdraw(
    tx: Transaction, clinic: Clinic, by: Staff, permission_id: str, command: str, state: str
) -> Asked:
    record = permissions.get(tx, permission_id)
    episodes.hold(tx, record.episode_id, "exclusive")
    request = (
        RevokeConsentRequest(permission_id=permission_id)
        if command == "RevokeConsent"
        else HoldConsentRequest(permission_id=permission_id)
    )
    asked = _ask(tx, clinic, by, command, request, record, state, withholds=True)
    permissions.change(tx, permission_id, state=state, changed_at=clinic.now())
    if record.discloser_practice_id == clinic.practice_id:
        withhold_unsent(tx, clinic, record.episode_id, state)
    return asked


def record_declined(
    tx: Transaction, clinic: Clinic, by: Staff, episode_id: str, categories: frozenset[Category]
) -> str:
    """The patient was asked and did not sign. An answer like another: care goes on, and nothing is disclosed."""
    by.require(COORDINATION)
    episode = _open_episode(tx, episode_id)
    answer_id = f"answer_{secrets.token_hex(13)}"
    permissions.add_answer(
        tx,
        answer_id,
        episode.patient_id or "",
        episode_id,
        "declined-to-sign",
        sorted(categories),
        by.staff_id,
        clinic.now(),
    )
    audit.note(
        tx,
        "declined-to-sign",
        clinic.now(),
        by=by,
        patient_id=episode.patient_id or "",
        subject_id=episode_id,
    )
    return answer_id


def read_evidence(tx: Transaction, clinic: Clinic, by: Staff, permission_id: str) -> bytes:
    """The form or attestation behind a permission that was recorded here."""
    by.require(COORDINATION)
    record = permissions.get(tx, permission_id)
    stored = permissions.evidence(tx, permission_id)
    if stored is None:
        raise NotKnown("evidence", "permission_id")
    patient_id = episodes.get(tx, record.episode_id).patient_id or record.episode_id
    audit.note(tx, "evidence-read", clinic.now(), by=by, patient_id=patient_id, subject_id=permission_id)
    return clinic.vault.decrypt(tx, stored, _EVIDENCE, permission_id, patient_id)


def explain_entry(clinic: Clinic, by: Staff, entry_id: str) -> Explanation:
    """Why a sealed entry was or was not disclosed: our own view now, and the hub's decision if it can be reached."""
    by.require(COORDINATION)
    with clinic.db.reading() as tx:
        found = entries.sealed(tx, entry_id)
        if found is None:
            raise NotKnown("entry", "entry_id")
        record = entries.own(tx, clinic.vault, found[1].record_id)
        episode = episodes.get(tx, found[1].episode_id)
        item = found[0].labels.amends_entry_id or entry_id
        decision = own_view(
            tx, clinic, episode, record.category, record.derived_from, record.authored_at, item
        )
    decided = _decided_by_hub(clinic, entry_id)
    return Explanation(
        entry_id,
        decision.rule,
        decision.sentence,
        decided.result,
        decided.rule,
        decided.permission_id,
        decided.permission_version,
    )


def _decided_by_hub(clinic: Clinic, entry_id: str) -> ExplainReleaseResponse:
    """Empty where the hub is away or has not got the entry yet."""
    request = ExplainReleaseRequest(entry_id=entry_id)
    try:
        return clinic.gateway.ask(clinic.gateway.consent.ExplainRelease, request, timeout=3)
    except Refusal as refusal:
        if refusal.is_transient() or refusal.code is Code.NOT_FOUND:
            return ExplainReleaseResponse()
        raise


def write_permission(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode: Episode,
    terms: Terms,
    evidence: Evidence,
    effect: Effect,
    discloser: str,
    recipient: str,
) -> PermissionRecord:
    """The local row, in force here from now on; ``version`` 0 until the hub has answered."""
    now = clinic.now()
    basis = consent.basis_of(evidence)
    _check_basis(tx, clinic, episode, terms, evidence, basis, effect)
    ends_at = terms.ends_at
    if effect is Effect.PERMIT and isinstance(evidence, ConsentForm):
        ends_at = _within_authority(tx, clinic, episode, evidence, terms.ends_at)
    kept = consent.document(evidence)
    record = PermissionRecord(
        permission_id=new_id("perm"),
        version=0,
        episode_id=episode.episode_id,
        discloser_practice_id=discloser,
        recipient_practice_id=recipient,
        categories=tuple(sorted(terms.categories)),
        purpose=terms.purpose,
        basis=basis,
        effect=effect,
        state="active",
        starts_at=terms.starts_at or now,
        ends_at=ends_at,
        history_from=terms.history_from,
        evidence_hash=consent.hash_of(kept),
        recorded_by=by.staff_id,
        changed_at=now,
        entry_ids=_kept_back(tx, clinic, episode, terms, effect),
    )
    try:
        record.to_rule()
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    key = episode.patient_id or episode.episode_id
    permissions.add(tx, record, clinic.vault.encrypt(tx, kept, _EVIDENCE, record.permission_id, key))
    return record


def _kept_back(
    tx: Transaction, clinic: Clinic, episode: Episode, terms: Terms, effect: Effect
) -> tuple[str, ...]:
    """The ids that the named records have in the episode, and those of all that amends them."""
    if not terms.record_ids:
        return ()
    if effect is Effect.PERMIT:
        raise ContentInvalid(
            Invalid("record_ids", "are what a denial keeps back; leave them out, or set the effect to deny")
        )
    wanted = set(terms.record_ids)
    own = entries.own_of_patient(tx, clinic.vault, episode.patient_id or "")
    if wanted - {each.record_id for each in own}:
        raise NotKnown("entry", "record_ids")
    while more := {each.record_id for each in own if each.amends_record_id in wanted} - wanted:
        wanted |= more
    found = [
        sealing.entry_id
        for record_id in sorted(wanted)
        for sealing in entries.sealings_of_record(tx, record_id)
        if sealing.episode_id == episode.episode_id
    ]
    if not found:
        raise ContentInvalid(Invalid("record_ids", "name nothing that was sealed for this episode"))
    return tuple(sorted(found))


def _check_signer(tx: Transaction, clinic: Clinic, episode: Episode, form: ConsentForm) -> None:
    """A representative signs only within the authority that the patient's record states, and never after it ended."""
    if form.signer is not Signer.REPRESENTATIVE or episode.patient_id is None:
        return
    representative = patients.get(tx, clinic.vault, episode.patient_id).identity.representative
    if representative is None or not acts_for(representative, form.signed_on):
        raise Invalid(
            "signer",
            "the patient's record names no representative with authority on that day; record one first",
        )


def _within_authority(
    tx: Transaction, clinic: Clinic, episode: Episode, form: ConsentForm, ends_at: datetime | None
) -> datetime | None:
    """When a permission ends that a representative signed: no later than their authority, after which the patient decides."""
    if form.signer is not Signer.REPRESENTATIVE or episode.patient_id is None:
        return ends_at
    identity = patients.get(tx, clinic.vault, episode.patient_id).identity
    if identity.representative is None or identity.representative.valid_until is None:
        return ends_at
    until = end_of(identity.representative.valid_until, identity.time_zone)
    if until <= clinic.now():
        fault = Invalid("signer", "may no longer decide: their authority has ended; ask the patient")
        raise ContentInvalid(fault, "evidence")
    return until if ends_at is None else min(ends_at, until)


def _check_basis(
    tx: Transaction,
    clinic: Clinic,
    episode: Episode,
    terms: Terms,
    evidence: Evidence,
    basis: Basis,
    effect: Effect,
) -> None:
    try:
        if isinstance(evidence, ConsentForm):
            try:
                evidence.fits(terms.purpose, terms.ends_at, clinic.now().date() + timedelta(days=1))
                _check_signer(tx, clinic, episode, evidence)
            except Invalid as fault:
                raise fault.inside("evidence") from None
        if (
            basis is Basis.VERBAL
            and effect is Effect.PERMIT
            and (clinic.part2_program or not PART2.isdisjoint(terms.categories))
        ):
            raise Invalid(
                "basis", "must be written for records of substance use (42 CFR 2.31(a)); ask for a signature"
            )
        if basis is Basis.TREATMENT_RELATIONSHIP and effect is Effect.PERMIT:
            partnership = partners.get(tx, episode.partnership_id)
            if not (clinic.allows_treatment_basis and partnership.partner_allows_treatment_basis):
                raise Invalid(
                    "basis", "a treatment relationship is not accepted by both practices; ask the patient"
                )
            if clinic.part2_program or not terms.categories <= TREATMENT_RELATIONSHIP:
                raise Invalid(
                    "categories", "some need the patient's own permission (42 CFR Part 2, other sensitive)"
                )
        if words.purpose_number(terms.purpose) == 0:
            raise Invalid(
                "purpose", "is not one that the network carries; treatment includes coordination of care"
            )
    except Invalid as fault:
        raise ContentInvalid(fault) from None


def to_message(record: PermissionRecord, terms: Terms) -> PermissionMessage:
    """As the hub wants it: an unset start means from now, by the hub's clock."""
    message = PermissionMessage(
        permission_id=record.permission_id,
        episode_id=record.episode_id,
        discloser_practice_id=record.discloser_practice_id,
        recipient_practice_id=record.recipient_practice_id,
        categories=[words.category_number(code) for code in record.categories],
        purpose=words.purpose_number(record.purpose),
        basis=words.basis_number(record.basis),
        effect=words.effect_number(record.effect),
        evidence_hash=record.evidence_hash,
        entry_ids=record.entry_ids,
    )
    put_time(message, "starts_at", terms.starts_at)
    put_time(message, "ends_at", record.ends_at)
    put_time(message, "history_from", terms.history_from)
    return message


def refuse_signing_after_dosing(tx: Transaction, clinic: Clinic, patient_id: str, reason: str) -> None:
    """No permission is granted during a dosing session; within 24 hours after, only with a reason."""
    now = clinic.now()
    for entry in reversed(entries.own_of_kind(tx, clinic.vault, patient_id, DosingSession.kind)):
        if entry.state != "active":
            continue
        session = from_json(entry.content)
        if not isinstance(session, DosingSession) or session.started_at > now:
            continue
        under_way = session.ended_at is None and now < session.started_at + timedelta(hours=4)
        recent = now < (session.ended_at or session.started_at) + _REST_AFTER_DOSING
        if under_way or (recent and not reason.strip()):
            raise TooSoonAfterDosing


def _open_episode(tx: Transaction, episode_id: str) -> Episode:
    episode = episodes.get(tx, episode_id)
    if not episode.is_open:
        raise EpisodeClosed
    if episode.patient_id is None:
        raise PatientNotLinked
    return episode


def _ask(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    command: str,
    request: Any,
    record: PermissionRecord,
    action: str,
    *,
    withholds: bool = False,
) -> Asked:
    request_id = journal.queue(
        tx,
        clinic,
        command,
        request,
        author_id=by.staff_id,
        subject_id=record.permission_id,
        episode_id=record.episode_id,
        withholds=withholds and record.discloser_practice_id == clinic.practice_id,
    )
    episode = episodes.find(tx, record.episode_id)
    audit.note(
        tx,
        action,
        clinic.now(),
        by=by,
        patient_id=(episode.patient_id if episode else None) or "",
        subject_id=record.permission_id,
        categories=",".join(record.categories),
    )
    return Asked(record.permission_id, request_id)


def consent_granted(tx: Transaction, clinic: Clinic, command: journal.Command, response: Any) -> None:
    """The hub answered a grant, denial, revocation or hold."""
    told = response.permission
    known = permissions.find(tx, command.subject_id)
    if known is None or told.version < known.version:
        return
    changes: dict[str, Any] = {"version": told.version, "changed_at": clinic.now()}
    if not journal.queued(tx, subject_id=command.subject_id):
        changes["state"] = told.state
    if told.HasField("starts_at"):
        changes["starts_at"] = told.starts_at.ToDatetime(tzinfo=clinic.now().tzinfo)
    permissions.change(tx, command.subject_id, **changes)


def consent_refused(tx: Transaction, clinic: Clinic, command: journal.Command) -> None:
    """A grant that the hub did not take never was; a refused revocation leaves nothing open here."""
    if command.name in ("GrantConsent", "DenyConsent"):
        permissions.change(tx, command.subject_id, state="refused", changed_at=clinic.now())
    else:
        worklist.raise_alert(tx, "revocation-refused", clinic.now(), command.subject_id)
