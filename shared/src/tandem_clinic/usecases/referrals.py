"""Handing patients over, and taking them on. What the hub has to agree to goes through the journal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from google.protobuf.message import Message

from tandem.referral.v1 import referral_pb2
from tandem_care import entry_kinds
from tandem_care.categories import REFERRAL_BASE, Effect, Purpose
from tandem_care.entry_kinds import IdentityContact, ReferralNote
from tandem_care.errors import Invalid
from tandem_care.lifecycle import (
    OPEN,
    OUTCOMES,
    REASONS,
    Kind,
    Move,
    Party,
    State,
    Urgency,
    check_reason,
)
from tandem_care.referral_place import Place
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.consent import Evidence
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.refusals import (
    ContentInvalid,
    MoveNotAllowed,
    PartnershipNotActive,
    PatientNotLinked,
)
from tandem_clinic.domain.staff import COORDINATION, Staff
from tandem_clinic.hub import journal
from tandem_clinic.hub.times import put_time, time_in
from tandem_clinic.store import (
    audit,
    entries,
    episodes,
    partners,
    patients,
    referral_lines,
    referrals,
    worklist,
)
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases import turns
from tandem_clinic.usecases.entries import record_entry
from tandem_clinic.usecases.patients import register_patient
from tandem_clinic.usecases.permissions import Terms, refuse_signing_after_dosing, write_permission
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction

SERVICE = Staff("service", "Tandem", frozenset())
"""Who acts when nobody does: proof of delivery, for instance."""

CLOSED: Final = "closed"
"""All that a party sees of a referral that was withdrawn from it."""


@dataclass(frozen=True, slots=True)
class Requested:
    referral_id: str
    episode_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Moved:
    referral_id: str
    request_id: str


def request_referral(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    patient_id: str,
    partnership_id: str,
    kind: str,
    evidence: Evidence,
    *,
    urgency: str = Urgency.ROUTINE,
    note: str = "",
    replaces_referral_id: str = "",
    continues_referral_id: str = "",
    reason_after_dosing: str = "",
) -> Requested:
    """Refer a patient to a partner: a new episode, its base permissions both ways, and who the patient is.

    evidence: the patient's permission for identity-contact and referral-status, in both directions.
    note: words for the partner, sealed.
    replaces_referral_id: a re-route; the partner does not learn of it.
    continues_referral_id: a completed one with the same partner, which goes on; the partner links it to the same patient.
    """
    by.require(COORDINATION)
    _check_choice("kind", kind, Kind)
    _check_choice("urgency", urgency, Urgency)
    patient = patients.get(tx, clinic.vault, patient_id)
    partnership = partners.get(tx, partnership_id)
    if not partnership.is_active:
        raise PartnershipNotActive(partnership.state)
    if replaces_referral_id:
        _check_replaced(tx, clinic, replaces_referral_id)
    if continues_referral_id:
        _check_continued(tx, continues_referral_id, partnership_id, patient_id)
    refuse_signing_after_dosing(tx, clinic, patient_id, reason_after_dosing)
    now = clinic.now()
    episode = episodes.add(
        tx, new_id("epi"), partnership_id, partnership.partner_practice_id, patient_id, now
    )
    referral = ReferralView(
        referral_id=new_id("ref"),
        episode_id=episode.episode_id,
        partnership_id=partnership_id,
        referrer_practice_id=clinic.practice_id,
        recipient_practice_id=partnership.partner_practice_id,
        kind=kind,
        urgency=urgency,
        state=State.IN_PROGRESS if kind == Kind.SHARED_CARE else State.REQUESTED,
        reason="",
        outcome="",
        version=0,
        intake="own",
        replaces_referral_id=replaces_referral_id,
        requested_by=by.staff_id,
        requested_at=now,
        changed_at=now,
        first_opened_at=None,
        continues_referral_id=continues_referral_id,
        moved_by_practice_id=clinic.practice_id,
    )
    referrals.add(tx, referral)
    request = referral_pb2.RequestReferralRequest(
        referral_id=referral.referral_id,
        episode_id=episode.episode_id,
        partnership_id=partnership_id,
        kind=kind,
        urgency=urgency,
        replaces_referral_id=replaces_referral_id,
        continues_referral_id=continues_referral_id,
    )
    for discloser, recipient in (
        (clinic.practice_id, partnership.partner_practice_id),
        (partnership.partner_practice_id, clinic.practice_id),
    ):
        # From the request on, although the hub may hear of it much later: the first entries must pass.
        terms = Terms(REFERRAL_BASE, Purpose.TREATMENT, history_from=now)
        record = write_permission(
            tx, clinic, by, episode, terms, evidence, Effect.PERMIT, discloser, recipient
        )
        made = request.permissions.add(
            permission_id=record.permission_id,
            discloser_practice_id=discloser,
            basis=words.basis_number(record.basis),
            evidence_hash=record.evidence_hash,
        )
        put_time(made, "ends_at", record.ends_at)
    request_id = journal.queue(
        tx,
        clinic,
        "RequestReferral",
        request,
        author_id=by.staff_id,
        subject_id=referral.referral_id,
        episode_id=episode.episode_id,
    )
    audit.note(tx, "referral-requested", now, by=by, patient_id=patient_id, subject_id=referral.referral_id)
    _share_identity(tx, clinic, by, patient_id, patient.identity, episode.episode_id)
    if note:
        _add_note(tx, clinic, by, patient_id, referral, "request", note)
    return Requested(referral.referral_id, episode.episode_id, request_id)


def move_referral(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    referral_id: str,
    move: Move,
    *,
    reason: str | None = None,
    outcome: str = "",
    comment: str = "",
) -> Moved:
    """Carry a referral one step on. MoveNotAllowed says what can be done instead.

    comment: words for the partner, sealed; some reasons require them.
    """
    by.require(COORDINATION)
    referral = referrals.get(tx, referral_id)
    # Before anything else that could be wrong: what is possible instead is what helps.
    _require_possible(tx, clinic, referral, move)
    _check_reason(move, reason, comment)
    _check_outcome(referral, move, outcome)
    if reason == "lost-to-follow-up":
        turns.require_attempts(tx, referral_id)
    patient_id = episodes.get(tx, referral.episode_id).patient_id
    if move is Move.ACCEPT and patient_id is None:
        raise PatientNotLinked
    if comment:
        if patient_id is None:
            raise PatientNotLinked
        # Before the command: what closes an episode comes after what was said in it.
        _add_note(tx, clinic, by, patient_id, referral, move, comment)
    moved = _queue_move(tx, clinic, by, referral, move, reason=reason or "", outcome=outcome)
    if move is Move.OPEN:
        referrals.note_opened(tx, referral_id, clinic.now())
    audit.note(
        tx,
        f"referral-{move.replace('_', '-')}",
        clinic.now(),
        by=by,
        patient_id=patient_id or "",
        subject_id=referral_id,
    )
    return moved


def open_referral(tx: Transaction, clinic: Clinic, by: Staff, referral_id: str) -> Moved | None:
    """A person reads an inbound referral; the referrer learns of the first time only."""
    by.require(COORDINATION)
    referral = referrals.get(tx, referral_id)
    if referral.recipient_practice_id != clinic.practice_id or referral.is_over:
        return None
    place, _ = _expected(tx, clinic, referral)
    if Move.OPEN not in _moves_in(tx, clinic, referral, place):
        return None
    audit.note(tx, "referral-opened", clinic.now(), by=by, subject_id=referral_id)
    opened = _queue_move(tx, clinic, by, referral, Move.OPEN)
    referrals.note_opened(tx, referral_id, clinic.now())
    return opened


def take_in_referral(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    referral_id: str,
    *,
    patient_id: str | None = None,
    acknowledge_duplicates: bool = False,
) -> str:
    """Say whose inbound referral this is: a patient of ours, or a new one made from what the referrer sent.

    Gives the patient's id. Repeating it for the same patient changes nothing.
    """
    by.require(COORDINATION)
    referral = referrals.get(tx, referral_id)
    if referral.intake == "own":
        raise _not_inbound()
    episode = episodes.get(tx, referral.episode_id)
    if patient_id is None and episode.patient_id is not None:
        return episode.patient_id
    intake = "linked"
    if patient_id is None:
        identity = received_identity(tx, clinic, referral.episode_id)
        patient_id = register_patient(
            tx, clinic, by, identity, acknowledge_duplicates=acknowledge_duplicates
        ).patient_id
        intake = "created"
    patients.require(tx, patient_id)
    episodes.link(tx, referral.episode_id, patient_id)
    referrals.change(tx, referral, intake=intake)
    worklist.settle(tx, "inbound-referral", referral_id, clinic.now(), by.staff_id)
    audit.note(
        tx,
        "referral-taken-in",
        clinic.now(),
        by=by,
        patient_id=patient_id,
        subject_id=referral_id,
        intake=intake,
    )
    return patient_id


def refuse_referral_as_not_ours(
    tx: Transaction, clinic: Clinic, by: Staff, referral_id: str, reason: str, comment: str = ""
) -> Moved:
    """Decline an inbound referral without ever linking it to a patient of ours.

    With "misdirected", *by* attests that nothing of it is kept: what came with it is emptied here.
    """
    by.require(COORDINATION)
    referral = referrals.get(tx, referral_id)
    if referral.intake == "own":
        raise _not_inbound()
    moved = move_referral(tx, clinic, by, referral_id, Move.DECLINE, reason=reason, comment=comment)
    referrals.change(tx, referral, intake="not-ours")
    if reason == "misdirected":
        came = entries.received_in(tx, clinic.vault, [referral.episode_id])
        entries.forget(tx, [each.entry_id for each in came])
        audit.note(
            tx,
            "misdirected-returned",
            clinic.now(),
            by=by,
            subject_id=referral_id,
            emptied=str(len(came)),
        )
    worklist.settle(tx, "inbound-referral", referral_id, clinic.now(), by.staff_id)
    return moved


def received_identity(tx: Transaction, clinic: Clinic, episode_id: str) -> IdentityContact:
    """Who the patient is, by the newest identity-contact entry of the referrer."""
    for entry in reversed(entries.received_in(tx, clinic.vault, [episode_id])):
        if entry.category == IdentityContact.category and entry.state == "active":
            content = entry_kinds.from_json(entry.content)
            if isinstance(content, IdentityContact):
                return content
    raise Refusal(
        Code.FAILED_PRECONDITION,
        "IDENTITY_NOT_RECEIVED",
        "who the patient is has not arrived yet",
        way_out="wait for it, or link the referral to a patient that you register yourself",
    )


def queue_receive(tx: Transaction, clinic: Clinic, referral: ReferralView) -> None:
    """Proof of delivery, by the service itself."""
    _queue_move(tx, clinic, SERVICE, referral, Move.RECEIVE)


def possible_moves(tx: Transaction, clinic: Clinic, referral: ReferralView) -> list[Move]:
    """What this side may do, once everything queued has been answered as expected."""
    place, _ = _expected(tx, clinic, referral)
    return _moves_in(tx, clinic, referral, place)


REQUESTS: Final[Mapping[Move, tuple[str, Callable[[], Message]]]] = {
    move: (name, getattr(referral_pb2, f"{name}Request"))
    for move, name in {
        Move.RECEIVE: "ReceiveReferral",
        Move.OPEN: "OpenReferral",
        Move.ACCEPT: "AcceptReferral",
        Move.DECLINE: "DeclineReferral",
        Move.WAITLIST: "WaitlistReferral",
        Move.ASK: "AskForInformation",
        Move.ANSWER: "AnswerInformation",
        Move.START: "StartReferral",
        Move.HOLD: "HoldReferral",
        Move.RESUME: "ResumeReferral",
        Move.COMPLETE: "CompleteReferral",
        Move.FAIL: "FailReferral",
        Move.CANCEL: "CancelReferral",
        Move.REQUEST_CANCEL: "RequestCancellation",
        Move.AGREE_CANCEL: "AgreeCancellation",
        Move.REFUSE_CANCEL: "RefuseCancellation",
        Move.UNDO: "UndoReferral",
    }.items()
}
"""The requests that ask for each move. The clock's expiry nobody asks for."""

