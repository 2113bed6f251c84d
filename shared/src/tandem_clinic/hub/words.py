"""Permissions and referrals between the contracts' messages and this clinic's words."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from tandem.common.v1.common_pb2 import Basis as WireBasis
from tandem_care.categories import Basis
from tandem_platform.rpc import words

if TYPE_CHECKING:
    from google.protobuf.message import Message


def time_in(message: "Message", field: str) -> datetime | None:
    """The time in *field*, None if it is unset."""
    if not message.HasField(field):
        return None
    moment: Timestamp = getattr(message, field)
    return moment.ToDatetime(tzinfo=UTC)


def put_time(message: "Message", field: str, at: datetime | None) -> None:
    if at is not None:
        getattr(message, field).FromDatetime(at)


def basis_on_wire(basis: Basis) -> "WireBasis.ValueType":
    """The contract says "verbal" where the rules say "verbal-attested"."""
    return words.basis_number(basis.value) or words.basis_number(basis.name.lower())


def basis_from_wire(number: int) -> Basis:
    code = words.basis_code(number)
    return Basis.VERBAL if code == "verbal" else Basis(code)
