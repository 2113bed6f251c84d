"""A pathway as a dated plan that can be moved. Decision support; the clinician decides."""

from tandem_care.plans.making import Pace, instantiate
from tandem_care.plans.moving import held, moved
from tandem_care.plans.plan import Fault, Plan, plan_of

__all__ = ["Fault", "Pace", "Plan", "held", "instantiate", "moved", "plan_of"]
