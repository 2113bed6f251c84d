"""Waiting for a commit, of this process or of another."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from support.logs import Writer, an_entry
from tandem_platform.storage import Database
from tandem_platform.storage.wakeup import Wakeup

ANOTHER_PROCESS = """
import sys
from support.logs import Writer, an_entry, a_database
Writer(a_database(sys.argv[1])).writes(an_entry("from elsewhere"))
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
    seen = database.wakeup.count

    def wait() -> None:
        database.wakeup.wait(seen, 10)
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
    seen = database.wakeup.count
    with database.transaction():
        pass
    assert database.wakeup.count == seen


def test_a_waiter_is_woken_by_another_process(watched: Database) -> None:
    seen = watched.wakeup.count
    # The watcher has looked once: from here on it tells of changes.
    seen = watched.wakeup.wait(seen, 0.3)
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
    assert watched.wakeup.wait(seen, 5) != seen


def test_another_database_object_is_heard_as_another_process_is(watched: Database) -> None:
    seen = watched.wakeup.wait(watched.wakeup.count, 0.3)
    other = Database(watched.url, watched.metadata)
    Writer(other).writes(an_entry("a"))
    assert watched.wakeup.wait(seen, 5) != seen
    other.close()
