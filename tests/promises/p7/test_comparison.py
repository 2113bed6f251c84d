"""The comparison itself: it knows every field that a practice can see, and it sees differences."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor

from support.observation import (
    Comparable,
    Compared,
    Unclassified,
    first_difference,
    observable_fields,
    observable_messages,
    rule_of,
)
from tandem.consent.v1.consent_pb2 import ListConsentsResponse, Permission
from tandem.exchange.v1.exchange_pb2 import LogRow, ReadResponse, RowBody, SealedEntry, SyncResponse


def test_every_field_that_a_practice_can_see_is_compared_by_a_rule() -> None:
    assert len([rule_of(field) for field in observable_fields()]) > 200


def test_the_walk_reaches_rows_and_what_they_hold() -> None:
    names = {message.full_name for message in observable_messages()}
    assert {"tandem.exchange.v1.LogRow", "tandem.exchange.v1.RowBody", "tandem.exchange.v1.KeyWrap"} <= names


def _planted(**field: Any) -> Descriptor:
    file = descriptor_pb2.FileDescriptorProto(name="planted.proto", package="planted", syntax="proto3")
    message = file.message_type.add(name="Answer")
    message.field.add(name="planted", number=1, label=1, **field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindMessageTypeByName("planted.Answer")


@pytest.mark.parametrize(
    "kind",
    [
        descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
        descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    ],
)
def test_a_field_that_nobody_has_classified_is_a_fault(kind: int) -> None:
    with pytest.raises(Unclassified, match=r"planted\.Answer\.planted"):
        rule_of(_planted(type=kind).fields_by_name["planted"])


def test_few_things_are_drawn_at_random() -> None:
    """What is compared by presence alone escapes the comparison: each has its reason in docs/privacy.md."""
    drawn = {field.full_name for field in observable_fields() if rule_of(field) is Compared.BY_PRESENCE}
    assert drawn == {
        "tandem.exchange.v1.SyncResponse.next_after",
        "tandem.audit.v1.GetAuditProofResponse.leaf_index",
    }


def compared(one: Any, other: Any, *, same_material: bool) -> str | None:
    left, right = (Comparable(same_material=same_material).message(message) for message in (one, other))
    return first_difference(left, right)


def a_row(sequence: int = 1, entry_id: str = "ent_a", ciphertext: bytes = b"abc", void: str = "") -> LogRow:
    body = RowBody()
    body.entry_released.entry.CopyFrom(SealedEntry(ciphertext=ciphertext))
    body.entry_released.entry.labels.entry_id = entry_id
    return LogRow(sequence=sequence, body=b"" if void else body.SerializeToString(), void_reason=void)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (a_row(1), a_row(2)),
        (a_row(), a_row(ciphertext=b"abcd")),
        (a_row(), a_row(void="revoked")),
        (ReadResponse(rows=[a_row(1)]), ReadResponse(rows=[a_row(1), a_row(2)])),
        (
            ReadResponse(rows=[a_row(1, "ent_a"), a_row(2, "ent_a")]),
            ReadResponse(rows=[a_row(1, "ent_a"), a_row(2, "ent_b")]),
        ),
        (ListConsentsResponse(next_page_token="a"), ListConsentsResponse(next_page_token="ab")),
        (ListConsentsResponse(permissions=[Permission()]), ListConsentsResponse()),
        (SyncResponse(push_wanted=True), SyncResponse()),
        (SyncResponse(commands_committed=1), SyncResponse(commands_committed=2)),
    ],
)
@pytest.mark.parametrize("same_material", [True, False])
def test_a_difference_is_seen(one: Any, other: Any, *, same_material: bool) -> None:
    assert compared(one, other, same_material=same_material) is not None


def test_other_ids_and_other_sealed_bytes_are_no_difference_where_each_run_made_its_own() -> None:
    one, other = a_row(entry_id="ent_a", ciphertext=b"abc"), a_row(entry_id="ent_b", ciphertext=b"xyz")
    assert compared(one, other, same_material=False) is None
    assert compared(one, other, same_material=True) is not None
