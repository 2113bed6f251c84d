"""What stands against a step of a course, said so that a person can act on it."""

from collections.abc import Sequence

from tandem_care.entry_kinds import ItemKind
from tandem_care.errors import NotAllowed
from tandem_care.guards import Finding, NotCleared
from tandem_platform.errors import Code, Refusal


class RuleStands(Refusal):
    """A rule of care stands against it."""

    def __init__(self, fault: NotAllowed) -> None:
        super().__init__(Code.FAILED_PRECONDITION, fault.rule, fault.reason, way_out=fault.way_out)


class GuardsStand(Refusal):
    """Guards stand against clearing or starting a session: each with its reason and its way out."""

    def __init__(self, fault: NotCleared) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            fault.rule,
            " ".join(finding.reason for finding in fault.findings),
            way_out=f"{_ways_out(fault.findings)}",
            metadata={
                "guards": ",".join(finding.guard for finding in fault.findings),
                **{finding.guard.value: f"{finding.reason} {finding.way_out}" for finding in fault.findings},
            },
        )


def _ways_out(findings: Sequence[Finding]) -> str:
    return " ".join(f"{finding.guard}: {finding.way_out}" for finding in findings)


def refused(fault: NotAllowed) -> Refusal:
    return GuardsStand(fault) if isinstance(fault, NotCleared) else RuleStands(fault)


class SiteNotStated(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "SITE_NOT_STATED",
            "it is not known in which time zone this clinic works, and when it is closed",
            way_out="state the clinic's site first",
        )


class PlanNotMade(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PLAN_NOT_MADE",
            "no plan of this course is on record here",
            field="episode_id",
            way_out="choose a pathway for the episode first, or ask the partner to share the plan",
        )


class PlanThere(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PLAN_THERE",
            "the episode has a plan already",
            field="episode_id",
            way_out="move its sessions, or take it back first",
        )


class PlanIsPartners(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PLAN_IS_PARTNERS",
            "the partner made this plan and moves what is in it",
            way_out="book an appointment for your own session, or ask the partner to move it",
        )


class PathwayNotKnown(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PATHWAY_NOT_KNOWN",
            "the plan was made with a pathway, or a version of one, that is not installed here",
            way_out="install the partner's pathway file, or ask for a plan on one that both have",
        )


class PlanUnfit(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PLAN_UNFIT",
            "the plan on record does not go with its pathway",
            way_out="take it back and plan anew, or ask the partner to",
        )


class HeldAlready(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "HELD_ALREADY",
            "this session has been held",
            field="item",
            way_out="amend its record instead",
        )


_RECORDED_AS = {
    ItemKind.DOSE: "start the session, or record the dose that was given",
    ItemKind.SCALE: "record the answers as a measure",
    ItemKind.CHECK: "record a maintenance-check, or a misuse-check",
    ItemKind.FORM: "record a monitoring-form",
}


class NotASession(Refusal):
    def __init__(self, kind: ItemKind) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "NOT_A_SESSION",
            f"a {kind} of the plan is not held as a session",
            field="item",
            way_out=_RECORDED_AS[kind],
        )


class SignedByThePrescriber(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.PERMISSION_DENIED,
            "SIGNED_BY_THE_PRESCRIBER",
            "in this episode the partner prescribes, and signs the clearance",
            way_out="ask the prescriber to sign it",
        )


class DecidedByThePrescriber(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.PERMISSION_DENIED,
            "DECIDED_BY_THE_PRESCRIBER",
            "in this episode the partner prescribes, and decides on the dose",
            way_out="give feedback on the dose",
        )


class DoseGiven(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "DOSE_GIVEN",
            "this dose of the plan was begun or given already",
            field="item",
            way_out="choose the next one; what is wrong in its record is amended there",
        )
