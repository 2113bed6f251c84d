"""What happens at once happens one after the other, and nobody waits for ever."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc

from support.hub import HubAlone, Member
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.referral.v1 import referral_pb2 as pb
from tandem_platform.errors import Code
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_referral.store import audit

EXPECTED = {Code.ABORTED, Code.FAILED_PRECONDITION}


def outcome(call: Callable[[], object]) -> str:
    """ "ok", or the reason why not; a fault of ours fails the test."""
    try:
        call()
    except grpc.RpcError as error:
        refusal = refusal_of(error)
        assert refusal.code in EXPECTED, refusal
        return refusal.reason
    return "ok"


def at_once(*calls: Callable[[], object]) -> Counter[str]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return Counter(pool.map(outcome, calls))


def received(juniper: Member, riverbend: Member) -> pb.Referral:
    return riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))


def test_of_two_contrary_moves_one_wins_and_both_sides_see_the_same(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    for _ in range(5):
        referral = received(juniper, riverbend)
        results = at_once(
            partial(riverbend.moves, "AcceptReferral", referral),
            partial(riverbend.moves, "WaitlistReferral", referral),
            partial(juniper.moves, "CancelReferral", referral, reason="no-longer-needed"),
        )
        assert results["ok"] == 1
        assert juniper.sees(referral).referral == riverbend.sees(referral).referral


def test_two_practices_offering_each_other_get_one_partnership(hub: HubAlone):
    for _ in range(5):
        juniper, riverbend = hub.joined(), hub.joined()
        results = at_once(partial(juniper.proposes_to, riverbend), partial(riverbend.proposes_to, juniper))
        assert results == {"ok": 1, "PARTNERSHIP_EXISTS": 1}


def test_commands_of_one_practice_are_numbered_without_gap_or_twin(hub: HubAlone):
    juniper = hub.joined()

    def publishes(_: int) -> int:
        request = directory_pb2.PublishCapacityRequest(request_id=new_id("req"))
        return int(juniper.directory.PublishCapacity(request).receipt.number)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(publishes, range(40))) == list(range(1, 41))


def test_chains_stay_whole_under_many_writers(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: juniper.refers_to(riverbend), range(24)))
    for member in (juniper, riverbend):
        records = member.audit_records()
        assert [record.number for record in records] == list(range(1, len(records) + 1))
    with hub.database.reading() as tx:
        assert {juniper.id, riverbend.id, audit.HUB} == set(audit.chains(tx))


def test_moves_withdrawals_and_suspensions_cross_without_a_deadlock(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    partnership = juniper.partnership_with(riverbend)

    def suspends_and_resumes(member: Member) -> None:
        for rpc in ("SuspendPartnership", "ResumePartnership"):
            present = member.partnership_with(juniper if member is riverbend else riverbend)
            request = getattr(directory_pb2, f"{rpc}Request")(
                request_id=new_id("req"),
                partnership_id=partnership.partnership_id,
                version=present.version,
            )
            outcome(partial(getattr(member.directory, rpc), request))

    def revokes(member: Member, referral: pb.Referral) -> None:
        listed = member.consents.ListConsents(
            consent_pb2.ListConsentsRequest(episode_id=referral.episode_id)
        ).permissions
        for each in listed:
            member.revokes(each.permission_id)

    referrals = [received(juniper, riverbend) for _ in range(6)]
    calls: list[Callable[[], object]] = []
    for referral in referrals:
        calls.append(partial(riverbend.moves, "DeclineReferral", referral, reason="capacity"))
        calls.append(partial(juniper.moves, "CancelReferral", referral, reason="no-longer-needed"))
        calls.append(partial(revokes, riverbend, referral))
    calls += [partial(suspends_and_resumes, member) for member in (juniper, riverbend)]
    at_once(*calls)
    for member in (juniper, riverbend):
        listed = member.referrals.ListReferrals(pb.ListReferralsRequest()).referrals
        assert {each.state for each in listed} == {"closed"}
