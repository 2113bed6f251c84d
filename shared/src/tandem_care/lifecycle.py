"""The life of a referral as data: states, who may make which move, reasons, outcomes, names in FHIR and 360X.

The hub's aggregate applies these tables; clinics read them to show what can be done and tell other systems.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care.errors import Invalid
from tandem_care.screening import Outcome as ScreeningOutcome


class Kind(StrEnum):
    PSYCHOTHERAPY = "psychotherapy"
    MEDICAL_EVALUATION = "medical-evaluation"
    SHARED_CARE = "shared-care"
    """Both treat the patient already, who came by phone or was found eligible: in progress from the start."""


class Urgency(StrEnum):
    ROUTINE = "routine"
    SOON = "soon"
    URGENT = "urgent"


class Party(StrEnum):
    REFERRER = "referrer"
    RECIPIENT = "recipient"
    CLOCK = "clock"


class State(StrEnum):
    REQUESTED = "requested"
    RECEIVED = "received"
    INFO_REQUESTED = "info_requested"
    WAITLISTED = "waitlisted"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    ON_HOLD = "on_hold"
    CANCEL_REQUESTED = "cancel_requested"
    DECLINED = "declined"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL: Final = frozenset({State.DECLINED, State.EXPIRED, State.FAILED, State.CANCELLED, State.COMPLETED})
OPEN: Final = frozenset(State) - FINAL


class Move(StrEnum):
    RECEIVE = "receive"
    OPEN = "open"
    ACCEPT = "accept"
    DECLINE = "decline"
    WAITLIST = "waitlist"
    ASK = "ask"
    ANSWER = "answer"
    START = "start"
    HOLD = "hold"
    RESUME = "resume"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    REQUEST_CANCEL = "request_cancel"
    AGREE_CANCEL = "agree_cancel"
    REFUSE_CANCEL = "refuse_cancel"
    EXPIRE = "expire"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Step:
    """A move: by whom, from where, to where. ``to`` is None where the referral's own past decides."""

    by: Party
    sources: frozenset[State]
    to: State | None


def _step(by: Party, to: State | None, *sources: State) -> Step:
    return Step(by, frozenset(sources), to)


STEPS: Final[Mapping[Move, Step]] = MappingProxyType(
    {
        Move.RECEIVE: _step(Party.RECIPIENT, State.RECEIVED, State.REQUESTED),
        Move.ACCEPT: _step(Party.RECIPIENT, State.ACCEPTED, State.RECEIVED, State.WAITLISTED),
        Move.DECLINE: _step(Party.RECIPIENT, State.DECLINED, State.RECEIVED, State.WAITLISTED),
        Move.WAITLIST: _step(Party.RECIPIENT, State.WAITLISTED, State.RECEIVED),
        Move.ASK: _step(Party.RECIPIENT, State.INFO_REQUESTED, State.RECEIVED, State.WAITLISTED),
        Move.ANSWER: _step(Party.REFERRER, State.RECEIVED, State.INFO_REQUESTED),
        Move.START: _step(Party.RECIPIENT, State.IN_PROGRESS, State.ACCEPTED),
        Move.HOLD: _step(Party.RECIPIENT, State.ON_HOLD, State.IN_PROGRESS),
        Move.RESUME: _step(Party.RECIPIENT, State.IN_PROGRESS, State.ON_HOLD),
        Move.COMPLETE: _step(Party.RECIPIENT, State.COMPLETED, State.IN_PROGRESS, State.ON_HOLD),
        Move.FAIL: _step(Party.RECIPIENT, State.FAILED, State.ACCEPTED, State.IN_PROGRESS, State.ON_HOLD),
        Move.CANCEL: _step(
            Party.REFERRER,
            State.CANCELLED,
            State.REQUESTED,
            State.RECEIVED,
            State.INFO_REQUESTED,
            State.WAITLISTED,
            State.ACCEPTED,
        ),
        Move.REQUEST_CANCEL: _step(Party.REFERRER, State.CANCEL_REQUESTED, State.IN_PROGRESS, State.ON_HOLD),
        Move.AGREE_CANCEL: _step(Party.RECIPIENT, State.CANCELLED, State.CANCEL_REQUESTED),
        Move.REFUSE_CANCEL: _step(Party.RECIPIENT, None, State.CANCEL_REQUESTED),
        Move.EXPIRE: _step(
            Party.CLOCK,
            State.EXPIRED,
            State.RECEIVED,
            State.INFO_REQUESTED,
            State.WAITLISTED,
            State.ACCEPTED,
        ),
    }
)
"""Every move that changes the state, but for undo, which belongs to whoever set the final state."""

