"""What holds for any permissions at all: deny and revocation win, permits add up, and saying no never opens anything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promises.law.cases import CODE, ITEM, NOW, SCOPE, hours

from tandem_care.categories import Basis, Category, Effect, Purpose
from tandem_care.law.elements import Element
from tandem_care.law.signers import SignatureFault
from tandem_care.permission import (
    Decision,
    EmergencyAccess,
    Permission,
    PermissionState,
    Question,
    Rule,
    decide,
)

CATEGORIES = (Category.SCALE_SCORE, Category.SAFETY_RISK, Category.SUBSTANCE_USE)


class Dice:
    """Choices read from drawn bytes: one draw per world, where a draw per choice would take ten times as long."""

    def __init__(self, rolls: bytes) -> None:
        self._rolls: Iterator[int] = iter(rolls)

    def pick(self, *choices: Any) -> Any:
        return choices[next(self._rolls) % len(choices)]

    def rarely(self, usual: Any, *others: Any) -> Any:
        return self.pick(*[usual] * 8, *others)


dices = st.binary(min_size=80, max_size=80).map(Dice)


def a_permit(dice: Dice, number: int) -> Permission:
    return Permission(
        **SCOPE,
        id=f"perm_{number}",
        version=1,
        categories=dice.pick(frozenset(Category), frozenset({dice.pick(*CATEGORIES)})),
        purpose=dice.rarely(Purpose.TREATMENT, *Purpose),
        basis=dice.rarely(Basis.WRITTEN, *Basis),
        **dice.rarely(
            {"starts_at": hours(-9)},
            {"starts_at": hours(-9), "ends_at": NOW},
            {"starts_at": hours(-9), "ends_at": hours(2)},
            {"starts_at": hours(1), "ends_at": hours(2)},
        ),
        state=dice.rarely(PermissionState.ACTIVE, *PermissionState),
        items=dice.rarely(frozenset(), frozenset({ITEM}), frozenset({"ent_other"})),
        codes=dice.rarely(frozenset(), frozenset({CODE})),
        lacking=dice.rarely((), (Element.PURPOSE,)),
        signature_fault=dice.rarely(None, SignatureFault.BOTH_MUST_SIGN),
        authority_until=dice.rarely(None, NOW, hours(1)),
        signature_due_at=dice.rarely(None, NOW, hours(1)),
    )


def some_permits(dice: Dice) -> list[Permission]:
    return [a_permit(dice, number) for number in range(dice.pick(1, 2, 3))]


def a_denial(dice: Dice, **changes: Any) -> Permission:
    return replace(
        a_permit(dice, 9), effect=Effect.DENY, **{"items": frozenset(), "codes": frozenset(), **changes}
    )


def a_question(dice: Dice) -> Question:
    return Question(
        **SCOPE,
        category=dice.pick(*CATEGORIES),
        derived_from=dice.rarely(frozenset(), frozenset({dice.pick(*CATEGORIES)})),
        authored_at=dice.rarely(hours(-1), hours(-10)),
        now=NOW,
        purpose=dice.rarely("treatment", "payment"),
        part2=dice.rarely(False, True),
        item=ITEM,
        codes=dice.pick(frozenset({CODE}), frozenset()),
    )


def ask(permissions: Sequence[Permission], question: Question, **changes: Any) -> Decision:
    return decide(permissions, question, True, True, treatment_relationship_allowed=True, **changes)


World = tuple[list[Permission], Question, Dice]
worlds = dices.map(lambda dice: (some_permits(dice), a_question(dice), dice))


@settings(max_examples=1_000)
@given(worlds)
def test_a_denial_in_force_wins_over_every_permit(world: World) -> None:
    permits, question, dice = world
    denial = a_denial(
        dice,
        categories=frozenset({Category(question.category)}),
        purpose=Purpose.TREATMENT_PAYMENT_OPERATIONS,
        starts_at=NOW,
        ends_at=None,
        state=dice.pick(PermissionState.ACTIVE, PermissionState.HELD),
    )
    decision = ask([*permits, denial], question)
    assert (decision.rule, decision.permission_id) == (Rule.DENIED, "perm_9")


@settings(max_examples=1_000)
@given(worlds)
def test_to_say_no_to_anything_never_opens_anything(world: World) -> None:
    permits, question, dice = world
    denial = a_denial(dice, items=dice.pick(frozenset(), frozenset({ITEM})))
    excepting = replace(
        permits[0],
        items=permits[0].items | {"ent_1", ITEM},
        codes=permits[0].codes | {dice.pick(CODE, "F33")},
    )
    stopped = replace(
        permits[0], version=2, state=dice.pick(*[state for state in PermissionState if state != "active"])
    )
    before = ask(permits, question)
    for after in ([*permits, denial], [excepting, *permits[1:]]):
        assert before.permitted or not ask(after, question).permitted
    if not permits[0].items and not permits[0].codes:
        # What a permit keeps back is kept back no longer when the permit itself is taken back.
        assert before.permitted or not ask([*permits, stopped], question).permitted


@settings(max_examples=1_000)
@given(worlds)
def test_what_is_permitted_is_the_union_of_the_permits(world: World) -> None:
    permits, question, _ = world
    plain = replace(question, derived_from=frozenset())
    permits = [replace(permit, items=frozenset(), codes=frozenset()) for permit in permits]
    alone = [ask([permit], plain).permitted for permit in permits]
    assert ask(permits, plain).permitted == any(alone)


@settings(max_examples=1_000)
@given(worlds)
def test_one_more_permit_that_keeps_nothing_back_never_closes_anything(world: World) -> None:
    permits, question, dice = world
    more = replace(a_permit(dice, 8), items=frozenset(), codes=frozenset())
    assert ask([*permits, more], question).permitted or not ask(permits, question).permitted


@settings(max_examples=1_000)
@given(worlds)
def test_a_revoked_permit_permits_nothing(world: World) -> None:
    permits, question, _ = world
    revoked = [replace(permit, version=2, state=PermissionState.REVOKED) for permit in permits]
    assert not ask([*permits, *revoked], question).permitted


@settings(max_examples=500)
@given(worlds)
def test_an_answer_is_given_under_a_permission_as_it_stands(world: World) -> None:
    permits, question, _ = world
    decision = ask(permits, question)
    named = {permit.id: permit.version for permit in permits}
    assert decision.permission_id is None or named[decision.permission_id] == decision.version
    assert decision.permitted == (decision.rule is Rule.PERMITTED)


# Exceptions


def a_sound_permit(**changes: Any) -> Permission:
    return Permission(
        **{
            **SCOPE,
            "id": "perm_1",
            "version": 3,
            "categories": frozenset(Category),
            "purpose": Purpose.TREATMENT,
            "basis": Basis.WRITTEN,
            "starts_at": hours(-9),
            **changes,
        }
    )


def the_item(**changes: Any) -> Question:
    return Question(
        **{
            **SCOPE,
            "category": "safety-risk",
            "authored_at": hours(-1),
            "now": NOW,
            "purpose": "treatment",
            "item": ITEM,
            "codes": frozenset({CODE}),
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("exception", "rule"),
    [
        ({"items": frozenset({ITEM})}, Rule.ITEM_KEPT_BACK),
        ({"codes": frozenset({CODE})}, Rule.CODE_KEPT_BACK),
    ],
)
def test_what_a_permit_excepts_is_kept_back_from_other_permits_too(
    exception: Mapping[str, Any], rule: Rule
) -> None:
    excepting, other = a_sound_permit(**exception), a_sound_permit(id="perm_2")
    for permits in ([excepting], [excepting, other], [other, excepting]):
        decision = ask(permits, the_item())
        assert (decision.rule, decision.permission_id, decision.version) == (rule, "perm_1", 3)
    assert ask([excepting], the_item(item="ent_2", codes=frozenset({"F33.1"}))).permitted


def test_an_exception_holds_while_its_permit_is_on_hold_and_ends_with_it() -> None:
    excepting, other = a_sound_permit(items=frozenset({ITEM})), a_sound_permit(id="perm_2")
    held = replace(excepting, version=4, state=PermissionState.HELD)
    assert ask([held, other], the_item()).rule is Rule.ITEM_KEPT_BACK
    for over in (
        replace(excepting, state=PermissionState.REVOKED),
        replace(excepting, ends_at=NOW),
        replace(excepting, starts_at=hours(1)),
    ):
        assert ask([over, other], the_item()).permitted


def test_a_denial_of_one_item_denies_nothing_else() -> None:
    denial = a_sound_permit(id="perm_9", effect=Effect.DENY, items=frozenset({ITEM}))
    assert ask([a_sound_permit(), denial], the_item()).rule is Rule.ITEM_KEPT_BACK
    assert ask([a_sound_permit(), denial], the_item(item="ent_2")).permitted


def test_in_an_emergency_what_is_kept_back_of_its_set_is_opened() -> None:
    """45 CFR 164.522(a)(1)(iii): a restriction does not stand in the way of emergency treatment."""
    excepting = a_sound_permit(items=frozenset({ITEM}))
    recorded = EmergencyAccess(
        **SCOPE, facility="site 1", nature="unresponsive", starts_at=hours(-1), ends_at=hours(1)
    )
    assert ask([excepting], the_item(), emergency=recorded).rule is Rule.EMERGENCY_ACCESS
    assert ask([excepting], the_item(item="ent_2"), emergency=recorded).rule is Rule.PERMITTED
    assert not ask([excepting], the_item(category="scale-score"), emergency=recorded).permitted
    assert not ask([excepting], the_item(purpose="payment"), emergency=recorded).permitted
