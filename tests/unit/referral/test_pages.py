"""Page tokens hold a place and show nothing."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.referral.v1.referral_pb2 import ListMovesRequest, ListReferralsRequest
from tandem_referral.grpc.pages import DEFAULT_PAGE, LARGEST_PAGE, PageTokenInvalid, PageTokens, page_size

PAGES = PageTokens(bytes(32))
PLACES = st.lists(st.integers(0, 2**63) | st.text("abcdefgh_234567", max_size=63), min_size=1, max_size=2)


@given(PLACES)
def test_a_token_gives_its_place_back_and_is_as_long_as_any_other(place):
    request = ListReferralsRequest(state="received")
    token = PAGES.make("juniper", request, place)
    assert len(token) == len(PAGES.make("juniper", request, [0]))
    assert (
        PAGES.read("juniper", ListReferralsRequest(state="received", page_size=7, page_token=token)) == place
    )


def test_the_first_page_has_no_place():
    assert PAGES.read("juniper", ListReferralsRequest()) is None


@pytest.mark.parametrize(
    ("reader", "request_type", "fields", "pages"),
    [
        ("riverbend", ListReferralsRequest, {}, PAGES),
        ("juniper", ListReferralsRequest, {"state": "received"}, PAGES),
        ("juniper", ListMovesRequest, {}, PAGES),
        ("juniper", ListReferralsRequest, {}, PageTokens(bytes([1]) * 32)),
    ],
)
def test_a_token_serves_its_reader_query_and_maker_only(reader, request_type, fields, pages):
    token = PAGES.make("juniper", ListReferralsRequest(), [1])
    with pytest.raises(PageTokenInvalid):
        pages.read(reader, request_type(page_token=token, **fields))


@pytest.mark.parametrize("token", ["x", "äöü", " ", "A" * 300, base64.urlsafe_b64encode(bytes(40)).decode()])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(PageTokenInvalid):
        PAGES.read("juniper", ListReferralsRequest(page_token=token))


def test_a_changed_token_is_refused_at_every_byte():
    raw = bytearray(base64.urlsafe_b64decode(PAGES.make("juniper", ListReferralsRequest(), [1])))
    for place in range(len(raw)):
        raw[place] ^= 1
        token = base64.urlsafe_b64encode(raw).decode()
        with pytest.raises(PageTokenInvalid):
            PAGES.read("juniper", ListReferralsRequest(page_token=token))
        raw[place] ^= 1


def test_page_sizes_stay_within_bounds():
    assert [page_size(asked) for asked in (0, 1, 10**6)] == [DEFAULT_PAGE, 1, LARGEST_PAGE]
