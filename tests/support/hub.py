"""A hub without a network: its real dispatcher, servicers and database, called in process."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
from sqlalchemy import select

from support.sealing import KeyNetwork
from tandem.audit.v1 import audit_pb2, audit_pb2_grpc
from tandem.common.v1.common_pb2 import BASIS_WRITTEN
from tandem.consent.v1 import consent_pb2, consent_pb2_grpc
from tandem.directory.v1 import directory_pb2, directory_pb2_grpc
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem.referral.v1 import referral_pb2, referral_pb2_grpc
from tandem_care.terms import STANDARD_HASH
from tandem_platform.errors import Refusal
from tandem_platform.exchange.rows import downlink
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.dispatch import Dispatcher
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import LocalChannel
from tandem_platform.storage import at_rest
from tandem_platform.storage.database import Database, Transaction
from tandem_referral.grpc.audit import AuditServicer
from tandem_referral.grpc.consent import ConsentServicer
from tandem_referral.grpc.directory import DirectoryServicer
from tandem_referral.grpc.pages import PageTokens
from tandem_referral.grpc.referral import ReferralServicer
from tandem_referral.store import permissions
from tandem_referral.store.commands import RememberedCommands
from tandem_referral.store.tables import exchange, metadata
from tandem_referral.usecases import consent
from tandem_referral.usecases.audit import RootPublisher
from tandem_referral.usecases.directory import KeyTrust
from tandem_referral.usecases.hub_time import HubTime

T = TypeVar("T")
FORM = bytes(range(32))
THERAPY, PRESCRIBING = "therapy_provider", "prescriber"


def in_memory_key() -> bytes:
    return bytes(range(32))


class HubAlone:
    """The hub at noon, with nobody registered."""

    def __init__(self, url: str, directory: Path) -> None:
        at_rest.install(in_memory_key())
        self.network = KeyNetwork(directory / "ca")
        self.clock = self.network.clock
        self.database = Database(url, metadata)
        self.database.create_all()
        self.keys = self.network.keys("hub")
        self.pages = PageTokens(bytes(32))
        time = HubTime(self.clock, ticking=None)
        self.dispatcher = Dispatcher(self.clock, memory=RememberedCommands(self.database, self.clock))
        trust = KeyTrust([self.network.trust])
        for servicer, contract, name in (
            (DirectoryServicer(self.database, self.pages, trust), directory_pb2, "DirectoryService"),
            (ReferralServicer(self.database, time, self.pages), referral_pb2, "ReferralService"),
            (ConsentServicer(self.database, time, self.pages), consent_pb2, "ConsentService"),
            (AuditServicer(self.database, self.pages), audit_pb2, "AuditService"),
        ):
            self.dispatcher.register(servicer, contract.DESCRIPTOR.services_by_name[name])
        self.publisher = RootPublisher(self.database, self.clock, self.keys)
        self.operator = Member(self, Caller("operator", "ops"))

    def now(self) -> datetime:
        return self.clock.now()

    def joined(self, *, roles: Iterable[str] = (THERAPY,), **profile: Any) -> "Member":
        """A practice that the operator has registered."""
        member = Member(self, Caller("practice", new_id("prac")))
        profile = {"display_name": "A practice", **profile}
        practice = directory_pb2.Practice(practice_id=member.id, roles=roles, **profile)
        self.operator.directory.RegisterPractice(
            directory_pb2.RegisterPracticeRequest(request_id=new_id("req"), practice=practice)
        )
        return member

    def two_partners(self) -> tuple["Member", "Member"]:
        """A prescriber and a therapy provider with an active partnership."""
        juniper, riverbend = self.joined(roles=[PRESCRIBING]), self.joined(roles=[THERAPY])
        juniper.partners_with(riverbend)
        return juniper, riverbend

    def downlink_of(self, member: "Member") -> list[RowBody]:
        """All rows that the practice would be given, in order."""
        log = exchange.log
        with self.database.reading() as tx:
            rows = tx.all(select(log.c.body).where(log.c.log == downlink(member.id)).order_by(log.c.sequence))
        return [RowBody.FromString(row.body) if row.body is not None else RowBody() for row in rows]

    def changes_what_is_due(self) -> None:
        """What the hub's clock does about permissions that start or run out."""

        def change(tx: Transaction) -> None:
            for row in permissions.due(tx, self.now(), 100):
                consent.change_due(tx, row, self.now())

        self.database.run(change)

    def close(self) -> None:
        self.database.close()


