"""A refusal survives the wire."""

from google.rpc.code_pb2 import Code as WireCode
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.status import refusal_in, status_of

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
refusals = st.builds(
    Refusal,
    st.sampled_from(Code),
    st.from_regex(r"[A-Z][A-Z_]{0,20}", fullmatch=True),
    text,
    field=st.none() | text.filter(bool),
    way_out=st.none() | text,
    metadata=st.dictionaries(text.filter(lambda key: key != "way_out"), text, max_size=4),
)


@given(refusals)
def test_a_refusal_read_back_is_the_one_that_was_written(refusal):
    assert vars(refusal_in(status_of(refusal))) == vars(refusal)


@given(refusals)
def test_a_refusal_written_again_gives_the_same_bytes(refusal):
    wire = status_of(refusal).SerializeToString()
    assert status_of(refusal_in(Status.FromString(wire))).SerializeToString() == wire


@given(st.integers(0, 40), text)
def test_a_status_of_somebody_else_becomes_a_refusal_without_its_text(code, message):
    refusal = refusal_in(Status(code=code, message="foreign: " + message))
    assert "foreign" not in refusal.message


def test_a_cancelled_call_reads_as_unavailable_and_may_be_repeated():
    refusal = refusal_in(Status(code=WireCode.CANCELLED))
    assert refusal.code is Code.UNAVAILABLE
    assert refusal.is_transient()