OWNER: Final[Mapping[State, Party]] = MappingProxyType(
    dict.fromkeys(OPEN, Party.RECIPIENT) | {State.INFO_REQUESTED: Party.REFERRER}
)
"""Whose turn it is."""

CLOCKS: Final[Mapping[State, timedelta]] = MappingProxyType(
    {
        State.REQUESTED: timedelta(days=1),
        State.RECEIVED: timedelta(days=14),
        State.INFO_REQUESTED: timedelta(days=14),
        State.WAITLISTED: timedelta(days=90),
        State.ACCEPTED: timedelta(days=60),
        State.IN_PROGRESS: timedelta(days=180),
        State.ON_HOLD: timedelta(days=60),
        State.CANCEL_REQUESTED: timedelta(days=3),
    }
)
"""How long a state may last before it expires or, where it cannot, calls its owner. Defaults of a setting."""

UNDO_WINDOW: Final = timedelta(minutes=10)

REMIND_BEFORE: Final = timedelta(days=2)
"""How long before a clock runs out its owner is reminded. Default of a setting."""

LOST_AFTER_ATTEMPTS: Final = 3
"""Logged attempts in vain after which a patient may be called lost to follow-up."""


class Outcome(StrEnum):
    TREATED = "treated"
    ELIGIBLE = ScreeningOutcome.ELIGIBLE.value
    ELIGIBLE_WITH_CONDITIONS = ScreeningOutcome.ELIGIBLE_WITH_CONDITIONS.value
    NOT_ELIGIBLE = ScreeningOutcome.NOT_ELIGIBLE.value


