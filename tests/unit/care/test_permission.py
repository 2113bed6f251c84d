"""The permission algebra against an oracle that was written apart from it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_care.categories import EMERGENCY, Basis, Category, Effect, Purpose
from tandem_care.errors import Invalid
from tandem_care.permission import (
    SENTENCES,
    EmergencyAccess,
    Permission,
    PermissionState,
    Question,
    Rule,
    decide,
    needs_redisclosure_notice,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def a_permission(**changes: Any) -> Permission:
    fields: dict[str, Any] = {
        "id": "perm_1",
        "version": 1,
        "discloser": "juniper",
        "recipient": "riverbend",
        "episode": "epi_1",
        "categories": frozenset({Category.SCALE_SCORE}),
        "purpose": Purpose.TREATMENT,
        "basis": Basis.WRITTEN,
        "starts_at": hour(0),
    }
    return Permission(**(fields | changes))


def a_question(**changes: Any) -> Question:
    fields: dict[str, Any] = {
        "discloser": "juniper",
        "recipient": "riverbend",
        "episode": "epi_1",
        "category": "scale-score",
        "authored_at": hour(1),
        "now": hour(2),
        "purpose": "treatment",
    }
    return Question(**(fields | changes))


def answer(*permissions: Permission, **changes: Any) -> Rule:
    decision = decide(permissions, a_question(**changes), True, True)
    assert decision.permitted == (decision.rule is Rule.PERMITTED)
    return decision.rule


# One fact each


def test_an_active_permission_permits_and_is_named():
    decision = decide([a_permission(version=3)], a_question(), True, True)
    assert (decision.permitted, decision.permission_id, decision.version) == (True, "perm_1", 3)
    assert decision.sentence.startswith("An active permission")


def test_nothing_is_permitted_without_a_permission():
    assert answer() is Rule.NO_PERMISSION


@pytest.mark.parametrize("other", ["discloser", "recipient", "episode"])
def test_a_permission_of_another_scope_permits_nothing(other):
    assert answer(a_permission(**{other: "another"})) is Rule.NO_PERMISSION


def test_sharing_the_other_way_is_another_permission():
    back = a_permission(discloser="riverbend", recipient="juniper")
    assert answer(back) is Rule.NO_PERMISSION


def test_the_period_includes_its_start_and_excludes_its_end():
    bounded = a_permission(starts_at=hour(2), ends_at=hour(4), history_from=hour(0))
    assert answer(bounded, now=hour(2) - timedelta(microseconds=1)) is Rule.NOT_STARTED
    assert answer(bounded, now=hour(2)) is Rule.PERMITTED
    assert answer(bounded, now=hour(4) - timedelta(microseconds=1)) is Rule.PERMITTED
    assert answer(bounded, now=hour(4)) is Rule.EXPIRED


def test_history_opens_nothing_before_the_start_unless_it_says_so():
    assert answer(a_permission(starts_at=hour(1)), authored_at=hour(1)) is Rule.PERMITTED
    before = hour(1) - timedelta(microseconds=1)
    assert answer(a_permission(starts_at=hour(1)), authored_at=before) is Rule.BEFORE_HISTORY
    assert answer(a_permission(starts_at=hour(1), history_from=hour(0)), authored_at=before) is Rule.PERMITTED


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        (PermissionState.REVOKED, Rule.REVOKED),
        (PermissionState.HELD, Rule.HELD),
        (PermissionState.EXPIRED, Rule.EXPIRED),
    ],
)
def test_only_an_active_permission_permits(state, rule):
    assert answer(a_permission(state=state)) is rule


def test_only_the_newest_version_counts_in_whatever_order_they_come():
    granted, revoked = a_permission(), a_permission(version=2, state=PermissionState.REVOKED)
    assert answer(granted, revoked) is Rule.REVOKED
    assert answer(revoked, granted) is Rule.REVOKED


def test_a_permission_narrowed_by_a_new_version_no_longer_covers_what_it_did():
    narrowed = a_permission(version=2, categories=frozenset({Category.APPOINTMENT}))
    assert answer(a_permission(), narrowed) is Rule.CATEGORY_NOT_NAMED


def test_after_a_revocation_a_new_permission_permits_again():
    revoked = a_permission(state=PermissionState.REVOKED)
    assert answer(revoked, a_permission(id="perm_2")) is Rule.PERMITTED


def test_permits_add_up():
    appointments = a_permission(id="perm_2", categories=frozenset({Category.APPOINTMENT}))
    assert answer(a_permission(), appointments) is Rule.PERMITTED
    assert answer(a_permission(), appointments, category="appointment") is Rule.PERMITTED
    assert answer(a_permission(), appointments, category="message") is Rule.CATEGORY_NOT_NAMED


def test_a_denial_wins_over_every_permit_and_over_all_history():
    denial = a_permission(id="perm_9", effect=Effect.DENY, starts_at=hour(2))
    assert answer(a_permission(), denial, authored_at=hour(0)) is Rule.DENIED
    assert answer(a_permission(), denial, authored_at=hour(0), now=hour(1)) is Rule.PERMITTED


def test_holding_a_denial_does_not_open_what_it_closes_and_revoking_it_does():
    denial = a_permission(id="perm_9", effect=Effect.DENY)
    assert answer(a_permission(), replace(denial, state=PermissionState.HELD)) is Rule.DENIED
    assert answer(a_permission(), replace(denial, state=PermissionState.REVOKED)) is Rule.PERMITTED


def test_a_purpose_that_is_not_named_is_not_permitted():
    assert answer(a_permission(purpose=Purpose.PAYMENT)) is Rule.PURPOSE_NOT_NAMED
    assert (
        answer(a_permission(purpose=Purpose.TREATMENT_PAYMENT_OPERATIONS), purpose="payment")
        is Rule.PERMITTED
    )


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"category": "psychotherapy-note"}, Rule.UNKNOWN_CATEGORY),
        ({"category": ""}, Rule.UNKNOWN_CATEGORY),
        ({"purpose": "marketing"}, Rule.UNKNOWN_PURPOSE),
    ],
)
def test_the_unknown_is_not_permitted(changes, rule):
    assert answer(a_permission(categories=frozenset(Category)), **changes) is rule


def test_nothing_is_permitted_outside_an_active_partnership_or_a_live_referral():
    assert decide([a_permission()], a_question(), False, True).rule is Rule.PARTNERSHIP_NOT_ACTIVE
    assert decide([a_permission()], a_question(), True, False).rule is Rule.REFERRAL_NOT_LIVE


@pytest.mark.parametrize("category", Category)
def test_a_treatment_relationship_never_covers_part_2_or_other_sensitive(category):
    relation = a_permission(basis=Basis.TREATMENT_RELATIONSHIP, categories=frozenset(Category))
    question = a_question(category=category)
    never = category in {Category.SUBSTANCE_USE, Category.OTHER_SENSITIVE}
    assert (
        decide([relation], question, True, True, treatment_relationship_allowed=True).permitted is not never
    )
    assert not decide([relation], question, True, True).permitted
    held_as_part_2 = replace(question, part2=True)
    assert not decide([relation], held_as_part_2, True, True, treatment_relationship_allowed=True).permitted
    assert decide([replace(relation, basis=Basis.WRITTEN)], held_as_part_2, True, True).permitted


@pytest.mark.parametrize("category", Category)
def test_a_word_without_a_signature_never_covers_part_2(category):
    word = a_permission(basis=Basis.VERBAL, categories=frozenset(Category))
    question = a_question(category=category)
    assert decide([word], question, True, True).permitted is (category is not Category.SUBSTANCE_USE)
    assert decide([word], replace(question, part2=True), True, True).rule is Rule.WRITING_REQUIRED


def test_what_was_made_from_several_categories_needs_permission_for_each():
    scores = a_permission()
    made = {"derived_from": frozenset({"safety-risk"})}
    assert answer(scores, **made) is Rule.CATEGORY_NOT_NAMED
    risks = a_permission(id="perm_2", categories=frozenset({Category.SAFETY_RISK}))
    assert answer(scores, risks, **made) is Rule.PERMITTED
    no_risks = replace(risks, effect=Effect.DENY)
    assert answer(scores, no_risks, **made) is Rule.DENIED


def test_the_refusal_names_the_permission_that_came_nearest():
    wrong_category = a_permission(id="perm_1", categories=frozenset({Category.MESSAGE}))
    held = a_permission(id="perm_2", state=PermissionState.HELD, version=4)
    decision = decide([held, wrong_category], a_question(), True, True)
    assert (decision.rule, decision.permission_id, decision.version) == (Rule.HELD, "perm_2", 4)


def test_the_firmest_of_several_permits_is_named():
    verbal = a_permission(id="perm_1", basis=Basis.VERBAL)
    written = a_permission(id="perm_2", basis=Basis.WRITTEN)
    assert decide([verbal, written], a_question(), True, True).permission_id == "perm_2"


def test_every_rule_has_a_sentence():
    assert set(SENTENCES) == set(Rule)


def an_emergency(**changes: Any) -> EmergencyAccess:
    fields: dict[str, Any] = {
        "discloser": "juniper",
        "recipient": "riverbend",
        "facility": "Riverbend, site 1",
        "episode": "epi_1",
        "nature": "unresponsive-after-dose",
        "starts_at": hour(2),
        "ends_at": hour(6),
    }
    return EmergencyAccess(**(fields | changes))


@pytest.mark.parametrize("category", Category)
def test_an_emergency_opens_the_emergency_set_even_against_a_denial(category):
    denial = a_permission(effect=Effect.DENY, categories=frozenset(Category))
    decision = decide([denial], a_question(category=category), True, False, emergency=an_emergency())
    assert decision.permitted == (category in EMERGENCY)
    assert (decision.rule is Rule.EMERGENCY_ACCESS) == decision.permitted


@pytest.mark.parametrize(
    "changes",
    [
        {"discloser": "another"},
        {"recipient": "another"},
        {"episode": "another"},
        {"starts_at": hour(3)},
        {"starts_at": hour(1), "ends_at": hour(2)},
    ],
)
def test_an_emergency_opens_nothing_outside_its_scope_and_time(changes):
    question = a_question(category=Category.SAFETY_RISK)
    assert not decide([], question, True, True, emergency=an_emergency(**changes)).permitted


def test_an_emergency_opens_nothing_that_was_made_from_more_than_the_emergency_set():
    question = a_question(category=Category.SAFETY_RISK, derived_from=frozenset({"substance-use"}))
    assert not decide([], question, True, True, emergency=an_emergency()).permitted


def test_an_emergency_opens_nothing_without_the_partnership():
    question = a_question(category=Category.SAFETY_RISK)
    assert not decide([], question, False, True, emergency=an_emergency()).permitted


@pytest.mark.parametrize("missing", ["discloser", "recipient", "facility", "nature"])
def test_an_emergency_is_not_recorded_without_all_that_2_51_asks_for(missing):
    with pytest.raises(Invalid) as refusal:
        an_emergency(**{missing: " "})
    assert refusal.value.field == missing


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"starts_at": datetime(2026, 3, 1)}, "starts_at"),  # noqa: DTZ001
        ({"ends_at": hour(0)}, "ends_at"),
        ({"categories": frozenset()}, "categories"),
        ({"recipient": "juniper"}, "recipient"),
        ({"version": 0}, "version"),
    ],
)
def test_a_permission_that_makes_no_sense_cannot_be_made(changes, field):
    with pytest.raises(Invalid) as refusal:
        a_permission(**changes)
    assert refusal.value.field == field


def test_the_redisclosure_notice_rides_with_part_2():
    assert needs_redisclosure_notice({"substance-use"}, part2=False)
    assert needs_redisclosure_notice({"appointment"}, part2=True)
    assert not needs_redisclosure_notice({"other-sensitive"}, part2=False)


# Against an oracle that was written from the rules, not from the code


def oracle(
    permissions: Iterable[Permission], q: Question, partners: bool, live: bool, relation_accepted: bool
) -> bool:
    """Walk over every permission and every category involved, and keep two ledgers."""
    permissions = list(permissions)
    wanted = [q.category, *q.derived_from]
    if not (partners and live):
        return False
    known = [c.value for c in Category]
    if any(name not in known for name in wanted):
        return False
    if q.purpose not in (
        "treatment",
        "payment",
        "operations",
        "care-coordination",
        "treatment-payment-operations",
    ):
        return False
    for name in wanted:
        allowed = forbidden = False
        for p in permissions:
            if [o for o in permissions if o.id == p.id and o.version > p.version]:
                continue
            if [p.discloser, p.recipient, p.episode] != [q.discloser, q.recipient, q.episode]:
                continue
            if name not in [c.value for c in p.categories]:
                continue
            if p.purpose.value == "treatment":
                if q.purpose not in ("treatment", "care-coordination"):
                    continue
            elif p.purpose.value != "treatment-payment-operations" and q.purpose != p.purpose.value:
                continue
            if q.now < p.starts_at or (p.ends_at and q.now >= p.ends_at):
                continue
            if p.effect.value == "deny":
                if p.state.value in ("active", "held"):
                    forbidden = True
                continue
            if p.state.value != "active":
                continue
            if q.authored_at < (p.history_from or p.starts_at):
                continue
            if p.basis.value == "verbal-attested" and (q.part2 or name == "substance-use"):
                continue
            if p.basis.value == "treatment-relationship" and (
                not relation_accepted or q.part2 or name in ("substance-use", "other-sensitive")
            ):
                continue
            allowed = True
        if forbidden or not allowed:
            return False
    return True


# Small worlds, in which permissions and questions often meet


class Dice:
    """Choices read from drawn bytes: one draw per world, where a draw per choice would take ten times as long."""

    def __init__(self, rolls: bytes) -> None:
        self._rolls = iter(rolls)

    def pick(self, *choices: Any) -> Any:
        return choices[next(self._rolls) % len(choices)]

    def mostly(self, usual: Any, *others: Any) -> Any:
        return self.pick(*[usual] * 9, *others)

    def some(self, *choices: Any) -> frozenset[Any]:
        chosen = next(self._rolls)
        return frozenset(each for place, each in enumerate(choices) if chosen >> place & 1) or frozenset(
            choices[:1]
        )


_HOURS = [hour(number) for number in range(6)]
_CATEGORIES = [Category.SCALE_SCORE, Category.MESSAGE, Category.SUBSTANCE_USE, Category.OTHER_SENSITIVE]


def permission_from(dice: Dice) -> Permission:
    starts, lasts = dice.pick(0, 0, 0, 1, 2, 3, 4), dice.pick(None, None, None, 1, 3)
    return Permission(
        id=dice.pick("perm_1", "perm_2", "perm_3"),
        version=dice.pick(1, 2, 3),
        discloser=dice.mostly("juniper", "aspen"),
        recipient="riverbend",
        episode=dice.mostly("epi_1", "epi_2"),
        categories=dice.some(*_CATEGORIES),
        purpose=dice.mostly(Purpose.TREATMENT, *Purpose),
        basis=dice.pick(Basis.WRITTEN, *Basis),
        effect=dice.mostly(Effect.PERMIT, Effect.DENY),
        starts_at=hour(starts),
        ends_at=None if lasts is None else hour(starts + lasts),
        history_from=dice.mostly(None, *_HOURS),
        state=dice.mostly(PermissionState.ACTIVE, *PermissionState),
    )


def question_from(dice: Dice) -> Question:
    return a_question(
        category=dice.mostly(
            "scale-score", "message", "substance-use", "other-sensitive", "psychotherapy-note"
        ),
        authored_at=dice.pick(*_HOURS[1:]),
        now=dice.pick(*_HOURS[3:]),
        purpose=dice.mostly("treatment", "payment", "care-coordination", "marketing"),
        derived_from=dice.mostly(
            frozenset(), frozenset({"message"}), frozenset({"substance-use", "message"})
        ),
        part2=dice.mostly(False, True),
    )


def permissions_from(dice: Dice) -> list[Permission]:
    """Up to five, each id and version once."""
    found = [permission_from(dice) for _ in range(dice.pick(1, 2, 3, 4, 5, 5, 5))]
    return list({(p.id, p.version): p for p in found}.values())


dices = st.binary(min_size=90, max_size=90).map(Dice)
permission_lists = dices.map(permissions_from)
questions = dices.map(question_from)


def test_decisions_agree_with_an_independent_oracle_in_ten_thousand_worlds():
    answered: Counter[bool] = Counter()

    @settings(max_examples=10_000, deadline=None)
    @given(dices)
    def agrees(dice):
        question, found = question_from(dice), permissions_from(dice)
        partners, live, relation_accepted = (
            dice.mostly(True, False),
            dice.mostly(True, False),
            dice.pick(True, False),
        )
        decision = decide(found, question, partners, live, treatment_relationship_allowed=relation_accepted)
        assert decision.permitted == oracle(found, question, partners, live, relation_accepted)
        assert (decision.rule is Rule.PERMITTED) == decision.permitted
        answered[decision.permitted] += 1
        if decision.permitted:
            [named] = [p for p in found if (p.id, p.version) == (decision.permission_id, decision.version)]
            assert question.category in named.categories
            assert named.effect is Effect.PERMIT

    agrees()
    assert min(answered[True], answered[False]) > 1_000, "worlds in which one answer is rare prove little"


@settings(max_examples=500, deadline=None)
@given(permission_lists, questions, st.data())
def test_a_decision_does_not_depend_on_the_order_of_permissions(found, question, data):
    shuffled = data.draw(st.permutations(found))
    assert decide(found, question, True, True) == decide(shuffled, question, True, True)


@settings(max_examples=500, deadline=None)
@given(permission_lists, questions, st.data())
def test_revoking_or_holding_a_permit_never_opens_anything(found, question, data):
    permits = [p for p in found if p.effect is Effect.PERMIT]
    if permits and not decide(found, question, True, True).permitted:
        chosen = data.draw(st.sampled_from(permits))
        state = data.draw(st.sampled_from([PermissionState.REVOKED, PermissionState.HELD]))
        newest = max(p.version for p in found if p.id == chosen.id)
        changed = replace(chosen, version=newest + 1, state=state)
        if chosen.version == newest:
            assert not decide([*found, changed], question, True, True).permitted
