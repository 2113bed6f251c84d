"""Who is in the network, what they offer, with which keys, and who works with whom."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509

from tandem.directory.v1.directory_pb2 import Capacity, Practice, SignedKeyBundle
from tandem.exchange.v1.exchange_pb2 import KeyBundleChanged, PartnershipChanged, RowBody
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange.log import stage
from tandem_platform.exchange.rows import downlink
from tandem_platform.ids import is_id
from tandem_platform.sealing import SignedBundle, verify_bundle
from tandem_platform.storage.database import Transaction
from tandem_referral.domain.partnership import Partnership, PartnershipState
from tandem_referral.domain.profile import check_practice_id, check_profile
from tandem_referral.store import audit, partnerships, practices
from tandem_referral.store.practices import PracticeNotFound

CAPACITY_FRESH_FOR = timedelta(hours=48)
"""How long a statement of openings holds; the default of a setting."""

_MOST_OPENINGS = 1000


class StaleProfile(Refusal):
    def __init__(self, version: int) -> None:
        super().__init__(
            Code.ABORTED,
            "STALE_VERSION",
            "The profile has changed since you saw it.",
            field="practice.version",
            way_out="Read it again, then replace it.",
            metadata={"version": str(version)},
        )


class CapacityNotAllowed(Refusal):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "CAPACITY_NOT_ALLOWED", message, field=f"capacity.{name}")


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


class IdMalformed(Refusal):
    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "ID_MALFORMED",
            f"must be {prefix}_ and 26 characters of a-z and 2-7",
            field=name,
            way_out="Make it from 128 random bits.",
        )


@dataclass(frozen=True)
class KeyTrust:
    """Which certificates stand behind key bundles: those of the network's authority that are not revoked."""

    authorities: Sequence[x509.Certificate]
    revoked_serials: Container[int] = field(default=frozenset())


def check_new_id(value: str, prefix: str, name: str) -> None:
    if not is_id(value, prefix):
        raise IdMalformed(name, prefix)


def register_practice(tx: Transaction, profile: Practice, now: datetime) -> Practice:
    check_practice_id(profile.practice_id, "practice.practice_id")
    _check(profile)
    admitted = Practice()
    admitted.CopyFrom(profile)
    admitted.ClearField("capacity")
    admitted.version = 1
    practices.register(tx, admitted, now)
    audit.open_chain(tx, admitted.practice_id)
    audit.append(
        tx, audit.HUB, at=now, action="practice-registered", counterpart_practice_id=admitted.practice_id
    )
    return admitted


def replace_profile(
    tx: Transaction, by: str, profile: Practice, now: datetime, fresh_for: timedelta = CAPACITY_FRESH_FOR
) -> Practice:
    """Roles and capacity stay as they are: the operator gives roles, and capacity has its own command."""
    if profile.practice_id not in ("", by):
        raise PracticeNotFound
    present = practices.get(tx, by, stale_before=now - fresh_for, lock="exclusive")
    if profile.version != present.version:
        raise StaleProfile(present.version)
    changed = Practice()
    changed.CopyFrom(profile)
    changed.practice_id = by
    changed.version = present.version + 1
    changed.ClearField("roles")
    changed.roles.extend(present.roles)
    changed.ClearField("capacity")
    _check(changed)
    practices.replace_profile(tx, changed)
    audit.append(tx, by, at=now, action="profile-replaced")
    if present.HasField("capacity"):
        changed.capacity.CopyFrom(present.capacity)
    return changed


def publish_capacity(tx: Transaction, by: str, capacity: Capacity, now: datetime) -> None:
    """The time of the statement is the hub's: a practice cannot make an old one look fresh."""
    if capacity.openings > _MOST_OPENINGS:
        raise CapacityNotAllowed("openings", f"must be at most {_MOST_OPENINGS}")
    next_opening_at = None
    if capacity.HasField("next_opening_at"):
        next_opening_at = _time_in(capacity)
        if not now - timedelta(days=1) <= next_opening_at <= now + timedelta(days=730):
            raise CapacityNotAllowed("next_opening_at", "must lie within the next two years")
    practices.state_capacity(tx, by, capacity.openings, next_opening_at, now)


