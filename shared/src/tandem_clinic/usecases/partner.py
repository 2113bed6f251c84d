"""Partner practices: agreeing with them, and knowing their keys."""

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from tandem.directory.v1.directory_pb2 import (
    ConfirmPartnershipRequest,
    GetPracticeRequest,
    ListKeyBundlesRequest,
    ListPartnershipsRequest,
    Practice,
    ProposePartnershipRequest,
    PublishKeyBundleRequest,
    ResumePartnershipRequest,
    SignedKeyBundle,
    SuspendPartnershipRequest,
)
from tandem.directory.v1.directory_pb2 import Partnership as PartnershipMessage
from tandem.exchange.v1.exchange_pb2 import PartnershipChanged
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import Staff
from tandem_clinic.hub import journal
from tandem_clinic.store import audit, partners, worklist
from tandem_clinic.store.partners import Partnership, Pins
from tandem_clinic.usecases import agreements
from tandem_clinic.usecases.agreements import MAY_AGREE
from tandem_clinic.usecases.permissions import Asked
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.sealing import trust
from tandem_platform.sealing.bundles import SignedBundle
from tandem_platform.sealing.trust import fingerprint
from tandem_platform.storage import Transaction

PROFILE_WANTED: Final = "partner-profile-wanted"


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Digits for two people to read to each other: ours, and the partner's as the hub serves them."""

    own: str
    partner: str
    pinned: bool


class KeysNotPublished(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "KEYS_NOT_PUBLISHED",
            "the partner has not published its keys yet",
            way_out="ask the partner to start its service, then try again",
        )


class FingerprintNotConfirmed(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "FINGERPRINT_NOT_CONFIRMED",
            "a partnership begins by comparing fingerprints",
            field="fingerprint",
            way_out="read the digits to each other on the phone, and send the partner's with the request",
        )


def fingerprints(clinic: Clinic, by: Staff, partnership_id: str) -> Fingerprints:
    """To be compared by another way than this network, on the phone for instance."""
    by.require(MAY_AGREE)
    with clinic.db.reading() as tx:
        partner_id = partners.get(tx, partnership_id).partner_practice_id
        pinned = Pins(tx, clinic.clock).get(partner_id)
    served = served_bundle(clinic, partner_id)
    bundle = trust.verify_bundle(served, clinic.trust, partner_id, clinic.now(), None)
    return Fingerprints(fingerprint(clinic.keys.bundle), fingerprint(bundle), pinned == bundle)


def served_bundle(clinic: Clinic, practice_id: str) -> SignedBundle:
    """The newest bundle that the hub serves for a practice; not verified yet."""
    answer = clinic.gateway.ask(
        clinic.gateway.directory.ListKeyBundles, ListKeyBundlesRequest(practice_id=practice_id)
    )
    if not answer.bundles:
        raise KeysNotPublished
    return SignedBundle.from_message(answer.bundles[-1])


def propose_partnership(
    tx: Transaction, clinic: Clinic, by: Staff, practice: Practice, terms: str | None = None
) -> Asked:
    """Offer a partnership to a practice found in the directory, under *terms* or the standard ones."""
    by.require(MAY_AGREE)
    partnership_id = new_id("pship")
    partners.add(tx, _partnership(clinic, partnership_id, practice, "proposed", proposed_by_us=True))
    request = ProposePartnershipRequest(
        partnership_id=partnership_id,
        partner_practice_id=practice.practice_id,
        terms_hash=agreements.first_terms(tx, clinic, terms),
    )
    return _ask(tx, clinic, by, "ProposePartnership", request, partnership_id)


def confirm_fingerprint(clinic: Clinic, by: Staff, partnership_id: str, digits: str) -> Partnership:
    """Pin the partner's keys after a person compared the digits. From then on entries are sealed for it.

    For both sides of a new partnership, and for a partner that lost its keys.
    """
    by.require(MAY_AGREE)
    with clinic.db.reading() as tx:
        partner_id = partners.get(tx, partnership_id).partner_practice_id
    served = served_bundle(clinic, partner_id)

    def pin(tx: Transaction) -> Partnership:
        now = clinic.now()
        bundle = trust.pin_confirmed(Pins(tx, clinic.clock), served, clinic.trust, partner_id, now, digits)
        partners.change(
            tx,
            partnership_id,
            fingerprint=fingerprint(bundle),
            fingerprint_confirmed_by=by.staff_id,
            fingerprint_confirmed_at=now,
        )
        worklist.settle(tx, "fingerprint-wanted", partnership_id, now, by.staff_id)
        audit.note(
            tx, "fingerprint-confirmed", now, by=by, subject_id=partnership_id, version=str(bundle.version)
        )
        return partners.get(tx, partnership_id)

    return clinic.db.run(pin)


