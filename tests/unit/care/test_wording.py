"""The words of forms and notices say all that 42 CFR 2.31 and 2.32 ask for, in every language alike."""

import re
from string import Formatter

import pytest

from tandem_care.categories import FACTS, Category, Purpose
from tandem_care.errors import Invalid
from tandem_care.law.elements import Element, lacking
from tandem_care.permission import REDISCLOSURE_NOTICE
from tandem_care.wording.editions import FORMS, NOTICES, FormWording, form_wording, notice_wording

ENGLISH = form_wording("en")
WORDS = {
    "patient": "Alex Rivera",
    "discloser": "Juniper Clinic",
    "recipient": "Riverbend Therapy",
    "information": "Your appointments",
    "history": "From the date of this form on.",
    "kept_back": "Nothing of it is kept back.",
    "purpose": "For your treatment.",
    "how_to_revoke": "by a letter to Juniper Clinic",
    "expiry": "None: until you revoke it.",
    "consequences": "you are treated all the same",
    "signature": "Alex Rivera",
    "date": "1 March 2026",
}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.edition.language)
def test_a_form_states_every_element_once(form: FormWording) -> None:
    assert sorted(each.element for each in form.sections) == sorted(Element)
    said = {each.element: each.text for each in form.filled(**WORDS)}
    assert lacking(said, Purpose.TREATMENT) == ()
    assert all(each.heading for each in form.sections)
    assert not re.search(r"[{}]", " ".join(said.values()))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.edition.language)
def test_every_language_asks_for_the_same(form: FormWording) -> None:
    assert [each.element for each in form.sections] == [each.element for each in ENGLISH.sections]
    for said, english in zip(form.sections, ENGLISH.sections, strict=True):
        assert places(said.text) == places(english.text)
    assert {key: places(text) for key, text in form.phrases.items()} == {
        key: places(text) for key, text in ENGLISH.phrases.items()
    }
    assert set(form.purposes) == set(Purpose)
    assert set(form.categories) == set(Category)


def test_the_form_calls_the_categories_what_the_screens_call_them() -> None:
    assert dict(ENGLISH.categories) == {category: facts.summary for category, facts in FACTS.items()}


def test_a_place_that_is_not_filled_is_named() -> None:
    with pytest.raises(Invalid) as refusal:
        ENGLISH.filled(**{name: word for name, word in WORDS.items() if name != "how_to_revoke"})
    assert refusal.value.field == "how_to_revoke"


def test_spanish_is_a_draft_until_a_clinic_approves_it() -> None:
    (spanish,) = (form for form in FORMS if form.edition.language == "es")
    assert form_wording("es") is ENGLISH
    assert form_wording("es", frozenset({spanish.edition.digest})) is spanish
    assert form_wording("es", frozenset({ENGLISH.edition.digest})) is ENGLISH
    assert notice_wording("es").edition.language == "en"


def test_a_language_without_words_is_answered_in_english() -> None:
    assert form_wording("fr") is ENGLISH


def test_editions_are_told_apart_by_their_digests() -> None:
    editions = [form.edition for form in FORMS] + [notice.edition for notice in NOTICES]
    assert len({each.digest for each in editions}) == len(editions) == 4
    assert all(len(each.digest) == 32 for each in editions)


def test_the_notice_is_in_the_words_of_the_section() -> None:
    assert notice_wording("en").notice == REDISCLOSURE_NOTICE
    for notice in NOTICES:
        assert places(notice.scope) == {
            "signed_on",
            "discloser",
            "recipient",
            "information",
            "purpose",
            "expiry",
        }
