"""What a clinic refuses, beside what its stores do not know."""

from collections.abc import Sequence

from tandem_care.errors import Invalid
from tandem_platform.errors import Code, Refusal


class ContentInvalid(Refusal):
    """Something that was entered cannot be accepted; the field is named, its value is not."""

    def __init__(self, fault: Invalid, inside: str = "") -> None:
        named = fault.inside(inside) if inside else fault
        super().__init__(
            Code.INVALID_ARGUMENT,
            "CONTENT_INVALID",
            f"{named.field or 'the request'} {fault.message}",
            field=named.field or None,
            way_out="correct the field and send it again",
        )


class PossibleDuplicate(Refusal):
    """Somebody very like this patient is registered already."""

    def __init__(self, candidates: Sequence[str]) -> None:
        super().__init__(
            Code.ALREADY_EXISTS,
            "POSSIBLE_DUPLICATE",
            "a patient with the same birth date and a similar name is registered already",
            field="identity",
            way_out="open the candidates; if it is somebody else, send it again with acknowledge_duplicates",
            metadata={"candidates": ",".join(candidates)},
        )


class PartnershipNotActive(Refusal):
    def __init__(self, state: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PARTNERSHIP_NOT_ACTIVE",
            f"the partnership is {state}",
            field="partnership_id",
            way_out="confirm or resume the partnership first",
        )


class EpisodeClosed(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "EPISODE_CLOSED",
            "the episode is closed",
            field="episode_id",
            way_out="a new referral opens a new episode",
        )


class PatientNotLinked(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PATIENT_NOT_LINKED",
            "it is not known yet whose referral this is here",
            way_out="take the referral in first: link it to a patient, register one from it, or say that it is not yours",
        )


class MoveNotAllowed(Refusal):
    """Not now, or not by this side."""

    def __init__(self, moves: Sequence[str]) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "MOVE_NOT_ALLOWED",
            "the referral does not allow this now",
            way_out=f"possible now: {', '.join(moves)}"
            if moves
            else "nothing more can be done with this referral",
            metadata={"moves": ",".join(moves)},
        )


class TooSoonAfterDosing(Refusal):
    """Nobody should sign under the drug's influence; the articles on KAP say so for legal documents."""

    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "TOO_SOON_AFTER_DOSING",
            "a dose was given within the last 24 hours, or a dosing session is under way",
            field="reason_after_dosing",
            way_out="ask again later; after the session, a stated reason allows it",
        )


class EntryNotActive(Refusal):
    def __init__(self, state: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "ENTRY_NOT_ACTIVE",
            f"this entry is {state}",
            field="record_id",
            way_out="amend the entry that took its place",
        )


class UplinkNotStopped(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "UPLINK_NOT_STOPPED",
            "the hub has not stopped this uplink, so there is nothing to reopen",
            way_out="rows that are parked the hub's operator retries; rows that are queued go by themselves",
        )
