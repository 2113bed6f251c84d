"""What a transaction promises, alike on SQLite and PostgreSQL."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from support.logs import effect
from tandem_platform.storage import Database, Transaction


class Mistake(Exception):
    pass


def add(tx: Transaction, number: int, word: str = "x") -> None:
    tx.execute(effect.insert().values(number=number, log="l", sequence=number, word=word))


def numbers(database: Database) -> list[int]:
    with database.reading() as tx:
        return [row.number for row in tx.all(select(effect.c.number).order_by(effect.c.number))]


def test_it_commits_on_leaving_and_rolls_back_on_an_exception(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, 1)
    with pytest.raises(Mistake):
        _add_and_fail(database)
    assert numbers(database) == [1]


def _add_and_fail(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, 2)
        raise Mistake


def test_a_savepoint_undoes_what_failed_inside_and_nothing_else(database: Database) -> None:
    done: list[str] = []

    def fail(tx: Transaction) -> None:
        with tx.savepoint():
            tx.before_commit(lambda _: done.append("undone"))
            add(tx, 2)
            add(tx, 1)

    with database.transaction() as tx:
        add(tx, 1)
        tx.before_commit(lambda _: done.append("before"))
        with pytest.raises(IntegrityError):
            fail(tx)
        with tx.savepoint():
            add(tx, 3)
            with pytest.raises(IntegrityError):
                fail(tx)
            tx.before_commit(lambda _: done.append("inside"))
    assert numbers(database) == [1, 3]
    assert done == ["before", "inside"]


def test_work_before_the_commit_is_done_by_rank_and_can_still_fail(database: Database) -> None:
    order: list[str] = []

    def fails(tx: Transaction) -> None:
        raise Mistake

    with database.transaction() as tx:
        tx.before_commit(lambda _: order.append("logs"))
        tx.before_commit(lambda _: order.append("audit"), rank=-1)

    def ends_in_failure() -> None:
        with database.transaction() as tx:
            add(tx, 1)
            tx.before_commit(fails)

    with pytest.raises(Mistake):
        ends_in_failure()
    assert order == ["audit", "logs"]
    assert numbers(database) == []


def test_a_reader_sees_one_moment(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, 1)
    with database.reading() as tx:
        before = [row.number for row in tx.all(select(effect.c.number))]
        with database.transaction() as writing:
            add(writing, 2)
        assert [row.number for row in tx.all(select(effect.c.number))] == before == [1]
    assert numbers(database) == [1, 2]


def test_writing_in_a_reading_changes_nothing(database: Database) -> None:
    with pytest.raises(DBAPIError) if not database.is_sqlite else _nothing(), database.reading() as tx:
        add(tx, 1)
    assert numbers(database) == []


class _nothing:  # noqa: N801 - stands where pytest.raises stands
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_second_write_transaction_on_one_thread_is_told_to_be_a_fault(database: Database) -> None:
    if not database.is_sqlite:
        pytest.xfail("PostgreSQL gives each its own connection, and locks tell")
    with database.transaction(), pytest.raises(RuntimeError, match="already"), database.transaction():
        pass


def test_eight_writers_of_four_hundred_transactions_are_never_locked_out(database: Database) -> None:
    """Two threads in each of four processes: a `Database` of its own stands for one, for it shares no lock of the writers."""
    processes = [Database(database.url, database.metadata) for _ in range(4)]

    def write(worker: int) -> None:
        for turn in range(50):
            with processes[worker % 4].transaction() as tx:
                # Read, then write: what a deferred transaction fails at.
                tx.first(select(func.count()).select_from(effect))
                add(tx, worker * 100 + turn)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    for process in processes:
        process.close()
    assert len(numbers(database)) == 400


def test_work_is_done_again_when_the_database_asks_for_it(database: Database) -> None:
    attempts: list[int] = []

    def work(tx: Transaction) -> None:
        attempts.append(1)
        add(tx, 1)
        if len(attempts) < 3:
            raise _asks_again(database)

    database.run(work)
    assert (len(attempts), numbers(database)) == (3, [1])


def test_what_will_never_pass_is_not_tried_again(database: Database) -> None:
    attempts: list[int] = []

    def work(tx: Transaction) -> None:
        attempts.append(1)
        add(tx, 1)
        add(tx, 1)

    with pytest.raises(IntegrityError):
        database.run(work)
    assert len(attempts) == 1


def _asks_again(database: Database) -> DBAPIError:
    from sqlalchemy.exc import OperationalError

    class Asked(Exception):
        sqlstate = None if database.is_sqlite else "40001"

    return OperationalError("statement", {}, Asked("database is locked"))


def test_a_real_deadlock_is_resolved_and_both_are_done(database: Database) -> None:
    if database.is_sqlite:
        pytest.xfail("SQLite's write transactions never hold one lock while they wait for another")
    with database.transaction() as tx:
        add(tx, 1, "")
        add(tx, 2, "")
    both_hold_one = threading.Barrier(2, timeout=10)
    attempts: list[str] = []

    def change(name: str, first: int, second: int) -> None:
        def work(tx: Transaction) -> None:
            attempts.append(name)
            tx.execute(effect.update().where(effect.c.number == first).values(word=effect.c.word + name))
            if attempts.count(name) == 1:
                both_hold_one.wait()
            tx.execute(effect.update().where(effect.c.number == second).values(word=effect.c.word + name))

        database.run(work)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(change, "a", 1, 2), threads.submit(change, "b", 2, 1)]:
            done.result()
    assert len(attempts) == 3
    with database.reading() as tx:
        assert {tuple(sorted(row.word)) for row in tx.all(select(effect.c.word))} == {("a", "b")}


def test_connections_that_the_server_ended_while_they_idled_are_replaced_unseen(
    database: Database,
) -> None:
    if database.is_sqlite:
        pytest.xfail("SQLite has no server that could end a connection")
    wary = Database(database.url, database.metadata, ping_after_idle=0.0)
    with wary.transaction() as tx:
        add(tx, 1)
    _cut_connections(database)
    with wary.glancing() as tx:
        assert tx.first(select(effect.c.number)) is not None
    _cut_connections(database)
    with wary.transaction() as tx:
        add(tx, 2)
    assert numbers(wary) == [1, 2]
    wary.close()


def test_a_connection_that_is_cut_in_use_fails_one_transaction_and_no_more(database: Database) -> None:
    if database.is_sqlite:
        pytest.xfail("SQLite has no server that could end a connection")
    with database.transaction() as tx:
        add(tx, 1)
    _cut_connections(database)
    with pytest.raises(DBAPIError), database.transaction() as tx:
        add(tx, 2)
    with database.transaction() as tx:
        add(tx, 3)
    assert numbers(database) == [1, 3]


def test_glances_see_what_is_committed_and_leave_nothing_open(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, 1)
    with database.glancing() as tx:
        assert tx.first(select(effect.c.number)) is not None
        with database.transaction() as other:
            add(other, 2)
        assert len(tx.all(select(effect.c.number))) == 2
    with database.reading() as tx:
        before = tx.all(select(effect.c.number))
        with database.transaction() as other:
            add(other, 3)
        assert tx.all(select(effect.c.number)) == before


def _cut_connections(database: Database) -> None:
    """As a restarted server leaves them."""
    operator = create_engine(database.url)
    with operator.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    operator.dispose()


def test_a_row_lock_makes_the_second_wait(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, 1)
    order: list[str] = []
    locked = threading.Event()

    def second() -> None:
        locked.wait(10)
        with database.transaction() as tx:
            tx.first(select(effect).where(effect.c.number == 1), lock="exclusive")
            order.append("second")

    waiter = threading.Thread(target=second)
    waiter.start()
    with database.transaction() as tx:
        tx.first(select(effect).where(effect.c.number == 1), lock="exclusive")
        locked.set()
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            waiter.join(0.05)
        order.append("first")
    waiter.join()
    assert order == ["first", "second"]