class Member:
    """Somebody with a certificate, and the calls they make."""

    def __init__(self, hub: HubAlone, caller: Caller) -> None:
        self.hub = hub
        self.id = caller.id
        self.channel = LocalChannel(hub.dispatcher, caller)
        self.directory = directory_pb2_grpc.DirectoryServiceStub(self.channel)
        self.referrals = referral_pb2_grpc.ReferralServiceStub(self.channel)
        self.consents = consent_pb2_grpc.ConsentServiceStub(self.channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(self.channel)

    def proposes_to(self, partner: "Member") -> directory_pb2.Partnership:
        request = directory_pb2.ProposePartnershipRequest(
            request_id=new_id("req"),
            partnership_id=new_id("pship"),
            partner_practice_id=partner.id,
            terms_hash=STANDARD_HASH,
        )
        return self.directory.ProposePartnership(request).partnership

    def partners_with(self, partner: "Member") -> directory_pb2.Partnership:
        proposed = self.proposes_to(partner)
        request = directory_pb2.ConfirmPartnershipRequest(
            request_id=new_id("req"),
            partnership_id=proposed.partnership_id,
            version=proposed.version,
            terms_hash=proposed.proposed_terms.text_hash,
        )
        return partner.directory.ConfirmPartnership(request).partnership

    def partnership_with(self, partner: "Member") -> directory_pb2.Partnership:
        listed = self.directory.ListPartnerships(directory_pb2.ListPartnershipsRequest()).partnerships
        return next(
            each for each in listed if partner.id in (each.proposer_practice_id, each.partner_practice_id)
        )

    def wishes_for(
        self, partner: "Member", kind: str = "psychotherapy", **fields: Any
    ) -> referral_pb2.RequestReferralRequest:
        """What asks for a referral to *partner*, with fresh ids and both base permissions."""
        fields = {"partnership_id": self.partnership_with(partner).partnership_id, **fields}
        return referral_pb2.RequestReferralRequest(
            request_id=new_id("req"),
            referral_id=fields.pop("referral_id", new_id("ref")),
            episode_id=fields.pop("episode_id", new_id("epi")),
            kind=kind,
            permissions=[
                referral_pb2.BasePermission(
                    permission_id=new_id("perm"),
                    discloser_practice_id=each.id,
                    basis=BASIS_WRITTEN,
                    evidence_hash=FORM,
                )
                for each in (self, partner)
            ],
            **fields,
        )

    def refers_to(self, partner: "Member", **fields: Any) -> referral_pb2.Referral:
        return self.referrals.RequestReferral(self.wishes_for(partner, **fields)).referral

    def moves(self, move: str, referral: referral_pb2.Referral, **fields: Any) -> referral_pb2.Referral:
        """Makes the call named *move* on the referral as it was seen."""
        request = getattr(referral_pb2, f"{move}Request")(
            request_id=new_id("req"), referral_id=referral.referral_id, version=referral.version, **fields
        )
        moved: referral_pb2.Referral = getattr(self.referrals, move)(request).referral
        return moved

    def sees(self, referral: referral_pb2.Referral) -> referral_pb2.GetReferralResponse:
        return self.referrals.GetReferral(referral_pb2.GetReferralRequest(referral_id=referral.referral_id))

    def revokes(self, permission_id: str) -> consent_pb2.RevokeConsentResponse:
        return self.consents.RevokeConsent(
            consent_pb2.RevokeConsentRequest(request_id=new_id("req"), permission_id=permission_id)
        )

    def audit_records(self) -> list[audit_pb2.AuditRecord]:
        found: list[audit_pb2.AuditRecord] = []
        while True:
            request = audit_pb2.ListAuditRecordsRequest(after_number=len(found), page_size=50)
            page = self.audit.ListAuditRecords(request).records
            if not page:
                return found
            found += page


def publishes_capacity(member: Member, openings: int, hours: Iterable[float] = (), service: str = "") -> None:
    """*hours*: how far away the next openings are."""
    capacity = directory_pb2.Capacity(openings=openings)
    for each in hours:
        opening = capacity.next_openings.add(service=service)
        opening.at.FromDatetime(member.hub.now() + timedelta(hours=each))
    member.directory.PublishCapacity(
        directory_pb2.PublishCapacityRequest(request_id=new_id("req"), capacity=capacity)
    )


def refused(call: Callable[[], Any]) -> Refusal:
    """The refusal that *call* must end with."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return refusal_of(error)
    raise AssertionError(f"it was not refused but answered: {answer}")


def status_bytes(call: Callable[[], Any]) -> tuple[Any, ...]:
    """Everything that a caller can see of a refusal, for comparing two."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code(), error.details(), tuple(error.trailing_metadata())
    raise AssertionError(f"it was not refused but answered: {answer}")