_MOVE_OF: Final = {name: move for move, (name, _) in REQUESTS.items()}


def _queue_move(
    tx: Transaction, clinic: Clinic, by: Staff, referral: ReferralView, move: Move, **details: str
) -> Moved:
    version = _require_possible(tx, clinic, referral, move)
    name, request_type = REQUESTS[move]
    request: Any = request_type()
    request.referral_id = referral.referral_id
    request.version = version
    for field, value in details.items():
        if field in request.DESCRIPTOR.fields_by_name:
            setattr(request, field, value)
    request_id = journal.queue(
        tx,
        clinic,
        name,
        request,
        author_id=by.staff_id,
        subject_id=referral.referral_id,
        episode_id=referral.episode_id,
    )
    return Moved(referral.referral_id, request_id)


def _require_possible(tx: Transaction, clinic: Clinic, referral: ReferralView, move: Move) -> int:
    """The version that it will be made against."""
    place, version = _expected(tx, clinic, referral)
    allowed = _moves_in(tx, clinic, referral, place)
    if move not in allowed:
        raise MoveNotAllowed(allowed)
    return version


def _expected(tx: Transaction, clinic: Clinic, referral: ReferralView) -> tuple[Place | None, int]:
    """Where it stands, and its version, once the queued commands have been answered: what the next one is made against."""
    place, version = referral.place(), referral.version
    queued = journal.queued(tx, subject_id=referral.referral_id)
    version += sum(command.name == "RequestReferral" for command in queued)
    if place is None:
        return None, version
    moves = [(_MOVE_OF[each.name], each.queued_at) for each in queued if each.name in _MOVE_OF]
    place, counted = place.forecast(moves, referral.party(clinic.practice_id))
    return place, version + counted


