"""A command takes effect once, however often and from wherever it is sent."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from support.hub import HubAlone, refused, status_bytes
from tandem.audit.v1 import audit_pb2
from tandem.common.v1.common_pb2 import CommandReceipt
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1 import exchange_pb2
from tandem.referral.v1 import referral_pb2
from tandem_care.terms import STANDARD_HASH
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.rpc.dispatch import policies_of
from tandem_referral.store.commands import RememberedCommands, commands_committed, is_answered

CONTRACTS = [directory_pb2, referral_pb2, consent_pb2, exchange_pb2, audit_pb2]
BODY, OTHER_BODY = bytes(32), bytes([1]) * 32


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_command_is_answered_with_its_receipt_in_the_first_field(contract):
    for service in contract.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            if policies_of(service)[method.name].command:
                receipt = method.output_type.fields_by_number[1]
                assert (receipt.name, receipt.message_type) == ("receipt", CommandReceipt.DESCRIPTOR)


def test_fifty_concurrent_repeats_have_one_effect_and_the_same_bytes(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    request = juniper.wishes_for(riverbend)

    def ask(_: int) -> bytes:
        return juniper.referrals.RequestReferral(request).SerializeToString()

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(ask, range(50)))
    assert len(answers) == 1
    changes = [row for row in hub.downlink_of(riverbend) if row.HasField("referral_changed")]
    assert len(changes) == 1
    listed = juniper.referrals.ListReferrals(referral_pb2.ListReferralsRequest()).referrals
    assert len(listed) == 1


def test_another_body_under_the_same_request_id_is_refused_and_changes_nothing(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    request = juniper.wishes_for(riverbend)
    first = juniper.referrals.RequestReferral(request)
    other = juniper.wishes_for(riverbend)
    other.request_id = request.request_id
    refusal = refused(lambda: juniper.referrals.RequestReferral(other))
    assert (refusal.code, refusal.reason) == (Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert refusal.message == "this request_id was used with a different body"
    assert juniper.referrals.RequestReferral(request) == first


def test_the_same_request_id_means_nothing_to_another_practice_or_method(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    request_id = new_id("req")
    capacity = directory_pb2.PublishCapacityRequest(request_id=request_id)
    juniper.directory.PublishCapacity(capacity)
    riverbend.directory.PublishCapacity(capacity)
    asked = juniper.wishes_for(riverbend)
    asked.request_id = request_id
    juniper.referrals.RequestReferral(asked)


def test_receipts_count_a_practices_own_commands_from_one(hub: HubAlone):
    juniper, riverbend = hub.joined(), hub.joined()

    def publishes(member):
        request = directory_pb2.PublishCapacityRequest(request_id=new_id("req"))
        return member.directory.PublishCapacity(request).receipt.number

    assert [publishes(juniper), publishes(juniper), publishes(riverbend)] == [1, 2, 1]
    with hub.database.reading() as tx:
        assert commands_committed(tx, juniper.id) == 2


def test_a_refusal_is_remembered_though_the_command_would_succeed_by_now(hub: HubAlone):
    juniper, riverbend = hub.joined(roles=["prescriber"]), hub.joined()
    proposed = juniper.proposes_to(riverbend)
    request = juniper.wishes_for(riverbend)
    before = status_bytes(lambda: juniper.referrals.RequestReferral(request))
    riverbend.directory.ConfirmPartnership(
        directory_pb2.ConfirmPartnershipRequest(
            request_id=new_id("req"),
            partnership_id=proposed.partnership_id,
            version=1,
            terms_hash=STANDARD_HASH,
        )
    )
    assert status_bytes(lambda: juniper.referrals.RequestReferral(request)) == before
    assert "PARTNERSHIP_NOT_ACTIVE" in str(before)
    juniper.refers_to(riverbend)


def test_a_transient_refusal_is_not_remembered(hub: HubAlone):
    memory = RememberedCommands(hub.database, hub.clock)
    request_id = new_id("req")

    def busy(tx: object = None) -> bytes:
        raise Refusal(Code.UNAVAILABLE, "BUSY", "come back later")

    with pytest.raises(Refusal, match="come back later"):
        memory.once("juniper", "/m", request_id, BODY, busy)
    with hub.database.reading() as tx:
        assert not is_answered(tx, "juniper", request_id)
    answer = memory.once("juniper", "/m", request_id, BODY, lambda tx=None: b"")
    assert memory.once("juniper", "/m", request_id, BODY, busy) == answer


def test_a_fault_in_the_middle_leaves_nothing_behind(hub: HubAlone):
    memory = RememberedCommands(hub.database, hub.clock)
    request_id = new_id("req")

    def fails(tx: object = None) -> bytes:
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        memory.once("juniper", "/m", request_id, BODY, fails)
    with hub.database.reading() as tx:
        assert not is_answered(tx, "juniper", request_id)
        assert commands_committed(tx, "juniper") == 0


def test_what_a_refused_command_had_done_is_undone(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    taken = juniper.wishes_for(riverbend)
    juniper.referrals.RequestReferral(taken)
    second = juniper.wishes_for(riverbend, referral_id=taken.referral_id)
    rows = len(hub.downlink_of(riverbend))
    assert refused(lambda: juniper.referrals.RequestReferral(second)).reason == "ID_TAKEN"
    assert len(hub.downlink_of(riverbend)) == rows
    # The episode and permissions that had been made before the referral's id was found taken are free again.
    second.request_id, second.referral_id = new_id("req"), new_id("ref")
    juniper.referrals.RequestReferral(second)
