"""How commands were answered, remembered in the transaction of their effects."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.rpc.status_pb2 import Status
from sqlalchemy import and_, bindparam, select, update

from tandem.common.v1.common_pb2 import CommandReceipt
from tandem_platform.clock import Clock
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.dispatch import Run
from tandem_platform.rpc.status import refusal_in, status_of
from tandem_platform.storage.database import Database, Transaction
from tandem_platform.storage.inserts import insert_into, insert_new
from tandem_platform.storage.together import Together
from tandem_referral.store import sync
from tandem_referral.store.tables import command, command_count

# Every response of a command has its receipt in field 1. Two encodings of a message, one after the other,
# are the encoding of both merged: the number is added without knowing which response it goes into.
_RECEIPT_TAG = b"\x0a"


class RequestIdReused(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.ALREADY_EXISTS,
            "REQUEST_ID_REUSED",
            "this request_id was used with a different body",
            field="request_id",
            way_out="make a new request_id for a new command; to repeat the old one, send the same body",
        )


class SyncFirst(Refusal):
    """This database may be a backup: what it lost of the caller's commands must come before anything new."""

    def __init__(self) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            "SYNC_FIRST",
            "the hub has started anew and takes your commands after you have synced",
            way_out="call Sync, then send the command again",
        )


@dataclass(frozen=True, slots=True)
class _Command:
    practice_id: str
    method: str
    request_id: str
    body_hash: bytes

    @property
    def is_of_the_exchange(self) -> bool:
        return self.method.startswith("/tandem.exchange.")

    @property
    def key(self) -> dict[str, str]:
        return {"of": self.practice_id, "by": self.method, "request": self.request_id}


_IS_THIS = and_(
    command.c.practice_id == bindparam("of"),
    command.c.method == bindparam("by"),
    command.c.request_id == bindparam("request"),
)
_KNOWN = select(command.c.body_hash, command.c.answer, command.c.refusal).where(_IS_THIS)
_ANSWERING = (
    update(command).where(_IS_THIS).values(answer=bindparam("with_answer"), number=bindparam("with_number"))
)
_REFUSING = update(command).where(_IS_THIS).values(refusal=bindparam("with_refusal"))


class RememberedCommands:
    """The hub's CommandMemory: one transaction holds a command's effects, its number and its answer.

    A refusal undoes the effects first and is remembered by a second transaction; if the same command got
    through in between, its answer is the first one and is given instead.
    Commands that come at once are committed at once. Safe to share between threads.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # One at a time: two groups would take the locks of several episodes each, in no common order.
        self._together = Together(database, at_once=1)

    def once(self, practice_id: str, method: str, request_id: str, body_hash: bytes, run: Run) -> bytes:
        this = _Command(practice_id, method, request_id, body_hash)
        try:
            answer = self._run(this, lambda tx: self._known_or(tx, this, lambda: self._serve(tx, this, run)))
        except Refusal as refusal:
            if refusal.is_transient() or self._is_replaying(practice_id):
                raise
            refused = status_of(refusal)
            answer = self._run(this, lambda tx: self._known_or(tx, this, lambda: _refuse(tx, this, refused)))
        if isinstance(answer, Status):
            raise refusal_in(answer)
        return answer

    def _run(self, this: _Command, work: Callable[[Transaction], bytes | Status]) -> bytes | Status:
        # Those of the exchange lock a cursor, which comes before whatever another command has locked already.
        return self._database.run(work) if this.is_of_the_exchange else self._together.run(work)

    def _is_replaying(self, practice_id: str) -> bool:
        """What is refused now may be granted when another practice has replayed what this one builds upon."""
        with self._database.glancing() as tx:
            return sync.is_replaying(tx, practice_id)

    def _known_or(
        self, tx: Transaction, this: _Command, answer: Callable[[], bytes | Status]
    ) -> bytes | Status:
        """Take the command's place and *answer* it, while a second one like it waits; or give the known answer."""
        place = {
            "practice_id": this.practice_id,
            "method": this.method,
            "request_id": this.request_id,
            "body_hash": this.body_hash,
            "answered_at": self._clock.now(),
        }
        if insert_new(tx, command, place):
            return answer()
        known = tx.execute(_KNOWN, this.key).one()
        if known.body_hash != this.body_hash:
            return status_of(RequestIdReused())
        if known.refusal is not None:
            return Status.FromString(known.refusal)
        return bytes(known.answer)

    def _serve(self, tx: Transaction, this: _Command, run: Run) -> bytes:
        # Opening an epoch is a part of syncing, and loses its place to no other command.
        if not this.is_of_the_exchange and not sync.takes_commands(tx, this.practice_id):
            raise SyncFirst
        response = run(tx)
        # After everything that the command locks but audit heads and logs, and held to the commit:
        # a caller's commands are numbered in the order in which they are committed.
        number = _next_number(tx, this.practice_id)
        receipt = CommandReceipt(number=number).SerializeToString()
        answer = response + _RECEIPT_TAG + bytes([len(receipt)]) + receipt
        tx.execute(_ANSWERING, {**this.key, "with_answer": answer, "with_number": number})
        return answer


def commands_committed(tx: Transaction, practice_id: str) -> int:
    """The number of the caller's last command."""
    row = tx.first(_COUNTED, of=practice_id)
    return 0 if row is None else int(row.number)


_COUNTED = select(command_count.c.number).where(command_count.c.practice_id == bindparam("of"))


def is_answered(tx: Transaction, practice_id: str, request_id: str) -> bool:
    """Whether a command of the practice, of any method, has its answer or refusal."""
    query = select(command.c.method).where(
        command.c.practice_id == practice_id, command.c.request_id == request_id
    )
    return tx.first(query.limit(1)) is not None


def was_refused(tx: Transaction, practice_id: str, request_id: str) -> bool:
    """Whether a command of the practice has a refusal for its answer."""
    query = select(command.c.method).where(
        command.c.practice_id == practice_id,
        command.c.request_id == request_id,
        command.c.refusal.is_not(None),
    )
    return tx.first(query.limit(1)) is not None


def _refuse(tx: Transaction, this: _Command, refused: Status) -> Status:
    tx.execute(_REFUSING, {**this.key, "with_refusal": refused.SerializeToString()})
    return refused


def _next_number(tx: Transaction, practice_id: str) -> int:
    return int(tx.execute(_counting(tx.dialect), {"practice_id": practice_id, "number": 1}).scalar_one())


@cache
def _counting(dialect: str) -> Any:
    return (
        insert_into(command_count, dialect)
        .on_conflict_do_update(index_elements=["practice_id"], set_={"number": command_count.c.number + 1})
        .returning(command_count.c.number)
    )
