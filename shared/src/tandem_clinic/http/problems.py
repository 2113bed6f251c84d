"""Refusals as problem details (RFC 9457): what is wrong, in which field, and the way out."""

import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from flask import Flask, Response, json
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from tandem_platform.errors import Code, Refusal

log = structlog.get_logger(__name__)

MOST_ERRORS = 20
"""Whoever sends five hundred faults learns of the first ones."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")

STATUS = {
    Code.INVALID_ARGUMENT: 422,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.INTERNAL: 500,
}


class ProblemSchema(Schema):
    """For the description of the API; problems are written by hand below."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(metadata={"description": "What is wrong, for a person"})
    reason = fields.String(metadata={"description": "What is wrong, for a program; never reworded"})
    field = fields.String(metadata={"description": "The field at fault, as a dotted path"})
    way_out = fields.String(metadata={"description": "What can be done about it"})
    metadata = fields.Dict(keys=fields.String(), values=fields.String())
    errors = fields.List(
        fields.Dict(), metadata={"description": "Every field at fault, where there are several"}
    )


def handle_problems(app: Flask) -> None:
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(HTTPException, _by_framework)
    app.register_error_handler(Exception, _unexpected)


def problem(status: int, title: str, **members: Any) -> Response:
    body = {"type": "about:blank", "title": title, "status": status}
    body |= {name: value for name, value in members.items() if value}
    return Response(json.dumps(body), status, content_type="application/problem+json")


def _refused(refusal: Refusal) -> Response:
    status = STATUS[refusal.code]
    response = problem(
        status,
        refusal.code.replace("_", " ").capitalize(),
        detail=refusal.message,
        reason=refusal.reason,
        field=refusal.field,
        way_out=refusal.way_out,
        metadata=refusal.metadata,
    )
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _by_framework(error: HTTPException) -> Response:
    """Faults that Flask and webargs find, bad fields among them. Their texts name fields and never repeat values."""
    status = error.code or 500
    messages: Any = getattr(error, "data", {}).get("messages", {})
    named = itertools.islice(_flattened(messages), MOST_ERRORS)
    errors = [{"field": field, "message": message} for field, message in named]
    if not errors:
        way_out = "send one JSON object" if status == 400 else None
        reason = error.name.upper().replace(" ", "_").replace("'", "")
        response = problem(status, error.name, detail=error.name, reason=reason, way_out=way_out)
    else:
        first = errors[0]
        response = problem(
            status,
            "Invalid argument",
            detail=f"{first['field'] or 'the request'}: {first['message']}",
            reason="CONTENT_INVALID",
            field=first["field"],
            way_out="correct the field and send it again",
            errors=errors,
        )
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _flattened(messages: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Of marshmallow's nested messages; the outermost level is the place in the request."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            yield from _flattened(inner, (*path, str(name)))
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flattened(inner, path)
    else:
        inside = [name for name in path[1:] if name != "_schema"]
        # A word in the place of a field's name may be anything, and is not repeated.
        plain = list(itertools.takewhile(_PLAIN_NAME.fullmatch, inside))
        yield ".".join(plain), str(messages)


def _unexpected(fault: Exception) -> Response:
    """Its text may hold what a patient said: only its type and place are logged, under a reference."""
    reference = secrets.token_hex(8)
    frames = []
    traceback = fault.__traceback__
    while traceback is not None:
        frames.append(f"{traceback.tb_frame.f_globals.get('__name__', '?')}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    log.error("http_fault", reference=reference, fault=type(fault).__name__, frames=frames[-12:])
    return problem(
        500,
        "Internal",
        detail=f"internal fault, reference {reference}",
        reason="INTERNAL_FAULT",
        metadata={"reference": reference},
    )
