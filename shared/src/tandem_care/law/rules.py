"""The rules of disclosure, each small and by itself, in the order in which they are asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from tandem_care.categories import PART2, TREATMENT_RELATIONSHIP, Basis, Category, Purpose
from tandem_care.law.emergency import EmergencyAccess, emergency_covers
from tandem_care.law.facts import Permission, PermissionState, Question


class Rule(StrEnum):
    """Why a question was answered as it was."""

    PERMITTED = "permitted"
    EMERGENCY_ACCESS = "emergency-access"
    UNKNOWN_CATEGORY = "unknown-category"
    UNKNOWN_PURPOSE = "unknown-purpose"
    PARTNERSHIP_NOT_ACTIVE = "partnership-not-active"
    REFERRAL_NOT_LIVE = "referral-not-live"
    DENIED = "denied"
    ITEM_KEPT_BACK = "item-kept-back"
    CODE_KEPT_BACK = "code-kept-back"
    NO_PERMISSION = "no-permission"
    CATEGORY_NOT_NAMED = "category-not-named"
    PURPOSE_NOT_NAMED = "purpose-not-named"
    NOT_BY_TREATMENT_RELATIONSHIP = "not-by-treatment-relationship"
    WRITING_REQUIRED = "writing-required"
    DECLINED_TO_SIGN = "declined-to-sign"
    REVOKED = "revoked"
    EXPIRED = "expired"
    HELD = "held"
    FORM_DEFICIENT = "form-deficient"
    SIGNER_WITHOUT_AUTHORITY = "signer-without-authority"
    AUTHORITY_ENDED = "authority-ended"
    SIGNATURE_OVERDUE = "signature-overdue"
    NOT_STARTED = "not-started"
    BEFORE_HISTORY = "before-history"


SENTENCES: Final[Mapping[Rule, str]] = MappingProxyType(
    {
        Rule.PERMITTED: "An active permission names this recipient, category, purpose and time.",
        Rule.EMERGENCY_ACCESS: "A recorded medical emergency opens this category to this recipient for now.",
        Rule.UNKNOWN_CATEGORY: "The category is not one that can be shared.",
        Rule.UNKNOWN_PURPOSE: "The purpose is not one that a permission can name.",
        Rule.PARTNERSHIP_NOT_ACTIVE: "The two practices have no active partnership.",
        Rule.REFERRAL_NOT_LIVE: "No live referral or shared episode joins the two practices.",
        Rule.DENIED: "The patient has said that this is not to be shared with this recipient.",
        Rule.ITEM_KEPT_BACK: "The patient has kept this one entry back.",
        Rule.CODE_KEPT_BACK: "The patient has kept back everything that bears a code which this entry bears.",
        Rule.NO_PERMISSION: "There is no permission for this recipient; ask the patient for one.",
        Rule.CATEGORY_NOT_NAMED: "The patient's permission does not name this category.",
        Rule.PURPOSE_NOT_NAMED: "The patient's permission does not name this purpose.",
        Rule.NOT_BY_TREATMENT_RELATIONSHIP: "A treatment relationship is not enough here; ask the patient.",
        Rule.WRITING_REQUIRED: "For records of substance use the patient's word is not enough; ask for a signature.",
        Rule.DECLINED_TO_SIGN: "The patient was asked for a permission and declined to sign.",
        Rule.REVOKED: "The patient has revoked the permission.",
        Rule.EXPIRED: "The permission has ended.",
        Rule.HELD: "The permission is on hold at the patient's word.",
        Rule.FORM_DEFICIENT: "The form does not say all that it must; complete it and have it signed again.",
        Rule.SIGNER_WITHOUT_AUTHORITY: "Whoever signed the form could not, or not alone; have it signed by who can.",
        Rule.AUTHORITY_ENDED: "Whoever signed for the patient may no longer decide; ask the patient.",
        Rule.SIGNATURE_OVERDUE: "The signature that was to follow the patient's word has not come in time.",
        Rule.NOT_STARTED: "The permission has not started yet.",
        Rule.BEFORE_HISTORY: "The entry is older than the history that the permission opens.",
    }
)

KEPT_BACK: Final = frozenset({Rule.DENIED, Rule.ITEM_KEPT_BACK, Rule.CODE_KEPT_BACK})
"""The rules by which the patient's own no decides, whatever else permits."""

