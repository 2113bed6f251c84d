"""The signature under one dosing session, and its start."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.codec import Part
from tandem_care.entry_kinds.content import (
    Code,
    Content,
    Name,
    Note,
    Version,
    Zone,
    after,
    entry_kind,
    known_zone,
)
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


@entry_kind("dosing-clearance", Category.MEDICATION_PRESCRIPTION, version=2)
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
    pathway_version: Version | None = None
    guards: tuple[Guard, ...] = ()
    cleared_at: datetime
    cleared_by: Name

    def agree(self) -> None:
        after("expires_at", self.expires_at, self.session_at, "session_at")
        _each_once(self.guards)


@entry_kind("dosing-start", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class DosingStart(Content):
    """That a session began, where the dose is taken, and what let it begin.

    ``cleared_session_at`` names the clearance it rests on; without one, a guard says who vouched for it or overrode that.
    """

    started_at: datetime
    time_zone: Zone
    cleared_session_at: datetime | None = None
    drug: Drug
    route: Route
    dose: Dose
    place: Place
    pathway: Code
    pathway_version: Version
    guards: tuple[Guard, ...]
    started_by: Name

    def agree(self) -> None:
        known_zone("time_zone", self.time_zone)
        _each_once(self.guards)


def _each_once(guards: tuple[Guard, ...]) -> None:
    if len({guard.code for guard in guards}) != len(guards):
        raise Invalid("guards", "names a guard twice")
