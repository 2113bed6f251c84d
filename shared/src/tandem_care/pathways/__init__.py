"""Models of care and maintenance as data files, each with its version and sources.

Their figures are defaults that a practice may replace by files of its own. Decision support; the clinician decides.
"""

from tandem_care.pathways.catalogue import (
    Catalogue,
    PathwayFault,
    read_pathway,
    shipped,
    shipped_files,
    with_own,
)
from tandem_care.pathways.guard_rules import HOME, REMS, Beyond, GuardCode, GuardRule, Stage
from tandem_care.pathways.model import (
    MISUSE,
    NOTICE,
    Care,
    CheckRule,
    DischargeRule,
    Fasting,
    FormRule,
    IntegrationRule,
    Limit,
    Medicine,
    MinutesRange,
    ObservationRule,
    Pathway,
    Phase,
    Plasticity,
    PreparationRule,
    ScaleMoment,
    ScaleTime,
    VitalsTime,
)

__all__ = [
    "HOME",
    "MISUSE",
    "NOTICE",
    "REMS",
    "Beyond",
    "Care",
    "Catalogue",
    "CheckRule",
    "DischargeRule",
    "Fasting",
    "FormRule",
    "GuardCode",
    "GuardRule",
    "IntegrationRule",
    "Limit",
    "Medicine",
    "MinutesRange",
    "ObservationRule",
    "Pathway",
    "PathwayFault",
    "Phase",
    "Plasticity",
    "PreparationRule",
    "ScaleMoment",
    "ScaleTime",
    "Stage",
    "VitalsTime",
    "read_pathway",
    "shipped",
    "shipped_files",
    "with_own",
]
