"""A refusal on the wire: google.rpc.Status with ErrorInfo and BadRequest, and back again."""

from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from tandem_platform.errors import Code, Refusal

DOMAIN = "tandem"
DETAILS_KEY = "grpc-status-details-bin"
_WAY_OUT = "way_out"
_Detail = TypeVar("_Detail", ErrorInfo, BadRequest)


class RpcRefusal(Exception):
    """The answer to a call that was not served, as the caller will see it."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def status_of(refusal: Refusal) -> Status:
    """The same refusal gives the same bytes in every process: an answer given twice is given alike."""
    metadata = dict(refusal.metadata)
    if refusal.way_out is not None:
        metadata[_WAY_OUT] = refusal.way_out
    status = Status(code=WireCode.Value(refusal.code), message=refusal.message)
    _attach(status, ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=metadata))
    if refusal.field is not None:
        violation = BadRequest.FieldViolation(field=refusal.field, description=refusal.message)
        _attach(status, BadRequest(field_violations=[violation]))
    return status


def refusal_in(status: Status) -> Refusal:
    """What `status_of` was given. A status from elsewhere becomes the nearest refusal, without its text."""
    info = _detail(status, ErrorInfo())
    code = _code_of(status.code)
    if info is None or info.domain != DOMAIN or code is None:
        return foreign_refusal(status.code)
    metadata = dict(info.metadata)
    way_out = metadata.pop(_WAY_OUT, None)
    request = _detail(status, BadRequest())
    field = request.field_violations[0].field if request is not None and request.field_violations else None
    return Refusal(code, info.reason, status.message, field=field, way_out=way_out, metadata=metadata)


def foreign_refusal(wire_code: int) -> Refusal:
    """For an answer that no dispatcher of ours wrote: the network's, gRPC's own, or a proxy's."""
    if wire_code == WireCode.CANCELLED:
        return Refusal(Code.UNAVAILABLE, "CALL_CANCELLED", "the call was given up before an answer came")
    if wire_code == WireCode.UNIMPLEMENTED:
        return Refusal(
            Code.FAILED_PRECONDITION,
            "METHOD_UNKNOWN",
            "the server does not know this method",
            way_out="bring client and server to the same version",
        )
    code = _code_of(wire_code) or Code.INTERNAL
    return Refusal(code, code.value, _FOREIGN_TEXTS.get(code, "the call failed without a reason"))


_FOREIGN_TEXTS = {
    Code.UNAVAILABLE: "the server cannot be reached",
    Code.DEADLINE_EXCEEDED: "no answer came in time",
    Code.RESOURCE_EXHAUSTED: "the server is overloaded, or the message is too large",
    Code.UNAUTHENTICATED: "the server does not know the caller",
}


def _code_of(wire_code: int) -> Code | None:
    try:
        return Code(WireCode.Name(wire_code))
    except ValueError:
        return None


def _attach(status: Status, detail: ErrorInfo | BadRequest) -> None:
    packed = AnyMessage()
    packed.Pack(detail, deterministic=True)
    status.details.append(packed)


def _detail(status: Status, into: _Detail) -> _Detail | None:
    for packed in status.details:
        if packed.Unpack(into):
            return into
    return None
