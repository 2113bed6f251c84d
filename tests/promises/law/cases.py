"""Makes what the engine takes of the table's facts. Where a fact can be so in several ways, they take turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, Final

from tandem_care.categories import Basis, Category, Effect, Purpose
from tandem_care.errors import Invalid
from tandem_care.law.elements import Element
from tandem_care.law.signers import SignatureFault
from tandem_care.permission import EmergencyAccess, Permission, PermissionState, Question

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
INSTANT: Final = timedelta(microseconds=1)
SCOPE: Final[Mapping[str, Any]] = {"discloser": "juniper", "recipient": "riverbend", "episode": "epi_1"}
ITEM: Final = "ent_kept_back"
CODE: Final = "F10.2"
TURNS: Final = 13
"""After how many turns the ways in which a fact can be so come round again."""


def hours(number: int) -> datetime:
    return NOW + timedelta(hours=number)


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that one decision is made from, and which permission it must name."""

    permissions: tuple[Permission, ...]
    question: Question
    partnership_active: bool
    referral_live: bool
    relationship_allowed: bool
    emergency: EmergencyAccess | None

    def put_to(self, decide: Any) -> Any:
        return decide(
            self.permissions,
            self.question,
            self.partnership_active,
            self.referral_live,
            treatment_relationship_allowed=self.relationship_allowed,
            emergency=self.emergency,
        )


ELSEWHERE: Final[Sequence[Mapping[str, str]]] = (
    {"recipient": "alder"},
    {"episode": "epi_2"},
    {"discloser": "alder"},
    {"discloser": "riverbend", "recipient": "juniper"},
)
PURPOSES: Final[Mapping[str, Sequence[tuple[str, Purpose]]]] = {
    "treatment-named": [
        ("treatment", Purpose.TREATMENT),
        ("treatment", Purpose.TREATMENT_PAYMENT_OPERATIONS),
        ("care-coordination", Purpose.TREATMENT),
        ("care-coordination", Purpose.CARE_COORDINATION),
    ],
    "treatment-not-named": [
        ("treatment", Purpose.PAYMENT),
        ("care-coordination", Purpose.OPERATIONS),
        ("treatment", Purpose.CARE_COORDINATION),
    ],
    "other-named": [
        ("payment", Purpose.PAYMENT),
        ("operations", Purpose.OPERATIONS),
        ("payment", Purpose.TREATMENT_PAYMENT_OPERATIONS),
    ],
    "other-not-named": [
        ("payment", Purpose.TREATMENT),
        ("operations", Purpose.PAYMENT),
        ("treatment-payment-operations", Purpose.TREATMENT),
    ],
    "unknown": [("marketing", Purpose.TREATMENT_PAYMENT_OPERATIONS), ("", Purpose.TREATMENT)],
}
BASES: Final = {
    "written": Basis.WRITTEN,
    "verbal": Basis.VERBAL,
    "relationship": Basis.TREATMENT_RELATIONSHIP,
}
FAULTS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "lacking": [{"lacking": (element,)} for element in Element] + [{"lacking": tuple(Element)}],
    "unauthorised": [{"signature_fault": fault} for fault in SignatureFault],
    "ended": [{"authority_until": NOW}, {"authority_until": hours(-100)}],
    "overdue": [{"signature_due_at": NOW}, {"signature_due_at": hours(-1)}],
}
SOUND: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "written": [{}, {"authority_until": NOW + INSTANT}, {"signature_due_at": hours(-1)}],
    "verbal": [{}, {"signature_due_at": NOW + INSTANT}, {"authority_until": hours(3)}],
    "relationship": [{}],
}
# When it starts and ends; the history that it opens begins with BEGINS.
BEGINS: Final = hours(-20)
PERIODS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "before": [
        {"starts_at": NOW + INSTANT, "history_from": BEGINS},
        {"starts_at": hours(5), "ends_at": hours(6), "history_from": BEGINS},
    ],
    "within": [
        {"starts_at": BEGINS},
        {"starts_at": NOW, "history_from": BEGINS},
        {"starts_at": BEGINS, "ends_at": NOW + INSTANT},
    ],
    "after": [
        {"starts_at": BEGINS, "ends_at": NOW},
        {"starts_at": hours(-30), "history_from": BEGINS, "ends_at": hours(-1)},
    ],
}
AUTHORED: Final = {"in-history": [BEGINS, hours(-1)], "before-history": [BEGINS - INSTANT, hours(-500)]}
FOUR_FACTS: Final = {"facility": "Riverbend, site 1", "nature": "unresponsive-after-dose"}
MISSING: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "no-recipient": [{"recipient": " "}, {"facility": ""}],
    "no-discloser": [{"discloser": ""}],
    "no-time": [{"starts_at": None}],
    "no-nature": [{"nature": " "}],
}


