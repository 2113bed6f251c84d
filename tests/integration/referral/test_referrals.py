"""A referral from the first request to the closed loop, as both sides see it."""

from datetime import timedelta
from functools import partial

import pytest

from support.hub import FORM, PRESCRIBING, HubAlone, Member, refused, status_bytes
from tandem.common.v1.common_pb2 import (
    BASIS_WRITTEN,
    CATEGORY_IDENTITY_CONTACT,
    CATEGORY_REFERRAL_STATUS,
    EFFECT_PERMIT,
    PURPOSE_TREATMENT,
)
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1.exchange_pb2 import ReferralChanged
from tandem.referral.v1 import referral_pb2 as pb
from tandem_platform.errors import Code
from tandem_platform.ids import new_id
from tandem_referral.store import referrals as store
from tandem_referral.usecases.referrals import expire_referral

MOVES = [
    "ReceiveReferral",
    "OpenReferral",
    "AcceptReferral",
    "DeclineReferral",
    "AskForInformation",
    "AnswerInformation",
    "StartReferral",
    "CompleteReferral",
    "CancelReferral",
    "WaitlistReferral",
    "HoldReferral",
    "ResumeReferral",
    "FailReferral",
    "RequestCancellation",
    "AgreeCancellation",
    "RefuseCancellation",
    "UndoReferral",
]


def told(hub: HubAlone, member: Member) -> list[ReferralChanged]:
    return [row.referral_changed for row in hub.downlink_of(member) if row.HasField("referral_changed")]


def history(member: Member, referral: pb.Referral) -> list[tuple[str, str, str]]:
    lines: list[tuple[str, str, str]] = []
    request = pb.ListMovesRequest(referral_id=referral.referral_id, page_size=2)
    while True:
        page = member.referrals.ListMoves(request)
        lines += [(line.move, line.from_state, line.to_state) for line in page.moves]
        if not page.next_page_token:
            return lines
        request.page_token = page.next_page_token


def expires(hub: HubAlone, referral: pb.Referral) -> None:
    hub.database.run(lambda tx: expire_referral(tx, referral.referral_id, hub.now()))


