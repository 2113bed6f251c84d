"""The conditions under which a dosing session may begin, as a pathway lists them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

from tandem_care.codec import Between, Part
from tandem_care.entry_kinds import Line, Place
from tandem_care.errors import Invalid

Days = Annotated[int, Between(0, 730)]


class GuardCode(StrEnum):
    CLEARANCE = "dosing-clearance"
    """Asked at the start of every session; a file does not list it."""
    THERAPIST = "therapist-on-episode"
    PREPARATION = "preparation-done"
    CONSENT = "treatment-consent"
    PRESCRIPTION = "prescription-live"
    SCREENING = "screening-current"
    ROUTE_AND_PLACE = "route-and-place"
    SCHEDULE = "densest-schedule"
    INTEGRATION = "integration-held"
    LABS = "labs-seen"
    HOLDS = "medication-held"
    RISK_SCREEN = "risk-screen-current"
    BLOOD_PRESSURE = "blood-pressure"
    FASTING = "fasting"
    RIDE = "ride"
    SUPPORT_PERSON = "support-person"
    ATTENDANT = "attendant"
    HOME_ADDRESS = "home-address"
    CHAPERONE = "chaperone"
    VIDEO_THERAPIST = "video-therapist"
    SUPPLY = "supply-counted"
    REMS_ENROLMENT = "rems-enrolment"
    REMS_SETTING = "rems-setting"
    REMS_PRESCRIBER = "rems-prescriber-on-site"


HOME: Final = frozenset(
    {GuardCode.HOME_ADDRESS, GuardCode.CHAPERONE, GuardCode.VIDEO_THERAPIST, GuardCode.SUPPLY}
)
REMS: Final = frozenset({GuardCode.REMS_ENROLMENT, GuardCode.REMS_SETTING, GuardCode.REMS_PRESCRIBER})


class Stage(StrEnum):
    """When a guard is first asked. Those of the clearance are asked again at the start."""

    CLEARANCE = "clearance"
    START = "start"


class Beyond(StrEnum):
    """What a reading above the limit does: a named person weighs it, or it blocks until overridden."""

    ATTEST = "attest"
    BLOCK = "block"


_SETTINGS: Final[Mapping[GuardCode, frozenset[str]]] = MappingProxyType(
    {
        GuardCode.BLOOD_PRESSURE: frozenset({"systolic", "diastolic", "valid_minutes", "beyond"}),
        GuardCode.RISK_SCREEN: frozenset({"valid_days"}),
        GuardCode.SUPPLY: frozenset({"valid_days"}),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRule(Part):
    """One guard with its settings. A setting is given exactly where its guard has it."""

    guard: GuardCode
    stage: Stage
    places: tuple[Place, ...] = ()
    """Asked only for sessions there; anywhere, if empty."""
    never_overridden: Line | None = None
    """The source that forbids an override. Without one, a named person may override with a reason."""
    systolic: Annotated[int, Between(90, 220)] | None = None
    diastolic: Annotated[int, Between(50, 140)] | None = None
    valid_minutes: Annotated[int, Between(1, 24 * 60)] | None = None
    valid_days: Annotated[int, Between(1, 180)] | None = None
    beyond: Beyond | None = None

    def agree(self) -> None:
        if self.guard is GuardCode.CLEARANCE:
            raise Invalid("guard", "is asked of every session and not listed")
        own = _SETTINGS.get(self.guard, frozenset())
        for setting in ("systolic", "diastolic", "valid_minutes", "valid_days", "beyond"):
            given = getattr(self, setting) is not None
            if given and setting not in own:
                raise Invalid(setting, f"is not a setting of {self.guard}")
            if not given and setting in own:
                raise Invalid(setting, f"is required for {self.guard}")

    def asked_at(self, place: Place) -> bool:
        return not self.places or place in self.places
