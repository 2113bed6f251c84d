"""What answers to a scale say: total, band, and whether a risk must be assessed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tandem_care.errors import Invalid
from tandem_care.scales.instruments import Item, Method, Scale, ScaleCode

NO_RISK: Final = "none"
_NEGATIVE: Final = "negative"
_BY_RISK: Final = (NO_RISK, "low", "moderate", "severe")


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


def score(scale: Scale, answers: Mapping[str, int | None]) -> Score:
    """Score *answers*, by item code; None and absent both mean unanswered.

    Raises Invalid, naming the item, for an answer that the item does not have.
    """
    given = _given(scale, answers)
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


def risk_level(scale: Scale, answers: Mapping[str, int | None]) -> str | None:
    """none, low, moderate or severe; None where the scale does not say, or the answers leave it open.

    Answers that are missing never hide what the others say: the level is then at least that.
    """
    given = _given(scale, answers)
    if scale.method is Method.CSSRS_LADDER:
        level = _cssrs_level(given)
        if level != _NEGATIVE:
            return level
        return NO_RISK if score(scale, answers).complete else None
    levels = [
        _level(item, given[item.code]) for item in scale.items if item.opens_risk and item.code in given
    ]
    return max(levels, key=_BY_RISK.index, default=None)


def _level(item: Item, answer: int) -> str:
    if item.severe_from is not None and answer >= item.severe_from:
        return "severe"
    if item.moderate_from is not None and answer >= item.moderate_from:
        return "moderate"
    return "low" if answer > 0 else NO_RISK


def _given(scale: Scale, answers: Mapping[str, int | None]) -> dict[str, int]:
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
    return given


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
    return _NEGATIVE
