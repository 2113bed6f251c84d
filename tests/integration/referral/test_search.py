"""Searching the directory: who is out, who stands first, why, and what it tells."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from support.hub import PRESCRIBING, THERAPY, HubAlone, Member, publishes_capacity, refused
from tandem.directory.v1 import directory_pb2 as pb
from tandem_care import matching
from tandem_care.profile import ACCESS, AGE_GROUPS, MODALITIES, PAYMENTS, ROUTES, SERVICES
from tandem_platform.errors import Code
from tandem_platform.ids import new_id
from tandem_platform.storage.database import Transaction
from tandem_referral.store import listings
from tandem_referral.store.practices import AsOf
from tandem_referral.usecases import directory

FRESH_FOR = timedelta(hours=48)


def search(
    member: Member,
    required: dict[str, Any] | None = None,
    preferred: dict[str, Any] | None = None,
    **page: Any,
) -> list[pb.SearchPracticesResponse.Match]:
    request = pb.SearchPracticesRequest(
        required=pb.Needs(**required or {}), preferred=pb.Needs(**preferred or {}), **page
    )
    found: list[pb.SearchPracticesResponse.Match] = []
    while True:
        answer = member.directory.SearchPractices(request)
        found += answer.matches
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def ids(found: list[pb.SearchPracticesResponse.Match]) -> list[str]:
    return [match.practice.practice_id for match in found]


def said(match: pb.SearchPracticesResponse.Match) -> list[tuple[str, list[str], bool, int]]:
    return [(each.code, list(each.values), each.met, each.points) for each in match.because]


def a_service(service: str, *payments: str, price: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    return {
        "service": service,
        "payments": payments or ["self-pay"],
        "lowest_price": price[0],
        "highest_price": price[1],
    }


def a_site(*access: str) -> dict[str, Any]:
    return {"name": "A site", "access": access}


class TestRequirements:
    @pytest.mark.parametrize(
        ("required", "fits", "does_not"),
        [
            ({"role": PRESCRIBING}, {"roles": [PRESCRIBING, THERAPY]}, {}),
            ({"licence_state": "CO"}, {"licence_states": ["NM", "CO"]}, {"licence_states": ["NM"]}),
            ({"age_group": "child"}, {"age_groups": ["child"]}, {"age_groups": ["adult"]}),
            ({"modalities": ["cbt", "act"]}, {"modalities": ["act", "cbt"]}, {"modalities": ["cbt"]}),
            ({"languages": ["es", "fr"]}, {"languages": ["fr"]}, {"languages": ["en"]}),
            ({"languages": ["es"]}, {"languages": ["es-MX"]}, {"languages": ["en"]}),
            ({"routes": ["iv", "im"]}, {"routes": ["im"]}, {"routes": ["intranasal"]}),
            (
                {"access": ["step-free", "quiet-room"]},
                {"sites": [a_site("quiet-room", "step-free")]},
                {"sites": [a_site("step-free"), a_site("quiet-room")]},
            ),
            (
                {"service": "psychotherapy"},
                {"services": [a_service("psychotherapy")]},
                {"services": [a_service("dosing-session")]},
            ),
            (
                {"service": "psychotherapy", "payments": ["medicaid", "veterans"]},
                {"services": [a_service("psychotherapy", "veterans")]},
                {"services": [a_service("psychotherapy"), a_service("dosing-session", "medicaid")]},
            ),
            (
                {"payments": ["medicaid"]},
                {"services": [a_service("dosing-session", "medicaid")]},
                {"services": [a_service("dosing-session")]},
            ),
            (
                {"service": "psychotherapy", "price_at_most": 150},
                {"services": [a_service("psychotherapy", price=(150, 200))]},
                {
                    "services": [
                        a_service("psychotherapy", price=(151, 200)),
                        a_service("dosing-session", price=(9, 9)),
                    ]
                },
            ),
            (
                {"service": "psychotherapy", "price_at_most": 150},
                {"services": [a_service("psychotherapy", "no-charge")]},
                {"services": [a_service("psychotherapy")]},
            ),
            ({"telehealth": True}, {"telehealth": True}, {}),
            ({"kap_trained": True}, {"kap_trainings": [{"program": "KAP"}]}, {}),
        ],
    )
    def test_who_does_not_meet_one_is_not_listed(
        self, hub: HubAlone, required: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any]
    ):
        juniper = hub.joined(roles=[PRESCRIBING])
        fit = hub.joined(**fits)
        hub.joined(**does_not)
        found = search(juniper, required)
        assert ids(found) == [fit.id]
        assert {(each.met, each.points) for each in found[0].because if each.code in REQUIRED} == {(True, 0)}

    def test_openings_that_are_required_have_been_stated_lately(self, hub: HubAlone):
        juniper, none, some = hub.joined(), hub.joined(), hub.joined()
        publishes_capacity(none, 0)
        publishes_capacity(some, 1)
        assert ids(search(juniper, {"openings": True})) == [some.id]
        hub.clock.advance(timedelta(hours=49))
        assert search(juniper, {"openings": True}) == []

    def test_the_asker_learns_how_many_each_requirement_alone_keeps_away(self, hub: HubAlone):
        juniper = hub.joined(licence_states=["CO"], modalities=["emdr"])
        hub.joined(licence_states=["CO"], modalities=["emdr"])
        for _ in range(3):
            hub.joined(licence_states=["CO"])
        hub.joined(licence_states=["NM"], modalities=["emdr"])
        hub.joined(licence_states=["NM"])
        request = pb.SearchPracticesRequest(required=pb.Needs(licence_state="CO", modalities=["emdr"]))
        answer = juniper.directory.SearchPractices(request)
        assert answer.found == len(answer.matches) == 1
        assert [(each.code, each.practices) for each in answer.missed] == [
            ("licence-state", 1),
            ("modality", 3),
        ]

    @pytest.mark.parametrize(
        ("field", "needs"),
        [
            ("role", {"role": "oracle"}),
            ("licence_state", {"licence_state": "__"}),
            ("languages", {"languages": ["%"]}),
            ("languages", {"languages": ["en"] * 6}),
            ("modalities", {"modalities": ["cbt", "cbt"]}),
            ("access", {"access": ["lift"]}),
            ("service", {"price_at_most": 100}),
            ("price_at_most", {"price_at_most": 100_001, "service": "psychotherapy"}),
        ],
    )
    @pytest.mark.parametrize("which", ["required", "preferred"])
    def test_what_nothing_could_ever_meet_names_its_field(
        self, hub: HubAlone, which: str, field: str, needs: dict[str, Any]
    ):
        refusal = refused(lambda: search(hub.joined(), **{which: needs}))
        assert (refusal.code, refusal.field) == (Code.INVALID_ARGUMENT, f"{which}.{field}")


REQUIRED = frozenset(matching.POINTS) - {"openings", "opening-soon", "partner-already"}


class TestRanking:
    def test_openings_come_first_then_partners(self, hub: HubAlone):
        juniper = hub.joined(roles=[PRESCRIBING])
        plain, partner, open_one, open_partner = (hub.joined() for _ in range(4))
        for each in (partner, open_partner):
            juniper.partners_with(each)
        for each in (open_one, open_partner):
            publishes_capacity(each, 1)
        found = search(juniper, {"role": THERAPY})
        assert ids(found) == [open_partner.id, open_one.id, partner.id, plain.id]
        assert said(found[0]) == [
            ("openings", [], True, 8),
            ("partner-already", [], True, 6),
            ("opening-soon", [], False, 0),
            ("role", [THERAPY], True, 0),
        ]
        assert [match.score for match in found] == [14, 8, 6, 0]

    def test_each_preference_that_is_met_counts_and_is_stated(self, hub: HubAlone):
        juniper = hub.joined(roles=[PRESCRIBING])
        some = hub.joined(modalities=["cbt", "emdr", "act"], languages=["en"])
        more = hub.joined(modalities=["cbt"], languages=["en", "es"])
        found = search(juniper, preferred={"modalities": ["cbt", "emdr", "exposure"], "languages": ["es"]})
        assert ids(found) == [more.id, some.id]
        best, second = ([each for each in said(match) if "opening" not in each[0]] for match in found)
        assert best == [("language", ["es"], True, 6), ("modality", ["cbt"], True, 4)]
        assert second == [("language", [], False, 0), ("modality", ["cbt", "emdr"], True, 8)]

    def test_an_opening_soon_counts_for_the_service_that_is_looked_for(self, hub: HubAlone):
        juniper, any_service, right, wrong, late = (hub.joined() for _ in range(5))
        publishes_capacity(any_service, 0, hours=[24])
        publishes_capacity(right, 0, hours=[24], service="psychotherapy")
        publishes_capacity(wrong, 0, hours=[24], service="medical-evaluation")
        publishes_capacity(late, 0, hours=[20 * 24])
        found = search(juniper, preferred={"service": "psychotherapy"})
        soon = {
            match.practice.practice_id
            for match in found
            if any(each.code == "opening-soon" and each.met for each in match.because)
        }
        assert soon == {any_service.id, right.id}
        assert set(ids(found)[:2]) == soon
        hub.clock.advance(timedelta(hours=25))
        assert all(match.score == 0 for match in search(juniper))

    def test_pages_hold_everybody_once_though_openings_go_stale_meanwhile(self, hub: HubAlone):
        juniper = hub.joined()
        others = [hub.joined() for _ in range(7)]
        for each in others[::2]:
            publishes_capacity(each, 1, hours=[50])
        request = pb.SearchPracticesRequest(page_size=2)
        found = []
        while True:
            page = juniper.directory.SearchPractices(request)
            assert page.found == (0 if request.page_token else 7)
            found += [match.practice.practice_id for match in page.matches]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
            hub.clock.advance(timedelta(hours=40))
        assert sorted(found) == sorted(each.id for each in others)

    def test_a_page_token_tells_nothing_and_serves_one_reader_and_query(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined()
        for _ in range(4):
            hub.joined()
        request = pb.SearchPracticesRequest(page_size=1)
        token = juniper.directory.SearchPractices(request).next_page_token
        assert "prac" not in token
        assert len({len(token), len(riverbend.directory.SearchPractices(request).next_page_token)}) == 1
        stolen = pb.SearchPracticesRequest(page_size=1, page_token=token)
        assert refused(lambda: riverbend.directory.SearchPractices(stolen)).reason == "PAGE_TOKEN_INVALID"
        other = pb.SearchPracticesRequest(required=pb.Needs(role=THERAPY), page_size=1, page_token=token)
        assert refused(lambda: juniper.directory.SearchPractices(other)).reason == "PAGE_TOKEN_INVALID"
        broken = pb.SearchPracticesRequest(page_size=1, page_token=token[:-4] + "AAAA")
        assert refused(lambda: juniper.directory.SearchPractices(broken)).reason == "PAGE_TOKEN_INVALID"

    def test_other_practices_partnerships_do_not_show(self, hub: HubAlone):
        juniper, riverbend = hub.two_partners()
        outsider = hub.joined()

        def partners(member: Member) -> list[str]:
            found = search(member)
            return [
                match.practice.practice_id
                for match in found
                if any(each.code == "partner-already" for each in match.because)
            ]

        assert partners(outsider) == []
        assert partners(juniper) == [riverbend.id]

    def test_a_profile_that_is_replaced_is_found_by_what_it_says_now(self, hub: HubAlone):
        juniper, riverbend = hub.joined(), hub.joined(modalities=["cbt"])
        practice = pb.Practice(display_name="Riverbend", modalities=["emdr"], version=1)
        riverbend.directory.UpdateProfile(
            pb.UpdateProfileRequest(request_id=new_id("req"), practice=practice)
        )
        assert search(juniper, {"modalities": ["cbt"]}) == []
        assert ids(search(juniper, {"modalities": ["emdr"]})) == [riverbend.id]


class TestTheDatabaseRanksByTheRules:
    """The database compares columns; the same rules in Python must give the same list, scores and counts."""

    POPULATION = 60
    SEARCHES = 40

    def test_for_whatever_practices_and_needs(self, hub: HubAlone):
        draw = random.Random(7)
        searcher = hub.joined()
        facts = {}
        for number in range(self.POPULATION):
            profile = a_drawn_profile(draw)
            member = hub.joined(**profile)
            if number % 9 == 0:
                searcher.partners_with(member)
            if draw.random() < 0.6:
                hours = sorted(draw.uniform(-20, 600) for _ in range(draw.randrange(4)))
                publishes_capacity(member, draw.randrange(3), hours, draw.choice(["", *SERVICES]))
            if number % 20 == 0:
                hub.clock.advance(timedelta(hours=20))
        as_of = AsOf(hub.now(), FRESH_FOR)
        with hub.database.reading() as tx:
            everybody = directory.search(
                tx, searcher.id, pb.Needs(), pb.Needs(), as_of, after=None, limit=999
            )
            partners = listings.partners_of(tx, searcher.id)
            for each in everybody:
                facts[each.practice.practice_id] = directory.facts_of(
                    each.practice, each.practice.practice_id in partners
                )
            assert len(facts) == self.POPULATION
            outcomes = Counter(
                self._compared(tx, draw, facts, searcher.id, as_of) for _ in range(self.SEARCHES)
            )
        assert outcomes[True] >= self.SEARCHES / 3, "too few searches have found anybody"

    def _compared(
        self,
        tx: Transaction,
        draw: random.Random,
        facts: dict[str, matching.Facts],
        searcher: str,
        as_of: AsOf,
    ) -> bool:
        required, preferred = a_drawn_need(draw, 0.12), a_drawn_need(draw, 0.5)
        looked_for = matching.wanted(required, preferred, now=as_of.now, fresh_since=as_of.fresh_since)
        scores = {name: matching.score(looked_for, each) for name, each in facts.items()}
        expected = sorted((-score, name) for name, score in scores.items() if score is not None)
        found = listings.best(tx, looked_for, searcher, after=None, limit=999)
        assert [(-score, name) for name, score in found] == expected
        if len(found) > 2:
            name, score = found[1]
            assert listings.best(tx, looked_for, searcher, after=(score, name), limit=999) == found[2:]
        counted = listings.count(tx, looked_for, searcher)
        failed = [
            [want.code for want in looked_for.required if not want.holds(each)] for each in facts.values()
        ]
        assert counted.found == failed.count([])
        assert counted.missed == tuple((want.code, failed.count([want.code])) for want in looked_for.required)
        for name, score in found:
            reasons = matching.reasons(looked_for, facts[name])
            assert sum(reason.points for reason in reasons) == score
        return bool(found)


def some(draw: random.Random, codes: Any, chance: float) -> list[str]:
    return [code for code in codes if draw.random() < chance]


def a_drawn_profile(draw: random.Random) -> dict[str, Any]:
    return {
        "roles": some(draw, [PRESCRIBING, THERAPY], 0.6) or [THERAPY],
        "licence_states": some(draw, ["CO", "NM", "MP"], 0.6),
        "modalities": some(draw, MODALITIES, 0.5),
        "routes": some(draw, ROUTES, 0.4),
        "age_groups": some(draw, AGE_GROUPS, 0.6),
        "languages": some(draw, ["en", "es-MX", "es", "e", "fr"][:3], 0.5),
        "telehealth": draw.random() < 0.5,
        "kap_trainings": [{"program": "KAP"}] if draw.random() < 0.5 else [],
        "services": [
            a_service(
                service,
                *(some(draw, PAYMENTS, 0.4) or ["self-pay"]),
                price=(price, price + 50) if (price := draw.choice([0, 100, 200])) else (0, 0),
            )
            for service in some(draw, SERVICES, 0.6)
        ],
        "sites": [a_site(*some(draw, ACCESS, 0.5)) for _ in range(draw.randrange(3))],
    }


def a_drawn_need(draw: random.Random, chance: float) -> pb.Needs:
    def one(codes: Any) -> str:
        return draw.choice(codes) if draw.random() < chance else ""

    service = one(SERVICES)
    return pb.Needs(
        role=one([PRESCRIBING, THERAPY]),
        licence_state=one(["CO", "MP"]),
        age_group=one(AGE_GROUPS),
        modalities=some(draw, MODALITIES, chance / 3),
        languages=some(draw, ["en", "es", "fr"], chance),
        routes=some(draw, ROUTES, chance),
        access=some(draw, ACCESS, chance / 2),
        service=service,
        payments=some(draw, PAYMENTS, chance),
        price_at_most=draw.choice([0, 100, 120]) if service else 0,
        telehealth=draw.random() < chance,
        kap_trained=draw.random() < chance,
        openings=draw.random() < chance,
    )
