"""What the story's people write down is what the practices take."""

from datetime import UTC, datetime

import pytest

from tandem_care import entry_kinds
from tandem_care.categories import Purpose
from tandem_clinic.domain.consent import ConsentForm
from tandem_ops.story import people

DOCUMENTS = [
    ("identity-contact", people.ROBIN),
    ("identity-contact", people.SAM),
    ("dosing-session", people.a_dose("52.5", 1)),
    ("scale-score", people.a_phq9(18)),
    ("scale-score", people.a_phq9(7)),
    ("appointment", people.an_appointment(7, "dosing")),
    ("message", people.a_message("Lena Fischer", "words")),
    ("safety-risk", people.a_safety_risk()),
    ("safety-signal", people.a_safety_signal("+1 503 555 0111")),
    ("preparation-summary", people.a_preparation_summary()),
    ("integration-summary", people.an_integration_summary("words")),
    ("screening-result", people.a_screening_result()),
]


@pytest.mark.parametrize(("kind", "fields"), DOCUMENTS)
def test_every_document_of_the_story_is_a_valid_entry(kind, fields):
    assert entry_kinds.from_input(kind, fields).kind == kind


def test_the_form_has_every_element_and_fits_a_treatment_permission():
    form = ConsentForm.from_fields(people.a_form(people.ROBIN, "Juniper", "Riverbend", "Doses"))
    form.fits(Purpose.TREATMENT, None, datetime.now(UTC).date())
