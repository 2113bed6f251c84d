"""Waiting for a commit, of this process or of another."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.logs import Writer, an_entry
from tandem_platform.exchange.log import ROWS
from tandem_platform.exchange.rows import uplink
from tandem_platform.storage import Database
from tandem_platform.storage.wakeup import Wakeup, Wakeups, payload_of

ANOTHER_PROCESS = """
import sys
from support.logs import Writer, an_entry, a_database
database = a_database(sys.argv[1])
database.watch()
Writer(database).writes(an_entry("from elsewhere"))
database.close()
"""


@pytest.fixture
def watched(database: Database) -> Iterator[Database]:
    database.watch()
    yield database
    database.close()


def test_a_commit_between_the_last_look_and_the_wait_is_not_missed() -> None:
    wakeup = Wakeup()
    seen = wakeup.count
    wakeup.notify()
    started = time.monotonic()
    assert wakeup.wait(seen, 5) != seen
    assert time.monotonic() - started < 1


def test_a_waiter_is_woken_by_another_thread(database: Database) -> None:
    woken: list[float] = []
    seen = database.wakeup(ROWS).count

    def wait() -> None:
        database.wakeup(ROWS).wait(seen, 10)
        woken.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    waiter.start()
    Writer(database).writes(an_entry("a"))
    waiter.join(5)
    assert woken


def test_a_wait_ends_without_a_commit() -> None:
    wakeup = Wakeup()
    assert wakeup.wait(wakeup.count, 0.01) == wakeup.count


def test_a_transaction_without_rows_wakes_nobody(database: Database) -> None:
    seen = database.wakeup(ROWS).count
    with database.transaction():
        pass
    assert database.wakeup(ROWS).count == seen


def test_a_commit_wakes_those_whom_it_concerns_and_nobody_else(database: Database) -> None:
    writer = Writer(database)
    concerned, other = database.wakeup(writer.name), database.wakeup(uplink("prac_elsewhere"))
    seen = concerned.count, other.count
    writer.writes(an_entry("a"))
    assert concerned.count != seen[0]
    assert other.count == seen[1]


def test_what_is_undone_wakes_nobody(database: Database) -> None:
    seen = database.wakeup("topic").count
    with database.transaction() as tx:
        tx.wake("kept")
        with suppress(LookupError), tx.savepoint():
            tx.wake("topic")
            raise LookupError
    assert database.wakeup("topic").count == seen


def test_more_topics_than_fit_into_a_notification_wake_everybody(watched: Database) -> None:
    assert payload_of(["b", "a"]) == "a,b"
    assert payload_of(f"tandem.prac_{number}.down" for number in range(1000)) == "*"
    woken = Wakeups()
    seen = woken.of("any").count
    woken.notify_all()
    assert woken.of("any").count != seen


def test_a_waiter_is_woken_by_another_process(watched: Database) -> None:
    seen = watched.wakeup(ROWS).count
    # The watcher has looked once: from here on it tells of changes.
    seen = watched.wakeup(ROWS).wait(seen, 0.3)
    url = watched.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, url],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert watched.wakeup(ROWS).wait(seen, 5) != seen


def test_another_database_object_is_heard_as_another_process_is(watched: Database) -> None:
    seen = watched.wakeup(ROWS).wait(watched.wakeup(ROWS).count, 0.3)
    other = Database(watched.url, watched.metadata)
    other.watch()
    Writer(other).writes(an_entry("a"))
    assert watched.wakeup(ROWS).wait(seen, 5) != seen
    other.close()
