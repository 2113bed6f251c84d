"""What is to be told becomes messages, and messages are sent.

A message is written down with its id before anything is sent, and marked as being sent before its content leaves.
A kill before the mark loses nothing and repeats nothing: no server has the content.
A kill, or a silent server, between the mark and the last reply leaves a doubt that no sender can resolve by itself:
the same message is sent again under the same id, by which the receiver tells the repetition.
So none is lost, and none comes twice as another message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tandem_care.local_time import wall
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import COORDINATION
from tandem_clinic.notifications.channels import Channel, InDoubt, Unreachable, Unwanted
from tandem_clinic.store import notices, staff, worklist
from tandem_clinic.store.notices import NONE_NEEDED, UNREACHED, Message, Notice, Reached
from tandem_platform.storage import Transaction

NOT_REACHED = "person-not-reached"
"""The worklist's item for somebody whom no channel reaches."""

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
ATTEMPTS = 10
"""With these pauses, most of an hour and a half; then the next channel has its turn."""


@dataclass
class Notifier:
    """channels: by name, those that the settings allow. timeout: seconds of one answer of a server."""

    clinic: Clinic
    channels: Mapping[str, Channel]
    timeout: float

    def step(self) -> bool:
        """One round. True if anything was sent."""
        if self._nothing_to_do():
            return False
        self.clinic.db.run(self._plan)
        with self.clinic.db.glancing() as tx:
            waiting = notices.due(tx, self.clinic.now())
        sent = [self._send(message) for message in waiting]
        return any(sent)

    def _nothing_to_do(self) -> bool:
        with self.clinic.db.glancing() as tx:
            return not (notices.due(tx, self.clinic.now(), 1) or notices.untold(tx) or notices.late(tx))

    def _plan(self, tx: Transaction) -> None:
        now = self.clinic.now()
        for staff_id, told in notices.late(tx).items():
            self._escalate(tx, staff_id, told, now)
        for staff_id, told in notices.untold(tx).items():
            self._tell(tx, staff_id, told, now)

    def _escalate(self, tx: Transaction, staff_id: str, told: list[Notice], now: datetime) -> None:
        person = notices.reached(tx, staff_id)
        for each in told:
            if not each.waits or person is None or not person.cover_staff_id:
                notices.settle_escalation(tx, staff_id, each)
            elif each.raised_at + timedelta(minutes=person.escalate_after_minutes) <= now:
                notices.escalate(tx, person, each)

    def _tell(self, tx: Transaction, staff_id: str, told: list[Notice], now: datetime) -> None:
        over = [each for each in told if not each.waits]
        wanted = [each for each in told if each.waits]
        person = notices.reached(tx, staff_id)
        if person is None or not self._coordinates(tx, staff_id):
            over, wanted = told, []
        notices.carry(tx, staff_id, over, NONE_NEEDED)
        if person is None or not wanted or is_quiet(person, now) or self._waits_for_digest(tx, person, now):
            return
        way = self._way(person, 0)
        if way is None:
            notices.carry(tx, staff_id, wanted, UNREACHED)
            worklist.raise_item(tx, NOT_REACHED, staff_id, now)
            return
        notices.carry(tx, staff_id, wanted, notices.write(tx, staff_id, *way, len(wanted), now))

    def _coordinates(self, tx: Transaction, staff_id: str) -> bool:
        return bool(staff.get(tx, staff_id).roles & COORDINATION) and not staff.is_disabled(tx, staff_id)

    def _waits_for_digest(self, tx: Transaction, person: Reached, now: datetime) -> bool:
        if not person.digest_minutes:
            return False
        last = notices.last_written_at(tx, person.staff_id)
        return last is not None and now < last + timedelta(minutes=person.digest_minutes)

    def _way(self, person: Reached, first: int) -> tuple[str, str] | None:
        """The first channel from there on that this clinic has."""
        for channel, address in person.channels[first:]:
            if channel in self.channels:
                return channel, address
        return None

    def _send(self, message: Message) -> bool:
        run, claimed = self.clinic.db.run, False

        def claim() -> bool:
            nonlocal claimed
            doubt_after = timedelta(seconds=3 * self.timeout)
            claimed = run(lambda tx: notices.claim(tx, message, self.clinic.now(), doubt_after))
            return claimed

        channel = self.channels.get(message.channel)
        if channel is None or message.state == "bounced" or message.attempts >= ATTEMPTS:
            run(lambda tx: self._give_up(tx, message, claimed))
            return True
        try:
            taken = channel.send(message, claim, self.clinic.now())
        except InDoubt:
            # It stays marked, and goes again under its id once the mark is old.
            return False
        except Unreachable:
            pause = min(FIRST_PAUSE * 2**message.attempts, LONGEST_PAUSE)
            run(lambda tx: notices.put_off(tx, message, claimed, self.clinic.now() + pause))
            return False
        except Unwanted:
            run(lambda tx: self._give_up(tx, message, claimed))
            return True
        if taken:
            run(lambda tx: notices.mark_sent(tx, message.message_id, self.clinic.now()))
        return taken

    def _give_up(self, tx: Transaction, message: Message, claimed: bool) -> None:
        """It did not reach the person: by the next channel, or onto the worklist."""
        if not notices.give_up(tx, message, claimed):
            return
        way = self._way_after(tx, message)
        if way is None:
            worklist.raise_item(tx, NOT_REACHED, message.staff_id, self.clinic.now())
        else:
            new = notices.write(tx, message.staff_id, *way, message.items, self.clinic.now())
            notices.hand_on(tx, message.message_id, new)

    def _way_after(self, tx: Transaction, message: Message) -> tuple[str, str] | None:
        person = notices.reached(tx, message.staff_id)
        tried = [message.channel, message.address]
        if person is None or tried not in person.channels:
            return None
        return self._way(person, person.channels.index(tried) + 1)


def is_quiet(person: Reached, now: datetime) -> bool:
    """By the clocks where the person is."""
    there = wall(now, person.time_zone)
    minute = there.hour * 60 + there.minute
    begins, ends = person.quiet_from, person.quiet_until
    return begins <= minute < ends if begins <= ends else minute >= begins or minute < ends