def confirm_partnership(tx: Transaction, clinic: Clinic, by: Staff, partnership_id: str) -> Asked:
    """Agree to a proposed partnership and its terms, its fingerprint having been confirmed."""
    by.require(MAY_AGREE)
    known = partners.get(tx, partnership_id)
    if known.fingerprint_confirmed_at is None:
        raise FingerprintNotConfirmed
    terms = agreements.readable_terms(tx, partnership_id)
    request = ConfirmPartnershipRequest(
        partnership_id=partnership_id, version=known.version, terms_hash=terms.text_hash
    )
    return _ask(tx, clinic, by, "ConfirmPartnership", request, partnership_id)


def suspend_partnership(tx: Transaction, clinic: Clinic, by: Staff, partnership_id: str) -> Asked:
    """Stop everything towards a partner for now."""
    by.require(MAY_AGREE)
    known = partners.get(tx, partnership_id)
    asked = _ask(
        tx,
        clinic,
        by,
        "SuspendPartnership",
        SuspendPartnershipRequest(partnership_id=partnership_id, version=known.version),
        partnership_id,
    )
    partners.change(tx, partnership_id, state="suspended", changed_at=clinic.now())
    return asked


def resume_partnership(tx: Transaction, clinic: Clinic, by: Staff, partnership_id: str) -> Asked:
    by.require(MAY_AGREE)
    known = partners.get(tx, partnership_id)
    request = ResumePartnershipRequest(partnership_id=partnership_id, version=known.version)
    return _ask(tx, clinic, by, "ResumePartnership", request, partnership_id)


def publish_keys(clinic: Clinic) -> None:
    """Put our newest bundle into the directory, unless it is there under the same certificate. At start, and after a rotation.

    Raises Refusal while the hub's operator has not registered the practice: its service may be started before.
    """
    own = clinic.practice_id
    clinic.gateway.ask(clinic.gateway.directory.GetPractice, GetPracticeRequest(practice_id=own))
    answer = clinic.gateway.ask(
        clinic.gateway.directory.ListKeyBundles, ListKeyBundlesRequest(practice_id=own)
    )
    ours = clinic.keys.signed_bundle.to_message()
    served = answer.bundles[-1] if answer.bundles else SignedKeyBundle()
    if served.version > ours.version:
        return
    if served.version == ours.version and served.certificate_chain == ours.certificate_chain:
        return

    def ask(tx: Transaction) -> None:
        waiting = [
            PublishKeyBundleRequest.FromString(each.body).bundle
            for each in journal.queued(tx, subject_id=own)
            if each.name == "PublishKeyBundle"
        ]
        if ours not in waiting:
            request = PublishKeyBundleRequest(bundle=ours)
            journal.queue(tx, clinic, "PublishKeyBundle", request, author_id="service", subject_id=own)

    clinic.db.run(ask)


def refresh_keys(clinic: Clinic, practice_id: str) -> None:
    """Pin a partner's rotated keys, which the keys pinned before must vouch for. Raises a bundle refusal if not."""
    served = served_bundle(clinic, practice_id)

    def pin(tx: Transaction) -> None:
        pins = Pins(tx, clinic.clock)
        if pins.get(practice_id) is not None:
            bundle = trust.pin(pins, served, clinic.trust, practice_id, clinic.now())
            audit.note(tx, "keys-pinned", clinic.now(), subject_id=practice_id, version=str(bundle.version))
        worklist.settle(tx, "key-bundle-changed", practice_id, clinic.now(), "service")

    clinic.db.run(pin)


def refresh_profile(clinic: Clinic, practice_id: str) -> None:
    """Take over what a partner says of itself: name, phones, sites, whether it accepts a treatment relationship."""
    practice = clinic.gateway.ask(
        clinic.gateway.directory.GetPractice, GetPracticeRequest(practice_id=practice_id)
    ).practice

    def note(tx: Transaction) -> None:
        for known in partners.listed(tx):
            if known.partner_practice_id == practice_id:
                partners.change(
                    tx,
                    known.partnership_id,
                    partner_name=practice.display_name,
                    partner_phone=practice.contact_phone,
                    partner_on_call_phone=practice.on_call_phone,
                    partner_allows_treatment_basis=practice.allows_treatment_basis,
                    partner_sites=_sites(practice),
                )
        newer = [
            item
            for item in worklist.of_service(tx, [PROFILE_WANTED])
            if item.subject_id == practice_id and int(item.facts.get("version", 0)) > practice.version
        ]
        # News of a later change may have come while this was fetched.
        if not newer:
            worklist.settle(tx, PROFILE_WANTED, practice_id, clinic.now(), "service")

    clinic.db.run(note)


