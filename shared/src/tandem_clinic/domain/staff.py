"""Who acts inside a clinic, and what each role may do."""

from dataclasses import dataclass
from enum import StrEnum

from tandem_platform.errors import Code, Refusal


class Role(StrEnum):
    CLINICIAN = "clinician"
    NURSE = "nurse"
    DELEGATE = "delegate"
    COORDINATOR = "coordinator"
    AUDITOR = "auditor"
    ADMIN = "admin"
    INTEGRATION = "integration"


class NotYourRole(Refusal):
    def __init__(self, needed: frozenset[Role]) -> None:
        super().__init__(
            Code.PERMISSION_DENIED,
            "NOT_YOUR_ROLE",
            "your roles do not allow this",
            way_out=f"it takes one of: {', '.join(sorted(needed))}",
        )


CARE = frozenset({Role.CLINICIAN, Role.NURSE, Role.DELEGATE, Role.INTEGRATION})
"""Who may record and read clinical content."""

COORDINATION = CARE | {Role.COORDINATOR}
"""Who may move referrals, appointments and permissions along."""

OVERSIGHT = frozenset({Role.AUDITOR, Role.ADMIN})

ADMINISTRATION = frozenset({Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Staff:
    """A person or system of the clinic's own. ``staff_id`` is opaque; the name is shown on what they author."""

    staff_id: str
    display_name: str
    roles: frozenset[Role]

    def require(self, needed: frozenset[Role]) -> None:
        if not self.roles & needed:
            raise NotYourRole(needed)
