"""The directory: who is there, what they offer, with which keys, and who works with whom."""

from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest

from support.hub import PRESCRIBING, THERAPY, HubAlone, Member, publishes_capacity, refused, status_bytes
from tandem.directory.v1 import directory_pb2 as pb
from tandem_care.terms import STANDARD_HASH, text_hash
from tandem_ops.certs import Wish
from tandem_platform.errors import Code
from tandem_platform.ids import new_id
from tandem_platform.sealing import SignedBundle, verify_bundle


def profile_of(reader: Member, member: Member) -> pb.Practice:
    return reader.directory.GetPractice(pb.GetPracticeRequest(practice_id=member.id)).practice


def moves_partnership(member: Member, rpc: str, partnership: pb.Partnership, **over) -> pb.Partnership:
    fields = {
        "request_id": new_id("req"),
        "partnership_id": partnership.partnership_id,
        "version": partnership.version,
        **over,
    }
    moved: pb.Partnership = getattr(member.directory, rpc)(getattr(pb, f"{rpc}Request")(**fields)).partnership
    return moved


def partnership_changes(hub: HubAlone, member: Member) -> list[tuple[str, str]]:
    changes = [
        row.partnership_changed for row in hub.downlink_of(member) if row.HasField("partnership_changed")
    ]
    return [(each.partner_practice_id, each.state) for each in changes]