def publish_key_bundle(
    tx: Transaction, by: str, signed: SignedKeyBundle, now: datetime, trust: KeyTrust
) -> None:
    """Take the bundle into the directory if it is the caller's own and follows its last one.

    Partners verify for themselves; the hub verifies so that a fault is found by whoever made it.
    Publishing the last version again changes nothing, unless a renewed certificate stands behind it: then that one is served,
    because whoever has yet to pin the keys needs one that is good.
    """
    practices.get(tx, by, stale_before=now, lock="exclusive")
    last = practices.last_bundle(tx, by)
    known = None if last is None else SignedBundle.from_message(last).bundle
    given = SignedBundle.from_message(signed)
    bundle = verify_bundle(given, trust.authorities, by, now, known, revoked_serials=trust.revoked_serials)
    if last is not None and bundle == known:
        if last.certificate_chain != signed.certificate_chain:
            # What is pinned needs no certificate to be verified again, and so this one was not looked at yet.
            verify_bundle(given, trust.authorities, by, now, None, revoked_serials=trust.revoked_serials)
            practices.certify_bundle_anew(tx, signed)
            audit.append(tx, by, at=now, action="keys-certified-anew")
        return
    practices.add_bundle(tx, signed, now)
    audit.append(tx, by, at=now, action="keys-published")
    body = RowBody(key_bundle_changed=KeyBundleChanged(practice_id=by, version=bundle.version))
    for known_to in partnerships.of(tx, by):
        if known_to.state is not PartnershipState.ENDED:
            stage(tx, downlink(known_to.other(by)), body, at=now)


def key_bundles(tx: Transaction, by: str, practice_id: str) -> list[SignedKeyBundle]:
    """Raises PracticeNotFound for a practice that the caller has nothing to do with, as for none. Everybody may have the hub's."""
    if practice_id not in (by, audit.HUB) and not partnerships.know_each_other(tx, by, practice_id):
        raise PracticeNotFound
    return practices.bundles(tx, practice_id)


def propose_partnership(
    tx: Transaction, by: str, partnership_id: str, partner: str, now: datetime
) -> Partnership:
    check_new_id(partnership_id, "pship", "partnership_id")
    if partner == by:
        raise PartnerIsSelf
    practices.lock_pair(tx, by, partner)
    existing = partnerships.between(tx, by, partner)
    if existing is not None:
        raise PartnershipExists(existing.state)
    proposed = Partnership(id=partnership_id, proposer=by, partner=partner)
    partnerships.add(tx, proposed, now)
    _tell_both(tx, proposed, now)
    return proposed


def confirm_partnership(
    tx: Transaction, by: str, partnership_id: str, version: int, now: datetime
) -> Partnership:
    partnership = partnerships.get(tx, partnership_id, visible_to=by, lock="exclusive")
    before = partnership.version
    partnership.confirm(by, version)
    return _saved(tx, partnership, before, now)


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


def _saved(tx: Transaction, partnership: Partnership, version_before: int, now: datetime) -> Partnership:
    if partnership.version != version_before:
        partnerships.save(tx, partnership, now)
        _tell_both(tx, partnership, now)
    return partnership


def _tell_both(tx: Transaction, partnership: Partnership, now: datetime) -> None:
    for side in partnership.sides:
        other = partnership.other(side)
        changed = PartnershipChanged(
            partnership_id=partnership.id,
            partner_practice_id=other,
            state=partnership.state,
            version=partnership.version,
        )
        stage(tx, downlink(side), RowBody(partnership_changed=changed), at=now)
        action = f"partnership-{partnership.state.value}"
        audit.append(tx, side, at=now, action=action, counterpart_practice_id=other)


def _check(profile: Practice) -> None:
    check_profile(
        display_name=profile.display_name,
        roles=profile.roles,
        licence_states=profile.licence_states,
        modalities=profile.modalities,
        languages=profile.languages,
        phones={"contact_phone": profile.contact_phone, "on_call_phone": profile.on_call_phone},
    )


def _time_in(capacity: Capacity) -> datetime:
    try:
        return capacity.next_opening_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CapacityNotAllowed("next_opening_at", "must be a time") from None
