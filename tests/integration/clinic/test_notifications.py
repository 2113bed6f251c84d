"""Who is told, when and how often; over a real mail server, and with the process killed in between."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.clinics import AClinic
from support.mailroom import Mailroom, a_mailroom
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.notifications.notifier import NOT_REACHED, Notifier
from tandem_clinic.store import notices, staff, worklist
from tandem_clinic.store.notices import Reached
from tandem_platform.storage import Transaction


@pytest.fixture
def mailroom() -> Iterator[Mailroom]:
    with a_mailroom() as made:
        yield made


class Office:
    """A clinic, people who want to be told, and a notifier whose clock the test moves."""

    def __init__(self, clinic: AClinic, mailroom: Mailroom) -> None:
        self.clinic, self.mailroom = clinic, mailroom
        self.notifier = Notifier(clinic.clinic, {"email": mailroom.channel()}, 5.0)

    @property
    def now(self) -> datetime:
        return self.clinic.clinic.now()

    def passes(self, **time: float) -> None:
        self.clinic.network.clock.advance(timedelta(**time))

    def hires(self, *, roles: Role = Role.COORDINATOR, **wanted: object) -> Staff:
        with self.clinic.db.transaction() as tx:
            member = staff.add(tx, "Somebody", frozenset({roles}), self.now)
            values: dict[str, Any] = {
                "channels": [["email", f"{member.staff_id}@juniper.test"]],
                "time_zone": "America/Denver",
                "quiet_from": 0,
                "quiet_until": 0,
                "digest_minutes": 0,
                "cover_staff_id": "",
                "escalate_after_minutes": 60,
            }
            notices.reach(tx, Reached(staff_id=member.staff_id, **(values | wanted)), self.now)
        return member

    def raises(self, subject: str, kind: str = "question", staff_id: str = "") -> None:
        self.clinic.db.run(
            lambda tx: worklist.raise_item(tx, kind, subject, self.now, staff_id=staff_id, name="Rosalind")
        )

    def settles(self, subject: str, kind: str = "question") -> None:
        self.clinic.db.run(lambda tx: worklist.settle(tx, kind, subject, self.now))

    def steps(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.notifier.step()

    def waiting(self) -> list[tuple[str, str]]:
        with self.clinic.db.reading() as tx:
            return [(item.kind, item.subject_id) for item in worklist.waiting(tx)]

    def told(self) -> list[str]:
        return [str(mail["To"]).partition("@")[0] for mail in self.mailroom.mails]


@pytest.fixture
def office(juniper: AClinic, mailroom: Mailroom) -> Office:
    return Office(juniper, mailroom)


def test_whoever_coordinates_is_told_once_that_something_waits(office: Office) -> None:
    first, second = office.hires(), office.hires()
    office.hires(roles=Role.AUDITOR)
    office.raises("ref_1", "inbound-referral")
    office.steps()
    assert sorted(office.told()) == sorted([first.staff_id, second.staff_id])
    office.raises("ref_1", "inbound-referral")
    office.steps()
    assert len(office.told()) == 2


def test_an_item_of_one_persons_is_told_to_nobody_else(office: Office) -> None:
    whose = office.hires()
    office.hires()
    office.raises("ref_1", staff_id=whose.staff_id)
    office.raises("ref_2", staff_id=worklist.SERVICE)
    office.steps()
    assert office.told() == [whose.staff_id]


def test_what_was_rolled_back_is_told_to_nobody(office: Office) -> None:
    office.hires()

    def fail_after_raising(tx: Transaction) -> None:
        worklist.raise_item(tx, "question", "ent_1", office.now)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        office.clinic.db.run(fail_after_raising)
    office.steps()
    assert office.told() == []


def test_what_was_done_before_it_was_told_is_told_to_nobody(office: Office) -> None:
    office.hires()
    office.raises("ent_1")
    office.settles("ent_1")
    office.steps()
    assert office.told() == []


def test_an_item_that_comes_back_is_told_again(office: Office) -> None:
    office.hires()
    office.raises("ent_1")
    office.steps()
    office.settles("ent_1")
    office.passes(minutes=1)
    office.raises("ent_1")
    office.steps()
    assert len(set(office.mailroom.ids)) == 2


def test_a_mail_says_how_much_waits_and_where_and_no_more(office: Office) -> None:
    office.hires()
    for kind in ("inbound-referral", "question", "wrap-waiting", "revocation"):
        office.raises("ent_1", kind)
    office.steps()
    (mail,) = office.mailroom.mails
    assert mail.get_content().splitlines() == [
        "4 items wait for you on the worklist of Juniper Psychiatry.",
        "https://juniper.test/worklist",
    ]
    for word in (b"Rosalind", b"ent_1", b"referral", b"revocation"):
        assert word not in office.mailroom.contents[0]


def test_quiet_hours_are_those_where_the_person_is(office: Office) -> None:
    there = office.now.astimezone(ZoneInfo("Asia/Tokyo"))
    minute = there.hour * 60 + there.minute
    office.hires(time_zone="Asia/Tokyo", quiet_from=(minute - 30) % 1440, quiet_until=(minute + 30) % 1440)
    office.raises("ent_1")
    office.steps()
    assert office.told() == []
    office.passes(minutes=31)
    office.steps()
    assert len(office.told()) == 1


def test_a_digest_tells_all_that_came_meanwhile_at_once(office: Office) -> None:
    office.hires(digest_minutes=60)
    office.raises("ent_1")
    office.steps()
    for number in range(2, 5):
        office.raises(f"ent_{number}")
        office.steps()
    assert len(office.told()) == 1
    office.passes(minutes=61)
    office.steps()
    assert [mail.get_content().split(" ")[0] for mail in office.mailroom.mails] == ["1", "3"]


def test_what_waits_too_long_goes_to_the_cover_once(office: Office) -> None:
    cover = office.hires()
    whose = office.hires(cover_staff_id=cover.staff_id, escalate_after_minutes=60)
    office.raises("ent_1", staff_id=whose.staff_id)
    office.raises("ent_2", staff_id=whose.staff_id)
    office.steps()
    office.settles("ent_2")
    office.passes(minutes=59)
    office.steps()
    assert office.told() == [whose.staff_id]
    office.passes(minutes=2)
    office.steps()
    office.steps()
    assert office.told() == [whose.staff_id, cover.staff_id]


def test_a_refused_address_has_the_next_one_tried_and_then_stands_on_the_worklist(office: Office) -> None:
    office.mailroom.on_recipient = lambda: "550 no such person"
    whose = office.hires(channels=[["email", "a@juniper.test"], ["email", "b@juniper.test"]])
    office.raises("ent_1", staff_id=whose.staff_id)
    office.steps()
    assert (NOT_REACHED, whose.staff_id) in office.waiting()
    with office.clinic.db.reading() as tx:
        assert {(m.address[0], m.state) for m in notices.listed(tx) if m.address[0] in "ab"} == {
            ("a", "failed"),
            ("b", "failed"),
        }


def test_a_bounce_stands_on_the_worklist(office: Office) -> None:
    whose = office.hires()
    office.raises("ent_1", staff_id=whose.staff_id)
    office.steps()
    with office.clinic.db.transaction() as tx:
        notices.mark_bounced(tx, notices.listed(tx)[0].message_id, office.now)
    office.steps()
    assert (NOT_REACHED, whose.staff_id) in office.waiting()


def test_a_server_that_is_busy_is_asked_again_later(office: Office) -> None:
    office.hires()
    office.mailroom.on_content = lambda number: "451 busy" if number == 1 else "250 taken"
    office.raises("ent_1")
    office.steps()
    assert len(office.mailroom.ids) == 1
    office.passes(seconds=6)
    office.steps()
    assert len(office.mailroom.ids) == 2
    assert len(set(office.mailroom.ids)) == 1


_PROCESS = """
import sys
from types import SimpleNamespace
from tandem_clinic.notifications.notifier import Notifier
from tandem_clinic.store.tables import metadata
from tandem_platform.clock import SystemClock
from tandem_platform.storage import Database
from support.mailroom import Mailroom
mailroom = Mailroom()
mailroom.port = int(sys.argv[2])
clinic = SimpleNamespace(db=Database(sys.argv[1], metadata), now=SystemClock().now)
notifier = Notifier(clinic, {"email": mailroom.channel(0.2)}, 0.2)
while True:
    notifier.step()