class TestProfiles:
    def test_a_practice_is_registered_once(self, hub: HubAlone):
        juniper = hub.joined(display_name="Juniper Psychiatry", roles=[PRESCRIBING])
        assert profile_of(juniper, juniper).display_name == "Juniper Psychiatry"
        practice = pb.Practice(practice_id=juniper.id, display_name="Impostor", roles=[THERAPY])
        request = pb.RegisterPracticeRequest(request_id=new_id("req"), practice=practice)
        refusal = refused(lambda: hub.operator.directory.RegisterPractice(request))
        assert (refusal.code, refusal.reason) == (Code.ALREADY_EXISTS, "PRACTICE_EXISTS")

    def test_only_an_operator_registers(self, hub: HubAlone):
        juniper = hub.joined()
        practice = pb.Practice(practice_id="friend", display_name="Friend", roles=[THERAPY])
        request = pb.RegisterPracticeRequest(request_id=new_id("req"), practice=practice)
        assert refused(lambda: juniper.directory.RegisterPractice(request)).code is Code.PERMISSION_DENIED

    @pytest.mark.parametrize(
        ("field", "profile"),
        [
            ("practice.practice_id", {"practice_id": "hub"}),
            ("practice.practice_id", {"practice_id": "Upper.Case"}),
            ("practice.display_name", {"display_name": " "}),
            ("practice.roles", {"roles": []}),
            ("practice.roles", {"roles": ["oracle"]}),
            ("practice.modalities", {"modalities": ["magic"]}),
            ("practice.licence_states", {"licence_states": ["co"]}),
            ("practice.licence_states", {"licence_states": ["C%"]}),
            ("practice.languages", {"languages": ["english"]}),
            ("practice.contact_phone", {"contact_phone": "call me"}),
            ("practice.npi", {"npi": "1234567890"}),
            ("practice.routes", {"routes": ["by-owl"]}),
            ("practice.age_groups", {"age_groups": ["adult", "adult"]}),
            ("practice.services", {"services": [{"service": "psychotherapy", "payments": ["self-pay"]}] * 2}),
            ("practice.services[0].payments", {"services": [{"service": "psychotherapy"}]}),
            (
                "practice.services[0].highest_price",
                {"services": [{"service": "psychotherapy", "payments": ["self-pay"], "lowest_price": 9}]},
            ),
            ("practice.sites[0].name", {"sites": [{"state": "CO"}]}),
            ("practice.sites[0].access", {"sites": [{"name": "Downtown", "access": ["lift"]}]}),
            (
                "practice.sites[0].on_call_phone",
                {"sites": [{"name": "Downtown", "on_call_phone": "call me"}]},
            ),
            ("practice.kap_trainings[0].program", {"kap_trainings": [{"hours": 3}]}),
        ],
    )
    def test_a_profile_that_cannot_be_kept_names_its_field(
        self, hub: HubAlone, field: str, profile: dict[str, object]
    ):
        fields: dict[str, Any] = {
            "practice_id": "juniper",
            "display_name": "Juniper",
            "roles": [THERAPY],
            **profile,
        }
        request = pb.RegisterPracticeRequest(request_id=new_id("req"), practice=pb.Practice(**fields))
        refusal = refused(lambda: hub.operator.directory.RegisterPractice(request))
        assert (refusal.code, refusal.field) == (Code.INVALID_ARGUMENT, field)

    def test_a_profile_is_replaced_from_its_present_version_only(self, hub: HubAlone):
        juniper = hub.joined(display_name="Juniper")
        seen = profile_of(juniper, juniper)
        seen.display_name = "Juniper Psychiatry"
        request = pb.UpdateProfileRequest(request_id=new_id("req"), practice=seen)
        assert juniper.directory.UpdateProfile(request).practice.version == 2
        request.request_id = new_id("req")
        refusal = refused(lambda: juniper.directory.UpdateProfile(request))
        assert (refusal.code, refusal.reason, refusal.metadata) == (
            Code.ABORTED,
            "STALE_VERSION",
            {"version": "2"},
        )

    def test_roles_and_capacity_stay_when_a_profile_is_replaced(self, hub: HubAlone):
        juniper = hub.joined(roles=[THERAPY])
        publishes_capacity(juniper, 3)
        wished = pb.Practice(
            display_name="New", roles=[PRESCRIBING], capacity=pb.Capacity(openings=9), version=1
        )
        juniper.directory.UpdateProfile(pb.UpdateProfileRequest(request_id=new_id("req"), practice=wished))
        kept = profile_of(juniper, juniper)
        assert (list(kept.roles), kept.capacity.openings, kept.display_name) == ([THERAPY], 3, "New")

    def test_partners_are_told_that_a_profile_was_replaced_and_nobody_else(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        outsider = hub.joined()
        wished = pb.Practice(display_name="Juniper", on_call_phone="+1 303 555 0199", version=1)
        juniper.directory.UpdateProfile(pb.UpdateProfileRequest(request_id=new_id("req"), practice=wished))
        told = [
            row.practice_changed for row in hub.downlink_of(riverbend) if row.HasField("practice_changed")
        ]
        assert [(each.practice_id, each.version) for each in told] == [(juniper.id, 2)]
        assert hub.downlink_of(outsider) == []

    def test_nobody_replaces_the_profile_of_another(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        theirs = profile_of(juniper, riverbend)
        request = pb.UpdateProfileRequest(request_id=new_id("req"), practice=theirs)
        absent = pb.UpdateProfileRequest(
            request_id=new_id("req"), practice=pb.Practice(practice_id="nobody", display_name="x", version=1)
        )
        assert refused(lambda: juniper.directory.UpdateProfile(request)).code is Code.NOT_FOUND
        assert status_bytes(lambda: juniper.directory.UpdateProfile(request)) == status_bytes(
            lambda: juniper.directory.UpdateProfile(absent)
        )

    def test_openings_go_stale_by_themselves(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        publishes_capacity(riverbend, 2)
        hub.clock.advance(timedelta(hours=48))
        assert not profile_of(juniper, riverbend).capacity.stale
        hub.clock.advance(timedelta(microseconds=1))
        assert profile_of(juniper, riverbend).capacity.stale

    def test_openings_say_how_old_they_are_and_those_that_have_passed_are_left_out(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        publishes_capacity(riverbend, 2, hours=[30, 4])
        hub.clock.advance(timedelta(hours=5, minutes=3))
        capacity = profile_of(juniper, riverbend).capacity
        assert (capacity.openings, capacity.age_minutes) == (2, 303)
        times = [each.at.ToDatetime(UTC) for each in capacity.next_openings]
        assert times == [hub.now() + timedelta(hours=25) - timedelta(minutes=3)]

    @pytest.mark.parametrize(
        ("field", "capacity"),
        [
            ("openings", {"openings": 1001}),
            ("next_openings", {"next_openings": [{}] * 21}),
            ("next_openings[0].at", {"next_openings": [{}]}),
            ("next_openings[0].service", {"next_openings": [{"service": "massage"}]}),
        ],
    )
    def test_a_statement_of_openings_that_cannot_be_kept_names_its_field(
        self, hub: HubAlone, field: str, capacity: dict[str, Any]
    ):
        request = pb.PublishCapacityRequest(request_id=new_id("req"), capacity=pb.Capacity(**capacity))
        refusal = refused(lambda: hub.joined().directory.PublishCapacity(request))
        assert (refusal.code, refusal.field) == (Code.INVALID_ARGUMENT, f"capacity.{field}")


class TestKeyBundles:
    def published(self, member: Member, signed: SignedBundle) -> None:
        request = pb.PublishKeyBundleRequest(request_id=new_id("req"), bundle=signed.to_message())
        member.directory.PublishKeyBundle(request)

    def listed(self, reader: Member, member: Member) -> list[int]:
        request = pb.ListKeyBundlesRequest(practice_id=member.id)
        return [bundle.version for bundle in reader.directory.ListKeyBundles(request).bundles]

    def test_bundles_follow_one_another_and_partners_are_told(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        outsider = hub.joined()
        keys = hub.network.keys(juniper.id)
        self.published(juniper, keys.signed_bundle)
        self.published(juniper, hub.network.rotated(keys).signed_bundle)
        assert self.listed(riverbend, juniper) == self.listed(juniper, juniper) == [1, 2]
        told = [
            row.key_bundle_changed for row in hub.downlink_of(riverbend) if row.HasField("key_bundle_changed")
        ]
        assert [(each.practice_id, each.version) for each in told] == [(juniper.id, 1), (juniper.id, 2)]
        assert hub.downlink_of(outsider) == []

    def test_the_last_bundle_again_changes_nothing(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        keys = hub.network.keys(juniper.id)
        self.published(juniper, keys.signed_bundle)
        self.published(juniper, keys.signed_bundle)
        assert self.listed(riverbend, juniper) == [1]

    def test_a_renewed_certificate_behind_the_same_keys_is_served_to_whoever_has_yet_to_pin_them(
        self, hub: HubAlone
    ):
        juniper, riverbend = hub.two_partners()
        keys = hub.network.keys(juniper.id)
        self.published(juniper, keys.signed_bundle)
        much_later = hub.now() + timedelta(days=200)
        hub.clock.advance(timedelta(days=200))
        renewed_for = Wish(
            not_before=much_later - timedelta(days=1), not_after=much_later + timedelta(days=1)
        )
        renewed = keys.certified_anew(hub.network.certificate(juniper.id, renewed_for))
        self.published(juniper, renewed.signed_bundle)
        self.published(juniper, renewed.signed_bundle)
        request = pb.ListKeyBundlesRequest(practice_id=juniper.id)
        (served,) = riverbend.directory.ListKeyBundles(request).bundles
        signed = SignedBundle.from_message(served)
        assert verify_bundle(signed, hub.network.trust, juniper.id, much_later, None) == keys.bundle
        told = [row for row in hub.downlink_of(riverbend) if row.HasField("key_bundle_changed")]
        assert len(told) == 1, "who has pinned the keys needs to know of no certificate"

    @pytest.mark.parametrize("whose", ["another practice's", "none", "run out"])
    def test_a_certificate_that_proves_nothing_does_not_take_the_place_of_one_that_does(
        self, hub: HubAlone, whose: str
    ):
        juniper, riverbend = hub.two_partners()
        keys = hub.network.keys(juniper.id)
        self.published(juniper, keys.signed_bundle)
        if whose == "another practice's":
            unfit = keys.certified_anew(hub.network.certificate(riverbend.id)).signed_bundle
        elif whose == "none":
            unfit = replace(keys.signed_bundle, certificates=())
        else:
            over = Wish(not_before=hub.now() - timedelta(days=2), not_after=hub.now() - timedelta(days=1))
            unfit = keys.certified_anew(hub.network.certificate(juniper.id, over)).signed_bundle
        refusal = refused(lambda: self.published(juniper, unfit))
        assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "BUNDLE_FORGED")
        request = pb.ListKeyBundlesRequest(practice_id=juniper.id)
        assert list(riverbend.directory.ListKeyBundles(request).bundles) == [keys.signed_bundle.to_message()]

    @pytest.mark.parametrize("unfit", ["X25519", "ML-KEM"])
    def test_keys_with_which_nobody_could_seal_are_refused(self, hub: HubAlone, unfit: str):
        juniper = hub.joined()
        keys = hub.network.keys(juniper.id)
        hpke = keys.bundle.hpke_public
        useless = hpke[:-32] + bytes(32) if unfit == "X25519" else b"\xff" * (len(hpke) - 32) + hpke[-32:]
        bundle = replace(keys.bundle, hpke_public=useless)
        signed = SignedBundle.made(bundle, hub.network.certificate(juniper.id), ())
        assert refused(lambda: self.published(juniper, signed)).reason == "BUNDLE_FORGED"

    def test_bundles_of_strangers_are_as_if_absent(self, hub: HubAlone):
        juniper, outsider = hub.joined(), hub.joined()
        self.published(juniper, hub.network.keys(juniper.id).signed_bundle)
        absent = pb.ListKeyBundlesRequest(practice_id="nobody")
        theirs = pb.ListKeyBundlesRequest(practice_id=juniper.id)
        assert status_bytes(lambda: outsider.directory.ListKeyBundles(theirs)) == status_bytes(
            lambda: outsider.directory.ListKeyBundles(absent)
        )

    def test_a_bundle_of_another_practice_or_without_its_predecessor_is_refused(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        keys = hub.network.keys(juniper.id)
        assert refused(lambda: self.published(riverbend, keys.signed_bundle)).code is Code.FAILED_PRECONDITION
        self.published(juniper, keys.signed_bundle)
        unrelated = hub.network.rotated(hub.network.keys(juniper.id))
        refusal = refused(lambda: self.published(juniper, unrelated.signed_bundle))
        assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "BUNDLE_CHAIN_BROKEN")
        assert self.listed(juniper, juniper) == [1]

    def test_an_older_bundle_does_not_come_back(self, hub: HubAlone):
        juniper = hub.joined()
        keys = hub.network.keys(juniper.id)
        self.published(juniper, keys.signed_bundle)
        self.published(juniper, hub.network.rotated(keys).signed_bundle)
        assert refused(lambda: self.published(juniper, keys.signed_bundle)).reason == "BUNDLE_ROLLED_BACK"


class TestPartnerships:
    def test_both_sides_are_told_of_every_step(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        active = juniper.partners_with(riverbend)
        suspended = moves_partnership(riverbend, "SuspendPartnership", active)
        moves_partnership(riverbend, "ResumePartnership", suspended)
        states = ["proposed", "active", "suspended", "active"]
        assert partnership_changes(hub, juniper) == [(riverbend.id, state) for state in states]
        assert partnership_changes(hub, riverbend) == [(juniper.id, state) for state in states]

    def test_only_the_practice_that_was_asked_confirms(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        proposed = juniper.proposes_to(riverbend)
        refusal = refused(lambda: moves_partnership(juniper, "ConfirmPartnership", proposed))
        assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "PARTNERSHIP_MOVE_NOT_ALLOWED")

    def test_a_partnership_of_others_is_as_if_absent(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        outsider = hub.joined()
        theirs = juniper.partnership_with(riverbend)
        for rpc in (
            "ConfirmPartnership",
            "ProposeTerms",
            "AcceptTerms",
            "SuspendPartnership",
            "ResumePartnership",
        ):
            there, absent = theirs.partnership_id, new_id("pship")
            terms = {"terms_hash": STANDARD_HASH} if "Terms" in rpc else {}
            answers = {
                status_bytes(partial(moves_partnership, outsider, rpc, theirs, partnership_id=each, **terms))
                for each in (there, absent)
            }
            assert len(answers) == 1
        listed = outsider.directory.ListPartnerships(pb.ListPartnershipsRequest())
        assert listed == pb.ListPartnershipsResponse()

    def test_two_practices_have_one_partnership_whoever_proposes(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        assert refused(lambda: riverbend.proposes_to(juniper)).reason == "PARTNERSHIP_EXISTS"

    def test_nobody_partners_with_itself_or_with_nobody(self, hub: HubAlone):
        juniper = hub.joined()
        assert refused(lambda: juniper.proposes_to(juniper)).reason == "PARTNER_IS_SELF"
        request = pb.ProposePartnershipRequest(
            request_id=new_id("req"),
            partnership_id=new_id("pship"),
            partner_practice_id="nobody",
            terms_hash=STANDARD_HASH,
        )
        assert refused(lambda: juniper.directory.ProposePartnership(request)).code is Code.NOT_FOUND

    def test_it_is_active_again_when_nobody_suspends_it_any_more(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        first = moves_partnership(juniper, "SuspendPartnership", juniper.partnership_with(riverbend))
        both = moves_partnership(riverbend, "SuspendPartnership", first)
        half = moves_partnership(juniper, "ResumePartnership", both)
        assert half.state == "suspended"
        refusal = refused(lambda: moves_partnership(juniper, "ResumePartnership", half))
        assert refusal.reason == "PARTNERSHIP_MOVE_NOT_ALLOWED"
        assert moves_partnership(riverbend, "ResumePartnership", half).state == "active"

    def test_a_stale_version_is_refused(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        suspended = moves_partnership(juniper, "SuspendPartnership", juniper.partnership_with(riverbend))
        refusal = refused(
            lambda: moves_partnership(juniper, "ResumePartnership", suspended, version=suspended.version - 1)
        )
        assert (refusal.code, refusal.metadata) == (Code.ABORTED, {"version": "3"})

    def test_it_begins_with_terms_that_both_sides_have_accepted(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        proposed = juniper.proposes_to(riverbend)
        assert not proposed.HasField("terms")
        other = text_hash("Other terms")
        refusal = refused(
            lambda: moves_partnership(riverbend, "ConfirmPartnership", proposed, terms_hash=other)
        )
        assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "TERMS_DIFFER")
        hub.clock.advance(timedelta(days=1))
        active = moves_partnership(riverbend, "ConfirmPartnership", proposed, terms_hash=STANDARD_HASH)
        assert not active.HasField("proposed_terms")
        assert (active.terms.number, active.terms.text_hash) == (1, STANDARD_HASH)
        assert active.terms.proposed_by_practice_id == juniper.id
        times = [each.ToDatetime(UTC) for each in (active.terms.proposed_at, active.terms.accepted_at)]
        assert times == [hub.now() - timedelta(days=1), hub.now()]

    def test_new_terms_are_in_force_when_the_other_side_has_accepted_them(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        second = text_hash("Second edition")
        active = juniper.partnership_with(riverbend)
        waiting = moves_partnership(riverbend, "ProposeTerms", active, terms_hash=second)
        assert (waiting.terms.number, waiting.proposed_terms.number, waiting.state) == (1, 2, "active")
        own = refused(lambda: moves_partnership(riverbend, "AcceptTerms", waiting, terms_hash=second))
        assert own.reason == "PARTNERSHIP_MOVE_NOT_ALLOWED"
        refusal = refused(lambda: moves_partnership(juniper, "AcceptTerms", waiting, terms_hash=bytes(32)))
        assert refusal.reason == "TERMS_DIFFER"
        agreed = moves_partnership(juniper, "AcceptTerms", waiting, terms_hash=second)
        assert (agreed.terms.number, agreed.terms.text_hash) == (2, second)
        assert not agreed.HasField("proposed_terms")
        told = [row.partnership_changed for row in hub.downlink_of(riverbend)][-1]
        assert (told.terms, told.version) == (agreed.terms, agreed.version)
        actions = [record.action for record in juniper.audit_records()]
        assert actions[-2:] == ["terms-proposed", "terms-accepted"]

    def test_terms_are_named_by_a_digest(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        active = juniper.partnership_with(riverbend)
        refusal = refused(lambda: moves_partnership(juniper, "ProposeTerms", active, terms_hash=b"x"))
        assert (refusal.reason, refusal.field) == ("TERMS_HASH_MALFORMED", "terms_hash")

    def test_partnerships_are_listed_in_pages(self, hub: HubAlone):
        juniper = hub.joined()
        expected = {juniper.proposes_to(hub.joined()).partnership_id for _ in range(5)}
        request = pb.ListPartnershipsRequest(page_size=2)
        listed = []
        while True:
            page = juniper.directory.ListPartnerships(request)
            listed += [each.partnership_id for each in page.partnerships]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert len(listed) == 5
        assert set(listed) == expected
