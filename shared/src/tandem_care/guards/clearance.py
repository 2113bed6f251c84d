"""Signing a session, and starting it. They guard the start alone: a dose that was given is always recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tandem_care import local_time
from tandem_care.entry_kinds import Dose, DosingClearance, DosingStart, Guard, GuardState
from tandem_care.errors import Invalid, NotAllowed
from tandem_care.guards.assessing import assess
from tandem_care.guards.before_the_day import within
from tandem_care.guards.facts import Facts, Session
from tandem_care.guards.findings import Finding, State, Verdict, attest, blocks, passes
from tandem_care.pathways import GuardCode, Pathway, Stage


@dataclass(frozen=True, slots=True)
class Word:
    """A named person vouches for a guard, or overrides it, and says why."""

    guard: GuardCode
    by: str
    reason: str


class NotCleared(NotAllowed):
    """Guards stand against it. ``findings`` are those, each with its reason and way out."""

    def __init__(self, rule: str, findings: Sequence[Finding]) -> None:
        super().__init__(
            rule,
            " ".join(finding.reason for finding in findings),
            " ".join(finding.way_out for finding in findings),
        )
        self.findings = tuple(findings)


def sign(
    pathway: Pathway,
    session: Session,
    facts: Facts,
    now: datetime,
    *,
    by: str,
    highest_dose: Dose,
    attested: Sequence[Word] = (),
    overridden: Sequence[Word] = (),
) -> DosingClearance:
    """The clearance of *session*, signed by *by*, which ends with the hours that the pathway gives it.

    Raises NotCleared while a guard of the clearance blocks, or waits for a word.
    """
    expires_at = session.at + timedelta(hours=pathway.clearance_hours)
    if now >= expires_at:
        raise NotAllowed("PAST", "The session is over.", "Record the dose that was given.")
    if not within(session.dose, highest_dose):
        raise NotAllowed(
            "DOSE_ABOVE_HIGHEST",
            "The planned dose is not known to be within the highest one.",
            "Lower it, or raise the limit, in the same unit.",
        )
    findings = assess(pathway, session, facts, now, Stage.CLEARANCE)
    guards, standing = _settled(findings, attested, overridden)
    if standing:
        raise NotCleared("NOT_CLEARED", standing)
    return DosingClearance(
        session_at=session.at,
        expires_at=expires_at,
        drug=session.drug,
        route=session.route,
        highest_dose=highest_dose,
        place=session.place,
        pathway=pathway.code,
        pathway_version=pathway.version,
        guards=guards,
        cleared_at=now,
        cleared_by=by,
    )


def start(
    pathway: Pathway,
    session: Session,
    facts: Facts,
    clearance: DosingClearance | None,
    now: datetime,
    *,
    by: str,
    attested: Sequence[Word] = (),
    overridden: Sequence[Word] = (),
) -> DosingStart:
    """That *session* begins now, on its clearance or on a named override of it, with every guard asked again.

    What was attested or overridden in the clearance holds; a fact that got worse since then blocks all the same.
    Raises NotCleared otherwise.
    """
    findings = ready_to_start(pathway, session, facts, clearance, now)
    listed = {finding.guard for finding in findings}
    if clearance is not None and findings[0].state is State.PASSES:
        signed = [each for each in clearance.guards if each.code in listed]
        stands = {finding.guard for finding in findings if finding.state is State.NEEDS_ATTESTATION}
        attested = [*attested, *(_word(each) for each in signed if _is(each, GuardState.ATTESTED, stands))]
        overridden = [
            *overridden,
            *(_word(each) for each in signed if _is(each, GuardState.OVERRIDDEN, listed)),
        ]
    guards, standing = _settled(findings, attested, overridden)
    if standing:
        raise NotCleared("NOT_STARTED", standing)
    return DosingStart(
        started_at=now,
        time_zone=session.time_zone,
        cleared_session_at=None if clearance is None else clearance.session_at,
        drug=session.drug,
        route=session.route,
        dose=session.dose,
        place=session.place,
        pathway=pathway.code,
        pathway_version=pathway.version,
        guards=guards,
        started_by=by,
    )


def ready_to_start(
    pathway: Pathway, session: Session, facts: Facts, clearance: DosingClearance | None, now: datetime
) -> tuple[Finding, ...]:
    """What stands for and against starting *now*, whatever time was planned; the clearance comes first."""
    session = replace(session, at=now)
    verdict = _of_clearance(pathway, session, facts, clearance, now)
    first = Finding(GuardCode.CLEARANCE, Stage.START, verdict.state, verdict.reason, verdict.way_out)
    return (first, *assess(pathway, session, facts, now, Stage.START))


def _of_clearance(
    pathway: Pathway, session: Session, facts: Facts, clearance: DosingClearance | None, now: datetime
) -> Verdict:
    sign_it = "Have the prescriber sign this session."
    if clearance is None and GuardCode.CLEARANCE in facts.elsewhere:
        return attest("No clearance is on record here.", "Ask the prescriber, and attest what was signed.")
    if clearance is None:
        return blocks("No clearance is on record for this session.", sign_it)
    if local_time.day_of(clearance.session_at, session.time_zone) != session.day:
        return blocks("The clearance is for another day.", sign_it)
    if now >= clearance.expires_at:
        return blocks("The clearance has expired.", sign_it)
    if any(each.cleared_session_at == clearance.session_at for each in facts.starts):
        return blocks("The clearance has served for a session already.", sign_it)
    signed_for = (clearance.pathway, clearance.drug, clearance.route, clearance.place)
    if signed_for != (pathway.code, session.drug, session.route, session.place):
        return blocks("The clearance is for another pathway, drug, route or place.", sign_it)
    if not within(session.dose, clearance.highest_dose):
        return blocks(
            "The dose is not known to be within the highest that was cleared.", f"Lower it. {sign_it}"
        )
    return passes(f"{clearance.cleared_by} has cleared the session.")


def _is(guard: Guard, state: GuardState, among: set[GuardCode]) -> bool:
    return guard.state is state and guard.code in among


def _word(guard: Guard) -> Word:
    return Word(GuardCode(guard.code), guard.by or "", guard.reason or "")


def _settled(
    findings: Sequence[Finding], attested: Sequence[Word], overridden: Sequence[Word]
) -> tuple[tuple[Guard, ...], tuple[Finding, ...]]:
    """The guards as they go on record, and the findings that still stand against it."""
    found = {finding.guard: finding for finding in findings}
    _known("attested", attested, found)
    _known("overridden", overridden, found)
    # A word given now replaces the one that the clearance brought along.
    vouched = {word.guard: word for word in reversed(attested)}
    against = {word.guard: word for word in reversed(overridden)}
    guards, standing = [], []
    for finding in findings:
        code = finding.guard
        if finding.state is State.PASSES:
            guards.append(Guard(code=code.value, state=GuardState.MET))
        elif code in vouched and finding.state is State.NEEDS_ATTESTATION:
            guards.append(_on_word(GuardState.ATTESTED, vouched[code]))
        elif code in against:
            _may_be_overridden(finding)
            guards.append(_on_word(GuardState.OVERRIDDEN, against[code]))
        else:
            standing.append(finding)
    return tuple(guards), tuple(standing)


def _known(field: str, words: Sequence[Word], found: dict[GuardCode, Finding]) -> None:
    for word in words:
        if word.guard not in found:
            raise Invalid(field, f"{word.guard} is not asked here")


def _may_be_overridden(finding: Finding) -> None:
    if finding.never_overridden is not None:
        raise NotAllowed(
            "NEVER_OVERRIDDEN",
            f"{finding.reason} It may not be overridden ({finding.never_overridden}).",
            finding.way_out,
        )


def _on_word(state: GuardState, word: Word) -> Guard:
    return Guard(code=word.guard.value, state=state, reason=word.reason, by=word.by)
