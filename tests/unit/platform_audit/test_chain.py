"""Whatever is done to a chain of audit records shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tandem_platform.audit.chain import (
    NO_LINKS,
    Fact,
    Link,
    extend,
    link_hash,
    link_in,
    record_of,
    verify_chain,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WORDS = st.text(alphabet="ab-", max_size=4)
FACTS = st.builds(
    Fact,
    at=st.integers(0, 10**6).map(lambda micros: NOON + timedelta(microseconds=micros)),
    action=WORDS,
    episode_id=WORDS,
    entry_id=WORDS,
    counterpart_practice_id=WORDS,
    category=st.integers(0, 24),
    permission_id=WORDS,
    permission_version=st.integers(0, 2**40),
    rule=WORDS,
    referral_id=WORDS,
)


def a_chain(length: int = 5) -> list[Link]:
    return extend(
        "juniper",
        NO_LINKS,
        [Fact(at=NOON + timedelta(seconds=n), action="released", entry_id=f"e{n}") for n in range(length)],
    )


def faults(links: list[Link], chain: str = "juniper") -> set[str]:
    return {finding.fault for finding in verify_chain(chain, links)}


def test_an_untouched_chain_has_no_findings():
    assert faults(a_chain()) == set()


def test_an_edited_record_is_found_at_its_number():
    links = a_chain()
    links[2] = replace(links[2], fact=replace(links[2].fact, entry_id="other"))
    assert [(f.number, f.fault) for f in verify_chain("juniper", links)] == [(3, "not-what-was-hashed")]


def test_an_edited_and_rehashed_record_breaks_the_link_above_it():
    links = a_chain()
    fact = replace(links[2].fact, entry_id="other")
    links[2] = replace(links[2], fact=fact, hash=link_hash("juniper", 3, links[2].previous_hash, fact))
    assert [(f.number, f.fault) for f in verify_chain("juniper", links)] == [
        (4, "not-linked-to-the-one-before")
    ]


def test_a_deleted_an_inserted_and_a_reordered_record_are_found():
    links = a_chain()
    assert "out-of-sequence" in faults(links[:2] + links[3:])
    assert "out-of-sequence" in faults([*links[:3], links[2], *links[3:]])
    assert "out-of-sequence" in faults([links[1], links[0], *links[2:]])


def test_a_record_of_another_chain_is_found():
    assert faults(a_chain(), chain="riverbend") == {"not-what-was-hashed"}


@given(FACTS, FACTS)
def test_two_facts_never_hash_alike(one, other):
    alike = link_hash("juniper", 1, NO_LINKS.hash, one) == link_hash("juniper", 1, NO_LINKS.hash, other)
    assert alike == (one == other)


@given(FACTS)
def test_a_record_on_the_wire_is_the_link_again(fact):
    (link,) = extend("juniper", NO_LINKS, [fact])
    assert link_in(record_of(link)) == link