def _moves_in(tx: Transaction, clinic: Clinic, referral: ReferralView, place: Place | None) -> list[Move]:
    if place is None:
        return []
    side = referral.party(clinic.practice_id)
    moves = place.moves(side, clinic.now())
    unopened = referral.first_opened_at is None and place.state in OPEN - {State.REQUESTED}
    if side is Party.RECIPIENT and unopened:
        moves.append(Move.OPEN)
    if Move.UNDO in moves and referrals.is_replaced(tx, referral.referral_id):
        moves.remove(Move.UNDO)
    return moves


def _check_reason(move: Move, reason: str | None, comment: str) -> None:
    try:
        check_reason(move, reason)
        if reason is not None and REASONS[reason].comment_required and not comment.strip():
            raise Invalid("comment", f"is required with the reason {reason}")
    except Invalid as fault:
        raise ContentInvalid(fault) from None


def _check_outcome(referral: ReferralView, move: Move, outcome: str) -> None:
    allowed = OUTCOMES[Kind(referral.kind)] if move is Move.COMPLETE else ()
    if outcome not in allowed and (outcome or allowed):
        words = f"must be one of {', '.join(allowed)}" if allowed else "is not given for this move"
        raise ContentInvalid(Invalid("outcome", words))


def _check_choice(field: str, code: str, choices: type[Kind] | type[Urgency]) -> None:
    if code not in list(choices):
        raise ContentInvalid(Invalid(field, f"must be one of {', '.join(choices)}"))


