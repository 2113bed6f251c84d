"""What is counted of the loop between practices."""

from datetime import timedelta

import pytest

from support.clinics import JUNIPER, RIVERBEND, AClinic
from tandem_clinic.domain.staff import NotYourRole, Role, Staff
from tandem_clinic.store import audit, worklist
from tandem_clinic.store.tables import hub_referral
from tandem_clinic.usecases.loop_measures import Measures, measure_loop
from tandem_platform.storage import Transaction


class Loop:
    """Referrals of which the clinic knows; *ago* and *after* are hours."""

    def __init__(self, clinic: AClinic) -> None:
        self.clinic = clinic
        self.now = clinic.clinic.now()
        self.number = 0

    def has(self, state: str, *, inbound: bool = True, ago: float = 48, after: float | None = None) -> None:
        self.number += 1
        referral_id = f"ref_{self.number}"
        requested_at = self.now - timedelta(hours=ago)
        ends = (RIVERBEND, JUNIPER) if inbound else (JUNIPER, RIVERBEND)
        values = {column.name: None if column.nullable else "" for column in hub_referral.c} | {
            "referral_id": referral_id,
            "referrer_practice_id": ends[0],
            "recipient_practice_id": ends[1],
            "state": state,
            "version": 1,
            "requested_at": requested_at,
            "changed_at": requested_at,
            "first_opened_at": None,
        }

        def work(tx: Transaction) -> None:
            tx.execute(hub_referral.insert(), values)
            if after is not None:
                at = requested_at + timedelta(hours=after)
                for again in (0, 1):
                    audit.note(
                        tx,
                        "referral-accept",
                        at + timedelta(hours=again),
                        by=self.clinic.clinician,
                        subject_id=referral_id,
                    )

        self.clinic.db.run(work)

    def measures(self, by: Staff | None = None, days: int = 90) -> Measures:
        since = self.now - timedelta(days=days)
        return self.clinic.db.run(
            lambda tx: measure_loop(tx, self.clinic.clinic, by or self.clinic.clinician, since)
        )


@pytest.fixture
def loop(juniper: AClinic) -> Loop:
    return Loop(juniper)


def test_of_nothing_there_is_no_share_and_no_time(loop: Loop) -> None:
    found = loop.measures()
    assert (found.inbound, found.to_accept_hours, found.closure_rate) == (0, None, None)


def test_time_to_accept_is_the_median_to_our_first_acceptance(loop: Loop) -> None:
    for hours in (1, 2, 9):
        loop.has("accepted", after=hours)
    loop.has("received")
    loop.has("accepted", inbound=False)
    found = loop.measures()
    assert (found.inbound, found.outbound, found.accepted, found.to_accept_hours) == (4, 1, 3, 2.0)


def test_closure_is_the_share_of_the_ended_that_was_completed(loop: Loop) -> None:
    for state in ("completed", "completed", "declined", "expired", "in_progress", "refused"):
        loop.has(state)
    found = loop.measures()
    assert (found.ended, found.completed, found.closure_rate) == (4, 2, 0.5)


def test_what_was_requested_before_is_not_counted(loop: Loop) -> None:
    loop.has("completed", ago=24 * 100)
    assert loop.measures().ended == 0


def test_what_waits_is_counted_by_kind_without_what_the_service_does_itself(loop: Loop) -> None:
    def work(tx: Transaction) -> None:
        for subject in ("a", "b"):
            worklist.raise_item(tx, "question", subject, loop.now - timedelta(hours=5))
        worklist.raise_item(tx, "wrap-wanted", "c", loop.now, staff_id=worklist.SERVICE)
        worklist.raise_item(tx, "receipt-overdue", "d", loop.now)
        worklist.settle(tx, "receipt-overdue", "d", loop.now)

    loop.clinic.db.run(work)
    assert [(each.kind, each.items, each.oldest_hours) for each in loop.measures().waiting] == [
        ("question", 2, 5.0)
    ]


def test_a_role_of_neither_care_nor_oversight_measures_nothing(loop: Loop) -> None:
    with pytest.raises(NotYourRole):
        loop.measures(by=Staff("staff_none", "Nobody", frozenset()))


def test_an_auditor_measures(loop: Loop) -> None:
    assert loop.measures(by=Staff("staff_audit", "Auditor", frozenset({Role.AUDITOR}))).ended == 0
