"""Two different labels never encode alike, whatever they say and whatever is added to them."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from tandem.exchange.v1.exchange_pb2 import EntryLabels
from tandem_platform.sealing.encoding import NotCanonical, decode, encode
from tandem_platform.sealing.labels import encode_labels

# Few letters and numbers, so that values run into each other where an encoding lets them.
WORDS = st.text(alphabet="a-\0", max_size=3) | st.text(max_size=4)
NUMBERS: st.SearchStrategy[Any] = st.integers(0, 3)
TIMES = st.none() | st.tuples(st.integers(-1, 2), NUMBERS)


@st.composite
def all_labels(draw: st.DrawFn) -> EntryLabels:
    labels = EntryLabels(
        entry_id=draw(WORDS),
        episode_id=draw(WORDS),
        origin_practice_id=draw(WORDS),
        category=draw(NUMBERS),
        derived_from=draw(st.lists(NUMBERS, max_size=3)),
        size_class=draw(NUMBERS | st.just(2**32 - 1)),
        amends_entry_id=draw(WORDS),
        entered_in_error=draw(st.booleans()),
        part2=draw(st.booleans()),
    )
    authored = draw(TIMES)
    if authored is not None:
        labels.authored_at.seconds, labels.authored_at.nanos = authored
        labels.authored_at.SetInParent()
    return labels


@given(all_labels(), all_labels())
def test_labels_encode_alike_only_if_they_are_alike(one, other):
    assert (encode_labels(one) == encode_labels(other)) == (one == other)


@given(all_labels())
def test_the_same_labels_always_encode_the_same(labels):
    travelled = EntryLabels.FromString(labels.SerializeToString())
    assert encode_labels(travelled) == encode_labels(labels)


def changes_of(message: Message) -> Iterator[tuple[str, Message]]:
    """One copy for each field, nested ones included, that differs from *message* in that field alone."""
    for field in message.DESCRIPTOR.fields:
        changed = type(message)()
        changed.CopyFrom(message)
        if field.is_repeated:
            getattr(changed, field.name).append(1)
            yield field.name, changed
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner_name, inner in changes_of(getattr(message, field.name)):
                deeper = type(message)()
                deeper.CopyFrom(message)
                getattr(deeper, field.name).CopyFrom(inner)
                yield f"{field.name}.{inner_name}", deeper
        else:
            value = getattr(message, field.name)
            setattr(changed, field.name, {str: "other", bool: not value}.get(type(value)) or value + 1)
            yield field.name, changed


@pytest.mark.parametrize(
    ("field", "changed"), [pytest.param(*change, id=change[0]) for change in changes_of(EntryLabels())]
)
def test_every_field_of_the_contract_is_bound(field, changed):
    assert encode_labels(changed) != encode_labels(EntryLabels()), f"{field} is not in encode_labels"


def test_a_time_that_was_not_given_differs_from_the_epoch():
    given_time = EntryLabels()
    given_time.authored_at.SetInParent()
    assert encode_labels(given_time) != encode_labels(EntryLabels())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
).filter(lambda value: str(value).count("[") <= 3)


@given(st.lists(VALUES, max_size=4))
def test_what_was_encoded_decodes_to_itself(values):
    assert decode(encode(*values)) == values


@given(st.binary(max_size=40) | st.lists(VALUES, max_size=2).map(lambda v: encode(*v)[:-1] + b"F"))
def test_bytes_either_have_one_meaning_or_none(encoded):
    try:
        values = decode(encoded)
    except NotCanonical:
        return
    assert encode(*values) == encoded


def test_hostile_nesting_is_refused():
    with pytest.raises(NotCanonical):
        decode(b"L\0\0\0\1" * 100_000)
