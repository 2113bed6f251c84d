"""Whose turn it is: referrals assigned, covered and handed over; what waits for whom; what time brings up."""

from datetime import datetime, timedelta
from typing import Final

from tandem_care.errors import Invalid
from tandem_care.lifecycle import LOST_AFTER_ATTEMPTS, Kind, Outcome, State
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import ADMINISTRATION, COORDINATION, Staff
from tandem_clinic.store import audit, referrals, turns, worklist
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.turns import Absence, Attempt
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction

DUE: Final = "referral-due"
OVERDUE: Final = "referral-overdue"
MOVE_ON: Final = "shortlist-next"
"""The service's own item: a refusal is to be followed by the next practice on the patient's shortlist."""

_OF_STATE: Final = {
    State.INFO_REQUESTED: "information-wanted",
    State.CANCEL_REQUESTED: "cancellation-asked",
}
"""What lands on the owner's worklist as soon as a referral comes into a state."""

_WAITING: Final = (*_OF_STATE.values(), DUE, OVERDUE)
_CHANNELS: Final = ("phone", "text", "email", "post", "portal", "in-person")


def assign_referral(tx: Transaction, clinic: Clinic, by: Staff, referral_id: str, staff_id: str) -> None:
    """What waits about it waits for them from now on. An empty *staff_id*: for everybody who coordinates."""
    by.require(COORDINATION)
    referrals.get(tx, referral_id)
    if staff_id:
        _require_active(tx, staff_id, "staff_id")
    turns.assign(tx, referral_id, staff_id)
    turns.move_items(tx, referral_id, staff_id)
    audit.note(tx, "referral-assigned", clinic.now(), by=by, subject_id=referral_id, assigned_to=staff_id)


def hand_over(tx: Transaction, clinic: Clinic, by: Staff, from_id: str, to_id: str) -> list[str]:
    """Everything of one person's becomes another's: open and closed referrals, and what waits. The referrals' ids."""
    by.require(COORDINATION | ADMINISTRATION)
    _require_active(tx, to_id, "to_staff_id")
    moved = turns.hand_over(tx, from_id, to_id)
    audit.note(
        tx,
        "referrals-handed-over",
        clinic.now(),
        by=by,
        subject_id=from_id,
        to=to_id,
        count=str(len(moved)),
    )
    return moved


def be_away(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    staff_id: str,
    cover_id: str,
    until: datetime,
    starts_at: datetime | None = None,
) -> Absence:
    """Somebody is away, and *cover_id* sees what waits for them meanwhile."""
    by.require(COORDINATION | ADMINISTRATION)
    starts_at = starts_at or clinic.now()
    for field, each in (("staff_id", staff_id), ("cover_id", cover_id)):
        _require_active(tx, each, field)
    if cover_id == staff_id:
        raise ContentInvalid(Invalid("cover_id", "must be somebody else"))
    if until <= starts_at or until <= clinic.now():
        raise ContentInvalid(Invalid("until", "must lie in the future, and after the start"))
    made = turns.add_absence(tx, staff_id, cover_id, starts_at, until)
    audit.note(tx, "absence-noted", clinic.now(), by=by, subject_id=staff_id, cover=cover_id)
    return made


def end_absence(tx: Transaction, clinic: Clinic, by: Staff, absence_id: str) -> None:
    by.require(COORDINATION | ADMINISTRATION)
    turns.end_absence(tx, absence_id)
    audit.note(tx, "absence-ended", clinic.now(), by=by, subject_id=absence_id)


def read_worklist(tx: Transaction, clinic: Clinic, by: Staff) -> list[worklist.Item]:
    """What waits for *by*, for those whom they cover just now, and for anybody who coordinates."""
    return worklist.waiting(tx, by, covering=turns.covered_by(tx, by.staff_id, clinic.now()))


def log_attempt(
    tx: Transaction, clinic: Clinic, by: Staff, referral_id: str, channel: str, *, reached: bool
) -> Attempt:
    """That somebody tried to reach the patient. After enough in vain, the patient may be called lost to follow-up."""
    by.require(COORDINATION)
    if channel not in _CHANNELS:
        raise ContentInvalid(Invalid("channel", f"must be one of {', '.join(_CHANNELS)}"))
    referrals.get(tx, referral_id)
    made = turns.add_attempt(tx, referral_id, channel, by.staff_id, clinic.now(), reached=reached)
    audit.note(tx, "contact-attempted", clinic.now(), by=by, subject_id=referral_id)
    if not reached and turns.count_in_vain(tx, referral_id) == LOST_AFTER_ATTEMPTS:
        _raise(tx, clinic, "not-reached", referrals.get(tx, referral_id))
    return made


