"""For every RPC of the hub: a state in which a practice may make the call, and the request with which it succeeds.

A fixture is found by the RPC's full name, so that an RPC without one is noticed by whoever walks the contracts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from sqlalchemy import select, text

from support.hub import FORM, PRESCRIBING, THERAPY, HubAlone, Member, publishes_capacity
from support.sealing import KeyNetwork
from tandem.audit.v1 import audit_pb2
from tandem.common.v1.common_pb2 import (
    BASIS_WRITTEN,
    CATEGORY_SCALE_SCORE,
    EFFECT_DENY,
    EFFECT_PERMIT,
    PURPOSE_TREATMENT,
    Category,
    Effect,
)
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1 import exchange_pb2, exchange_pb2_grpc
from tandem.exchange.v1.exchange_pb2 import EntryLabels, LogRow, RowBody, SealedEntry
from tandem.referral.v1 import referral_pb2
from tandem_care.terms import STANDARD_HASH
from tandem_platform.exchange.rows import (
    START,
    Position,
    body_hash,
    epoch_message,
    position_of,
    sign_batch,
    uplink,
)
from tandem_platform.exchange.signing import signer
from tandem_platform.ids import new_id
from tandem_platform.rpc.identity import Caller
from tandem_platform.sealing import PracticeKeys, seal
from tandem_platform.storage import Database, at_rest
from tandem_referral.hub import Hub
from tandem_referral.store.tables import audit_root, metadata
from tandem_referral.usecases.directory import KeyTrust

HUB_SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for contract in (directory_pb2, referral_pb2, consent_pb2, audit_pb2, exchange_pb2)
    for service in contract.DESCRIPTOR.services_by_name.values()
)
HUB_METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method for service in HUB_SERVICES for method in service.methods
}

Scope = Literal["named", "own", "open", "operator"]
"""What a call is about.

named: something of the owner's that the request names; to others it is as if it did not exist.
own: the caller's own, whoever calls.
open: what every practice may see or do.
operator: the network's, for its operator.
"""


_A_MINUTE = timedelta(minutes=1)


class WholeHub(HubAlone):
    """Everything that the hub's process serves, the exchange too, with nobody registered."""

    def __init__(self, url: str, directory: Path) -> None:
        at_rest.install(bytes(range(32)))
        self.network = KeyNetwork(directory / "ca")
        self.clock = self.network.clock
        self.database = Database(url, metadata)
        self.database.create_all()
        self.keys = self.network.keys("hub")
        trust = KeyTrust([self.network.trust])
        self.parts = Hub(
            self.database, self.keys, trust, self.clock, None, bytes(32), ticking=None, sync_period=0.0
        )
        self.dispatcher = self.parts.dispatcher
        self.publisher = self.parts.roots
        self.operator: Party = Party(self, Caller("operator", "ops"))

    def party(self, *roles: str) -> "Party":
        return Party(self, Caller("practice", self.joined(roles=roles or [THERAPY]).id))

    def partners(self) -> tuple["Party", "Party"]:
        """A prescriber and a therapy provider with an active partnership."""
        juniper, riverbend = self.party(PRESCRIBING), self.party(THERAPY)
        juniper.partners_with(riverbend)
        return juniper, riverbend

    def dump(self) -> "Dump":
        """Every row of every table as it is stored."""
        with self.database.reading() as tx:
            return Dump(
                {
                    (name, tuple(map(plain, row)))
                    for name in metadata.tables
                    for row in tx.all(text(f'SELECT * FROM "{name}"'))  # noqa: S608 - our own tables' names
                }
            )


def plain(value: Any) -> Any:
    """A cell's value in a form that can be compared and hashed; PostgreSQL gives JSON as what it stands for."""
    if isinstance(value, (dict, list)):
        return repr(value)
    return bytes(value) if isinstance(value, (bytes, memoryview)) else value