"""


class NotifyingProcess:
    def __init__(self, url: str, port: int) -> None:
        path = os.pathsep.join(["tests", *sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROCESS, url, str(port)], env={**os.environ, "PYTHONPATH": path}
        )

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(30)


@pytest.mark.parametrize("moment", ["before", "between"])
def test_a_kill_loses_no_notification_and_makes_none_two(office: Office, moment: str) -> None:
    """Before the content leaves, and between it and the mark that it was sent; again and again."""
    mailroom, kills = office.mailroom, 0
    running: list[NotifyingProcess] = []

    def kill_now(_number: int = 0) -> str:
        nonlocal kills
        if kills < 3:
            kills += 1
            running[-1].kill()
        return "250 taken"

    if moment == "before":
        mailroom.on_recipient = kill_now
    else:
        mailroom.on_content = kill_now
    expected = {office.hires().staff_id for _ in range(4)}
    office.raises("ent_1")
    url = office.clinic.db.url.render_as_string(hide_password=False)
    for _ in range(4):
        running.append(NotifyingProcess(url, mailroom.port))
        wait_until(lambda: kills >= len(running) or all_sent(office))
    wait_until(lambda: all_sent(office))
    running[-1].kill()
    assert kills == 3
    assert set(office.told()) == expected
    assert len(set(mailroom.ids)) == len(expected)
    assert len(mailroom.ids) - len(expected) == (0 if moment == "before" else 3)
    by_id = dict(zip(mailroom.ids, mailroom.contents, strict=True))
    assert [by_id[each] for each in mailroom.ids] == mailroom.contents


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the notifier has not come that far"
        threading.Event().wait(0.02)


def all_sent(office: Office) -> bool:
    with office.clinic.db.reading() as tx:
        messages = notices.listed(tx)
    return len(messages) == 4 and all(message.state == "sent" for message in messages)
