"""Which practices work with each other, and under which terms."""

import hashlib
from datetime import datetime

from tandem.exchange.v1.exchange_pb2 import PartnershipChanged, RowBody
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange.log import stage
from tandem_platform.exchange.rows import downlink
from tandem_platform.storage.database import Transaction
from tandem_referral.domain.partnership import Partnership, PartnershipState, Terms
from tandem_referral.store import audit, partnerships, practices
from tandem_referral.store.partnerships import terms_message
from tandem_referral.usecases.directory import check_new_id

_HASH = hashlib.sha256().digest_size


class PartnershipExists(Refusal):
    def __init__(self, state: PartnershipState) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PARTNERSHIP_EXISTS",
            "There is a partnership with this practice already.",
            field="partner_practice_id",
            way_out="List your partnerships and go on with that one.",
            metadata={"state": state},
        )


class PartnerIsSelf(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "PARTNER_IS_SELF",
            "A practice is not its own partner.",
            field="partner_practice_id",
            way_out="Care within one practice needs no partnership.",
        )


class TermsHashMalformed(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "TERMS_HASH_MALFORMED",
            "The terms are named by the SHA-256 digest of their text.",
            field="terms_hash",
            way_out="Take the digest of the text in UTF-8.",
        )


def propose_partnership(
    tx: Transaction, by: str, partnership_id: str, partner: str, terms_hash: bytes, now: datetime
) -> Partnership:
    check_new_id(partnership_id, "pship", "partnership_id")
    _check_hash(terms_hash)
    if partner == by:
        raise PartnerIsSelf
    practices.lock_pair(tx, by, partner)
    existing = partnerships.between(tx, by, partner)
    if existing is not None:
        raise PartnershipExists(existing.state)
    terms = Terms(number=1, text_hash=terms_hash, proposed_by=by, proposed_at=now)
    proposed = Partnership(id=partnership_id, proposer=by, partner=partner, proposed_terms=terms)
    partnerships.add(tx, proposed, now)
    _tell_both(tx, proposed, now)
    return proposed


def confirm_partnership(
    tx: Transaction, by: str, partnership_id: str, version: int, terms_hash: bytes, now: datetime
) -> Partnership:
    partnership = partnerships.get(tx, partnership_id, visible_to=by, lock="exclusive")
    before = partnership.version
    partnership.confirm(by, version, terms_hash, now)
    return _saved(tx, partnership, before, now)


def propose_terms(
    tx: Transaction, by: str, partnership_id: str, version: int, terms_hash: bytes, now: datetime
) -> Partnership:
    _check_hash(terms_hash)
    partnership = partnerships.get(tx, partnership_id, visible_to=by, lock="exclusive")
    before = partnership.version
    partnership.propose_terms(by, version, terms_hash, now)
    return _saved(tx, partnership, before, now, "terms-proposed")


def accept_terms(
    tx: Transaction, by: str, partnership_id: str, version: int, terms_hash: bytes, now: datetime
) -> Partnership:
    partnership = partnerships.get(tx, partnership_id, visible_to=by, lock="exclusive")
    before = partnership.version
    partnership.accept_terms(by, version, terms_hash, now)
    return _saved(tx, partnership, before, now, "terms-accepted")


def suspend_partnership(
    tx: Transaction, by: str, partnership_id: str, version: int, now: datetime
) -> Partnership:
    """Once it has answered nothing is released: a decision under way holds the partnership shared."""
    partnership = partnerships.get(tx, partnership_id, visible_to=by, lock="exclusive")
    before = partnership.version
    partnership.suspend(by)
    return _saved(tx, partnership, before, now)


def resume_partnership(
    tx: Transaction, by: str, partnership_id: str, version: int, now: datetime
) -> Partnership:
    """What was withheld meanwhile is decided again in the background."""
    partnerships.get(tx, partnership_id, visible_to=by)
    scopes = partnerships.lock_scopes(tx, partnership_id)
    partnership = partnerships.get(tx, partnership_id, visible_to=by, lock="exclusive")
    before = partnership.version
    partnership.resume(by, version)
    if partnership.version != before and partnership.state is PartnershipState.ACTIVE:
        partnerships.ask_for_sweeps(tx, scopes, now)
    return _saved(tx, partnership, before, now)


def _check_hash(terms_hash: bytes) -> None:
    if len(terms_hash) != _HASH:
        raise TermsHashMalformed


def _saved(
    tx: Transaction, partnership: Partnership, version_before: int, now: datetime, action: str = ""
) -> Partnership:
    if partnership.version != version_before:
        partnerships.save(tx, partnership, now)
        _tell_both(tx, partnership, now, action)
    return partnership


def _tell_both(tx: Transaction, partnership: Partnership, now: datetime, action: str = "") -> None:
    for side in partnership.sides:
        other = partnership.other(side)
        changed = PartnershipChanged(
            partnership_id=partnership.id,
            partner_practice_id=other,
            state=partnership.state,
            version=partnership.version,
        )
        if partnership.terms is not None:
            changed.terms.CopyFrom(terms_message(partnership.terms))
        if partnership.proposed_terms is not None:
            changed.proposed_terms.CopyFrom(terms_message(partnership.proposed_terms))
        stage(tx, downlink(side), RowBody(partnership_changed=changed), at=now)
        action = action or f"partnership-{partnership.state.value}"
        audit.append(tx, side, at=now, action=action, counterpart_practice_id=other)