@dataclass(frozen=True)
class Dump:
    rows: set[tuple[str, tuple[Any, ...]]]

    def without(self, practice_id: str, *tables: str) -> "Dump":
        """Leave out the rows that name the practice, in *tables* or in all."""
        return Dump(
            {
                (table, row)
                for table, row in self.rows
                if (tables and table not in tables) or not any(_names(cell, practice_id) for cell in row)
            }
        )

    def changes_to(self, later: "Dump") -> dict[str, int]:
        """How many rows differ, by table."""
        found: dict[str, int] = {}
        for table, _ in self.rows ^ later.rows:
            found[table] = found.get(table, 0) + 1
        return found


def _names(cell: Any, practice_id: str) -> bool:
    return isinstance(cell, str) and (cell == practice_id or f".{practice_id}." in cell)


class Party(Member):
    """A practice with keys and an uplink."""

    def __init__(self, hub: WholeHub, caller: Caller) -> None:
        super().__init__(hub, caller)
        self.caller = caller
        self.exchange = exchange_pb2_grpc.ExchangeServiceStub(self.channel)
        self.head = START
        self._network = hub.network
        self._keys: PracticeKeys | None = None

    @property
    def keys(self) -> PracticeKeys:
        """Published at first use."""
        if self._keys is None:
            self._keys = self._network.keys(self.id)
            self.directory.PublishKeyBundle(publishing(self._keys))
        return self._keys

    def writes(self, *bodies: RowBody | bytes) -> list[LogRow]:
        """The next rows of its uplink, chained and signed."""
        rows = []
        for body in bodies:
            wire = body if isinstance(body, bytes) else body.SerializeToString(deterministic=True)
            row = LogRow(
                epoch=self.head.epoch,
                sequence=self.head.sequence + 1,
                previous_hash=self.head.hash,
                body_hash=body_hash(wire),
                body=wire,
            )
            self.head = position_of(uplink(self.id), row)
            rows.append(row)
        sign_batch(uplink(self.id), rows, signer(self.keys))
        return rows

    def syncs(self) -> exchange_pb2.SyncResponse:
        return self.exchange.Sync(exchange_pb2.SyncRequest(uplink_head=self.head.to_message()))

    def pushes(self, *bodies: RowBody | bytes) -> exchange_pb2.PushResponse:
        return self.exchange.Push(exchange_pb2.PushRequest(rows=self.writes(*bodies)))

    def seals(
        self,
        episode_id: str,
        to: "Party | None" = None,
        content: bytes = b"x",
        category: Category.ValueType = CATEGORY_SCALE_SCORE,
    ) -> SealedEntry:
        labels = EntryLabels(
            entry_id=new_id("ent"), episode_id=episode_id, origin_practice_id=self.id, category=category
        )
        labels.authored_at.FromDatetime(self._network.clock.now())
        return seal(labels, content, self.keys, None if to is None else to.keys.bundle)

    def permits(
        self, partner: "Party", episode_id: str, effect: Effect.ValueType = EFFECT_PERMIT, **fields: Any
    ) -> consent_pb2.Permission:
        """What it may ask the hub to keep; not asked yet."""
        return consent_pb2.Permission(
            permission_id=new_id("perm"),
            episode_id=episode_id,
            discloser_practice_id=self.id,
            recipient_practice_id=partner.id,
            categories=[CATEGORY_SCALE_SCORE],
            purpose=PURPOSE_TREATMENT,
            basis=BASIS_WRITTEN,
            effect=effect,
            evidence_hash=FORM,
            **fields,
        )