class Cases:
    """Gives each combination of facts a form; which of several is a matter of turn, and can be asked for."""

    def __init__(self, kinds: Mapping[str, Sequence[str]]) -> None:
        self._kinds = kinds
        self._turns = count()

    def of(self, facts: Mapping[str, str], turn: int | None = None) -> Given:
        turn = next(self._turns) if turn is None else turn
        kind = self._kinds[facts["category"]]
        category = kind[turn % len(kind)]
        exception = facts["exception"]
        permission = a_permit(
            facts["recipient"] == "named",
            category,
            facts["named"] == "yes",
            facts["purpose"],
            facts["basis"],
            facts["period"],
            facts["state"],
            turn % TURNS,
        )
        question = a_question(
            category,
            facts["purpose"],
            facts["authored"],
            facts["program"] == "yes",
            exception,
            turn % TURNS,
        )
        return Given(
            (permission, *kept_back(category, exception, turn % 2)),
            question,
            facts["partnership"] == "active",
            facts["referral"] == "live",
            facts["basis"] != "relationship-not-accepted",
            emergency(facts["emergency"]),
        )


@cache
def a_permit(
    to_the_recipient: bool,
    category: str,
    named: bool,
    purpose: str,
    basis: str,
    period: str,
    state: str,
    turn: int,
) -> Permission:
    kind, *faults = basis.removesuffix("-not-accepted").split("-")
    wrong: dict[str, Any] = {}
    for fault in faults:
        wrong |= taking_turns(FAULTS[fault], turn)
    purposes = PURPOSES[purpose]
    return Permission(
        **{
            "id": "perm_1",
            "version": 3,
            **SCOPE,
            "categories": categories(category, named),
            "purpose": purposes[turn % len(purposes)][1],
            "basis": BASES[kind],
            "state": PermissionState(state),
            **taking_turns(PERIODS[period], turn // 2),
            **(wrong or taking_turns(SOUND[kind], turn // 3)),
            **({} if to_the_recipient else taking_turns(ELSEWHERE, turn)),
        }
    )


@cache
def a_question(
    category: str, purpose: str, authored: str, program: bool, exception: str, turn: int
) -> Question:
    purposes, times = PURPOSES[purpose], AUTHORED[authored]
    return Question(
        **SCOPE,
        category=category,
        authored_at=times[turn % len(times)],
        now=NOW,
        purpose=purposes[turn % len(purposes)][0],
        part2=program,
        item=ITEM if "item" in exception else "ent_other",
        codes=frozenset({CODE, "F33.1"}) if "code" in exception else frozenset({"F33.1"}),
    )


@cache
def kept_back(category: str, exception: str, turn: int) -> tuple[Permission, ...]:
    """Denials of what the patient keeps back, in force or on hold; and, in any case, some that are not."""
    denial = Permission(
        id="perm_9",
        version=1,
        **SCOPE,
        categories=categories(category, named=True),
        purpose=Purpose.TREATMENT_PAYMENT_OPERATIONS,
        basis=Basis.VERBAL,
        effect=Effect.DENY,
        starts_at=NOW,
        state=(PermissionState.ACTIVE, PermissionState.HELD)[turn],
    )
    found = [
        changed(denial, id="perm_6", state=PermissionState.REVOKED),
        changed(denial, id="perm_7", state=PermissionState.DECLINED),
        changed(denial, id="perm_8", starts_at=NOW + INSTANT),
    ]
    if "category" in exception:
        found.append(denial)
    if "item" in exception:
        found.append(changed(denial, id="perm_91", items=frozenset({ITEM})))
    if "code" in exception:
        found.append(changed(denial, id="perm_92", codes=frozenset({CODE})))
    return tuple(found)


def changed(permission: Permission, **changes: Any) -> Permission:
    fields = {name: getattr(permission, name) for name in Permission.__slots__ if name != "is_plain"}
    return Permission(**(fields | changes))


@cache
def emergency(fact: str) -> EmergencyAccess | None:
    """None where there is no record, or none can be made."""
    if fact == "none":
        return None
    recorded: dict[str, Any] = {**SCOPE, **FOUR_FACTS, "starts_at": hours(-1), "ends_at": hours(1)}
    if fact in MISSING:
        for missing in MISSING[fact]:
            try:
                return EmergencyAccess(**{**recorded, **missing})
            except Invalid:
                continue
        return None
    return EmergencyAccess(**(recorded | ({"ends_at": NOW} if fact == "over" else {})))


def categories(category: str, named: bool) -> frozenset[Category]:
    """Those that a permission names: with others, or all others."""
    if category not in list(Category):
        return frozenset(Category)
    if named:
        return frozenset({Category(category), Category.MESSAGE, Category.LAB_RESULT})
    return frozenset(Category) - {Category(category)}


def taking_turns(ways: Sequence[Mapping[str, Any]], turn: int) -> Mapping[str, Any]:
    return ways[turn % len(ways)]
