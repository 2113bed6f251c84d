"""What the rules of matching promise, whoever looks for whom."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.directory.v1.directory_pb2 import KapTraining, Needs, Practice, Service, Site
from tandem_care.errors import Invalid
from tandem_care.matching import POINTS, Facts, Wanted, check_needs, reasons, score, wanted
from tandem_care.offers import NUMBERS, number_in, offer_of
from tandem_care.profile import (
    ACCESS,
    AGE_GROUPS,
    MODALITIES,
    PAYMENTS,
    ROLES,
    ROUTES,
    SERVICES,
    STATES,
    check_profile,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FRESH_SINCE = NOW - timedelta(hours=48)


def some(codes: tuple[str, ...], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(codes), unique=True, min_size=least, max_size=4)


SERVED = st.builds(
    Service,
    service=st.sampled_from(SERVICES),
    payments=some(PAYMENTS, 1),
    lowest_price=st.integers(0, 300),
    highest_price=st.sampled_from([300, 500]),
)
PROFILES = st.builds(
    Practice,
    display_name=st.just("A practice"),
    roles=some(ROLES, 1),
    licence_states=some(STATES),
    modalities=some(MODALITIES),
    languages=some(("en", "es-MX", "fr")),
    routes=some(ROUTES),
    age_groups=some(AGE_GROUPS),
    telehealth=st.booleans(),
    kap_trainings=st.lists(st.just(KapTraining(program="KAP")), max_size=1),
    services=st.lists(SERVED, unique_by=lambda each: each.service, max_size=3),
    sites=st.lists(st.builds(Site, name=st.just("A site"), access=some(ACCESS)), max_size=3),
)
FACTS = st.builds(
    Facts,
    offer=PROFILES.map(offer_of),
    openings=st.integers(0, 2),
    stated_at=st.sampled_from([None, NOW, FRESH_SINCE, FRESH_SINCE - timedelta(seconds=1)]),
    next_openings=st.lists(
        st.tuples(
            st.integers(-2, 30).map(lambda days: NOW + timedelta(days=days)), st.sampled_from(["", *SERVICES])
        ),
        max_size=2,
    ).map(tuple),
    is_partner=st.booleans(),
)


@st.composite
def needs(draw: st.DrawFn) -> Needs:
    service = draw(st.sampled_from(["", *SERVICES]))
    return Needs(
        role=draw(st.sampled_from(["", *ROLES])),
        licence_state=draw(st.sampled_from(["", *STATES])),
        age_group=draw(st.sampled_from(["", *AGE_GROUPS])),
        modalities=draw(some(MODALITIES)),
        languages=draw(some(("en", "es", "fr"))),
        routes=draw(some(ROUTES)),
        access=draw(some(ACCESS)),
        service=service,
        payments=draw(some(PAYMENTS)),
        price_at_most=draw(st.integers(0, 300)) if service else 0,
        telehealth=draw(st.booleans()),
        kap_trained=draw(st.booleans()),
        openings=draw(st.booleans()),
    )


def looking_for(required: Needs | None = None, preferred: Needs | None = None) -> Wanted:
    return wanted(required or Needs(), preferred or Needs(), now=NOW, fresh_since=FRESH_SINCE)


def rank(looked_for: Wanted, facts: Facts) -> int:
    found = score(looked_for, facts)
    assert found is not None
    return found


@given(needs(), needs())
def test_what_is_well_formed_is_accepted(required: Needs, preferred: Needs) -> None:
    check_needs(required)
    check_needs(preferred)


@given(PROFILES)
def test_a_well_formed_profile_is_accepted_and_fits_its_columns(profile: Practice) -> None:
    check_profile(profile)
    offer = offer_of(profile)
    assert all(0 <= number_in(offer[name]) < 2**63 for name in NUMBERS)


@given(needs(), FACTS)
def test_the_score_is_the_sum_of_the_stated_reasons(preferred: Needs, facts: Facts) -> None:
    looked_for = looking_for(preferred=preferred)
    stated = reasons(looked_for, facts)
    assert rank(looked_for, facts) == sum(reason.points for reason in stated)
    assert all(reason.met == (reason.points > 0) for reason in stated)
    assert {reason.code for reason in stated} <= POINTS.keys()


@given(needs(), needs(), FACTS)
def test_requirements_take_away_and_never_add(required: Needs, preferred: Needs, facts: Facts) -> None:
    """Preferences neither bring back nor take away whom the requirements leave."""
    with_preferences = score(looking_for(required, preferred), facts)
    assert (with_preferences is None) == (score(looking_for(required), facts) is None)
    if with_preferences is not None:
        named_by_both = Needs(service=preferred.service or required.service)
        if named_by_both.service == preferred.service:
            assert with_preferences == score(looking_for(preferred=preferred), facts)


@given(needs(), FACTS, st.sampled_from(MODALITIES))
def test_one_more_wish_never_lowers_a_score(preferred: Needs, facts: Facts, modality: str) -> None:
    more = Needs()
    more.CopyFrom(preferred)
    if modality not in more.modalities:
        more.modalities.append(modality)
    assert rank(looking_for(preferred=more), facts) >= rank(looking_for(preferred=preferred), facts)


@given(needs(), FACTS)
def test_whoever_is_listed_meets_every_requirement(required: Needs, facts: Facts) -> None:
    looked_for = looking_for(required)
    stated = reasons(looked_for, facts)
    listed = score(looked_for, facts) is not None
    asked = [want.code for want in looked_for.required if want.code != "openings"]
    given_for = [reason for reason in stated if reason.points == 0 and reason.code in asked]
    if listed:
        assert [reason.code for reason in given_for] == asked
        assert all(reason.met for reason in given_for)


@given(FACTS)
def test_who_asks_for_nothing_finds_everybody(facts: Facts) -> None:
    assert score(looking_for(), facts) is not None


@given(st.lists(some(ACCESS), max_size=3), some(ACCESS, 1))
def test_access_needs_are_met_by_one_site_as_a_whole(sites: list[list[str]], asked: list[str]) -> None:
    practice = Practice(sites=[Site(name="A site", access=site) for site in sites])
    found = score(looking_for(Needs(access=asked)), Facts(offer=offer_of(practice)))
    assert (found is not None) == any(set(asked) <= set(site) for site in sites)


@pytest.mark.parametrize(("hours", "counts"), [(-1, False), (0, True), (14 * 24, True), (14 * 24 + 1, False)])
def test_an_opening_is_soon_within_two_weeks(hours: int, counts: bool) -> None:
    facts = Facts(
        offer=offer_of(Practice()), stated_at=NOW, next_openings=((NOW + timedelta(hours=hours), ""),)
    )
    assert rank(looking_for(), facts) == (POINTS["opening-soon"] if counts else 0)


def test_a_price_without_its_service_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        check_needs(Needs(price_at_most=100))
    assert caught.value.field == "service"


@given(st.integers(0, 400), st.integers(1, 400))
def test_a_price_is_held_against_the_lowest_that_is_stated(lowest: int, limit: int) -> None:
    service = Service(service="psychotherapy", payments=["self-pay"], lowest_price=lowest, highest_price=500)
    facts = Facts(offer=offer_of(Practice(services=[service])))
    required = Needs(service="psychotherapy", price_at_most=limit)
    assert (score(looking_for(required), facts) is not None) == (lowest <= limit)


def test_the_page_for_people_has_every_reason_with_its_points() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "directory.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", page, re.MULTILINE)
    assert {code: int(points) for code, points in rows} == POINTS