def publishing(keys: PracticeKeys) -> directory_pb2.PublishKeyBundleRequest:
    return directory_pb2.PublishKeyBundleRequest(
        request_id=new_id("req"), bundle=keys.signed_bundle.to_message()
    )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A call that will succeed when its owner makes it.

    names: the field, as a dotted path, that names what the call is about; in scope "named" only.
    lists: the answer to others is an empty list instead of NOT_FOUND.
    other_side: the partner, where it knows of the thing and may not make the call.
    hidden_from: the partner, where it must not even know of the thing.
    stranger: who else has what it takes to make the call; a practice without any relation by default.
    strange: the request in which the stranger names the owner's thing; the owner's own request by default.
    private: ids that nobody but owner and partner may learn.
    """

    owner: Party
    request: Message
    scope: Scope
    names: str = ""
    lists: bool = False
    other_side: Party | None = None
    hidden_from: Party | None = None
    stranger: Party | None = None
    strange: Message | None = None
    private: tuple[str, ...] = field(default=())


Fixture = Callable[[WholeHub], Prepared]
FIXTURES: dict[str, list[Fixture]] = {}


def fixture_of(method: str) -> Callable[[Fixture], Fixture]:
    """Keeps a fixture for ``Service.Method``; a method may have several."""

    def keep(fixture: Fixture) -> Fixture:
        FIXTURES.setdefault(method, []).append(fixture)
        return fixture

    return keep


def all_fixtures() -> Iterator[tuple[str, str, Fixture]]:
    """(method, a name for a test, fixture)."""
    for method, fixtures in FIXTURES.items():
        for fixture in fixtures:
            yield method, f"{method}-{fixture.__name__}", fixture


def value_at(message: Message, path: str) -> Any:
    for name in path.split("."):
        message = getattr(message, name)
    return message


def with_value(message: Message, path: str, value: Any) -> Any:
    """A copy with another value at *path*."""
    copy: Any = type(message)()
    copy.CopyFrom(message)
    *above, last = path.split(".")
    inner = copy
    for name in above:
        inner = getattr(inner, name)
    setattr(inner, last, value)
    return copy


def naming_nothing(prepared_request: Message, path: str) -> Any:
    """The same request, naming by an id of the same form what does not exist."""
    present = str(value_at(prepared_request, path))
    return with_value(prepared_request, path, new_id(present.partition("_")[0]))


def as_new_command(request: Message) -> Any:
    """The same request with a request_id of its own, where it has one."""
    if "request_id" not in request.DESCRIPTOR.fields_by_name:
        return request
    return with_value(request, "request_id", new_id("req"))


def a_whole_profile() -> dict[str, Any]:
    """Everything of a profile that has an inside."""
    return {
        "npi": "1234567893",
        "kap_trainings": [{"program": "KAP, 120 hours", "hours": 120, "completed_year": 2024}],
        "routes": ["im", "sublingual"],
        "age_groups": ["adult"],
        "services": [
            {"service": "dosing-session", "payments": ["self-pay"], "lowest_price": 400, "highest_price": 900}
        ],
        "sites": [
            {
                "name": "Downtown",
                "address": "1 Main Street",
                "state": "CO",
                "contact_phone": "+1 303 555 0101",
                "on_call_phone": "+1 303 555 0102",
                "access": ["step-free", "quiet-room"],
            }
        ],
    }


@fixture_of("DirectoryService.RegisterPractice")
def a_new_practice(hub: WholeHub) -> Prepared:
    practice = directory_pb2.Practice(
        practice_id=new_id("prac"),
        display_name="Alder House",
        roles=[THERAPY],
        licence_states=["CO"],
        modalities=["act"],
        languages=["en"],
        contact_phone="+1 303 555 0100",
        **a_whole_profile(),
    )
    request = directory_pb2.RegisterPracticeRequest(request_id=new_id("req"), practice=practice)
    return Prepared(owner=hub.operator, request=request, scope="operator")


@fixture_of("DirectoryService.GetPractice")
def a_registered_practice(hub: WholeHub) -> Prepared:
    owner = hub.party()
    return Prepared(owner=owner, request=directory_pb2.GetPracticeRequest(practice_id=owner.id), scope="open")


@fixture_of("DirectoryService.UpdateProfile")
def a_profile_to_replace(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    practice = directory_pb2.Practice(
        practice_id=owner.id,
        display_name="Juniper Psychiatry",
        languages=["en", "es"],
        version=1,
        **a_whole_profile(),
    )
    request = directory_pb2.UpdateProfileRequest(request_id=new_id("req"), practice=practice)
    return Prepared(
        owner=owner, request=request, scope="named", names="practice.practice_id", other_side=partner
    )


@fixture_of("DirectoryService.SearchPractices")
def practices_to_find(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    publishes_capacity(partner, 2, hours=[24], service="psychotherapy")
    required = directory_pb2.Needs(role=THERAPY)
    preferred = directory_pb2.Needs(
        licence_state="CO",
        age_group="adult",
        modalities=["act"],
        languages=["en"],
        routes=["im"],
        access=["step-free"],
        service="psychotherapy",
        payments=["self-pay"],
        price_at_most=200,
        telehealth=True,
        kap_trained=True,
    )
    request = directory_pb2.SearchPracticesRequest(page_size=5, required=required, preferred=preferred)
    return Prepared(owner=owner, request=request, scope="open")


@fixture_of("DirectoryService.PublishCapacity")
def openings_to_state(hub: WholeHub) -> Prepared:
    request = directory_pb2.PublishCapacityRequest(
        request_id=new_id("req"), capacity=directory_pb2.Capacity(openings=3)
    )
    opening = request.capacity.next_openings.add(service="psychotherapy", telehealth=True)
    opening.at.FromDatetime(hub.now())
    return Prepared(owner=hub.party(), request=request, scope="own")


@fixture_of("DirectoryService.PublishKeyBundle")
def keys_to_publish(hub: WholeHub) -> Prepared:
    owner = hub.party()
    return Prepared(owner=owner, request=publishing(hub.network.keys(owner.id)), scope="own")


@fixture_of("DirectoryService.ListKeyBundles")
def a_partners_keys(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    assert partner.keys
    request = directory_pb2.ListKeyBundlesRequest(practice_id=partner.id)
    return Prepared(owner=owner, request=request, scope="named", names="practice_id")


@fixture_of("DirectoryService.ProposePartnership")
def a_practice_to_work_with(hub: WholeHub) -> Prepared:
    owner, partner = hub.party(PRESCRIBING), hub.party(THERAPY)
    request = directory_pb2.ProposePartnershipRequest(
        request_id=new_id("req"),
        partnership_id=new_id("pship"),
        partner_practice_id=partner.id,
        terms_hash=STANDARD_HASH,
    )
    return Prepared(owner=owner, request=request, scope="open")


@fixture_of("DirectoryService.ConfirmPartnership")
def a_proposed_partnership(hub: WholeHub) -> Prepared:
    proposer, asked = hub.party(PRESCRIBING), hub.party(THERAPY)
    proposed = proposer.proposes_to(asked)
    request = directory_pb2.ConfirmPartnershipRequest(
        request_id=new_id("req"),
        partnership_id=proposed.partnership_id,
        version=proposed.version,
        terms_hash=STANDARD_HASH,
    )
    return Prepared(owner=asked, request=request, scope="named", names="partnership_id", other_side=proposer)


@fixture_of("DirectoryService.ProposeTerms")
def terms_to_propose(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    active = owner.partnership_with(partner)
    request = directory_pb2.ProposeTermsRequest(
        request_id=new_id("req"),
        partnership_id=active.partnership_id,
        version=active.version,
        terms_hash=bytes(32),
    )
    return Prepared(owner=owner, request=request, scope="named", names="partnership_id")


@fixture_of("DirectoryService.AcceptTerms")
def terms_to_accept(hub: WholeHub) -> Prepared:
    proposer, asked = hub.partners()
    active = proposer.partnership_with(asked)
    changed = proposer.directory.ProposeTerms(
        directory_pb2.ProposeTermsRequest(
            request_id=new_id("req"),
            partnership_id=active.partnership_id,
            version=active.version,
            terms_hash=bytes(32),
        )
    ).partnership
    request = directory_pb2.AcceptTermsRequest(
        request_id=new_id("req"),
        partnership_id=changed.partnership_id,
        version=changed.version,
        terms_hash=bytes(32),
    )
    return Prepared(owner=asked, request=request, scope="named", names="partnership_id", other_side=proposer)


@fixture_of("DirectoryService.SuspendPartnership")
def an_active_partnership(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    active = owner.partnership_with(partner)
    request = directory_pb2.SuspendPartnershipRequest(
        request_id=new_id("req"), partnership_id=active.partnership_id, version=active.version
    )
    return Prepared(owner=owner, request=request, scope="named", names="partnership_id")


@fixture_of("DirectoryService.ResumePartnership")
def a_suspended_partnership(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    active = owner.partnership_with(partner)
    suspended = owner.directory.SuspendPartnership(
        directory_pb2.SuspendPartnershipRequest(
            request_id=new_id("req"), partnership_id=active.partnership_id, version=active.version
        )
    ).partnership
    request = directory_pb2.ResumePartnershipRequest(
        request_id=new_id("req"), partnership_id=suspended.partnership_id, version=suspended.version
    )
    return Prepared(owner=owner, request=request, scope="named", names="partnership_id", other_side=partner)


@fixture_of("DirectoryService.ListPartnerships")
def partnerships_of_ones_own(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    return Prepared(
        owner=owner,
        request=directory_pb2.ListPartnershipsRequest(page_size=10),
        scope="own",
        private=(owner.id, partner.id, owner.partnership_with(partner).partnership_id),
    )


@fixture_of("ReferralService.RequestReferral")
def a_partner_to_refer_to(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    return Prepared(
        owner=owner, request=owner.wishes_for(partner, urgency="soon"), scope="named", names="partnership_id"
    )


@fixture_of("ReferralService.RequestReferral")
def a_referral_to_replace(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    over = owner.moves("CancelReferral", owner.refers_to(partner), reason="no-longer-needed")
    stranger, its_partner = hub.partners()
    return Prepared(
        owner=owner,
        request=owner.wishes_for(partner, replaces_referral_id=over.referral_id),
        scope="named",
        names="replaces_referral_id",
        stranger=stranger,
        strange=stranger.wishes_for(its_partner, replaces_referral_id=over.referral_id),
    )


Step = tuple[str, str, dict[str, str]]
_RECEIVED: tuple[Step, ...] = (("recipient", "ReceiveReferral", {}),)
_ACCEPTED: tuple[Step, ...] = (*_RECEIVED, ("recipient", "AcceptReferral", {}))
_STARTED: tuple[Step, ...] = (*_ACCEPTED, ("recipient", "StartReferral", {}))
_HELD: tuple[Step, ...] = (*_STARTED, ("recipient", "HoldReferral", {"reason": "medical-hold"}))
_CANCELLING: tuple[Step, ...] = (*_STARTED, ("referrer", "RequestCancellation", {"reason": "moved"}))
_ASKED: tuple[Step, ...] = (*_RECEIVED, ("recipient", "AskForInformation", {"reason": "missing-documents"}))
_DECLINED: tuple[Step, ...] = (*_RECEIVED, ("recipient", "DeclineReferral", {"reason": "capacity"}))

MOVES: dict[str, tuple[Sequence[Step], str, dict[str, str]]] = {
    "ReceiveReferral": ((), "recipient", {}),
    "OpenReferral": (_RECEIVED, "recipient", {}),
    "AcceptReferral": (_RECEIVED, "recipient", {}),
    "DeclineReferral": (_RECEIVED, "recipient", {"reason": "capacity"}),
    "WaitlistReferral": (_RECEIVED, "recipient", {"reason": "capacity"}),
    "AskForInformation": (_RECEIVED, "recipient", {"reason": "clinical-question"}),
    "AnswerInformation": (_ASKED, "referrer", {}),
    "StartReferral": (_ACCEPTED, "recipient", {}),
    "HoldReferral": (_STARTED, "recipient", {"reason": "patient-request"}),
    "ResumeReferral": (_HELD, "recipient", {}),
    "CompleteReferral": (_STARTED, "recipient", {"outcome": "treated"}),
    "FailReferral": (_STARTED, "recipient", {"reason": "patient-declined"}),
    "CancelReferral": (_RECEIVED, "referrer", {"reason": "sent-in-error"}),
    "RequestCancellation": (_STARTED, "referrer", {"reason": "no-longer-needed"}),
    "AgreeCancellation": (_CANCELLING, "recipient", {}),
    "RefuseCancellation": (_CANCELLING, "recipient", {"reason": "patient-wishes-to-continue"}),
    "UndoReferral": (_DECLINED, "recipient", {}),
}
"""By move: what happened before, who makes it, with which words."""


def _fixture_of_move(move: str) -> Fixture:
    before, by, words = MOVES[move]

    def a_referral_to_move(hub: WholeHub) -> Prepared:
        referrer, recipient = hub.partners()
        sides = {"referrer": referrer, "recipient": recipient}
        referral = referrer.refers_to(recipient)
        for who, earlier, said in before:
            referral = sides[who].moves(earlier, referral, **said)
        request = getattr(referral_pb2, f"{move}Request")(
            request_id=new_id("req"), referral_id=referral.referral_id, version=referral.version, **words
        )
        owner = sides.pop(by)
        (other,) = sides.values()
        return Prepared(owner=owner, request=request, scope="named", names="referral_id", other_side=other)

    return a_referral_to_move


for _move in MOVES:
    fixture_of(f"ReferralService.{_move}")(_fixture_of_move(_move))


@fixture_of("ReferralService.GetReferral")
def a_referral_to_look_at(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    referral = owner.refers_to(partner)
    return Prepared(
        owner=owner,
        request=referral_pb2.GetReferralRequest(referral_id=referral.referral_id),
        scope="named",
        names="referral_id",
    )


@fixture_of("ReferralService.ListReferrals")
def referrals_of_ones_own(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    referrals = [owner.refers_to(partner) for _ in range(3)]
    return Prepared(
        owner=owner,
        request=referral_pb2.ListReferralsRequest(state="requested", page_size=2),
        scope="own",
        private=(owner.id, partner.id, *(referral.referral_id for referral in referrals)),
    )


@fixture_of("ReferralService.ListMoves")
def a_referrals_history(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    referral = partner.moves("ReceiveReferral", owner.refers_to(partner))
    return Prepared(
        owner=owner,
        request=referral_pb2.ListMovesRequest(referral_id=referral.referral_id, page_size=5),
        scope="named",
        names="referral_id",
    )


@fixture_of("ConsentService.GrantConsent")
def an_episode_to_permit_for(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    permission = owner.permits(partner, owner.refers_to(partner).episode_id)
    permission.history_from.FromDatetime(hub.now())
    request = consent_pb2.GrantConsentRequest(request_id=new_id("req"), permission=permission)
    return Prepared(
        owner=owner, request=request, scope="named", names="permission.episode_id", other_side=partner
    )


@fixture_of("ConsentService.DenyConsent")
def an_episode_to_deny_for(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    permission = owner.permits(partner, owner.refers_to(partner).episode_id, EFFECT_DENY)
    request = consent_pb2.DenyConsentRequest(request_id=new_id("req"), permission=permission)
    return Prepared(
        owner=owner, request=request, scope="named", names="permission.episode_id", other_side=partner
    )


def _granted(owner: Party, partner: Party) -> consent_pb2.Permission:
    wanted = owner.permits(partner, owner.refers_to(partner).episode_id)
    request = consent_pb2.GrantConsentRequest(request_id=new_id("req"), permission=wanted)
    return owner.consents.GrantConsent(request).permission


def _denied(owner: Party, partner: Party) -> consent_pb2.Permission:
    wanted = owner.permits(partner, owner.refers_to(partner).episode_id, EFFECT_DENY)
    request = consent_pb2.DenyConsentRequest(request_id=new_id("req"), permission=wanted)
    return owner.consents.DenyConsent(request).permission


@fixture_of("ConsentService.RevokeConsent")
def a_permission_to_revoke(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    request = consent_pb2.RevokeConsentRequest(
        request_id=new_id("req"), permission_id=_granted(owner, partner).permission_id
    )
    return Prepared(owner=owner, request=request, scope="named", names="permission_id")


@fixture_of("ConsentService.RevokeConsent")
def a_denial_to_revoke(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    request = consent_pb2.RevokeConsentRequest(
        request_id=new_id("req"), permission_id=_denied(owner, partner).permission_id
    )
    return Prepared(owner=owner, request=request, scope="named", names="permission_id", hidden_from=partner)


@fixture_of("ConsentService.HoldConsent")
def a_permission_to_hold(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    request = consent_pb2.HoldConsentRequest(
        request_id=new_id("req"), permission_id=_granted(owner, partner).permission_id
    )
    return Prepared(owner=owner, request=request, scope="named", names="permission_id")


@fixture_of("ConsentService.GetConsent")
def a_permission_to_look_at(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    request = consent_pb2.GetConsentRequest(permission_id=_granted(owner, partner).permission_id)
    return Prepared(owner=owner, request=request, scope="named", names="permission_id")


@fixture_of("ConsentService.GetConsent")
def a_denial_to_look_at(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    request = consent_pb2.GetConsentRequest(permission_id=_denied(owner, partner).permission_id)
    return Prepared(owner=owner, request=request, scope="named", names="permission_id", hidden_from=partner)


@fixture_of("ConsentService.ListConsents")
def permissions_of_an_episode(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    granted = _granted(owner, partner)
    return Prepared(
        owner=owner,
        request=consent_pb2.ListConsentsRequest(episode_id=granted.episode_id, page_size=2),
        scope="named",
        names="episode_id",
        lists=True,
    )


@fixture_of("ConsentService.ListConsents")
def permissions_of_ones_own(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    granted = _granted(owner, partner)
    return Prepared(
        owner=owner,
        request=consent_pb2.ListConsentsRequest(),
        scope="own",
        private=(owner.id, partner.id, granted.permission_id, granted.episode_id),
    )


def _disclosed(hub: WholeHub, owner: Party, partner: Party) -> SealedEntry:
    """An entry of the owner's that was released."""
    entry = owner.seals(_granted(owner, partner).episode_id, partner)
    owner.syncs()
    partner.syncs()
    for _ in range(100):
        if not hub.parts.sweeper.step():
            break
    owner.pushes(RowBody(entry=entry))
    return entry