def _check_replaced(tx: Transaction, clinic: Clinic, referral_id: str) -> None:
    replaced = referrals.get(tx, referral_id)
    if replaced.referrer_practice_id != clinic.practice_id or not replaced.is_over:
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "REPLACED_REFERRAL_OPEN",
            "only a referral of your own that is over can be replaced",
            field="replaces_referral_id",
            way_out="cancel it first, or wait for its end",
        )


def _check_continued(tx: Transaction, referral_id: str, partnership_id: str, patient_id: str) -> None:
    continued = referrals.get(tx, referral_id)
    same = continued.partnership_id == partnership_id
    if not same or episodes.get(tx, continued.episode_id).patient_id != patient_id:
        raise NotKnown("referral of this patient with this partner", "continues_referral_id")
    if continued.state != State.COMPLETED:
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "REFERRAL_NOT_COMPLETED",
            "only a completed referral is continued",
            field="continues_referral_id",
            way_out="complete it first, or refer without naming it",
        )


def _share_identity(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, identity: IdentityContact, episode_id: str
) -> None:
    """The partner needs to know the person, not our numbers for them."""
    record_entry(tx, clinic, by, patient_id, replace(identity, identifiers=()), episode_id=episode_id)


def _add_note(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, referral: ReferralView, move: str, text: str
) -> None:
    try:
        note = ReferralNote(
            referral_id=referral.referral_id, move=None if move == "request" else str(move), text=text
        )
    except Invalid as fault:
        raise ContentInvalid(Invalid("comment" if move != "request" else "note", fault.message)) from None
    record_entry(tx, clinic, by, patient_id, note, episode_id=referral.episode_id)


