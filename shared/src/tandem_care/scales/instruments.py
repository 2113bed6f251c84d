"""Rating scales as data: their items, bands and thresholds."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Final

from tandem_care.codec import Between, Part, Text
from tandem_care.errors import Invalid

_NUMBER: Final = re.compile(r"[0-9]{1,3}[a-z]?")
_Code = Annotated[str, Text(40, pattern=r"[a-z0-9]+(?:-[a-z0-9]+)*", needs="must be a code in small letters")]
_Words = Annotated[str, Text(300)]
_Points = Annotated[int, Between(0, 1000)]


class ScaleCode(StrEnum):
    PHQ9 = "phq-9"
    GAD7 = "gad-7"
    PCL5 = "pcl-5"
    MADRS = "madrs"
    CSSRS = "c-ssrs-screen"


class Method(StrEnum):
    SUM = "sum"
    CSSRS_LADDER = "c-ssrs-ladder"
    """No total: the worst answer decides the level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Part):
    code: _Code
    topic: _Words
    highest: _Points
    needed_if: _Code | None = None
    """Asked only if the item with this code was answered above 0."""
    opens_risk: bool = False
    """Any answer above 0 asks for a risk assessment."""
    moderate_from: _Points | None = None
    severe_from: _Points | None = None
    """From which answers on an item that opens risk speaks of a moderate or severe one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band(Part):
    lowest: _Points
    highest: _Points
    code: _Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Part):
    """Range of published cut scores that suggest a diagnosis."""

    lowest: _Points
    highest: _Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(Part):
    """What counts as response, remission and change, from a named source. A setting of each practice."""

    name: _Code
    response_percent: Annotated[int, Between(1, 100)] | None = None
    remission_below: _Points | None = None
    smallest_important: _Points | None = None
    reliable: _Points | None = None
    source: _Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Part):
    code: ScaleCode
    title: _Words
    source: _Words
    method: Method = Method.SUM
    items: tuple[Item, ...]
    bands: tuple[Band, ...] = ()
    """Empty where no severity bands have been validated."""
    provisional_cut: Cut | None = None
    thresholds: tuple[Thresholds, ...] = ()
    """The first is the default."""

    def agree(self) -> None:
        if len({item.code for item in self.items}) != len(self.items):
            raise Invalid("items", "names an item twice")
        if self.bands:
            covered = [points for band in self.bands for points in range(band.lowest, band.highest + 1)]
            if covered != list(range((self.highest_total or 0) + 1)):
                raise Invalid("bands", "must cover every total once")

    @property
    def highest_total(self) -> int | None:
        return sum(item.highest for item in self.items) if self.method is Method.SUM else None

    def item(self, code: str) -> Item:
        for item in self.items:
            if item.code == code:
                return item
        # An item's number is named; a word in its place may be anything.
        raise Invalid(
            f"items[{code}]" if _NUMBER.fullmatch(code) else "items", f"is not an item of {self.title}"
        )

    def thresholds_named(self, name: str) -> Thresholds:
        for each in self.thresholds:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.thresholds)
        raise Invalid("thresholds", f"must be one of {known}" if known else "are not known for this scale")


def read_scales(text: str) -> Mapping[ScaleCode, Scale]:
    """Scales from TOML. Raises Invalid with the path of the field that is wrong."""
    try:
        found = tomllib.loads(text).get("scales", [])
    except tomllib.TOMLDecodeError:
        raise Invalid("", "is not TOML") from None
    scales: dict[ScaleCode, Scale] = {}
    for place, fields in enumerate(found):
        try:
            scale = Scale.from_fields(fields)
        except Invalid as fault:
            raise fault.inside(f"scales[{place}]") from None
        if scale.code in scales:
            raise Invalid(f"scales[{place}].code", "is there already")
        scales[scale.code] = scale
    return MappingProxyType(scales)


SCALES: Final = read_scales(
    resources.files("tandem_care.scales").joinpath("instruments.toml").read_text("utf-8")
)
PHQ9: Final = SCALES[ScaleCode.PHQ9]
GAD7: Final = SCALES[ScaleCode.GAD7]
PCL5: Final = SCALES[ScaleCode.PCL5]
MADRS: Final = SCALES[ScaleCode.MADRS]
CSSRS: Final = SCALES[ScaleCode.CSSRS]


def scale_of(code: str, field: str = "scale") -> Scale:
    try:
        return SCALES[ScaleCode(code)]
    except ValueError:
        raise Invalid(field, f"is not one of {', '.join(SCALES)}") from None
