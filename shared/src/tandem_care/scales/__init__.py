"""Rating scales as data, what answers to them say, and what a change in score means.

Item texts are topics for screens and messages, not the wording of the instruments.
"""

from tandem_care.scales.changing import Change, change
from tandem_care.scales.instruments import (
    CSSRS,
    GAD7,
    MADRS,
    PCL5,
    PHQ9,
    SCALES,
    Band,
    Cut,
    Item,
    Method,
    Scale,
    ScaleCode,
    Thresholds,
    read_scales,
    scale_of,
)
from tandem_care.scales.scoring import NO_RISK, Score, risk_level, score

__all__ = [
    "CSSRS",
    "GAD7",
    "MADRS",
    "NO_RISK",
    "PCL5",
    "PHQ9",
    "SCALES",
    "Band",
    "Change",
    "Cut",
    "Item",
    "Method",
    "Scale",
    "ScaleCode",
    "Score",
    "Thresholds",
    "change",
    "read_scales",
    "risk_level",
    "scale_of",
    "score",
]
