"""The check digit of the National Provider Identifier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_care.npi import check_digit, is_npi

NINE = st.from_regex(r"[12][0-9]{8}", fullmatch=True)


@pytest.mark.parametrize("npi", ["1234567893", "1245319599", "2000000002"])
def test_published_identifiers_are_accepted(npi: str) -> None:
    """The first is the example of the standard itself."""
    assert is_npi(npi)


@pytest.mark.parametrize(
    "text",
    ["", "1234567890", "123456789", "12345678930", "0234567893", "1234 56789", "١٢٣٤٥٦٧٨٩٣", "123456789x"],
)
def test_what_is_none_is_refused(text: str) -> None:
    assert not is_npi(text)


@given(NINE)
def test_nine_digits_have_one_tenth(nine: str) -> None:
    assert [last for last in "0123456789" if is_npi(nine + last)] == [check_digit(nine)]


@given(NINE, st.integers(1, 9), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(nine: str, place: int, off_by: int) -> None:
    npi = nine + check_digit(nine)
    wrong = npi[:place] + str((int(npi[place]) + off_by) % 10) + npi[place + 1 :]
    assert not is_npi(wrong)


@given(NINE, st.integers(1, 8))
def test_two_neighbours_in_the_wrong_order_are_noticed_but_for_0_and_9(nine: str, place: int) -> None:
    npi = nine + check_digit(nine)
    swapped = npi[:place] + npi[place + 1] + npi[place] + npi[place + 2 :]
    assert is_npi(swapped) == (swapped == npi or {npi[place], npi[place + 1]} == {"0", "9"})