def partnership_answered(tx: Transaction, clinic: Clinic, command: journal.Command, response: Any) -> None:
    known = partners.find(tx, response.partnership.partnership_id)
    # An answer may come after the news of what happened later.
    if known is not None and response.partnership.version >= known.version:
        _take_over(tx, clinic, response.partnership)


def partnership_refused(tx: Transaction, clinic: Clinic, command: journal.Command) -> None:
    if command.name == "ProposePartnership":
        partners.change(tx, command.subject_id, state="refused", changed_at=clinic.now())
    else:
        worklist.raise_item(
            tx, "partnership-wanted", command.subject_id, clinic.now(), staff_id=worklist.SERVICE
        )


def partnership_changed(tx: Transaction, clinic: Clinic, told: PartnershipChanged) -> None:
    """The hub tells of a partnership of ours, perhaps one that the partner has just proposed."""
    now = clinic.now()
    partnership_id, partner_id = told.partnership_id, told.partner_practice_id
    if partners.find(tx, partnership_id) is None:
        practice = Practice(practice_id=partner_id)
        partners.add(tx, _partnership(clinic, partnership_id, practice, told.state, proposed_by_us=False))
        # Names and phones are fetched outside this transaction.
        worklist.raise_item(tx, PROFILE_WANTED, partner_id, now, staff_id=worklist.SERVICE)
        worklist.raise_item(tx, "fingerprint-wanted", partnership_id, now, partner=partner_id)
    _take_over(tx, clinic, told)


def _take_over(tx: Transaction, clinic: Clinic, told: PartnershipMessage | PartnershipChanged) -> None:
    """What the hub says of a partnership. A suspension of ours that is on its way stands, whatever comes before it."""
    suspending = any(
        each.name == "SuspendPartnership" for each in journal.queued(tx, subject_id=told.partnership_id)
    )
    state = "suspended" if suspending else told.state
    partners.change(tx, told.partnership_id, state=state, version=told.version, changed_at=clinic.now())
    agreements.terms_told(tx, clinic, told)


def refresh_partnership(clinic: Clinic, partnership_id: str) -> None:
    """Ask the hub how a partnership stands; our own word on it was refused."""
    request = ListPartnershipsRequest(page_size=100)
    while True:
        answer = clinic.gateway.ask(clinic.gateway.directory.ListPartnerships, request)
        told = next((each for each in answer.partnerships if each.partnership_id == partnership_id), None)
        if told is not None or not answer.next_page_token:
            break
        request.page_token = answer.next_page_token

    def note(tx: Transaction) -> None:
        if told is not None:
            _take_over(tx, clinic, told)
        worklist.settle(tx, "partnership-wanted", partnership_id, clinic.now(), "service")

    clinic.db.run(note)


def _partnership(
    clinic: Clinic, partnership_id: str, practice: Practice, state: str, *, proposed_by_us: bool
) -> Partnership:
    return Partnership(
        partnership_id=partnership_id,
        partner_practice_id=practice.practice_id,
        state=state,
        proposed_by_us=proposed_by_us,
        version=1,
        partner_name=practice.display_name,
        partner_phone=practice.contact_phone,
        partner_on_call_phone=practice.on_call_phone,
        partner_allows_treatment_basis=practice.allows_treatment_basis,
        partner_sites=_sites(practice),
        fingerprint="",
        fingerprint_confirmed_by="",
        fingerprint_confirmed_at=None,
        changed_at=clinic.now(),
    )


def _ask(
    tx: Transaction, clinic: Clinic, by: Staff, command: str, request: Any, partnership_id: str
) -> Asked:
    request_id = journal.queue(tx, clinic, command, request, author_id=by.staff_id, subject_id=partnership_id)
    audit.note(tx, command, clinic.now(), by=by, subject_id=partnership_id)
    return Asked(partnership_id, request_id)


def _sites(practice: Practice) -> list[dict[str, Any]]:
    return [
        MessageToDict(site, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for site in practice.sites
    ]
