"""When a patient is a minor, and which minors may act alone: by state and date, from a list that the clinic may replace."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from importlib.resources import files
from typing import Final

from tandem_care.errors import Invalid
from tandem_care.law.signers import Capacity

OTHER: Final = "other"
"""The rule for states that are not listed."""


class Care(StrEnum):
    """What the records are about; state law gives each its own age."""

    MENTAL_HEALTH = "mental-health"
    SUBSTANCE_USE = "substance-use"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRule:
    """The law of one state on the days *since* to *until*, both included; an age of None: never alone."""

    state: str
    majority: int
    mental_health_alone: int | None = None
    substance_use_alone: int | None = None
    since: date
    until: date | None = None
    sources: tuple[str, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.sources:
            raise Invalid("sources", "must say where the rule is written")
        if self.until is not None and self.until < self.since:
            raise Invalid("until", "must not lie before since")

    def holds_on(self, day: date) -> bool:
        return self.since <= day and (self.until is None or day <= self.until)

    def alone_from(self, care: Care) -> int | None:
        return self.mental_health_alone if care is Care.MENTAL_HEALTH else self.substance_use_alone

    def comes_of_age(self, born: date) -> date:
        """The first day on which the patient is no minor. Who was born on 29 February comes of age on 1 March."""
        return _birthday(born, self.majority)

    def capacity(self, born: date, day: date, care: Care) -> Capacity:
        if day >= self.comes_of_age(born):
            return Capacity.ADULT
        age = self.alone_from(care)
        if age is not None and day >= _birthday(born, age):
            return Capacity.MINOR_ACTING_ALONE
        return Capacity.MINOR


def read_rules(written: str) -> tuple[StateRule, ...]:
    """State rules from TOML. Raises Invalid where two of a state hold on the same day, or "other" is not there."""
    rules = tuple(
        StateRule(**{**entry, "sources": tuple(entry["sources"])})
        for entry in tomllib.loads(written)["rules"]
    )
    for number, rule in enumerate(rules):
        for later in rules[number + 1 :]:
            if rule.state == later.state and (rule.holds_on(later.since) or later.holds_on(rule.since)):
                raise Invalid("rules", f"has two for {rule.state} that hold on the same day")
    if not any(rule.state == OTHER for rule in rules):
        raise Invalid("rules", 'must have one for "other" states')
    return rules


SHIPPED: Final = read_rules(files("tandem_care.law").joinpath("minors.toml").read_text(encoding="utf-8"))


def rule_of(state: str, day: date, rules: Iterable[StateRule] = SHIPPED) -> StateRule:
    """The rule that holds in *state* on *day*: of a day before its list begins, the first; where it has lapsed, that of "other" states."""
    of_state = sorted((rule for rule in rules if rule.state == state), key=lambda rule: rule.since)
    holding = [rule for rule in of_state if rule.holds_on(day)]
    if holding:
        return holding[0]
    if of_state and (day < of_state[0].since or state == OTHER):
        return of_state[0]
    return rule_of(OTHER, day, rules)


def _birthday(born: date, age: int) -> date:
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 3, 1)
