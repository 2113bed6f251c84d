"""Who calls, by bearer token; commands answered once; and whether the hub has confirmed."""

import hashlib
from typing import Any

import grpc
from sqlalchemy import select

from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.http.entrance import staff_with
from tandem_clinic.store import staff as staff_store
from tandem_clinic.store.tables import answered_request
from tandem_clinic.store.vault import CLINIC_KEY
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.dispatch import Call, Run
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.server import Identify
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

_KEPT = "answered_request.answer"


def by_token(clinic: Clinic) -> Identify:
    """Callers are told by `authorization: Bearer …` in the metadata."""

    def identify(context: grpc.ServicerContext) -> Caller:
        found: Any = dict(context.invocation_metadata() or ())
        member = staff_with(clinic, str(found.get("authorization", "")))
        return caller_of(member)

    return identify


def caller_of(member: Staff) -> Caller:
    return Caller("staff", member.staff_id, roles=frozenset(role.value for role in member.roles))


def staff_of(tx: Transaction, call: Call) -> Staff:
    """The person or system behind a call, with the name that stands on what they author."""
    member = staff_store.get(tx, call.caller.id)
    return Staff(member.staff_id, member.display_name, frozenset(Role(role) for role in call.caller.roles))


class RequestIdReused(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.ALREADY_EXISTS,
            "REQUEST_ID_REUSED",
            "this request_id was used with a different body",
            field="request_id",
            way_out="make a new request_id for a new command; to repeat the old one, send the same body",
        )


class RememberedRequests:
    """The clinic's CommandMemory: a command's effects and its answer in one transaction.

    Refusals are not kept: they change nothing, and what stood in the way may be gone the next time.
    """

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def once(self, practice_id: str, method: str, request_id: str, body_hash: bytes, run: Run) -> bytes:
        def work(tx: Transaction) -> bytes:
            name = hashlib.sha256(f"{practice_id} {method} {request_id}".encode()).hexdigest()
            query = select(answered_request).where(
                answered_request.c.staff_id == practice_id,
                answered_request.c.operation == method,
                answered_request.c.key == request_id,
            )
            row = tx.first(query)
            if row is not None:
                if row.body_hash != body_hash:
                    raise RequestIdReused
                return self._clinic.vault.decrypt(tx, row.answer, _KEPT, name, CLINIC_KEY)
            answer = run(tx)
            values = {
                "staff_id": practice_id,
                "operation": method,
                "key": request_id,
                "body_hash": body_hash,
                "status": 0,
                "answer": self._clinic.vault.encrypt(tx, answer, _KEPT, name, CLINIC_KEY),
                "answered_at": self._clinic.now(),
            }
            if not insert_new(tx, answered_request, values):
                raise Refusal(
                    Code.ABORTED, "REQUEST_UNDER_WAY", "the same request is being answered just now"
                )
            return answer

        return self._clinic.db.run(work)
