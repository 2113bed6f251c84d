"""The signature under one dosing session."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.codec import Part
from tandem_care.entry_kinds.content import Code, Content, Name, Note, after, entry_kind
from tandem_care.entry_kinds.medication import Dose, Drug, Place, Route
from tandem_care.errors import Invalid


class GuardState(StrEnum):
    MET = "met"
    ATTESTED = "attested"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Part):
    """One condition of the pathway. By hand or against it, a named person gives the reason."""

    code: Code
    state: GuardState
    reason: Note | None = None
    by: Name | None = None

    def agree(self) -> None:
        if self.state is not GuardState.MET and (self.reason is None or self.by is None):
            raise Invalid("reason", "an attestation or override needs a reason and a name")


@entry_kind("dosing-clearance", Category.MEDICATION_PRESCRIPTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class DosingClearance(Content):
    """The prescriber's signature under one session."""

    session_at: datetime
    expires_at: datetime
    drug: Drug
    route: Route
    highest_dose: Dose
    place: Place
    pathway: Code
    guards: tuple[Guard, ...] = ()
    cleared_at: datetime
    cleared_by: Name

    def agree(self) -> None:
        after("expires_at", self.expires_at, self.session_at, "session_at")
        if len({guard.code for guard in self.guards}) != len(self.guards):
            raise Invalid("guards", "names a guard twice")
