"""Committing the work of many threads in one transaction."""

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, cast

from sqlalchemy.exc import InterfaceError, OperationalError

from tandem_platform.storage.database import Database, Transaction

T = TypeVar("T")

# Said by the database about the transaction, not about one piece of work.
_TROUBLE_OF_ALL = (OperationalError, InterfaceError)


class _Piece(Generic[T]):
    """What one thread wants done, and what came of it."""

    def __init__(self, work: Callable[[Transaction], T]) -> None:
        self.work = work
        self.is_taken = False
        self.done = threading.Event()
        self.fault: Exception | None = None
        self.value: Any = None

    def attempt(self, run: Callable[[Callable[[Transaction], T]], T]) -> None:
        self.fault = None
        try:
            self.value = run(self.work)
        except _TROUBLE_OF_ALL:
            raise
        except Exception as fault:  # noqa: BLE001 - it belongs to the thread that asked
            self.fault = fault

    def outcome(self) -> T:
        self.done.wait()
        if self.fault is not None:
            raise self.fault
        return cast(T, self.value)


class Together:
    """Runs work as `Database.run` does, but what many threads ask for at once goes into one transaction.

    Each piece has a savepoint: one that raises undoes its own changes and no other's.
    Whoever comes while a transaction is under way waits for the next, which takes all who wait:
    under load begin, commit, and the heads of chains and logs are paid for once for many, and nobody queues for their locks.
    For short work: locks are held until all pieces are done. A deadlock with somebody else is the database's to resolve,
    and all pieces are then run again, as any transaction is.
    """

    def __init__(self, database: Database, *, most: int = 50, at_once: int = 3) -> None:
        """*most*: pieces in one transaction. *at_once*: such transactions side by side, where the database has more than one writer.

        A PostgreSQL transaction mostly waits for its server, and another can go on meanwhile.
        """
        self._database = database
        self._most = most
        self._waiting: deque[_Piece[Any]] = deque()
        self._taking = threading.Lock()
        self._leading = threading.BoundedSemaphore(1 if database.is_sqlite else at_once)

    def run(self, work: Callable[[Transaction], T]) -> T:
        """What *work* returns, once it is committed; raises what it raises, and what the database does."""
        # Another thread may do it, and must do it as this one: whose request it is stands in the context.
        context = contextvars.copy_context()
        piece: _Piece[T] = _Piece(lambda tx: context.run(work, tx))
        self._waiting.append(piece)
        with self._leading:
            # Whoever led before may have taken it with its own.
            while not piece.is_taken:
                self._commit_next()
        return piece.outcome()

    def _commit_next(self) -> None:
        pieces = self._take()
        try:
            if len(pieces) == 1 or not self._all_at_once(pieces):
                self._one_by_one(pieces)
        except BaseException:
            # This thread is being ended: nobody may take silence for success.
            for piece in pieces:
                piece.fault = piece.fault or RuntimeError("the transaction was abandoned")
            raise
        finally:
            for piece in pieces:
                piece.done.set()

    def _take(self) -> list[_Piece[Any]]:
        with self._taking:
            pieces = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            for piece in pieces:
                piece.is_taken = True
        return pieces

    def _all_at_once(self, pieces: list[_Piece[Any]]) -> bool:
        """False if something undid the whole transaction before its commit: then each is tried by itself."""
        is_ending = False

        def work(tx: Transaction) -> None:
            nonlocal is_ending
            is_ending = False
            for piece in pieces:
                piece.attempt(partial(_in_savepoint, tx))
            is_ending = True

        try:
            self._database.run(work)
        except _TROUBLE_OF_ALL as trouble:
            if not is_ending:
                return False
            # Whether it was committed may be unknown: nobody's work is done a second time.
            for piece in pieces:
                piece.fault = trouble
        except Exception:  # noqa: BLE001 - found again, and given to whose it is, when each is by itself
            return False
        return True

    def _one_by_one(self, pieces: list[_Piece[Any]]) -> None:
        trouble: Exception | None = None
        for piece in pieces:
            if trouble is not None:
                # The database does not answer: to have every request find out by itself would take its time for each.
                piece.fault = trouble
                continue
            try:
                piece.attempt(self._database.run)
            except _TROUBLE_OF_ALL as fault:
                piece.fault = trouble = fault


def _in_savepoint(tx: Transaction, work: Callable[[Transaction], T]) -> T:
    with tx.savepoint():
        return work(tx)
