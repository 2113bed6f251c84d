"""Refusals: what a caller may be told, in one shape for every entrance."""

from collections.abc import Mapping
from enum import StrEnum


class Code(StrEnum):
    """The gRPC status codes that Tandem answers with, by their gRPC names."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"


class Refusal(Exception):
    """An expected "no" that the caller may read. Domain errors are subclasses with a fixed code and reason.

    Everything in it reaches the caller, so none of it may hold anything about a patient.

    code: what gRPC and HTTP clients branch on.
    reason: UPPER_SNAKE word that a program can rely on; it never changes for the same case.
    message: a sentence for a person; free to be reworded.
    field: the request field at fault, as a dotted path.
    way_out: what the caller can do about it.
    metadata: further machine-readable facts.
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        message: str,
        *,
        field: str | None = None,
        way_out: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.field = field
        self.way_out = way_out
        self.metadata: dict[str, str] = dict(metadata or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code}, {self.reason!r}, {self.message!r}, field={self.field!r})"

    def is_transient(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return self.code in _TRANSIENT


_TRANSIENT = frozenset(
    {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.ABORTED, Code.INTERNAL}
)