OUTCOMES: Final[Mapping[Kind, tuple[Outcome, ...]]] = MappingProxyType(
    {
        Kind.PSYCHOTHERAPY: (Outcome.TREATED,),
        Kind.MEDICAL_EVALUATION: (Outcome.ELIGIBLE, Outcome.ELIGIBLE_WITH_CONDITIONS, Outcome.NOT_ELIGIBLE),
        Kind.SHARED_CARE: (Outcome.TREATED,),
    }
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a move was made. A required comment travels as a sealed referral note; the hub sees the code."""

    code: str
    sentence: str
    moves: frozenset[Move]
    comment_required: bool = False

    @property
    def parties(self) -> frozenset[Party]:
        return frozenset(STEPS[move].by for move in self.moves)


_CANCELLING: Final = (Move.CANCEL, Move.REQUEST_CANCEL)
_ENDING: Final = (Move.DECLINE, Move.FAIL, *_CANCELLING)


def _reason(code: str, sentence: str, *moves: Move, comment: bool = False) -> Reason:
    return Reason(code, sentence, frozenset(moves), comment)


REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        reason.code: reason
        for reason in (
            _reason("capacity", "No capacity at present", Move.DECLINE, Move.WAITLIST),
            _reason("out-of-scope", "Outside what the practice treats", Move.DECLINE),
            _reason(
                "coverage", "The patient's coverage is not accepted", Move.DECLINE, Move.WAITLIST, Move.HOLD
            ),
            _reason(
                "location-or-schedule", "Place or hours do not fit", Move.DECLINE, Move.FAIL, *_CANCELLING
            ),
            _reason("conflict-of-interest", "A conflict of interest", Move.DECLINE),
            _reason(
                "misdirected",
                "Not meant for this practice, which attests that it keeps nothing of it",
                Move.DECLINE,
            ),
            _reason(
                "clinically-unsuitable", "Not clinically suitable", Move.DECLINE, Move.FAIL, comment=True
            ),
            _reason("duplicate", "The same referral was made twice", Move.DECLINE, Move.CANCEL),
            _reason("patient-declined", "The patient does not want it", *_ENDING),
            _reason("moved", "The patient moved away", *_ENDING),
            _reason("deceased", "The patient died", *_ENDING),
            _reason(
                "lost-to-follow-up",
                "Not reached; the comment says how many attempts and when",
                Move.DECLINE,
                Move.FAIL,
                comment=True,
            ),
            _reason("adverse-event", "Ended after an unwanted effect", Move.FAIL, comment=True),
            _reason("sent-in-error", "Sent in error", Move.CANCEL),
            _reason("chose-another-practice", "The patient chose another practice", *_CANCELLING),
            _reason("no-longer-needed", "No longer needed", *_CANCELLING),
            _reason("missing-documents", "Documents are missing", Move.ASK),
            _reason("clinical-question", "A clinical question; the comment asks it", Move.ASK, comment=True),
            _reason("patient-request", "At the patient's wish", Move.HOLD),
            _reason("medical-hold", "A medical reason to pause", Move.HOLD),
            _reason("scheduling", "Sessions cannot be scheduled at present", Move.HOLD, Move.WAITLIST),
            _reason(
                "treatment-under-way", "Stopping now would harm the patient", Move.REFUSE_CANCEL, comment=True
            ),
            _reason("patient-wishes-to-continue", "The patient wishes to continue", Move.REFUSE_CANCEL),
            _reason(
                "other",
                "Another reason; the comment says which",
                *_ENDING,
                Move.WAITLIST,
                Move.ASK,
                Move.HOLD,
                Move.REFUSE_CANCEL,
                comment=True,
            ),
        )
    }
)

REASON_REQUIRED: Final = frozenset({*_ENDING, Move.REFUSE_CANCEL})


def reasons_for(move: Move) -> tuple[Reason, ...]:
    return tuple(reason for reason in REASONS.values() if move in reason.moves)


def check_reason(move: Move, code: str | None) -> None:
    """Raises Invalid for a reason that is missing, unknown, or not for this move."""
    if code is None:
        if move in REASON_REQUIRED:
            raise Invalid("reason", f"is required; one of {', '.join(r.code for r in reasons_for(move))}")
        return
    reason = REASONS.get(code)
    if reason is None or move not in reason.moves:
        allowed = ", ".join(r.code for r in reasons_for(move))
        raise Invalid("reason", f"must be one of {allowed}" if allowed else "is not given for this move")


@dataclass(frozen=True, slots=True)
class FhirTask:
    status: str
    business_status: str | None = None


FHIR_TASK: Final[Mapping[State, FhirTask]] = MappingProxyType(
    {
        State.REQUESTED: FhirTask("requested"),
        State.RECEIVED: FhirTask("received"),
        State.INFO_REQUESTED: FhirTask("received", "awaiting-information"),
        State.WAITLISTED: FhirTask("on-hold", "waitlist"),
        State.ACCEPTED: FhirTask("accepted"),
        State.DECLINED: FhirTask("rejected"),
        State.IN_PROGRESS: FhirTask("in-progress"),
        State.ON_HOLD: FhirTask("on-hold"),
        State.CANCEL_REQUESTED: FhirTask("in-progress", "cancellation-requested"),
        State.CANCELLED: FhirTask("cancelled"),
        State.COMPLETED: FhirTask("completed"),
        State.FAILED: FhirTask("failed"),
        State.EXPIRED: FhirTask("failed", "expired"),
    }
)

IHE_360X: Final[Mapping[State, tuple[str, ...]]] = MappingProxyType(
    {
        State.REQUESTED: ("PCC-55",),
        State.ACCEPTED: ("PCC-56 IP",),
        State.DECLINED: ("PCC-56 CA",),
        State.IN_PROGRESS: ("PCC-59", "PCC-60"),
        State.CANCEL_REQUESTED: ("PCC-58",),
        State.CANCELLED: ("PCC-58",),
        State.COMPLETED: ("PCC-57 CM",),
    }
)
"""The transactions of IHE 360X that tell of a state; states without one are not told."""

IHE_360X_APPOINTMENT: Final[Mapping[str, str]] = MappingProxyType({"booked": "PCC-60", "no-show": "PCC-61"})


def fhir_task(
    state: State, *, cancel_from: State | None = None, progress: tuple[int, int] | None = None
) -> FhirTask:
    """How FHIR Task says it. ``cancel_from``: state before the request; ``progress``: n of m sessions."""
    found = FHIR_TASK[state]
    if state is State.CANCEL_REQUESTED and cancel_from is State.ON_HOLD:
        return FhirTask("on-hold", found.business_status)
    if state is State.IN_PROGRESS and progress is not None:
        return FhirTask(found.status, f"{progress[0]} of {progress[1]}")
    return found