def _not_inbound() -> Refusal:
    return Refusal(
        Code.FAILED_PRECONDITION,
        "REFERRAL_NOT_INBOUND",
        "this referral is the clinic's own",
        field="referral_id",
        way_out="only referrals from partners are taken in",
    )


def referral_answered(tx: Transaction, clinic: Clinic, command: journal.Command, response: Any) -> None:
    """The hub answered a request or a move."""
    apply_referral(tx, clinic, response.referral)
    if command.name != "OpenReferral" and response.referral.state != CLOSED:
        referral_lines.put(tx, line_of(response.referral, clinic), command.author_id)


def apply_referral(tx: Transaction, clinic: Clinic, told: Any) -> ReferralView | None:
    """Take over what the hub says of a referral that is known here. Older news change nothing."""
    known = referrals.find(tx, told.referral_id)
    if known is None:
        return None
    changed_at = told.changed_at.ToDatetime(tzinfo=clinic.now().tzinfo)
    # A hub restored from a backup counts versions again; its later word still wins.
    if told.version < known.version and changed_at <= known.changed_at:
        return known
    changed = referrals.change(
        tx,
        known,
        state=told.state,
        reason=told.reason,
        outcome=told.outcome,
        version=told.version,
        changed_at=changed_at,
        moved_by_practice_id=told.moved_by_practice_id,
        cancel_from=told.cancel_from,
        closed_from=told.closed_from,
        due_at=time_in(told, "due_at"),
        first_opened_at=known.first_opened_at or time_in(told, "opened_at"),
    )
    if changed.is_over and not known.is_over:
        episodes.close(tx, changed.episode_id, clinic.now())
        worklist.settle(tx, "inbound-referral", changed.referral_id, clinic.now())
    elif known.is_over and not changed.is_over:
        episodes.reopen(tx, changed.episode_id)
    turns.follow(tx, clinic, known, changed)
    return changed


def line_of(told: Any, clinic: Clinic) -> referral_lines.Line:
    """What the hub told, as a line of the referral's history."""
    return referral_lines.Line(
        referral_id=told.referral_id,
        version=told.version,
        move=told.move,
        state=told.state,
        reason=told.reason,
        by_practice_id=told.moved_by_practice_id,
        at=time_in(told, "changed_at") or clinic.now(),
    )


def referral_refused(tx: Transaction, clinic: Clinic, command: journal.Command) -> None:
    """A request that the hub did not take opened no episode; a refused move changed nothing."""
    referral = referrals.find(tx, command.subject_id)
    if referral is not None and command.name == "OpenReferral":
        # Not told, so that the next to open it tells.
        referrals.change(tx, referral, first_opened_at=None)
    if command.name != "RequestReferral":
        return
    if referral is not None and not referral.is_confirmed:
        referrals.change(tx, referral, state="refused", changed_at=clinic.now())
        episodes.close(tx, referral.episode_id, clinic.now())
