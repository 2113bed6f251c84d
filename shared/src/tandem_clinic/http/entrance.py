"""What every resource needs: who is asking, a transaction, an answer given once, and whether the hub has confirmed."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, json, request
from sqlalchemy import select

from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import Staff
from tandem_clinic.hub.journal import Command, Journal
from tandem_clinic.store import staff as staff_store
from tandem_clinic.store.tables import answered_request
from tandem_clinic.store.vault import CLINIC_KEY
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.together import Together

T = TypeVar("T")

OPEN_PATHS = frozenset(
    {"/api/v1/health", "/api/v1/openapi.json", "/health/live", "/health/ready", "/metrics"}
)
WAIT_FOR_HUB = 5.0
_KEPT = "answered_request.answer"
_LONGEST_KEY = 200


@dataclass(frozen=True)
class Entrance:
    """health: by dependency, whether it works.

    reopen_uplink, resume_downlink: an administrator's ways out when a log stands still.
    """

    clinic: Clinic
    journal: Journal
    health: Callable[[], Mapping[str, bool]]
    reopen_uplink: Callable[[], None] = lambda: None
    resume_downlink: Callable[[], None] = lambda: None

    @cached_property
    def together(self) -> Together:
        """Where changes that are asked for at once are committed at once."""
        return Together(self.clinic.db)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a request. ``request_id``: the command to the hub that it led to."""

    body: dict[str, Any]
    request_id: str | None = None


class TokenMissing(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.UNAUTHENTICATED,
            "TOKEN_REFUSED",
            "there is no good access token with the request",
            way_out="send Authorization: Bearer, with a token that an administrator issued and nobody revoked",
        )


class HubRefused(Refusal):
    """The clinic had no objection, but the hub had."""

    def __init__(self, command: Command) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            command.last_failure or "HUB_REFUSED",
            command.refusal_message or "the hub refused",
            way_out="see the worklist; what depended on it was cancelled",
            metadata={"request_id": command.request_id},
        )


class KeyReused(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.ALREADY_EXISTS,
            "IDEMPOTENCY_KEY_REUSED",
            "this Idempotency-Key was used with a different request",
            field="Idempotency-Key",
            way_out="use a fresh key for each new request",
        )


def install(app: Flask, entrance: Entrance) -> None:
    app.extensions["tandem_clinic"] = entrance
    app.before_request(_check_path)
    app.before_request(_authenticate)


def entrance() -> Entrance:
    return cast(Entrance, current_app.extensions["tandem_clinic"])


def clinic() -> Clinic:
    return entrance().clinic


def caller() -> Staff:
    return cast(Staff, g.staff)


class PathMalformed(Refusal):
    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "PATH_MALFORMED", "there is nothing at a path of this form")


def _check_path() -> None:
    """Names in a path reach the database, which refuses some characters in its own words."""
    if not request.path.isprintable():
        raise PathMalformed


def _authenticate() -> None:
    if request.path in OPEN_PATHS:
        return
    g.staff = staff_with(clinic(), request.headers.get("Authorization", ""))


def staff_with(of: Clinic, authorization: str) -> Staff:
    """Whose token the Authorization header holds. TokenMissing for every way in which it is not good."""
    scheme, _, token = authorization.partition(" ")
    if scheme.casefold() != "bearer" or not token.isascii():
        raise TokenMissing
    with of.db.glancing() as tx:
        found = staff_store.with_token(tx, token.strip(), of.now())
    if found is None:
        raise TokenMissing
    return found


def read(work: Callable[[Transaction], T]) -> T:
    """In a transaction that may write: reading patients' data is noted in its own transaction."""
    return clinic().db.run(work)


def perform(work: Callable[[Transaction], Done], status: int = 200) -> tuple[dict[str, Any], int]:
    """Do *work* once for each Idempotency-Key, then wait a moment for the hub.

    202 says: queued, not confirmed. A refusal of the hub's is raised.
    """
    body, request_id = _done_once(work)
    if request_id is None:
        return {**body, "confirmed": True}, status
    command = entrance().journal.press(request_id, WAIT_FOR_HUB)
    if command.state in ("refused", "cancelled"):
        raise HubRefused(command)
    confirmed = command.state == "answered"
    return {**body, "request_id": request_id, "confirmed": confirmed}, status if confirmed else 202


def _done_once(work: Callable[[Transaction], Done]) -> tuple[dict[str, Any], str | None]:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        done = entrance().together.run(work)
        return done.body, done.request_id
    if len(key) > _LONGEST_KEY or not key.isprintable():
        raise Refusal(
            Code.INVALID_ARGUMENT,
            "IDEMPOTENCY_KEY_INVALID",
            f"the key has more than {_LONGEST_KEY} characters, or unprintable ones",
            field="Idempotency-Key",
            way_out="use a random identifier",
        )
    operation = f"{request.method} {request.path}"
    asked = hashlib.sha256(request.get_data()).digest()
    said = entrance().together.run(lambda tx: _remembered(tx, key, operation, asked, work))
    return said["body"], said["request_id"]


def _remembered(
    tx: Transaction, key: str, operation: str, asked: bytes, work: Callable[[Transaction], Done]
) -> dict[str, Any]:
    vault, name = clinic().vault, f"{caller().staff_id} {operation} {key}"
    query = select(answered_request).where(
        answered_request.c.staff_id == caller().staff_id,
        answered_request.c.operation == operation,
        answered_request.c.key == key,
    )
    row = tx.first(query)
    if row is not None:
        if row.body_hash != asked:
            raise KeyReused
        return cast(dict[str, Any], json.loads(vault.decrypt(tx, row.answer, _KEPT, name, CLINIC_KEY)))
    done = work(tx)
    said = {"body": done.body, "request_id": done.request_id}
    values = {
        "staff_id": caller().staff_id,
        "operation": operation,
        "key": key,
        "body_hash": asked,
        "status": 200,
        "answer": vault.encrypt(tx, json.dumps(said), _KEPT, name, CLINIC_KEY),
        "answered_at": clinic().now(),
    }
    if not insert_new(tx, answered_request, values):
        raise Refusal(
            Code.ABORTED,
            "REQUEST_UNDER_WAY",
            "the same request is being answered just now",
            way_out="send it again in a moment",
        )
    return said