def test_a_referral_goes_round_the_whole_loop(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    referral = juniper.refers_to(riverbend, urgency="soon")
    assert (referral.state, referral.version, referral.urgency) == ("requested", 1, "soon")
    steps = [
        (riverbend, "ReceiveReferral", {}, "received"),
        (riverbend, "AskForInformation", {"reason": "missing-documents"}, "info_requested"),
        (juniper, "AnswerInformation", {}, "received"),
        (riverbend, "AcceptReferral", {}, "accepted"),
        (riverbend, "StartReferral", {}, "in_progress"),
        (riverbend, "CompleteReferral", {"outcome": "treated"}, "completed"),
    ]
    for version, (member, move, fields, state) in enumerate(steps, start=2):
        referral = member.moves(move, referral, **fields)
        assert (referral.state, referral.version) == (state, version)
    assert referral.outcome == "treated"
    states = ["requested", *(state for *_, state in steps)]
    for member in (juniper, riverbend):
        assert [change.state for change in told(hub, member)] == states
        assert [change.version for change in told(hub, member)] == list(range(1, 8))
        assert [to for _, _, to in history(member, referral)] == states
        assert member.sees(referral).referral.state == "completed"


def test_a_referral_may_wait_pause_and_be_given_up(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    referral = juniper.refers_to(riverbend)
    for member, move, fields, state in (
        (riverbend, "ReceiveReferral", {}, "received"),
        (riverbend, "WaitlistReferral", {"reason": "capacity"}, "waitlisted"),
        (riverbend, "AcceptReferral", {}, "accepted"),
        (riverbend, "StartReferral", {}, "in_progress"),
        (riverbend, "HoldReferral", {}, "on_hold"),
        (juniper, "RequestCancellation", {"reason": "moved"}, "cancel_requested"),
        (riverbend, "RefuseCancellation", {"reason": "patient-wishes-to-continue"}, "on_hold"),
        (riverbend, "ResumeReferral", {}, "in_progress"),
        (juniper, "RequestCancellation", {"reason": "moved"}, "cancel_requested"),
        (riverbend, "AgreeCancellation", {}, "cancelled"),
        (riverbend, "UndoReferral", {}, "cancel_requested"),
        (riverbend, "RefuseCancellation", {"reason": "other"}, "in_progress"),
        (riverbend, "FailReferral", {"reason": "lost-to-follow-up"}, "failed"),
    ):
        referral = member.moves(move, referral, **fields)
        assert referral.state == state
    assert [change.state for change in told(hub, juniper)] == [to for _, _, to in history(juniper, referral)]


def test_a_reason_that_is_missing_or_not_for_this_move_is_refused(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
    for reason in ("", "sent-in-error", "nonsense"):
        refusal = refused(partial(riverbend.moves, "DeclineReferral", received, reason=reason))
        assert (refusal.code, refusal.field) == (Code.INVALID_ARGUMENT, "reason")


def test_requesting_makes_both_base_permissions_in_the_same_transaction(hub: HubAlone):
    juniper, riverbend = hub.two_partners()
    referral = juniper.refers_to(riverbend)
    for member in (juniper, riverbend):
        listed = member.consents.ListConsents(
            consent_pb2.ListConsentsRequest(episode_id=referral.episode_id)
        ).permissions
        assert {(each.discloser_practice_id, each.recipient_practice_id) for each in listed} == {
            (juniper.id, riverbend.id),
            (riverbend.id, juniper.id),
        }
        assert all(each.state == "active" and list(each.categories) == [1, 2] for each in listed)
        assert all(each.HasField("history_from") for each in listed)
        kinds = [row.WhichOneof("content") for row in hub.downlink_of(member)]
        assert kinds[-3:] == ["permission_changed", "permission_changed", "referral_changed"]


class TestRequesting:
    def test_only_over_an_active_partnership_of_the_callers_own(self, hub: HubAlone):
        juniper, riverbend = hub.joined(roles=[PRESCRIBING]), hub.joined()
        outsider = hub.joined()
        juniper.proposes_to(riverbend)
        wish = juniper.wishes_for(riverbend)
        assert refused(lambda: juniper.referrals.RequestReferral(wish)).reason == "PARTNERSHIP_NOT_ACTIVE"
        theirs = status_bytes(lambda: outsider.referrals.RequestReferral(wish))
        wish.partnership_id, wish.request_id = new_id("pship"), new_id("req")
        assert status_bytes(lambda: outsider.referrals.RequestReferral(wish)) == theirs
        assert "PARTNERSHIP_NOT_FOUND" in str(theirs)

    @pytest.mark.parametrize("field", ["referral_id", "episode_id"])
    def test_a_taken_id_is_refused_whoever_has_it(self, hub: HubAlone, field: str):
        juniper, riverbend = hub.two_partners()
        maple, willow = hub.two_partners()
        taken = getattr(juniper.refers_to(riverbend), field)
        for member, partner in ((juniper, riverbend), (maple, willow)):
            wish = member.wishes_for(partner, **{field: taken})
            refusal = refused(partial(member.referrals.RequestReferral, wish))
            assert (refusal.code, refusal.reason, refusal.field) == (
                Code.FAILED_PRECONDITION,
                "ID_TAKEN",
                field,
            )

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("referral_id", lambda w: setattr(w, "referral_id", "ref_1")),
            ("episode_id", lambda w: setattr(w, "episode_id", new_id("ref"))),
            ("kind", lambda w: setattr(w, "kind", "surgery")),
            ("urgency", lambda w: setattr(w, "urgency", "asap")),
            ("permissions", lambda w: w.permissions.pop()),
            ("permissions", lambda w: w.permissions[0].CopyFrom(w.permissions[1])),
            ("permissions", lambda w: setattr(w.permissions[0], "evidence_hash", b"short")),
            ("permissions", lambda w: w.permissions[1].ClearField("evidence_hash")),
        ],
    )
    def test_a_wish_that_cannot_be_kept_names_its_field(self, hub: HubAlone, field: str, change):
        juniper, riverbend = hub.two_partners()
        wish = juniper.wishes_for(riverbend)
        change(wish)
        refusal = refused(lambda: juniper.referrals.RequestReferral(wish))
        assert (refusal.code, refusal.field) == (Code.INVALID_ARGUMENT, field)
        assert told(hub, riverbend) == []

    def test_only_what_the_partner_offers(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        wish = juniper.wishes_for(riverbend, kind="medical-evaluation")
        assert refused(lambda: juniper.referrals.RequestReferral(wish)).reason == "NOT_OFFERED"
        referral = riverbend.refers_to(juniper, kind="medical-evaluation")
        for move in ("ReceiveReferral", "AcceptReferral", "StartReferral"):
            referral = juniper.moves(move, referral)
        treated = refused(lambda: juniper.moves("CompleteReferral", referral, outcome="treated"))
        assert treated.reason == "OUTCOME_NOT_ALLOWED"
        done = juniper.moves("CompleteReferral", referral, outcome="eligible-with-conditions")
        assert done.outcome == "eligible-with-conditions"

    def test_nothing_is_referred_over_a_suspended_partnership(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        partnership = juniper.partnership_with(riverbend)
        riverbend.directory.SuspendPartnership(
            directory_pb2.SuspendPartnershipRequest(
                request_id=new_id("req"),
                partnership_id=partnership.partnership_id,
                version=partnership.version,
            )
        )
        assert refused(lambda: juniper.refers_to(riverbend)).metadata == {"state": "suspended"}


class TestMoving:
    def test_a_repeat_with_a_new_request_id_changes_nothing(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
        accepted = riverbend.moves("AcceptReferral", received)
        assert riverbend.moves("AcceptReferral", received) == accepted
        assert len(told(hub, juniper)) == 3

    def test_a_move_that_is_not_allowed_says_which_are(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        referral = juniper.refers_to(riverbend)
        refusal = refused(lambda: riverbend.moves("AcceptReferral", referral))
        assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "MOVE_NOT_ALLOWED")
        assert refusal.metadata == {"state": "requested", "moves": "receive"}

    def test_a_stale_version_is_refused_and_may_be_tried_again(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        referral = juniper.refers_to(riverbend)
        riverbend.moves("ReceiveReferral", referral)
        refusal = refused(lambda: riverbend.moves("AcceptReferral", referral))
        assert (refusal.code, refusal.metadata) == (Code.ABORTED, {"version": "2"})

    @pytest.mark.parametrize("move", MOVES)
    def test_a_referral_of_others_is_as_if_absent(self, hub: HubAlone, move: str):
        juniper, riverbend = hub.two_partners()
        outsider = hub.joined()
        theirs = juniper.refers_to(riverbend)
        absent = pb.Referral(referral_id=new_id("ref"), version=theirs.version)
        assert status_bytes(lambda: outsider.moves(move, theirs)) == status_bytes(
            lambda: outsider.moves(move, absent)
        )
        assert status_bytes(lambda: outsider.sees(theirs)) == status_bytes(lambda: outsider.sees(absent))
        assert status_bytes(lambda: history(outsider, theirs)) == status_bytes(
            lambda: history(outsider, absent)
        )

    def test_opening_is_recorded_and_moves_neither_state_nor_version(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
        changes = len(told(hub, juniper))
        opened = riverbend.moves("OpenReferral", received)
        assert (opened.state, opened.version) == (received.state, received.version)
        assert juniper.sees(opened).referral.opened_at == opened.opened_at
        news = told(hub, juniper)[changes:]
        assert [(each.version, each.opened_at) for each in news] == [(received.version, opened.opened_at)]
        assert history(juniper, opened)[-1] == ("open", "received", "received")

    def test_what_may_be_done_now_is_answered_to_each_side(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        referral = juniper.refers_to(riverbend)
        assert list(riverbend.sees(referral).moves) == ["receive"]
        assert list(juniper.sees(referral).moves) == ["cancel"]

    def test_it_expires_by_the_clock_and_only_when_due(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
        expires(hub, received)
        assert juniper.sees(received).referral.state == "received"
        hub.clock.advance(timedelta(days=14))
        with hub.database.reading() as tx:
            assert store.due(tx, hub.now(), 10) == [received.referral_id]
        expires(hub, received)
        expires(hub, received)
        assert [change.state for change in told(hub, juniper)][-2:] == ["received", "expired"]
        assert history(riverbend, received)[-1] == ("expire", "received", "expired")


class TestReRouting:
    def test_only_the_referrer_is_told_what_was_replaced(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        willow = hub.joined()
        juniper.partners_with(willow)
        received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
        riverbend.moves("DeclineReferral", received, reason="capacity")
        again = juniper.refers_to(willow, replaces_referral_id=received.referral_id)
        assert again.replaces_referral_id == received.referral_id
        assert told(hub, juniper)[-1].replaces_referral_id == received.referral_id
        assert told(hub, willow)[-1].replaces_referral_id == ""
        assert willow.sees(again).referral.replaces_referral_id == ""
        assert willow.moves("ReceiveReferral", again).replaces_referral_id == ""

    def test_only_what_is_over_is_replaced_and_only_once(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        first = juniper.refers_to(riverbend)

        def replaces() -> pb.Referral:
            return juniper.refers_to(riverbend, replaces_referral_id=first.referral_id)

        assert refused(replaces).reason == "REFERRAL_STILL_OPEN"
        juniper.moves("CancelReferral", first, reason="sent-in-error")
        replaces()
        assert refused(replaces).reason == "ALREADY_REPLACED"

    def test_the_referral_of_somebody_else_is_as_if_absent(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        maple, willow = hub.two_partners()
        theirs = juniper.refers_to(riverbend).referral_id
        answers = {
            status_bytes(partial(maple.refers_to, willow, replaces_referral_id=each))
            for each in (theirs, new_id("ref"))
        }
        assert len(answers) == 1
        # Nor does the recipient of a referral replace it.
        riverbend_wish = riverbend.wishes_for(juniper, kind="medical-evaluation", replaces_referral_id=theirs)
        assert refused(lambda: riverbend.referrals.RequestReferral(riverbend_wish)).code is Code.NOT_FOUND


class TestListing:
    def test_newest_first_in_pages_and_by_state(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        made = []
        for _ in range(5):
            made.append(juniper.refers_to(riverbend).referral_id)
            hub.clock.advance(timedelta(minutes=1))
        request = pb.ListReferralsRequest(page_size=2)
        listed = []
        while True:
            page = riverbend.referrals.ListReferrals(request)
            listed += [each.referral_id for each in page.referrals]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert listed == made[::-1]
        riverbend.moves("ReceiveReferral", pb.Referral(referral_id=made[1], version=1))
        received = riverbend.referrals.ListReferrals(pb.ListReferralsRequest(state="received")).referrals
        assert [each.referral_id for each in received] == [made[1]]

    def test_an_unknown_state_is_refused_by_name(self, hub: HubAlone):
        juniper = hub.joined()
        request = pb.ListReferralsRequest(state="lost")
        assert refused(lambda: juniper.referrals.ListReferrals(request)).field == "state"

    def test_others_referrals_are_not_among_them(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        juniper.refers_to(riverbend)
        outsider = hub.joined()
        assert outsider.referrals.ListReferrals(pb.ListReferralsRequest()) == pb.ListReferralsResponse()


def observed(hub: HubAlone, member: Member, referral: pb.Referral) -> tuple[object, ...]:
    """Everything that a practice can see of a referral, and of what it may not see."""
    return (
        member.sees(referral),
        member.referrals.ListReferrals(pb.ListReferralsRequest()),
        member.referrals.ListReferrals(pb.ListReferralsRequest(state="closed")),
        history(member, referral),
        hub.downlink_of(member),
        [record.SerializeToString() for record in member.audit_records()],
    )


class TestWithdrawal:
    def base(self, member: Member, referral: pb.Referral, discloser: Member) -> str:
        listed = member.consents.ListConsents(
            consent_pb2.ListConsentsRequest(episode_id=referral.episode_id)
        ).permissions
        return next(each.permission_id for each in listed if each.discloser_practice_id == discloser.id)

    @pytest.mark.parametrize("how", ["RevokeConsent", "HoldConsent"])
    def test_it_closes_to_the_party_from_whom_it_was_withdrawn_and_goes_on_for_the_other(
        self, hub: HubAlone, how: str
    ):
        juniper, riverbend = hub.two_partners()
        accepted = self.accepted(juniper, riverbend)
        permission = self.base(juniper, accepted, discloser=riverbend)
        request = getattr(consent_pb2, f"{how}Request")(request_id=new_id("req"), permission_id=permission)
        getattr(riverbend.consents, how)(request)
        assert juniper.sees(accepted).referral.state == "closed"
        assert told(hub, juniper)[-1].state == "closed"
        assert told(hub, juniper)[-1].version == accepted.version + 1
        assert riverbend.sees(accepted).referral.state == "accepted"

        before = observed(hub, juniper, accepted)
        started = riverbend.moves("StartReferral", accepted)
        riverbend.moves("CompleteReferral", started, outcome="treated")
        assert observed(hub, juniper, accepted) == before
        assert told(hub, riverbend)[-1].state == "completed"

    def test_a_party_to_whom_it_is_closed_gets_one_answer_to_every_command(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        accepted = self.accepted(juniper, riverbend)
        riverbend.revokes(self.base(juniper, accepted, discloser=riverbend))

        def cancels() -> pb.Referral:
            return juniper.moves("CancelReferral", accepted, reason="no-longer-needed")

        def replaces() -> pb.Referral:
            return juniper.refers_to(riverbend, replaces_referral_id=accepted.referral_id)

        open_still = (status_bytes(cancels), status_bytes(replaces))
        assert refused(cancels).reason == "REFERRAL_CLOSED"
        started = riverbend.moves("StartReferral", accepted)
        riverbend.moves("CompleteReferral", started, outcome="treated")
        assert (status_bytes(cancels), status_bytes(replaces)) == open_still
        assert list(juniper.sees(accepted).moves) == []

    def test_the_fixed_state_holds_neither_reason_nor_outcome_nor_opening(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
        riverbend.moves("OpenReferral", received)
        riverbend.moves("DeclineReferral", received, reason="capacity")
        riverbend.revokes(self.base(juniper, received, discloser=riverbend))
        seen = juniper.sees(received).referral
        assert (seen.state, seen.reason, seen.outcome, seen.HasField("opened_at")) == (
            "closed",
            "",
            "",
            False,
        )
        closed = told(hub, juniper)[-1]
        assert (closed.reason, closed.outcome) == ("", "")

    def test_two_courses_that_differ_after_the_withdrawal_look_the_same(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        one, other = self.accepted(juniper, riverbend), self.accepted(juniper, riverbend)
        for each in (one, other):
            riverbend.revokes(self.base(juniper, each, discloser=riverbend))
        hub.clock.advance(timedelta(hours=1))
        riverbend.moves("StartReferral", one)
        seen = [juniper.sees(each).referral for each in (one, other)]
        for each in seen:
            each.ClearField("referral_id")
            each.ClearField("episode_id")
        assert seen[0] == seen[1]

    def test_it_closes_when_the_permission_runs_out(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        wish = juniper.wishes_for(riverbend)
        wish.permissions[1].ends_at.FromDatetime(hub.now() + timedelta(days=1))
        referral = juniper.referrals.RequestReferral(wish).referral
        hub.clock.advance(timedelta(days=1))
        hub.changes_what_is_due()
        assert juniper.sees(referral).referral.state == "closed"
        assert riverbend.sees(referral).referral.state == "requested"

    def test_a_new_permission_shows_it_again_with_a_higher_version(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        accepted = self.accepted(juniper, riverbend)
        riverbend.revokes(self.base(juniper, accepted, discloser=riverbend))
        permission = consent_pb2.Permission(
            permission_id=new_id("perm"),
            episode_id=accepted.episode_id,
            discloser_practice_id=riverbend.id,
            recipient_practice_id=juniper.id,
            categories=[CATEGORY_IDENTITY_CONTACT, CATEGORY_REFERRAL_STATUS],
            purpose=PURPOSE_TREATMENT,
            basis=BASIS_WRITTEN,
            effect=EFFECT_PERMIT,
            evidence_hash=FORM,
        )
        riverbend.consents.GrantConsent(
            consent_pb2.GrantConsentRequest(request_id=new_id("req"), permission=permission)
        )
        changes = told(hub, juniper)
        assert [change.state for change in changes][-2:] == ["closed", "accepted"]
        assert changes[-1].version > changes[-2].version
        assert juniper.sees(accepted).referral.version == changes[-1].version
        started = riverbend.moves("StartReferral", riverbend.sees(accepted).referral)
        assert told(hub, juniper)[-1].version == started.version

    def accepted(self, juniper: Member, riverbend: Member) -> pb.Referral:
        received = riverbend.moves("ReceiveReferral", juniper.refers_to(riverbend))
        return riverbend.moves("AcceptReferral", received)
