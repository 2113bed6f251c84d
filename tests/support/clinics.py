"""A clinic on its own: real storage, real keys, and a hub that answers as each test tells it to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import MetaData

from support.sealing import NOON, KeyNetwork
from tandem.audit.v1 import audit_pb2
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1.exchange_pb2 import LogRow, RowBody
from tandem.referral.v1 import referral_pb2
from tandem_care.entry_kinds import IdentityContact, IntegrationKind, IntegrationSummary
from tandem_care.entry_kinds import Message as Words
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.consent import ConsentForm
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.hub.gateway import Gateway
from tandem_clinic.hub.journal import Journal
from tandem_clinic.store import partners, staff
from tandem_clinic.store.partners import Partnership, Pins
from tandem_clinic.store.tables import metadata
from tandem_clinic.store.vault import Vault
from tandem_clinic.usecases import outcomes, patients
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange import log
from tandem_platform.rpc.local import LocalRpcError, unreachable
from tandem_platform.rpc.status import DETAILS_KEY, status_of
from tandem_platform.sealing.keys import PracticeKeys
from tandem_platform.storage import Database, at_rest
from tandem_platform.storage.encryption import Keyring

JUNIPER = "prac_juniper"
RIVERBEND = "prac_riverbend"
PARTNERSHIP = "pship_" + "a" * 26

Answer = Callable[[Any], Message]


def _response_types() -> Mapping[str, tuple[type[Message], type[Message]]]:
    found = {}
    for file in (audit_pb2, consent_pb2, directory_pb2, referral_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[f"/{service.full_name}/{method.name}"] = (
                    GetMessageClass(method.input_type),
                    GetMessageClass(method.output_type),
                )
    return found


_TYPES = _response_types()


class ScriptedHub(grpc.Channel):
    """A channel to a hub that answers commands in order, numbers them, and can be away.

    answers: by method name, in place of the empty answer; a Refusal that it raises reaches the clinic.
    """

    def __init__(self) -> None:
        self.away = False
        self.loses_answers = False
        self.answers: dict[str, Answer] = dict(_CONSENTED)
        self.commands: list[tuple[str, Any]] = []
        self._remembered: dict[str, bytes] = {}

    @property
    def received(self) -> list[str]:
        return [name for name, _ in self.commands]

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        def call(body: Any, timeout: float | None = None, **_: Any) -> Any:
            wire = body if isinstance(body, bytes) else body.SerializeToString()
            answer = self._answer(method, wire)
            return answer if isinstance(body, bytes) else _TYPES[method][1].FromString(answer)

        return call

    def _answer(self, method: str, wire: bytes) -> bytes:
        if self.away:
            raise unreachable()
        request: Any = _TYPES[method][0].FromString(wire)
        request_id = getattr(request, "request_id", "")
        name = method.rpartition("/")[2]
        if request_id not in self._remembered:
            try:
                response: Any = self.answers[name](request) if name in self.answers else _TYPES[method][1]()
            except Refusal as refusal:
                status = status_of(refusal)
                code = grpc.StatusCode[refusal.code.value]
                raise LocalRpcError(
                    code, refusal.message, ((DETAILS_KEY, status.SerializeToString()),)
                ) from None
            if request_id:
                self.commands.append((name, request))
                response.receipt.number = len(self.commands)
                self._remembered[request_id] = response.SerializeToString()
            else:
                return bytes(response.SerializeToString())
        if self.loses_answers:
            raise unreachable()
        return self._remembered[request_id]

    def unary_stream(self, *_: Any, **__: Any) -> Any:
        return None

    stream_unary = stream_stream = unary_stream

    def subscribe(self, *_: Any, **__: Any) -> None:
        """Nothing to tell."""

    def unsubscribe(self, *_: Any) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


def _granted(request: Any) -> Message:
    response = consent_pb2.GrantConsentResponse(permission=request.permission)
    response.permission.version, response.permission.state = 1, "active"
    return response


def _denied(request: Any) -> Message:
    response = consent_pb2.DenyConsentResponse(permission=request.permission)
    response.permission.version, response.permission.state = 1, "active"
    return response


def _ended(response: Any, state: str) -> Answer:
    def end(request: Any) -> Message:
        permission = consent_pb2.Permission(permission_id=request.permission_id, version=2, state=state)
        made: Message = response(permission=permission)
        return made

    return end


_CONSENTED: dict[str, Answer] = {
    "GrantConsent": _granted,
    "DenyConsent": _denied,
    "RevokeConsent": _ended(consent_pb2.RevokeConsentResponse, "revoked"),
    "HoldConsent": _ended(consent_pb2.HoldConsentResponse, "held"),
}


def no(code: Code, reason: str) -> Answer:
    """An answer that refuses."""

    def refuse(request: Any) -> Message:
        raise Refusal(code, reason, "the hub says no")

    return refuse


@dataclass
class AClinic:
    """Juniper, a prescriber, with Riverbend for an active partner whose keys are pinned."""

    clinic: Clinic
    hub: ScriptedHub
    journal: Journal
    partner_keys: PracticeKeys
    network: KeyNetwork
    people: dict[str, Staff] = field(default_factory=dict)

    @property
    def db(self) -> Database:
        return self.clinic.db

    @property
    def clinician(self) -> Staff:
        return self.somebody(Role.CLINICIAN)

    def somebody(self, role: Role) -> Staff:
        return self.people[role]

    def registers(self, identity: IdentityContact | None = None, **more: Any) -> str:
        with self.db.transaction() as tx:
            made = patients.register_patient(
                tx, self.clinic, self.clinician, identity or an_identity(), **more
            )
        return made.patient_id

    def settles(self) -> None:
        while self.journal.step():
            pass

    def uplink(self) -> list[RowBody]:
        """What stands on the uplink, in order; voided rows are empty."""
        return [RowBody.FromString(row.body) if row.body else RowBody() for row in self.uplink_rows()]

    def uplink_rows(self) -> list[LogRow]:
        with self.db.reading() as tx:
            return log.read(tx, self.clinic.uplink, 0, 1000)


def a_clinic(
    directory: Path, url: str | None = None, tables: MetaData = metadata, **settings: Any
) -> AClinic:
    at_rest.install(bytes(range(32)))
    network = KeyNetwork(directory / "ca")
    db = Database(url or f"sqlite:///{directory / 'clinic.db'}", tables)
    db.create_all()
    hub = ScriptedHub()
    clinic = Clinic(
        practice_id=JUNIPER,
        display_name="Juniper Psychiatry",
        db=db,
        keys=network.keys(JUNIPER),
        vault=Vault(Keyring.generate(), JUNIPER),
        clock=network.clock,
        gateway=Gateway(hub),
        trust=[network.trust],
        **settings,
    )
    partner_keys = network.keys(RIVERBEND)
    with db.transaction() as tx:
        partners.add(tx, a_partnership())
        Pins(tx, clinic.clock).put(partner_keys.bundle)
        people = {role.value: staff.add(tx, f"A {role}", frozenset({role}), clinic.now()) for role in Role}
    journal = Journal(clinic, outcomes.ANSWERED, outcomes.REFUSED)
    return AClinic(clinic, hub, journal, partner_keys, network, people)


def a_partnership(**changes: Any) -> Partnership:
    values: dict[str, Any] = {
        "partnership_id": PARTNERSHIP,
        "partner_practice_id": RIVERBEND,
        "state": "active",
        "proposed_by_us": True,
        "version": 2,
        "partner_name": "Riverbend Therapy",
        "partner_phone": "+1 555 0100",
        "partner_on_call_phone": "+1 555 0199",
        "partner_allows_treatment_basis": False,
        "partner_sites": [],
        "fingerprint": "12345",
        "fingerprint_confirmed_by": "staff_a",
        "fingerprint_confirmed_at": NOON,
        "changed_at": NOON,
    }
    return Partnership(**{**values, **changes})


def an_identity(**changes: Any) -> IdentityContact:
    values: dict[str, Any] = {
        "legal_name": "Rosalind Okafor",
        "birth_date": date(1984, 5, 17),
        "time_zone": "America/Chicago",
        "used_name": "Rose",
        "pronouns": "she/her",
    }
    return IdentityContact(**{**values, **changes})


def a_form(**changes: Any) -> ConsentForm:
    values: dict[str, Any] = {
        "patient": "Rosalind Okafor",
        "discloser": "Juniper Psychiatry",
        "information": "Name, contact data and the progress of the referral",
        "recipient": "Riverbend Therapy",
        "purpose": "Treatment",
        "right_to_revoke": "At any time, by word or in writing to either practice",
        "expiry": "none",
        "signed_by": "Rosalind Okafor",
        "signature_ref": "scan-1",
        "signed_on": NOON.date(),
    }
    return ConsentForm(**{**values, **changes})


def a_message(text: str = "See you on Monday", author: str = "Dr Hale") -> Words:
    return Words(author=author, text=text)


def a_summary(text: str = "Integration went well") -> IntegrationSummary:
    return IntegrationSummary(
        held_at=NOON, session=IntegrationKind.INTEGRATION, summary=text, written_by="Sam Ortiz"
    )


def confirmed(
    request: Any, state: str = "requested", version: int = 1
) -> referral_pb2.RequestReferralResponse:
    """The hub's answer to a request for a referral."""
    response = referral_pb2.RequestReferralResponse()
    response.referral.referral_id = request.referral_id
    response.referral.episode_id = request.episode_id
    response.referral.state = state
    response.referral.version = version
    response.referral.changed_at.FromDatetime(NOON)
    return response
