"""Whether an entry may be disclosed: the rules asked in their order, of every permission in the scope."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tandem_care.categories import Basis, Effect
from tandem_care.law.emergency import EmergencyAccess
from tandem_care.law.facts import Permission, Question
from tandem_care.law.rules import CLAUSES, SENTENCES, Case, Clause, Rule


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, for the discloser and the audit. The recipient is never told why something was withheld."""

    permitted: bool
    rule: Rule
    permission_id: str | None = None
    version: int | None = None
    detail: str = ""
    """What of the permission decided, where the rule alone does not say it: the elements that a form lacks."""

    @property
    def sentence(self) -> str:
        return SENTENCES[self.rule]

    def explain(self) -> str:
        """The answer in words: permission, version and rule."""
        answer = "Released" if self.permitted else "Withheld"
        under = (
            f"permission {self.permission_id}, version {self.version}"
            if self.permission_id
            else "no permission"
        )
        because = f" {self.detail}." if self.detail else ""
        return f"{answer}: {self.sentence}{because} Rule {self.rule}; {under}."


_FIRMNESS: Final = {basis: place for place, basis in enumerate(Basis)}

_Ranked = tuple[int, Callable[[Case, Any], bool], Clause]
_Found = tuple[int, Clause, Permission | None]


class Law:
    """The rules in one order.

    What concerns the situation alone is asked once; the rest of every permit, but of a plain one only what can concern it.
    """

    def __init__(self, clauses: Sequence[Clause] = CLAUSES) -> None:
        ranked = [(rank, clause.applies, clause) for rank, clause in enumerate(clauses)]
        (self._emergency,) = (each for each in ranked if each[2].rule is Rule.EMERGENCY_ACCESS)
        ranked.remove(self._emergency)
        first = next(place for place, each in enumerate(ranked) if each[2].asks_permit)
        self._of_situation, self._of_permit = ranked[:first], ranked[first:]
        self._of_plain = [each for each in self._of_permit if not each[2].passes_plain]
        self._of_nobody = [each for each in self._of_permit if not each[2].asks_permit]

    def decide(
        self,
        permissions: Iterable[Permission],
        question: Question,
        partnership_active: bool,
        referral_live: bool,
        *,
        treatment_relationship_allowed: bool = False,
        emergency: EmergencyAccess | None = None,
    ) -> Decision:
        """Answer *question*. The order of *permissions* does not matter, nor do those of other scopes.

        Deny and what is kept back win; otherwise the union of the permits. Everything not permitted is refused.
        ``treatment_relationship_allowed``: the network and both practices accept that basis (45 CFR 164.506).
        Emergency access needs the partnership but no live referral, and answers only where nothing else permits.
        """
        permits: list[Permission] = []
        keepers: list[Permission] = []
        for each in _latest_versions(permissions):
            if (
                each.episode == question.episode
                and each.recipient == question.recipient
                and each.discloser == question.discloser
            ):
                if each.effect is Effect.PERMIT:
                    permits.append(each)
                    if each.items or each.codes:
                        keepers.append(each)
                else:
                    keepers.append(each)
        case = Case(
            question,
            partnership_active,
            referral_live,
            treatment_relationship_allowed,
            emergency,
            bool(permits),
        )
        answer = self._ask(case, permits, keepers)
        for code in sorted(question.derived_from):
            if not answer[1].grants:
                break
            case.category = code
            of_input = self._ask(case, permits, keepers)
            if not of_input[1].grants:
                answer = of_input
        return self._decision(case, *answer)

    def _ask(self, case: Case, permits: list[Permission], keepers: list[Permission]) -> _Found:
        """The rule that answers for the category that *case* looks at, and its rank and permit."""
        if keepers:
            _look_for_keepers(case, keepers)
        for rank, applies, clause in self._of_situation:
            if applies(case, None):
                return rank, clause, None
        granted: _Found | None = None
        nearest: _Found | None = None
        for permit in permits or _NOBODY:
            found = self._ask_of(permit, case)
            if found[1].grants:
                if granted is None or _firmness(found) < _firmness(granted):
                    granted = found
            elif nearest is None or (found[0], _id(permit)) > (nearest[0], _id(nearest[2])):
                nearest = found
        answer = granted or nearest
        assert answer is not None
        return answer

    def _ask_of(self, permit: Permission | None, case: Case) -> _Found:
        rules = self._of_nobody if permit is None else self._of_plain if permit.is_plain else self._of_permit
        for rank, applies, clause in rules:
            if applies(case, permit):
                return rank, clause, permit
        raise AssertionError("every permit is granted or missed by a rule, and to be without one is a rule")

    def _decision(self, case: Case, rank: int, clause: Clause, permit: Permission | None) -> Decision:
        before, opens, opening = self._emergency
        if not clause.grants and before < rank and opens(case, None):
            return Decision(True, opening.rule)
        named = permit if clause.names is None else clause.names(case)
        if named is None:
            return Decision(clause.grants, clause.rule)
        detail = "" if clause.detail is None else clause.detail(named)
        return Decision(clause.grants, clause.rule, named.id, named.version, detail)


decide: Final = Law().decide

_NOBODY: Final[tuple[None]] = (None,)


def _id(permit: Permission | None) -> str:
    return "" if permit is None else permit.id


def _firmness(found: _Found) -> tuple[int, str]:
    permit = found[2]
    assert permit is not None
    return _FIRMNESS[permit.basis], permit.id


def _look_for_keepers(case: Case, keepers: list[Permission]) -> None:
    """Find what keeps back the category that *case* looks at, its item, or a code that it bears."""
    question = case.question
    case.denial = case.item_keeper = case.code_keeper = None
    for keeper in sorted(keepers, key=_id, reverse=True):
        if not keeper.keeps_back(question.now):
            continue
        if keeper.items or keeper.codes:
            if question.item in keeper.items:
                case.item_keeper = keeper
            if not keeper.codes.isdisjoint(question.codes):
                case.code_keeper = keeper
        elif case.category in keeper.categories and question.purpose in keeper.purpose.covers:
            case.denial = keeper


def _latest_versions(permissions: Iterable[Permission]) -> list[Permission]:
    found = list(permissions)
    highest: dict[str, int] = {}
    for permission in found:
        highest[permission.id] = max(permission.version, highest.get(permission.id, 0))
    if len(highest) == len(found):
        return found
    return [permission for permission in found if permission.version == highest[permission.id]]
