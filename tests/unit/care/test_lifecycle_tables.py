"""The lifecycle as data: complete, and named as FHIR and 360X name it."""

import pytest

from tandem_care.errors import Invalid
from tandem_care.lifecycle import (
    CLOCKS,
    FHIR_TASK,
    FINAL,
    OPEN,
    OUTCOMES,
    OWNER,
    REASON_REQUIRED,
    REASONS,
    STEPS,
    FhirTask,
    Kind,
    Move,
    Party,
    State,
    check_reason,
    fhir_task,
    reasons_for,
)
from tandem_care.screening import Outcome as ScreeningOutcome

FHIR_TASK_STATUS = {
    "draft",
    "requested",
    "received",
    "accepted",
    "rejected",
    "ready",
    "cancelled",
    "in-progress",
    "on-hold",
    "failed",
    "completed",
    "entered-in-error",
}


def test_every_state_has_a_fhir_status():
    assert set(FHIR_TASK) == set(State)
    assert {task.status for task in FHIR_TASK.values()} <= FHIR_TASK_STATUS


def test_every_open_state_has_a_clock_and_an_owner():
    assert set(CLOCKS) == set(OWNER) == OPEN


def test_final_states_lead_nowhere():
    assert not [move for move, step in STEPS.items() if step.sources & FINAL]


def test_every_move_but_open_and_undo_stands_in_the_table():
    assert set(Move) - set(STEPS) == {Move.OPEN, Move.UNDO}


def test_a_requested_cancellation_keeps_the_fhir_status_of_where_it_came_from():
    assert fhir_task(State.CANCEL_REQUESTED, cancel_from=State.ON_HOLD) == FhirTask(
        "on-hold", "cancellation-requested"
    )
    assert fhir_task(State.CANCEL_REQUESTED, cancel_from=State.IN_PROGRESS).status == "in-progress"
    assert fhir_task(State.IN_PROGRESS, progress=(2, 6)) == FhirTask("in-progress", "2 of 6")


def test_a_medical_evaluation_ends_as_a_screening_does():
    assert [outcome.value for outcome in OUTCOMES[Kind.MEDICAL_EVALUATION]] == [
        o.value for o in ScreeningOutcome
    ]


@pytest.mark.parametrize("move", sorted(REASON_REQUIRED))
def test_a_move_that_ends_or_refuses_needs_a_reason_and_has_some(move):
    assert reasons_for(move)
    with pytest.raises(Invalid, match="is required"):
        check_reason(move, None)


def test_reasons_say_who_may_use_them():
    assert REASONS["adverse-event"].parties == {Party.RECIPIENT}
    assert REASONS["sent-in-error"].parties == {Party.REFERRER}
    assert REASONS["deceased"].parties == {Party.RECIPIENT, Party.REFERRER}
    assert REASONS["lost-to-follow-up"].comment_required
    assert REASONS["other"].comment_required


def test_a_reason_of_another_move_is_refused():
    with pytest.raises(Invalid, match="must be one of"):
        check_reason(Move.CANCEL, "capacity")
    with pytest.raises(Invalid, match="not given"):
        check_reason(Move.ACCEPT, "capacity")
    check_reason(Move.HOLD, None)
