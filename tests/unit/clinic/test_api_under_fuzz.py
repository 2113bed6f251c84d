"""Whatever is sent to the REST API, it answers in its own words and never with a fault of its own."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from support.clinics import PARTNERSHIP, AClinic, a_clinic, a_form, a_summary
from tandem_clinic.domain.staff import Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.store import staff
from tandem_clinic.usecases.entries import record_entry
from tandem_clinic.usecases.referrals import request_referral


class Surface:
    """The API with a patient, a referral and an entry to be found, and a token that may do everything."""

    def __init__(self, clinic: AClinic) -> None:
        app = create_app(Entrance(clinic.clinic, clinic.journal, dict))
        self.schema: Any = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
        patient_id = clinic.registers()
        with clinic.db.transaction() as tx:
            asked = request_referral(
                tx, clinic.clinic, clinic.clinician, patient_id, PARTNERSHIP, "psychotherapy", a_form()
            )
            made = record_entry(tx, clinic.clinic, clinic.clinician, patient_id, a_summary())
            member = staff.add(tx, "Everybody", frozenset(Role), clinic.clinic.now())
            self.token = staff.issue_token(tx, member.staff_id, clinic.clinic.now())
        self.known = {
            "patient_id": patient_id,
            "referral_id": asked.referral_id,
            "episode_id": asked.episode_id,
            "record_id": made.record_id,
            "entry_id": made.entry_ids[0],
            "partnership_id": PARTNERSHIP,
            "move": "cancel",
        }


@pytest.fixture(scope="module")
def surface(tmp_path_factory) -> Surface:
    return Surface(a_clinic(tmp_path_factory.mktemp("clinic")))


LEFT_OUT = ("/shred", "/disable", "/tokens")
"""These take away what the other requests need, or give what no test may keep."""


def test_every_answer_is_one_that_was_meant(surface: Surface) -> None:
    operations = [found.ok() for found in surface.schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        if not operation.path.endswith(LEFT_OUT):
            _probe(surface, operation)


def _probe(surface: Surface, operation: Any) -> None:
    """A dozen requests such as the description allows."""

    @given(case=operation.as_strategy())
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in surface.known:
                case.path_parameters[name] = surface.known[name]
        response = case.call(headers={"Authorization": f"Bearer {surface.token}"})
        what = f"{operation.method.upper()} {operation.path}: {response.status_code} {response.text}"
        assert response.status_code < 500, what
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == "application/problem+json", what
            assert response.json()["reason"], what

    ask()
