"""From one practice on the patient's shortlist to the next: each only under the patient's permission for that very practice."""

from dataclasses import replace
from functools import partial
from typing import Final

from tandem_care import entry_kinds
from tandem_care.categories import Basis
from tandem_care.codec import read_document
from tandem_care.entry_kinds import ReferralNote
from tandem_care.lifecycle import UNDO_WINDOW, State
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain import consent
from tandem_clinic.domain.consent import Evidence
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.shortlist import Shortlisted, Standing
from tandem_clinic.domain.staff import COORDINATION, Role, Staff
from tandem_clinic.store import (
    audit,
    entries,
    episodes,
    partners,
    patients,
    referrals,
    shortlists,
    turns,
    worklist,
)
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.shortlists import Permitted
from tandem_clinic.usecases.permissions import evidence_from
from tandem_clinic.usecases.referrals import request_referral
from tandem_clinic.usecases.turns import MOVE_ON, move_on_from, raise_for
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction

_BY_ITSELF: Final = Staff("service", "Tandem", frozenset({Role.COORDINATOR}))
_SIGNED_BEFORE: Final = "signed before, for this practice"


class Stopped(Refusal):
    """The shortlist does not move on by itself: a person has to."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(Code.FAILED_PRECONDITION, reason, message)


def permit_shortlisted(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, practice_id: str, evidence: Evidence
) -> None:
    """The patient permits a referral to this practice, should the list come to it. Taking it off the list ends that."""
    by.require(COORDINATION)
    patients.require(tx, patient_id)
    if practice_id not in {each.practice_id for each in shortlists.of(tx, clinic.vault, patient_id)}:
        raise NotKnown("practice on the shortlist", "practice_id")
    given = Permitted(consent.basis_of(evidence).value, consent.document(evidence), by.staff_id, clinic.now())
    shortlists.permit(tx, clinic.vault, patient_id, practice_id, given)
    audit.note(tx, "shortlisted-permitted", clinic.now(), by=by, patient_id=patient_id)


def forbid_shortlisted(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, practice_id: str) -> None:
    """The patient takes that back, for this practice."""
    by.require(COORDINATION)
    patients.require(tx, patient_id)
    shortlists.withdraw(tx, clinic.vault, patient_id, practice_id)
    audit.note(tx, "shortlisted-forbidden", clinic.now(), by=by, patient_id=patient_id)


def follow_shortlist(
    tx: Transaction, clinic: Clinic, by: Staff, referral_id: str, *, follows: bool = True
) -> None:
    """Let a refusal or expiry of this referral be followed by the next practice on the patient's shortlist."""
    by.require(COORDINATION)
    referral = referrals.get(tx, referral_id)
    if referral.referrer_practice_id != clinic.practice_id or referral.is_over:
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "REFERRAL_NOT_OPEN_HERE",
            "only an open referral of the clinic's own follows the shortlist",
            field="referral_id",
            way_out="refer again, naming the one that it replaces",
        )
    turns.follow_shortlist(tx, referral_id, follows=follows)
    audit.note(
        tx, "shortlist-followed", clinic.now(), by=by, subject_id=referral_id, follows=str(follows).lower()
    )


def move_on(clinic: Clinic) -> bool:
    """Whatever waits for its next practice, once its end can no longer be undone. True if something was asked or stopped."""
    with clinic.db.glancing() as tx:
        waiting = worklist.of_service(tx, [MOVE_ON])
        ended = [referrals.find(tx, each.subject_id) for each in waiting]
    moved = False
    for referral in ended:
        if referral is None or clinic.now() <= referral.changed_at + UNDO_WINDOW:
            continue
        moved = True
        try:
            clinic.db.run(partial(ask_the_next, clinic=clinic, ended=referral))
        except Refusal as refusal:
            clinic.db.run(partial(_stop, clinic=clinic, ended=referral, why=refusal.reason))
    return moved


def _stop(tx: Transaction, clinic: Clinic, ended: ReferralView, why: str) -> None:
    raise_for(tx, clinic, "shortlist-stopped", ended.referral_id, why=why)
    move_on_from(tx, clinic, ended.referral_id)


def ask_the_next(tx: Transaction, clinic: Clinic, ended: ReferralView) -> None:
    """Refer to the first practice on the list that was not asked yet. Raises why that cannot be, having changed nothing.

    The patient's order is kept: one that cannot be asked is not passed over without a person knowing.
    """
    ended = referrals.get(tx, ended.referral_id)
    move_on_from(tx, clinic, ended.referral_id)
    patient_id = episodes.get(tx, ended.episode_id).patient_id
    undone = ended.state not in (State.DECLINED, State.EXPIRED)
    if patient_id is None or undone or referrals.is_replaced(tx, ended.referral_id):
        return
    listed = shortlists.of(tx, clinic.vault, patient_id)
    for item in listed:
        if item.practice_id == ended.recipient_practice_id:
            full = ended.reason == "capacity" or ended.state == State.EXPIRED
            _stands(tx, clinic, patient_id, item, Standing.NO_ROOM if full else Standing.RULED_OUT)
    following = next(
        (
            each
            for each in listed
            if each.standing is Standing.TO_ASK and each.practice_id != ended.recipient_practice_id
        ),
        None,
    )
    if following is None:
        raise Stopped("SHORTLIST_AT_ITS_END", "nobody else is on the patient's shortlist")
    partnership = partners.with_practice(tx, following.practice_id)
    if partnership is None or not partnership.is_active:
        raise Stopped("NO_PARTNERSHIP", "the next practice is no active partner")
    given = shortlists.permitted(tx, clinic.vault, patient_id, following.practice_id)
    if given is None:
        raise Stopped("NO_PERMISSION", "the patient has not permitted a referral to the next practice")
    made = request_referral(
        tx,
        clinic,
        _BY_ITSELF,
        patient_id,
        partnership.partnership_id,
        ended.kind,
        _evidence(given),
        urgency=ended.urgency,
        note=_note_of(tx, clinic, patient_id, ended.referral_id),
        replaces_referral_id=ended.referral_id,
        reason_after_dosing=_SIGNED_BEFORE,
    )
    turns.assign(tx, made.referral_id, turns.assigned_to(tx, ended.referral_id))
    turns.follow_shortlist(tx, made.referral_id, follows=True)
    _stands(tx, clinic, patient_id, following, Standing.ASKED)


def _stands(tx: Transaction, clinic: Clinic, patient_id: str, item: Shortlisted, standing: Standing) -> None:
    shortlists.put(tx, clinic.vault, patient_id, replace(item, standing=standing), clinic.now())


def _evidence(given: Permitted) -> Evidence:
    """Checked once more by whatever writes the permission: a representative's authority may have ended since."""
    return evidence_from(Basis(given.basis), read_document(given.evidence)["evidence"])


def _note_of(tx: Transaction, clinic: Clinic, patient_id: str, referral_id: str) -> str:
    """The words that went with the request before."""
    for own in entries.own_of_kind(tx, clinic.vault, patient_id, ReferralNote.kind):
        note = entry_kinds.from_json(own.content)
        if isinstance(note, ReferralNote) and (note.referral_id, note.move) == (referral_id, None):
            return note.text
    return ""