def require_attempts(tx: Transaction, referral_id: str) -> None:
    """Nobody is lost to follow-up who was not looked for."""
    made = turns.count_in_vain(tx, referral_id)
    if made < LOST_AFTER_ATTEMPTS:
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "ATTEMPTS_MISSING",
            f"{made} of {LOST_AFTER_ATTEMPTS} attempts to reach the patient are on record",
            field="reason",
            way_out="log each attempt, or give another reason",
        )


def follow(tx: Transaction, clinic: Clinic, before: ReferralView, after: ReferralView) -> None:
    """What waits on the worklist follows the referral: the old turn's items go, the new turn's come."""
    if before.state == after.state:
        return
    now, referral_id = clinic.now(), after.referral_id
    for kind in _WAITING:
        worklist.settle(tx, kind, referral_id, now)
    if after.is_over:
        _follow_end(tx, clinic, after)
    elif after.is_owned_by(clinic.practice_id) and after.state in _OF_STATE:
        _raise(tx, clinic, _OF_STATE[State(after.state)], after)
    elif before.state == State.INFO_REQUESTED and after.is_owned_by(clinic.practice_id):
        _raise(tx, clinic, "information-given", after)
    elif before.state == State.CANCEL_REQUESTED and after.referrer_practice_id == clinic.practice_id:
        _raise(tx, clinic, "cancellation-refused", after)


def _follow_end(tx: Transaction, clinic: Clinic, ended: ReferralView) -> None:
    if ended.moved_by_practice_id != clinic.practice_id:
        _raise(tx, clinic, "referral-ended", ended)
    ours = ended.referrer_practice_id == clinic.practice_id
    if (
        ours
        and ended.state in (State.DECLINED, State.EXPIRED)
        and turns.follows_shortlist(tx, ended.referral_id)
    ):
        worklist.raise_item(
            tx,
            MOVE_ON,
            ended.referral_id,
            clinic.now(),
            episode_id=ended.episode_id,
            staff_id=worklist.SERVICE,
        )
    eligible = ended.outcome in (Outcome.ELIGIBLE, Outcome.ELIGIBLE_WITH_CONDITIONS)
    if ended.kind == Kind.MEDICAL_EVALUATION and eligible and not ours:
        _raise(tx, clinic, "shared-episode-to-open", ended)


def raise_for(tx: Transaction, clinic: Clinic, kind: str, referral_id: str, **facts: str) -> None:
    """An item about a referral, for whoever it is assigned to."""
    _raise(tx, clinic, kind, referrals.get(tx, referral_id), **facts)


def move_on_from(tx: Transaction, clinic: Clinic, referral_id: str) -> None:
    """The shortlist's next turn has been taken, or cannot be."""
    worklist.settle(tx, MOVE_ON, referral_id, clinic.now(), worklist.SERVICE)


def _raise(tx: Transaction, clinic: Clinic, kind: str, about: ReferralView, **facts: str) -> None:
    worklist.raise_item(
        tx,
        kind,
        about.referral_id,
        clinic.now(),
        episode_id=about.episode_id,
        staff_id=turns.assigned_to(tx, about.referral_id),
        state=about.state,
        **({"reason": about.reason} if about.reason else {}),
        **facts,
    )


def look_at_clocks(tx: Transaction, clinic: Clinic, remind_before: timedelta) -> int:
    """Remind the owner before a clock runs out, and call the cover, or everybody, once it has. How many items were raised.

    Once for each clock: an item that a person has done does not come back before the next turn.
    The hub's expiry comes by itself; a state without one stays overdue until somebody moves it.
    """
    now = clinic.now()
    raised = 0
    for referral in referrals.due(tx, now + remind_before):
        if not _is_ours_to_mind(clinic, referral) or referral.due_at is None:
            continue
        late = referral.due_at <= now
        kind, clock = OVERDUE if late else DUE, referral.due_at.isoformat()
        known = worklist.find(tx, kind, referral.referral_id)
        if known is not None and known.facts.get("due_at") == clock:
            continue
        owner = turns.assigned_to(tx, referral.referral_id)
        worklist.raise_item(
            tx,
            kind,
            referral.referral_id,
            now,
            episode_id=referral.episode_id,
            staff_id=turns.cover_of(tx, owner, now) if late else owner,
            state=referral.state,
            due_at=clock,
        )
        raised += 1
    return raised


def _is_ours_to_mind(clinic: Clinic, referral: ReferralView) -> bool:
    """Undelivered, it is the referrer's worry: the recipient does not know of it."""
    if referral.state == State.REQUESTED:
        return referral.referrer_practice_id == clinic.practice_id
    return referral.is_owned_by(clinic.practice_id)


def _require_active(tx: Transaction, staff_id: str, field: str) -> None:
    if not turns.is_active(tx, staff_id):
        raise NotKnown("staff member", field)
