"""Who is in the network, what they offer, and with which keys."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from cryptography import x509

from tandem.directory.v1.directory_pb2 import Capacity, Needs, Opening, Practice, SignedKeyBundle
from tandem.exchange.v1.exchange_pb2 import KeyBundleChanged, PracticeChanged, RowBody
from tandem_care import matching
from tandem_care.offers import offer_of
from tandem_care.profile import FARTHEST_OPENING, MOST_NEXT_OPENINGS, MOST_OPENINGS, SERVICES
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange.log import stage
from tandem_platform.exchange.rows import downlink
from tandem_platform.ids import is_id
from tandem_platform.sealing import SignedBundle, verify_bundle
from tandem_platform.storage.database import Transaction
from tandem_referral.domain.partnership import PartnershipState
from tandem_referral.domain.profile import require_practice_id, require_profile
from tandem_referral.store import audit, listings, partnerships, practices
from tandem_referral.store.practices import AsOf, PracticeNotFound

CAPACITY_FRESH_FOR = timedelta(hours=48)
"""How long a statement of openings holds; the default of a setting."""


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


class IdMalformed(Refusal):
    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "ID_MALFORMED",
            f"must be {prefix}_ and 26 characters of a-z and 2-7",
            field=name,
            way_out="Make it from 128 random bits.",
        )


@dataclass(frozen=True, slots=True)
class Found:
    practice: Practice
    score: int
    reasons: tuple[matching.Reason, ...]


@dataclass(frozen=True)
class KeyTrust:
    """Which certificates stand behind key bundles: those of the network's authority that are not revoked."""

    authorities: Sequence[x509.Certificate]
    revoked_serials: Container[int] = field(default=frozenset())


def check_new_id(value: str, prefix: str, name: str) -> None:
    if not is_id(value, prefix):
        raise IdMalformed(name, prefix)


def register_practice(tx: Transaction, profile: Practice, now: datetime) -> Practice:
    require_practice_id(profile.practice_id, "practice.practice_id")
    require_profile(profile)
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
    present = practices.get(tx, by, AsOf(now, fresh_for), lock="exclusive")
    if profile.version != present.version:
        raise StaleProfile(present.version)
    changed = Practice()
    changed.CopyFrom(profile)
    changed.practice_id = by
    changed.version = present.version + 1
    changed.ClearField("roles")
    changed.roles.extend(present.roles)
    changed.ClearField("capacity")
    require_profile(changed)
    practices.replace_profile(tx, changed)
    audit.append(tx, by, at=now, action="profile-replaced")
    _tell_partners(
        tx, by, RowBody(practice_changed=PracticeChanged(practice_id=by, version=changed.version)), now
    )
    if present.HasField("capacity"):
        changed.capacity.CopyFrom(present.capacity)
    return changed


def publish_capacity(tx: Transaction, by: str, capacity: Capacity, now: datetime) -> None:
    """The time of the statement is the hub's: a practice cannot make an old one look fresh."""
    if capacity.openings > MOST_OPENINGS:
        raise CapacityNotAllowed("openings", f"must be at most {MOST_OPENINGS}")
    if len(capacity.next_openings) > MOST_NEXT_OPENINGS:
        raise CapacityNotAllowed("next_openings", f"must be at most {MOST_NEXT_OPENINGS}")
    stated = Capacity(openings=capacity.openings)
    for at, opening in sorted(
        ((_time_of(number, each, now), each) for number, each in enumerate(capacity.next_openings)),
        key=itemgetter(0),
    ):
        # A statement may have waited for a hub that was away.
        if at >= now:
            kept = stated.next_openings.add(service=opening.service, telehealth=opening.telehealth)
            kept.at.FromDatetime(at)
    practices.state_capacity(tx, by, stated, now)


def _time_of(number: int, opening: Opening, now: datetime) -> datetime:
    field = f"next_openings[{number}]"
    if opening.service and opening.service not in SERVICES:
        raise CapacityNotAllowed(f"{field}.service", f"must be one of {', '.join(sorted(SERVICES))}")
    try:
        at = opening.at.ToDatetime(tzinfo=UTC) if opening.HasField("at") else None
    except (ValueError, OverflowError):
        at = None
    if at is None:
        raise CapacityNotAllowed(f"{field}.at", "must be a time")
    if at > now + FARTHEST_OPENING:
        raise CapacityNotAllowed(f"{field}.at", "must lie within the next two years")
    return at


def search(
    tx: Transaction,
    by: str,
    required: Needs,
    preferred: Needs,
    as_of: AsOf,
    *,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Found]:
    """The best first, after the score and id of *after*."""
    looked_for = matching.wanted(required, preferred, now=as_of.now, fresh_since=as_of.fresh_since)
    ranked = listings.best(tx, looked_for, by, after=after, limit=limit)
    partners = listings.partners_of(tx, by)
    found = practices.several(tx, [practice_id for practice_id, _ in ranked], as_of)
    return [
        Found(
            practice,
            score,
            tuple(matching.reasons(looked_for, facts_of(practice, practice.practice_id in partners))),
        )
        for practice, (_, score) in zip(found, ranked, strict=True)
    ]


def count_found(tx: Transaction, by: str, required: Needs, as_of: AsOf) -> listings.Counted:
    looked_for = matching.wanted(required, Needs(), now=as_of.now, fresh_since=as_of.fresh_since)
    return listings.count(tx, looked_for, by)


def facts_of(practice: Practice, is_partner: bool) -> matching.Facts:
    capacity = practice.capacity
    return matching.Facts(
        offer=offer_of(practice),
        openings=capacity.openings,
        stated_at=capacity.stated_at.ToDatetime(UTC) if capacity.HasField("stated_at") else None,
        next_openings=listings.openings_of(capacity),
        is_partner=is_partner,
    )


def publish_key_bundle(
    tx: Transaction, by: str, signed: SignedKeyBundle, now: datetime, trust: KeyTrust
) -> None:
    """Take the bundle into the directory if it is the caller's own and follows its last one.

    Partners verify for themselves; the hub verifies so that a fault is found by whoever made it.
    Publishing the last version again changes nothing, unless a renewed certificate stands behind it: then that one is served,
    because whoever has yet to pin the keys needs one that is good.
    """
    practices.lock(tx, by)
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
    told = KeyBundleChanged(practice_id=by, version=bundle.version)
    _tell_partners(tx, by, RowBody(key_bundle_changed=told), now)


def _tell_partners(tx: Transaction, by: str, body: RowBody, now: datetime) -> None:
    for known_to in partnerships.of(tx, by):
        if known_to.state is not PartnershipState.ENDED:
            stage(tx, downlink(known_to.other(by)), body, at=now)


def key_bundles(tx: Transaction, by: str, practice_id: str) -> list[SignedKeyBundle]:
    """Raises PracticeNotFound for a practice that the caller has nothing to do with, as for none. Everybody may have the hub's."""
    if practice_id not in (by, audit.HUB) and not partnerships.know_each_other(tx, by, practice_id):
        raise PracticeNotFound
    return practices.bundles(tx, practice_id)
