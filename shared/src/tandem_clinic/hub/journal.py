"""Commands to the hub: written down with the change that they tell of, sent in order, answered once."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import bindparam, func, select, update

from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.referral.v1 import referral_pb2
from tandem_clinic.clinic import Clinic
from tandem_clinic.store import worklist
from tandem_clinic.store.tables import command, journal_head
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

LONGEST_PAUSE: Final = timedelta(seconds=30)
REPLAY_PATIENCE: Final = timedelta(minutes=10)
"""A replayed command may be refused because the other practice's have not been replayed yet."""

COMMANDS: Final = "commands"
"""The topic that a commit wakes when it queues."""

ALERT_AFTER: Final = 5
"""Failures in a row, with the hub reachable, after which somebody should look."""

_PASSING = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED})
# What only an operator can mend must not throw a patient's revocation away.
_STUCK = frozenset({Code.INTERNAL, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True)
class Command:
    position: int
    request_id: str
    method: str
    body: bytes
    depends_on: str | None
    episode_id: str
    subject_id: str
    withholds: bool
    author_id: str
    state: str
    replayed_since: datetime | None
    attempts: int
    last_failure: str
    refusal_message: str
    receipt_number: int
    queued_at: datetime

    @property
    def name(self) -> str:
        """The method without its service: "AcceptReferral"."""
        return self.method.rpartition("/")[2]

    @property
    def request(self) -> Any:
        return _METHODS[self.name].request_type.FromString(self.body)


@dataclass(frozen=True, slots=True)
class _Method:
    path: str
    request_type: type[Message]
    response_type: type[Message]


def _commands_of(*files: FileDescriptor) -> dict[str, _Method]:
    found = {}
    for file in files:
        for service in file.services_by_name.values():
            for method in service.methods:
                if "request_id" in method.input_type.fields_by_name:
                    found[method.name] = _Method(
                        f"/{service.full_name}/{method.name}",
                        GetMessageClass(method.input_type),
                        GetMessageClass(method.output_type),
                    )
    return found


_METHODS: Final = _commands_of(consent_pb2.DESCRIPTOR, directory_pb2.DESCRIPTOR, referral_pb2.DESCRIPTOR)

CLOSING: Final = frozenset(
    {"CompleteReferral", "CancelReferral", "FailReferral", "AgreeCancellation", "DeclineReferral"}
)
"""Before these the uplink is pushed, so that nothing authored before is left behind."""

KEYS: Final = "PublishKeyBundle"
"""Before rows are pushed for a closing command, the hub has to know the key that they are signed by."""

_COLUMNS = tuple(command.c[name] for name in Command.__slots__)
_QUEUED = command.c.state == "queued"
_LAST_QUEUED = (
    select(command.c.request_id)
    .where(_QUEUED, command.c.episode_id == bindparam("episode"))
    .order_by(command.c.position.desc())
    .limit(1)
)


def queue(
    tx: Transaction,
    clinic: Clinic,
    name: str,
    request: Message,
    *,
    author_id: str,
    subject_id: str,
    episode_id: str = "",
    withholds: bool = False,
) -> str:
    """Write *request* down to be sent after this transaction, and give the request id that it got.

    It depends on the last queued command of the same subject, else on the one that asks for its episode:
    what they bring about must be there first.
    """
    request_id: str = new_id("req")
    request.request_id = request_id  # type: ignore[attr-defined]
    tx.execute(
        _INSERT,
        {
            "position": _next_position(tx),
            "request_id": request_id,
            "method": _METHODS[name].path,
            "body": request.SerializeToString(deterministic=True),
            "depends_on": _predecessor(tx, subject_id, episode_id),
            "episode_id": episode_id,
            "subject_id": subject_id,
            "withholds": withholds,
            "author_id": author_id,
            "state": "queued",
            "attempts": 0,
            "last_failure": "",
            "refusal_message": "",
            "receipt_number": 0,
            "queued_at": clinic.now(),
        },
    )
    tx.wake(COMMANDS)
    return request_id


def _next_position(tx: Transaction) -> int:
    """Given under a row lock that is held to commit: order of commit is order of number."""
    position = tx.execute(_MOVING).scalar_one_or_none()
    if position is None:
        insert_new(tx, journal_head, {"journal": "commands", "position": 0})
        position = tx.execute(_MOVING).scalar_one()
    return int(position)


_INSERT = command.insert()
_MOVING = update(journal_head).values(position=journal_head.c.position + 1).returning(journal_head.c.position)


_FIRST = select(*_COLUMNS).where(_QUEUED).order_by(command.c.position).limit(1)


def _predecessor(tx: Transaction, subject_id: str, episode_id: str) -> str | None:
    row = tx.first(_LAST_OF_SUBJECT, subject=subject_id)
    if row is None and episode_id:
        row = tx.first(_LAST_OPENING, episode=episode_id, opening=_METHODS["RequestReferral"].path)
    return None if row is None else row.request_id


_LAST = select(command.c.request_id).where(_QUEUED).order_by(command.c.position.desc()).limit(1)
_LAST_OF_SUBJECT = _LAST.where(command.c.subject_id == bindparam("subject"))
_LAST_OPENING = _LAST.where(
    command.c.episode_id == bindparam("episode"), command.c.method == bindparam("opening")
)


def find(tx: Transaction, request_id: str) -> Command | None:
    row = tx.first(select(*_COLUMNS).where(command.c.request_id == request_id))
    return None if row is None else Command(**row._mapping)


def queued(tx: Transaction, *, subject_id: str = "") -> list[Command]:
    """In the order in which they will be sent."""
    query = select(*_COLUMNS).where(_QUEUED)
    if subject_id:
        query = query.where(command.c.subject_id == subject_id)
    return [Command(**row._mapping) for row in tx.all(query.order_by(command.c.position))]


def listed(tx: Transaction, limit: int = 200) -> list[Command]:
    """Newest first."""
    return [
        Command(**row._mapping)
        for row in tx.all(select(*_COLUMNS).order_by(command.c.position.desc()).limit(limit))
    ]


def last_queued(tx: Transaction, episode_id: str) -> str | None:
    """The command that an uplink row of the episode must come after."""
    row = tx.execute(_LAST_QUEUED, {"episode": episode_id}).first()
    return None if row is None else row.request_id


def commands_known(tx: Transaction) -> int:
    """The highest number that the hub gave a command of ours."""
    row = tx.first(select(func.max(command.c.receipt_number)))
    return 0 if row is None else row[0] or 0


def replay_above(tx: Transaction, clinic: Clinic, committed: int) -> int:
    """Queue again what a restored hub has lost: answered commands numbered above *committed*. How many there are."""
    count = len(tx.execute(_AGAIN, {"committed": committed, "now": clinic.now()}).all())
    if count:
        tx.wake(COMMANDS)
    return count


_AGAIN = (
    update(command)
    .where(command.c.state == "answered", command.c.receipt_number > bindparam("committed"))
    .values(state="queued", replayed_since=bindparam("now"), attempts=0, receipt_number=0)
    .returning(command.c.position)
)


def _waits_for_rows(first: Command) -> bool:
    # A restored hub takes rows only when all that it has lost is replayed: a replay must not wait for rows.
    return first.name in CLOSING and first.replayed_since is None


Answered = Callable[[Transaction, Clinic, Command, Any], None]
"""Puts the hub's answer into effect here. Called in the transaction that notes the answer; not for replays."""

Refused = Callable[[Transaction, Clinic, Command], None]
"""Takes back what was done here in expectation. Called for the refused command and for each that depended on it."""


class Journal:
    """Sends what is queued, one command at a time, first in, first out. Thread-safe.

    answered, refused: by method name, what follows here.
    push_uplink: brings all uplink rows to the hub; False if that did not succeed.
    """

    def __init__(
        self,
        clinic: Clinic,
        answered: Mapping[str, Answered],
        refused: Mapping[str, Refused],
        push_uplink: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clinic = clinic
        self._answered = answered
        self._refused = refused
        self._push_uplink = push_uplink
        # Entered again by the push before a closing command, when it finds that the hub has lost some.
        self._sending = threading.RLock()
        self._rest_until: datetime | None = None

    def step(self) -> bool:
        """Send the first queued command. False if there is none, or if the hub is away."""
        if self._rest_until is not None and self._clinic.now() < self._rest_until:
            return False
        with self._sending:
            return self._send_first()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No command is under way or sent meanwhile."""
        with self._sending:
            yield

    def hub_is_back(self) -> None:
        """End the pause after failures."""
        self._rest_until = None

    def press(self, request_id: str, seconds: float = 5.0) -> Command:
        """Send until *request_id* is answered, the hub turns out to be away, or *seconds* are over."""
        until = time.monotonic() + seconds
        while True:
            found = self._known(request_id)
            if found.state != "queued" or time.monotonic() >= until:
                return found
            if not self._sending.acquire(timeout=max(until - time.monotonic(), 0)):
                continue
            try:
                sent = self._send_first()
            finally:
                self._sending.release()
            if not sent:
                # Nothing left to send: another thread may just have sent this very command.
                return self._known(request_id)

    def _known(self, request_id: str) -> Command:
        with self._clinic.db.glancing() as tx:
            found = find(tx, request_id)
        if found is None:
            raise LookupError(request_id)
        return found

    def _send_first(self) -> bool:
        first = self._first_queued()
        if first is None:
            return False
        try:
            if _waits_for_rows(first) and not self._push_uplink():
                raise Refusal(
                    Code.UNAVAILABLE, "UPLINK_NOT_PUSHED", "what was recorded before has not arrived yet"
                )
            answer = self._clinic.gateway.send(first.method, first.body)
        except Refusal as refusal:
            return self._note_failure(first, refusal)
        self._clinic.db.run(lambda tx: self._note_answer(tx, first, answer))
        self._rest_until = None
        return True

    def _first_queued(self) -> Command | None:
        with self._clinic.db.glancing() as tx:
            row = tx.first(_FIRST)
            if row is None:
                return None
            first = Command(**row._mapping)
            if not _waits_for_rows(first):
                return first
            # The rows are signed by our newest key, which the hub may be told of in a later command only.
            own = queued(tx, subject_id=self._clinic.practice_id)
            return next((each for each in own if each.name == KEYS), first)

    def _note_failure(self, sent: Command, refusal: Refusal) -> bool:
        """Whether the command is settled by it."""
        if self._may_pass(sent, refusal):
            self._pause(sent, refusal)
            return False
        self._clinic.db.run(lambda tx: self._note_refusal(tx, sent, refusal))
        self._rest_until = None
        return True

    def _may_pass(self, sent: Command, refusal: Refusal) -> bool:
        if refusal.code in _PASSING or refusal.code in _STUCK:
            return True
        if refusal.code is Code.ABORTED and refusal.reason != "STALE_VERSION":
            return True
        since = sent.replayed_since
        return since is not None and self._clinic.now() < since + REPLAY_PATIENCE

    def _pause(self, sent: Command, refusal: Refusal) -> None:
        now = self._clinic.now()
        self._rest_until = now + min(timedelta(seconds=2.0 ** min(sent.attempts, 10)), LONGEST_PAUSE)

        def note(tx: Transaction) -> None:
            tx.execute(
                update(command)
                .where(command.c.position == sent.position, _QUEUED)
                .values(attempts=command.c.attempts + 1, last_failure=refusal.reason)
            )
            if refusal.code in _STUCK and sent.attempts + 1 >= ALERT_AFTER:
                worklist.raise_alert(tx, "journal-stuck", now, method=sent.name, reason=refusal.reason)

        self._clinic.db.run(note)

    def _note_answer(self, tx: Transaction, sent: Command, answer: bytes) -> None:
        response: Any = _METHODS[sent.name].response_type.FromString(answer)
        # A number that was given before shows that the hub has lost the commands which had it and those above.
        replay_above(tx, self._clinic, response.receipt.number - 1)
        if not self._settle(tx, sent, "answered", answer=answer, receipt_number=response.receipt.number):
            return
        worklist.clear_alerts(tx, ["journal-stuck"], self._clinic.now())
        if sent.replayed_since is None and sent.name in self._answered:
            self._answered[sent.name](tx, self._clinic, sent, response)

    def _note_refusal(self, tx: Transaction, sent: Command, refusal: Refusal) -> None:
        said = {"last_failure": refusal.reason, "refusal_message": refusal.message}
        if not self._settle(tx, sent, "refused", **said):
            return
        self._take_back(tx, sent, refusal.reason, sent.request_id)
        for dependent in self._dependents(tx, sent.request_id):
            if self._settle(tx, dependent, "cancelled", **said):
                self._take_back(tx, dependent, refusal.reason, sent.request_id)

    def _settle(self, tx: Transaction, sent: Command, state: str, **values: Any) -> bool:
        """Whether this was the one to settle it: another thread or process may have sent it, too."""
        settled = (
            update(command)
            .where(command.c.position == sent.position, _QUEUED)
            .values(state=state, answered_at=self._clinic.now(), **values)
            .returning(command.c.position)
        )
        return tx.execute(settled).first() is not None

    def _take_back(self, tx: Transaction, sent: Command, reason: str, cause: str) -> None:
        if sent.name in self._refused:
            self._refused[sent.name](tx, self._clinic, sent)
        if sent.name == "ReceiveReferral":
            # The service's own proof of delivery, for a referral that was over by then: nobody has anything to do.
            return
        worklist.raise_item(
            tx,
            "command-refused",
            sent.request_id,
            self._clinic.now(),
            episode_id=sent.episode_id,
            staff_id=sent.author_id if sent.author_id.startswith("staff_") else "",
            command=sent.name,
            about=sent.subject_id,
            reason=reason,
            because_of=cause,
        )

    def _dependents(self, tx: Transaction, request_id: str) -> list[Command]:
        """Whatever depends on it, directly or not, in order."""
        found: list[Command] = []
        causes = [request_id]
        while causes:
            query = (
                select(*_COLUMNS)
                .where(_QUEUED, command.c.depends_on.in_(causes))
                .order_by(command.c.position)
            )
            following = [Command(**row._mapping) for row in tx.all(query)]
            found += following
            causes = [each.request_id for each in following]
        return found
