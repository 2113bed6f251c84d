"""Uplink rows that a clinic signed and nobody meant: they harm no neighbour, no log and no partner."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from support.fixtures_rpc import Party, WholeHub
from support.fuzzed_calls import LONG, SEED
from support.fuzzing import MARK, Fuzzer
from tandem.consent.v1 import consent_pb2
from tandem.exchange.v1.exchange_pb2 import (
    LateWrap,
    PushRequest,
    ReadRequest,
    RevocationAcknowledged,
    RowBody,
    SealedEntry,
)
from tandem_platform.exchange.rows import START, Position, downlink, position_of
from tandem_platform.ids import new_id
from tandem_platform.sealing import PracticeKeys, encode_labels, sign_received, verify, wrap_for
from tandem_referral.store.tables import entry as entry_table
from tandem_referral.store.tables import exchange

SEVERAL = 5_000 if LONG else 60
IN_ONE_PUSH = 30


@dataclass
class Clinic:
    """A clinic that signs whatever it is given, its partner, and two episodes of theirs."""

    hub: WholeHub
    owner: Party
    partner: Party
    fuzzed_episode: str
    quiet_episode: str

    def refuzzed(self) -> "Clinic":
        """With a fresh episode for what is fuzzed: a parked one lets nothing more through."""
        return Clinic(self.hub, self.owner, self.partner, self._permitted_episode(), self.quiet_episode)

    def _permitted_episode(self) -> str:
        return _permitted_episode(self.hub, self.owner, self.partner)

    def pushes(self, bodies: Sequence[RowBody | bytes]) -> None:
        """Until all are dealt with; a row that waits for a command which never comes is left out."""
        while bodies:
            before = self.owner.head
            rows = self.owner.writes(*bodies)
            response = self.owner.exchange.Push(PushRequest(rows=rows))
            self.owner.head = Position.from_message(response.uplink_cursor)
            bodies = bodies[self.owner.head.sequence - before.sequence + 1 :]


def _permitted_episode(hub: WholeHub, owner: Party, partner: Party) -> str:
    episode_id = owner.refers_to(partner).episode_id
    for one, other in ((owner, partner), (partner, owner)):
        permission = one.permits(other, episode_id)
        one.consents.GrantConsent(
            consent_pb2.GrantConsentRequest(request_id=new_id("req"), permission=permission)
        )
    while hub.parts.sweeper.step():
        pass
    return episode_id


@pytest.fixture
def clinic(hub: WholeHub) -> Clinic:
    owner, partner = hub.partners()
    for side in (owner, partner):
        assert side.keys
        side.syncs()
    return Clinic(
        hub,
        owner,
        partner,
        _permitted_episode(hub, owner, partner),
        _permitted_episode(hub, owner, partner),
    )


def entries(clinic: Clinic, count: int) -> list[RowBody]:
    return [RowBody(entry=clinic.owner.seals(clinic.fuzzed_episode, clinic.partner)) for _ in range(count)]


def amendments(clinic: Clinic, count: int) -> list[RowBody]:
    first = clinic.owner.seals(clinic.fuzzed_episode, clinic.partner)
    clinic.pushes([RowBody(entry=first)])
    made = entries(clinic, count)
    for body in made:
        body.entry.labels.amends_entry_id = first.labels.entry_id
        body.entry.labels.derived_from.append(body.entry.labels.category)
        resigned(body.entry, clinic.owner.keys)
    return made


def late_wraps(clinic: Clinic, count: int) -> list[RowBody]:
    alone = [clinic.owner.seals(clinic.fuzzed_episode) for _ in range(count)]
    clinic.pushes([RowBody(entry=entry) for entry in alone])
    return [
        RowBody(
            late_wrap=LateWrap(
                entry_id=entry.labels.entry_id,
                wrap=wrap_for(entry, clinic.owner.keys, clinic.partner.keys.bundle),
            )
        )
        for entry in alone
    ]


def receipts(clinic: Clinic, count: int) -> list[RowBody]:
    """Of entries that the partner sent."""
    given = [clinic.partner.seals(clinic.fuzzed_episode, clinic.owner) for _ in range(count)]
    clinic.partner.pushes(*(RowBody(entry=entry) for entry in given))
    return [
        RowBody(entries_received=sign_received(clinic.owner.keys, clinic.partner.id, [entry]))
        for entry in given
    ]


def acknowledgements(clinic: Clinic, count: int) -> list[RowBody]:
    permission = clinic.partner.permits(clinic.owner, clinic.fuzzed_episode)
    clinic.partner.consents.GrantConsent(
        consent_pb2.GrantConsentRequest(request_id=new_id("req"), permission=permission)
    )
    clinic.partner.revokes(permission.permission_id)
    acknowledged = RevocationAcknowledged(
        permission_id=permission.permission_id, permission_version=2, kept_entry_ids=[new_id("ent")]
    )
    return [RowBody(revocation_acknowledged=acknowledged)] * count


def resigned(entry: SealedEntry, keys: PracticeKeys) -> SealedEntry:
    """Signed anew over whatever it says now, as a hostile origin would."""
    entry.content_hash = hashlib.sha256(entry.ciphertext).digest()
    signed = encode_labels(entry.labels) + entry.content_hash + entry.key_commitment
    entry.signature = keys.sign("sealed-entry", signed)
    return entry


def with_good_seals(body: RowBody, keys: PracticeKeys) -> RowBody:
    """So that the change itself is looked at, not only the signature that it breaks."""
    match body.WhichOneof("content"):
        case "entry" if len(body.entry.ciphertext) < 10_000:
            resigned(body.entry, keys)
        case "entries_received":
            received = body.entries_received
            again = sign_received(
                keys, received.origin_practice_id, [_as_entry(item) for item in received.items]
            )
            received.signature = again.signature
    return body


def _as_entry(item: Any) -> SealedEntry:
    entry = SealedEntry(content_hash=item.content_hash)
    entry.labels.entry_id = item.entry_id
    return entry


@pytest.mark.parametrize(
    "some", [entries, amendments, late_wraps, receipts, acknowledgements], ids=lambda some: some.__name__
)
@pytest.mark.parametrize("sealing", ["signed anew", "as it was"])
def test_no_row_harms_its_neighbours(clinic: Clinic, some: Any, sealing: str) -> None:
    fuzzer = Fuzzer(SEED, [clinic.owner.id, clinic.partner.id])
    content = some(clinic, 1)[0].WhichOneof("content")
    mutations = [
        each
        for each in fuzzer.single(RowBody)
        # Rows of a downlink differ little in how they are refused on an uplink.
        if each.said.startswith((content, "after", "trace")) or each.said.endswith(" empty")
    ] + list(fuzzer.several(RowBody, SEVERAL))
    for start in range(0, len(mutations), IN_ONE_PUSH):
        clinic = clinic.refuzzed()
        batch = mutations[start : start + IN_ONE_PUSH]
        bodies = [each.of(body) for each, body in zip(batch, some(clinic, len(batch)), strict=True)]
        if sealing == "signed anew":
            bodies = [with_good_seals(body, clinic.owner.keys) for body in bodies]
        neighbour = clinic.owner.seals(clinic.quiet_episode, clinic.partner)
        clinic.pushes([*bodies, RowBody(entry=neighbour)])
        assert_has_effect(clinic, neighbour)
    assert_only_content_was_at_fault(clinic)
    assert_partner_gets_what_proves_itself(clinic)


def test_bytes_that_are_no_row_harm_no_neighbour(clinic: Clinic) -> None:
    (base,) = entries(clinic, 1)
    wires: list[RowBody | bytes] = list(Fuzzer(SEED).malformed(base, 5_000 if LONG else 150))
    neighbour = clinic.owner.seals(clinic.quiet_episode, clinic.partner)
    clinic.pushes([*wires, RowBody(entry=neighbour)])
    assert_has_effect(clinic, neighbour)
    assert_only_content_was_at_fault(clinic)
    assert_partner_gets_what_proves_itself(clinic)


FOUND_ONCE = {
    # SQLite takes no integer of more than 63 bits.
    "an acknowledged version beyond any": RowBody(
        revocation_acknowledged=RevocationAcknowledged(permission_id=new_id("perm"), permission_version=2**63)
    ),
    # Keeping the row for its writer looked for its ids in a body that does not parse.
    "a body cut short": b"\x52\xff\x01\n",
    # Reached the partner, whose reader cannot verify the entry then.
    "a late wrap that is none": LateWrap(),
}


@pytest.mark.parametrize("found", FOUND_ONCE.values(), ids=FOUND_ONCE.keys())
def test_what_was_found_once_stays_harmless(clinic: Clinic, found: RowBody | LateWrap | bytes) -> None:
    body: RowBody | bytes
    if isinstance(found, LateWrap):
        (body,) = late_wraps(clinic, 1)
        body.late_wrap.wrap.wrapped_key = b"short"
    else:
        body = found
    neighbour = clinic.owner.seals(clinic.quiet_episode, clinic.partner)
    clinic.pushes([body, RowBody(entry=neighbour)])
    assert_has_effect(clinic, neighbour)
    assert_only_content_was_at_fault(clinic)
    assert_partner_gets_what_proves_itself(clinic)


def assert_has_effect(clinic: Clinic, entry: SealedEntry) -> None:
    with clinic.hub.database.reading() as tx:
        kept = select(entry_table).where(entry_table.c.entry_id == entry.labels.entry_id)
        assert tx.first(kept) is not None


def assert_only_content_was_at_fault(clinic: Clinic) -> None:
    with clinic.hub.database.reading() as tx:
        parked = tx.all(select(exchange.quarantine))
        stopped = [row.stopped for row in tx.all(select(exchange.cursor)) if row.stopped]
    reasons = Counter(row.reason for row in parked)
    own = [(base64.b64encode(row.body), row.reason) for row in parked if row.own_fault]
    assert own == [], reasons
    assert stopped == []
    assert not [reason for reason in reasons if MARK in reason or not reason.replace("-", "").isalpha()]


def assert_partner_gets_what_proves_itself(clinic: Clinic) -> None:
    """What the hub passed on, the partner can verify: a hostile clinic cannot stop its reader."""
    after, released = START, 0
    while True:
        response = clinic.partner.exchange.Read(ReadRequest(after=after.to_message(), limit=500))
        if not response.rows:
            break
        for row in response.rows:
            body = RowBody.FromString(row.body)
            if body.HasField("entry_released"):
                verify(body.entry_released.entry, clinic.owner.keys.bundle)
                released += 1
        after = position_of(downlink(clinic.partner.id), response.rows[-1])
    assert released > 0
