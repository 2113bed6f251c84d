"""Times in the contracts' messages."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

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
