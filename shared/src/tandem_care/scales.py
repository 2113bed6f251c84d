"""Rating scales as data, one function that scores them, and what a change in score means.

Item texts are topics for screens and messages, not the wording of the instruments.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care.errors import Invalid

_NUMBER: Final = re.compile(r"[0-9]{1,3}[a-z]?")


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


@dataclass(frozen=True, slots=True)
class Item:
    code: str
    topic: str
    highest: int
    needed_if: str | None = None
    """Asked only if the item with this code was answered above 0."""
    opens_risk: bool = False
    """Any answer above 0 asks for a risk assessment."""


@dataclass(frozen=True, slots=True)
class Band:
    lowest: int
    highest: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    code: ScaleCode
    title: str
    items: tuple[Item, ...]
    source: str
    method: Method = Method.SUM
    bands: tuple[Band, ...] = ()
    """Empty where no severity bands have been validated."""
    provisional_cut: tuple[int, int] | None = None
    """Range of published cut scores that suggest a diagnosis."""
    remission_below: int | None = None
    response_percent: int | None = None

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


@dataclass(frozen=True, slots=True)
class Score:
    """What the answers say. Incomplete, it has no total and no band, but may need a risk assessment."""

    scale: ScaleCode
    total: int | None
    band: str | None
    missing: tuple[str, ...]
    risk_assessment_needed: bool

    @property
    def complete(self) -> bool:
        return not self.missing


def _items(highest: int, *topics: str, risk: Iterable[int] = ()) -> tuple[Item, ...]:
    return tuple(
        Item(str(number), topic, highest, opens_risk=number in set(risk))
        for number, topic in enumerate(topics, start=1)
    )


PHQ9: Final = Scale(
    code=ScaleCode.PHQ9,
    title="PHQ-9",
    items=_items(
        3,
        "Little interest or pleasure",
        "Feeling down or hopeless",
        "Sleep",
        "Tiredness",
        "Appetite",
        "Feeling bad about oneself",
        "Concentration",
        "Slowed down or restless",
        "Thoughts of being better off dead or of self-harm",
        risk={9},
    ),
    bands=(
        Band(0, 4, "minimal"),
        Band(5, 9, "mild"),
        Band(10, 14, "moderate"),
        Band(15, 19, "moderately-severe"),
        Band(20, 27, "severe"),
    ),
    remission_below=5,
    response_percent=50,
    source="Kroenke, Spitzer, Williams 2001, J Gen Intern Med 16:606; response, remission: NCQA HEDIS",
)

GAD7: Final = Scale(
    code=ScaleCode.GAD7,
    title="GAD-7",
    items=_items(
        3,
        "Nervous or on edge",
        "Unable to stop worrying",
        "Worrying too much",
        "Trouble relaxing",
        "Restlessness",
        "Irritability",
        "Afraid that something awful might happen",
    ),
    bands=(Band(0, 4, "minimal"), Band(5, 9, "mild"), Band(10, 14, "moderate"), Band(15, 21, "severe")),
    source="Spitzer, Kroenke, Williams, Löwe 2006, Arch Intern Med 166:1092",
)

PCL5: Final = Scale(
    code=ScaleCode.PCL5,
    title="PCL-5",
    items=_items(
        4,
        "Disturbing memories",
        "Disturbing dreams",
        "Reliving the experience",
        "Upset by reminders",
        "Physical reactions to reminders",
        "Avoiding memories",
        "Avoiding reminders",
        "Trouble remembering parts",
        "Negative beliefs",
        "Blame",
        "Negative feelings",
        "Loss of interest",
        "Feeling distant",
        "Trouble with positive feelings",
        "Irritable or aggressive behaviour",
        "Taking too many risks",
        "Being on guard",
        "Easily startled",
        "Concentration",
        "Sleep",
    ),
    provisional_cut=(31, 33),
    source="Weathers et al. 2013, US National Center for PTSD; no validated severity bands exist",
)

MADRS: Final = Scale(
    code=ScaleCode.MADRS,
    title="MADRS",
    items=_items(
        6,
        "Apparent sadness",
        "Reported sadness",
        "Inner tension",
        "Reduced sleep",
        "Reduced appetite",
        "Concentration difficulties",
        "Lassitude",
        "Inability to feel",
        "Pessimistic thoughts",
        "Suicidal thoughts",
    ),
    bands=(Band(0, 6, "none"), Band(7, 19, "mild"), Band(20, 34, "moderate"), Band(35, 60, "severe")),
    source="Montgomery, Åsberg 1979, Br J Psychiatry 134:382; bands: Snaith et al. 1986, ibid. 148:599",
)

CSSRS: Final = Scale(
    code=ScaleCode.CSSRS,
    title="C-SSRS screener",
    items=(
        Item("1", "Wish to be dead, past month", 1, opens_risk=True),
        Item("2", "Suicidal thoughts, past month", 1, opens_risk=True),
        Item("3", "Thoughts of a method, past month", 1, needed_if="2", opens_risk=True),
        Item("4", "Some intent to act, past month", 1, needed_if="2", opens_risk=True),
        Item("5", "Plan with intent, past month", 1, needed_if="2", opens_risk=True),
        Item("6", "Suicidal behaviour, ever", 1, opens_risk=True),
        Item("6a", "Suicidal behaviour, past 3 months", 1, needed_if="6", opens_risk=True),
    ),
    method=Method.CSSRS_LADDER,
    source="Posner et al. 2011, Am J Psychiatry 168:1266; triage: Columbia Lighthouse Project",
)

SCALES: Final[Mapping[ScaleCode, Scale]] = MappingProxyType(
    {scale.code: scale for scale in (PHQ9, GAD7, PCL5, MADRS, CSSRS)}
)


def scale_of(code: str, field: str = "scale") -> Scale:
    try:
        return SCALES[ScaleCode(code)]
    except ValueError:
        raise Invalid(field, f"is not one of {', '.join(SCALES)}") from None


def score(scale: Scale, answers: Mapping[str, int | None]) -> Score:
    """Score *answers*, by item code; None and absent both mean unanswered.

    Raises Invalid, naming the item, for an answer that the item does not have.
    """
    given: dict[str, int] = {}
    for code, answer in answers.items():
        highest = scale.item(code).highest
        if answer is None:
            continue
        if type(answer) is not int or not 0 <= answer <= highest:
            raise Invalid(f"items[{code}]", f"must be a whole number from 0 to {highest}")
        given[code] = answer
    if scale.method is Method.CSSRS_LADDER and given.get("6a") and given.get("6") == 0:
        raise Invalid("items[6a]", "cannot be yes while behaviour ever is no")

    missing = tuple(
        item.code
        for item in scale.items
        if item.code not in given and (item.needed_if is None or given.get(item.needed_if, 0) > 0)
    )
    risk = any(item.opens_risk and given.get(item.code, 0) > 0 for item in scale.items)
    if missing:
        return Score(scale.code, None, None, missing, risk)
    if scale.method is Method.CSSRS_LADDER:
        return Score(scale.code, None, _cssrs_level(given), (), risk)
    total = sum(given.values())
    return Score(scale.code, total, _band(scale, total), (), risk)


def _band(scale: Scale, total: int) -> str | None:
    return next((band.code for band in scale.bands if band.lowest <= total <= band.highest), None)


def _cssrs_level(given: Mapping[str, int]) -> str:
    def yes(*codes: str) -> bool:
        return any(given.get(code, 0) > 0 for code in codes)

    if yes("4", "5", "6a"):
        return "severe"
    if yes("3", "6"):
        return "moderate"
    if yes("1", "2"):
        return "low"
    return "negative"


@dataclass(frozen=True, slots=True)
class ChangeThresholds:
    """How many points of change count, from a named source. A setting of each practice."""

    smallest_important: int
    reliable: int | None
    source: str


PCL5_CHANGE: Final = ChangeThresholds(
    10, None, "US National Center for PTSD: 10 points as a clinically meaningful change"
)
PCL5_CHANGE_NEWER: Final = ChangeThresholds(
    12,
    18,
    "Upper ends of 9 to 12 (Blanchard et al. 2023, J Trauma Stress 36:1102)"
    " and 15 to 18 (Marx et al. 2022, Psychol Assess 34:197)",
)


@dataclass(frozen=True, slots=True)
class Change:
    """From one total to a later one. None where the scale or the thresholds do not define it."""

    drop: int
    """Points of improvement; negative when worse."""
    response: bool | None
    remission: bool | None
    important: bool | None
    reliable: bool | None


def change(scale: Scale, before: int, after: int, thresholds: ChangeThresholds | None = None) -> Change:
    for field, total in (("before", before), ("after", after)):
        if scale.highest_total is None or not 0 <= total <= scale.highest_total:
            raise Invalid(field, f"is not a total of {scale.title}")
    drop = before - after
    response = None
    if scale.response_percent is not None and before > 0:
        response = 100 * drop >= scale.response_percent * before
    return Change(
        drop=drop,
        response=response,
        remission=None if scale.remission_below is None else after < scale.remission_below,
        important=None if thresholds is None else abs(drop) >= thresholds.smallest_important,
        reliable=None
        if thresholds is None or thresholds.reliable is None
        else abs(drop) >= thresholds.reliable,
    )
