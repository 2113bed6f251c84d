"""Terms under which the clinic works with a partner. The hub knows their digest only; the texts go another way."""

from dataclasses import dataclass
from datetime import UTC
from typing import Final

from tandem.directory.v1.directory_pb2 import AcceptTermsRequest, ProposeTermsRequest
from tandem.directory.v1.directory_pb2 import Partnership as PartnershipMessage
from tandem.directory.v1.directory_pb2 import Terms as TermsMessage
from tandem.exchange.v1.exchange_pb2 import PartnershipChanged
from tandem_care.errors import Invalid
from tandem_care.terms import LONGEST, STANDARD, text_hash
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION, OVERSIGHT, Role, Staff
from tandem_clinic.hub import journal
from tandem_clinic.store import agreements, audit, partners, worklist
from tandem_clinic.store.agreements import Agreement
from tandem_clinic.usecases.permissions import Asked
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction

MAY_AGREE: Final = COORDINATION | {Role.ADMIN}
TERMS_WAIT: Final = "terms-proposed"
"""On the worklist while the partner's proposal waits for us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """state: "in-force", "waiting", "past". text: None where only the partner has it."""

    number: int
    state: str
    text: str | None
    text_hash: str
    proposed_by_us: bool
    agreement: Agreement


class TermsNotRead(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "TERMS_NOT_READ",
            "the text of the partner's terms is not known here",
            field="text",
            way_out="have the partner send you its text, and hand that in",
        )


class NoTermsWait(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "NO_TERMS_WAIT",
            "no terms of that number wait to be accepted",
            field="number",
            way_out="read the terms again",
        )


class TextIsOfOtherTerms(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "TEXT_IS_OF_OTHER_TERMS",
            "the text is not that of any terms of this partnership",
            field="text",
            way_out="hand it in exactly as the partner has it, to the last space",
        )


def check_text(text: str) -> None:
    if not text.strip() or len(text) > LONGEST:
        raise ContentInvalid(Invalid("text", f"must have up to {LONGEST} characters, and not be empty"))


def first_terms(tx: Transaction, clinic: Clinic, text: str | None) -> bytes:
    """The digest of what a new partnership is proposed with: the standard terms, where the clinic has none of its own."""
    text = STANDARD if text is None else text
    check_text(text)
    return agreements.keep_text(tx, text, clinic.now())


def read_terms(tx: Transaction, by: Staff, partnership_id: str) -> list[Shown]:
    """All that were ever proposed, the latest first."""
    by.require(MAY_AGREE | OVERSIGHT)
    partners.get(tx, partnership_id)
    found = agreements.of(tx, partnership_id)
    in_force = next((each.number for each in found if each.accepted_at is not None), 0)
    return [
        Shown(
            number=each.number,
            state=_state(each, in_force, found[0].number),
            text=agreements.text_of(tx, each.text_hash),
            text_hash=each.text_hash.hex(),
            proposed_by_us=each.proposed_by_us,
            agreement=each,
        )
        for each in found
    ]


def _state(of: Agreement, in_force: int, latest: int) -> str:
    if of.number == in_force:
        return "in-force"
    return "waiting" if of.number == latest else "past"


def hand_in_text(tx: Transaction, clinic: Clinic, by: Staff, partnership_id: str, text: str) -> list[Shown]:
    """The partner's text, which came another way. It is what the partner proposed if the digests are the same."""
    by.require(MAY_AGREE)
    partners.get(tx, partnership_id)
    check_text(text)
    if text_hash(text) not in {each.text_hash for each in agreements.of(tx, partnership_id)}:
        raise TextIsOfOtherTerms
    agreements.keep_text(tx, text, clinic.now())
    audit.note(tx, "terms-handed-in", clinic.now(), by=by, subject_id=partnership_id)
    return read_terms(tx, by, partnership_id)


def readable_terms(tx: Transaction, partnership_id: str, number: int | None = None) -> Agreement:
    """The partner's terms that wait for us. Raises TermsNotRead unless their text is here to be read."""
    found = agreements.waiting(tx, partnership_id)
    if found is None or found.proposed_by_us or number not in (None, found.number):
        raise NoTermsWait
    if agreements.text_of(tx, found.text_hash) is None:
        raise TermsNotRead
    return found


def propose_terms(tx: Transaction, clinic: Clinic, by: Staff, partnership_id: str, text: str) -> Asked:
    """Other terms for a partnership; those in force stay so until the partner accepts."""
    by.require(MAY_AGREE)
    known = partners.get(tx, partnership_id)
    check_text(text)
    digest = agreements.keep_text(tx, text, clinic.now())
    request = ProposeTermsRequest(partnership_id=partnership_id, version=known.version, terms_hash=digest)
    return _ask(tx, clinic, by, "ProposeTerms", request, partnership_id)


def accept_terms(tx: Transaction, clinic: Clinic, by: Staff, partnership_id: str, number: int) -> Asked:
    """*number*: of the terms that were read, so that no others are accepted unseen."""
    by.require(MAY_AGREE)
    known = partners.get(tx, partnership_id)
    terms = readable_terms(tx, partnership_id, number)
    request = AcceptTermsRequest(
        partnership_id=partnership_id, version=known.version, terms_hash=terms.text_hash
    )
    return _ask(tx, clinic, by, "AcceptTerms", request, partnership_id)


def terms_told(tx: Transaction, clinic: Clinic, told: PartnershipMessage | PartnershipChanged) -> None:
    """What the hub says of a partnership's terms."""
    for field in ("terms", "proposed_terms"):
        if told.HasField(field):
            agreements.put(tx, _agreement(clinic, told.partnership_id, getattr(told, field)))
    waiting = agreements.waiting(tx, told.partnership_id)
    if waiting is None or waiting.proposed_by_us:
        worklist.settle(tx, TERMS_WAIT, told.partnership_id, clinic.now(), worklist.SERVICE)
    else:
        worklist.raise_item(tx, TERMS_WAIT, told.partnership_id, clinic.now(), number=str(waiting.number))


def _agreement(clinic: Clinic, partnership_id: str, terms: TermsMessage) -> Agreement:
    return Agreement(
        partnership_id=partnership_id,
        number=terms.number,
        text_hash=terms.text_hash,
        proposed_by_us=terms.proposed_by_practice_id == clinic.practice_id,
        proposed_at=terms.proposed_at.ToDatetime(UTC),
        accepted_at=terms.accepted_at.ToDatetime(UTC) if terms.HasField("accepted_at") else None,
    )


def _ask(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    command: str,
    request: ProposeTermsRequest | AcceptTermsRequest,
    partnership_id: str,
) -> Asked:
    request_id = journal.queue(tx, clinic, command, request, author_id=by.staff_id, subject_id=partnership_id)
    audit.note(tx, command, clinic.now(), by=by, subject_id=partnership_id)
    return Asked(partnership_id, request_id)