@fixture_of("ConsentService.ExplainRelease")
def an_entry_to_explain(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    entry = _disclosed(hub, owner, partner)
    return Prepared(
        owner=owner,
        request=consent_pb2.ExplainReleaseRequest(entry_id=entry.labels.entry_id),
        scope="named",
        names="entry_id",
        hidden_from=partner,
    )


@fixture_of("AuditService.ListAuditRecords")
def a_chain_of_ones_own(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    granted = _granted(owner, partner)
    return Prepared(
        owner=owner,
        request=audit_pb2.ListAuditRecordsRequest(page_size=50),
        scope="own",
        private=(owner.id, partner.id, granted.permission_id, granted.episode_id),
    )


@fixture_of("AuditService.GetAuditProof")
def a_published_root(hub: WholeHub) -> Prepared:
    owner, _ = hub.partners()
    hub.clock.advance(_A_MINUTE)
    while hub.publisher.step():
        pass
    with hub.database.reading() as tx:
        newest = tx.first(select(audit_root.c.tree_number).order_by(audit_root.c.tree_number.desc()).limit(1))
    assert newest is not None
    return Prepared(
        owner=owner,
        request=audit_pb2.GetAuditProofRequest(tree_number=newest.tree_number),
        scope="own",
    )


@fixture_of("AuditService.ListDisclosures")
def disclosures_of_an_episode(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    entry = _disclosed(hub, owner, partner)
    request = audit_pb2.ListDisclosuresRequest(episode_id=entry.labels.episode_id, page_size=10)
    request.since.FromDatetime(hub.now().replace(year=2020))
    return Prepared(
        owner=owner,
        request=request,
        scope="named",
        names="episode_id",
        lists=True,
        hidden_from=partner,
    )


@fixture_of("ExchangeService.Sync")
def a_clinic_that_syncs(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    entry = _disclosed(hub, owner, partner)
    revoked = partner.permits(owner, entry.labels.episode_id)
    partner.consents.GrantConsent(
        consent_pb2.GrantConsentRequest(request_id=new_id("req"), permission=revoked)
    )
    partner.revokes(revoked.permission_id)
    request = exchange_pb2.SyncRequest(
        uplink_head=owner.head.to_message(), downlink_cursor=START.to_message(), commands_known=1
    )
    return Prepared(
        owner=owner,
        request=request,
        scope="own",
        private=(owner.id, partner.id, revoked.permission_id),
    )


@fixture_of("ExchangeService.Push")
def rows_to_push(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    episode_id = _granted(owner, partner).episode_id
    owner.syncs()
    entries = [owner.seals(episode_id, partner), owner.seals(episode_id)]
    rows = owner.writes(*(RowBody(entry=entry) for entry in entries))
    return Prepared(owner=owner, request=exchange_pb2.PushRequest(rows=rows), scope="own")


@fixture_of("ExchangeService.Read")
def rows_to_read(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    entry = _disclosed(hub, owner, partner)
    request = exchange_pb2.ReadRequest(after=START.to_message(), limit=100)
    return Prepared(owner=partner, request=request, scope="own", private=(owner.id, entry.labels.entry_id))


@fixture_of("ExchangeService.ReadBack")
def rows_to_read_back(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    entry = _disclosed(hub, owner, partner)
    request = exchange_pb2.ReadBackRequest(after_sequence=0, limit=100)
    return Prepared(owner=owner, request=request, scope="own", private=(owner.id, entry.labels.entry_id))


@fixture_of("ExchangeService.OpenEpoch")
def an_epoch_to_open(hub: WholeHub) -> Prepared:
    owner, partner = hub.partners()
    _disclosed(hub, owner, partner)
    after: Position = owner.head
    message = epoch_message(uplink(owner.id), after.epoch + 1, after)
    request = exchange_pb2.OpenEpochRequest(
        request_id=new_id("req"),
        epoch=after.epoch + 1,
        after=after.to_message(),
        signature=signer(owner.keys)(message),
    )
    return Prepared(owner=owner, request=request, scope="own")


def _parked(hub: WholeHub) -> tuple[Party, str]:
    """A practice with a row in quarantine, and the episode that it parks."""
    owner, _ = hub.partners()
    entry = owner.seals(new_id("epi"))
    owner.syncs()
    owner.pushes(RowBody(entry=entry))
    return owner, entry.labels.episode_id


@fixture_of("ExchangeService.ListQuarantine")
def a_row_in_quarantine(hub: WholeHub) -> Prepared:
    owner, _ = _parked(hub)
    request = exchange_pb2.ListQuarantineRequest(practice_id=owner.id, page_size=10)
    return Prepared(owner=hub.operator, request=request, scope="operator")


@fixture_of("ExchangeService.RetryQuarantine")
def a_row_to_try_again(hub: WholeHub) -> Prepared:
    owner, episode_id = _parked(hub)
    request = exchange_pb2.RetryQuarantineRequest(
        request_id=new_id("req"), practice_id=owner.id, episode_id=episode_id
    )
    return Prepared(owner=hub.operator, request=request, scope="operator")


@fixture_of("ExchangeService.GetExchangeStatus")
def logs_to_look_at(hub: WholeHub) -> Prepared:
    hub.partners()
    request = exchange_pb2.GetExchangeStatusRequest()
    return Prepared(owner=hub.operator, request=request, scope="operator")