_CATEGORIES: Final = frozenset(category.value for category in Category)
_PURPOSES: Final = frozenset(purpose.value for purpose in Purpose)


class Case:
    """A question about one of its categories, and what it is decided on beside a permission."""

    __slots__ = (
        "category",
        "code_keeper",
        "denial",
        "emergency",
        "has_permits",
        "item_keeper",
        "partnership_active",
        "question",
        "referral_live",
        "treatment_relationship_allowed",
    )

    def __init__(
        self,
        question: Question,
        partnership_active: bool,
        referral_live: bool,
        treatment_relationship_allowed: bool,
        emergency: EmergencyAccess | None,
        has_permits: bool,
    ) -> None:
        self.question = question
        self.category = question.category
        self.partnership_active = partnership_active
        self.referral_live = referral_live
        self.treatment_relationship_allowed = treatment_relationship_allowed
        self.emergency = emergency
        self.has_permits = has_permits
        self.denial: Permission | None = None
        self.item_keeper: Permission | None = None
        self.code_keeper: Permission | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule. ``applies`` is asked with a permit where ``asks_permit``, else with None."""

    rule: Rule
    applies: Callable[[Case, Any], bool]
    asks_permit: bool = False
    grants: bool = False
    names: Callable[[Case], Permission | None] | None = None
    """Which permission decided, where that is not the permit that was asked."""
    detail: Callable[[Permission], str] | None = None
    passes_plain: bool = False
    """Has nothing to say about a plain permit."""


def _unknown_category(case: Case, _: object) -> bool:
    """45 CFR 164.508(a)(2), 42 CFR 2.31(b): notes kept apart have no category, and what has none is not described."""
    return case.category not in _CATEGORIES


def _unknown_purpose(case: Case, _: object) -> bool:
    """42 CFR 2.31(a)(5)."""
    return case.question.purpose not in _PURPOSES


def _partnership_not_active(case: Case, _: object) -> bool:
    """45 CFR 164.514(h)(1): who asks is known, and is who may ask."""
    return not case.partnership_active


def _emergency_access(case: Case, _: object) -> bool:
    """42 CFR 2.51, 45 CFR 164.522(a)(1)(iii). Opens what later rules would withhold, and nothing else."""
    return case.emergency is not None and emergency_covers(case.emergency, case.question)


def _referral_not_live(case: Case, _: object) -> bool:
    """42 CFR 2.13(a): no more than the purpose needs."""
    return not case.referral_live


def _denied(case: Case, _: object) -> bool:
    """42 CFR 2.26, 45 CFR 164.522(a)."""
    return case.denial is not None


def _item_kept_back(case: Case, _: object) -> bool:
    return case.item_keeper is not None


def _code_kept_back(case: Case, _: object) -> bool:
    return case.code_keeper is not None


def _no_permission(case: Case, _: object) -> bool:
    """42 CFR 2.31(a)(4)(i)."""
    return not case.has_permits


def _category_not_named(case: Case, permit: Permission) -> bool:
    """42 CFR 2.31(a)(3)."""
    return case.category not in permit.categories


def _purpose_not_named(case: Case, permit: Permission) -> bool:
    """42 CFR 2.31(a)(5)."""
    return case.question.purpose not in permit.purpose.covers


def _not_by_treatment_relationship(case: Case, permit: Permission) -> bool:
    """45 CFR 164.506 serves where both practices accept it, never for Part 2 or what else is sensitive."""
    return permit.basis is Basis.TREATMENT_RELATIONSHIP and (
        not case.treatment_relationship_allowed
        or case.question.part2
        or case.category not in TREATMENT_RELATIONSHIP
    )


def _writing_required(case: Case, permit: Permission) -> bool:
    """42 CFR 2.31(a): consent to disclose Part 2 records is written."""
    return permit.basis is Basis.VERBAL and (case.question.part2 or case.category in PART2)


def _declined_to_sign(_: Case, permit: Permission) -> bool:
    """42 CFR 2.31(a)(8)."""
    return permit.state is PermissionState.DECLINED


def _revoked(_: Case, permit: Permission) -> bool:
    """42 CFR 2.31(c)(3), 45 CFR 164.508(b)(5)."""
    return permit.state is PermissionState.REVOKED


def _expired(case: Case, permit: Permission) -> bool:
    """42 CFR 2.31(c)(1), 45 CFR 164.508(b)(2)(i)."""
    return permit.is_over(case.question.now)


def _held(_: Case, permit: Permission) -> bool:
    return permit.state is PermissionState.HELD


def _form_deficient(_: Case, permit: Permission) -> bool:
    """42 CFR 2.31(c)(2), 45 CFR 164.508(b)(2)(ii)."""
    return permit.basis is Basis.WRITTEN and bool(permit.lacking)


def _signer_without_authority(_: Case, permit: Permission) -> bool:
    """42 CFR 2.14, 2.15; 45 CFR 164.502(g)."""
    return permit.signature_fault is not None


def _authority_ended(case: Case, permit: Permission) -> bool:
    """42 CFR 2.14, 2.15; 45 CFR 164.502(g)."""
    return permit.authority_until is not None and permit.authority_until <= case.question.now


def _signature_overdue(case: Case, permit: Permission) -> bool:
    return (
        permit.basis is Basis.VERBAL
        and permit.signature_due_at is not None
        and permit.signature_due_at <= case.question.now
    )


def _not_started(case: Case, permit: Permission) -> bool:
    """42 CFR 2.33(a)(1): in accordance with the consent."""
    return permit.starts_at > case.question.now


def _before_history(case: Case, permit: Permission) -> bool:
    """42 CFR 2.31(a)(3)."""
    return case.question.authored_at < permit.opens_from


def _permitted(_: Case, __: Permission) -> bool:
    """42 CFR 2.33(a), 45 CFR 164.506(c): nothing speaks against it."""
    return True


def _named_elements(permit: Permission) -> str:
    return ", ".join(f"{element} ({element.section})" for element in permit.lacking)


def _asks(
    rule: Rule,
    applies: Callable[[Case, Permission], bool],
    *,
    passes_plain: bool = False,
    detail: Callable[[Permission], str] | None = None,
) -> Clause:
    return Clause(rule, applies, asks_permit=True, passes_plain=passes_plain, detail=detail)


CLAUSES: Final[Sequence[Clause]] = (
    Clause(Rule.UNKNOWN_CATEGORY, _unknown_category),
    Clause(Rule.UNKNOWN_PURPOSE, _unknown_purpose),
    Clause(Rule.PARTNERSHIP_NOT_ACTIVE, _partnership_not_active),
    Clause(Rule.EMERGENCY_ACCESS, _emergency_access, grants=True),
    Clause(Rule.REFERRAL_NOT_LIVE, _referral_not_live),
    Clause(Rule.DENIED, _denied, names=lambda case: case.denial),
    Clause(Rule.ITEM_KEPT_BACK, _item_kept_back, names=lambda case: case.item_keeper),
    Clause(Rule.CODE_KEPT_BACK, _code_kept_back, names=lambda case: case.code_keeper),
    Clause(Rule.NO_PERMISSION, _no_permission),
    _asks(Rule.CATEGORY_NOT_NAMED, _category_not_named),
    _asks(Rule.PURPOSE_NOT_NAMED, _purpose_not_named),
    _asks(Rule.NOT_BY_TREATMENT_RELATIONSHIP, _not_by_treatment_relationship, passes_plain=True),
    _asks(Rule.WRITING_REQUIRED, _writing_required, passes_plain=True),
    _asks(Rule.DECLINED_TO_SIGN, _declined_to_sign, passes_plain=True),
    _asks(Rule.REVOKED, _revoked, passes_plain=True),
    _asks(Rule.EXPIRED, _expired),
    _asks(Rule.HELD, _held, passes_plain=True),
    _asks(Rule.FORM_DEFICIENT, _form_deficient, passes_plain=True, detail=_named_elements),
    _asks(
        Rule.SIGNER_WITHOUT_AUTHORITY,
        _signer_without_authority,
        passes_plain=True,
        detail=lambda permit: permit.signature_fault or "",
    ),
    _asks(Rule.AUTHORITY_ENDED, _authority_ended, passes_plain=True),
    _asks(Rule.SIGNATURE_OVERDUE, _signature_overdue, passes_plain=True),
    _asks(Rule.NOT_STARTED, _not_started),
    _asks(Rule.BEFORE_HISTORY, _before_history),
    Clause(Rule.PERMITTED, _permitted, asks_permit=True, grants=True),
)
"""From the farthest miss to the nearest: of several permits that miss, the one that came farthest is named."""
