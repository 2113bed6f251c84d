"""Work of many threads in one transaction, alike on SQLite and PostgreSQL."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from support.logs import effect
from tandem_platform.storage import Database, Transaction
from tandem_platform.storage.together import Together

Work = Callable[[Transaction], int]


class Mistake(Exception):
    pass


def adding(number: int) -> Work:
    def work(tx: Transaction) -> int:
        tx.execute(effect.insert().values(number=number, log="l", sequence=number, word="x"))
        return number

    return work


def failing(number: int) -> Work:
    def work(tx: Transaction) -> int:
        adding(number)(tx)
        raise Mistake(number)

    return work


def troubled(number: int, attempts: list[int], times: int) -> Work:
    """So many attempts end in what the driver says of a database that went away."""

    def work(tx: Transaction) -> int:
        attempts.append(number)
        adding(number)(tx)
        if attempts.count(number) <= times:
            raise OperationalError("", {}, ConnectionError("gone"))
        return number

    return work


def troubled_at_the_end(number: int) -> Work:
    def at_the_end(tx: Transaction) -> None:
        raise OperationalError("", {}, ConnectionError("gone"))

    def work(tx: Transaction) -> int:
        adding(number)(tx)
        tx.before_commit(at_the_end)
        return number

    return work


def failing_at_the_end(number: int) -> Work:
    def at_the_end(tx: Transaction) -> None:
        raise Mistake(number)

    def work(tx: Transaction) -> int:
        adding(number)(tx)
        tx.before_commit(at_the_end)
        return number

    return work


def numbers(database: Database) -> list[int]:
    with database.reading() as tx:
        return [row.number for row in tx.all(select(effect.c.number).order_by(effect.c.number))]


def all_at_once(database: Database, works: list[Work]) -> tuple[list[Future[int]], int]:
    """Outcomes of *works*, all of which come while another transaction is under way; and how many transactions they took."""
    together = Together(database, at_once=1)
    under_way, go_on = threading.Event(), threading.Event()
    commits = 0

    def first(tx: Transaction) -> int:
        under_way.set()
        assert go_on.wait(10)
        return 0

    def counted(work: Work) -> Work:
        def counting(tx: Transaction) -> int:
            nonlocal commits
            if "counted" not in tx.notes:
                tx.notes["counted"] = None
                commits += 1
            return work(tx)

        return counting

    with ThreadPoolExecutor(len(works) + 1) as threads:
        begun = threads.submit(together.run, first)
        assert under_way.wait(10)
        done = []
        for work in works:
            done.append(threads.submit(together.run, counted(work)))
            # In this order.
            while len(together._waiting) < len(done):
                pass
        go_on.set()
        begun.result(10)
        for each in done:
            each.exception(10)
    return done, commits


def test_what_waits_is_committed_together(database: Database) -> None:
    done, commits = all_at_once(database, [adding(number) for number in range(1, 9)])
    assert sorted(each.result() for each in done) == numbers(database) == list(range(1, 9))
    assert commits == 1


def test_what_fails_undoes_its_own_changes_and_no_others(database: Database) -> None:
    done, _ = all_at_once(database, [adding(1), failing(2), adding(3), adding(1)])
    assert [type(each.exception()) for each in done].count(type(None)) == 2
    faults = {type(fault) for each in done if (fault := each.exception()) is not None}
    assert faults == {Mistake, IntegrityError}
    assert numbers(database) == [1, 3]


def test_what_fails_at_the_end_costs_the_others_nothing(database: Database) -> None:
    done, _ = all_at_once(database, [adding(1), failing_at_the_end(2), adding(3)])
    assert [type(each.exception()) for each in done].count(Mistake) == 1
    assert numbers(database) == [1, 3]


def test_after_trouble_before_the_commit_each_is_done_by_itself_and_once(database: Database) -> None:
    attempts: list[int] = []
    works = [troubled(1, attempts, times=0), troubled(2, attempts, times=1), troubled(3, attempts, times=0)]
    done, transactions = all_at_once(database, works)
    assert [each.result() for each in done] == numbers(database) == [1, 2, 3]
    assert attempts == [1, 2, 1, 2, 3], "what was undone is done again"
    assert transactions == 4


def test_trouble_that_lasts_is_everybodys_who_comes_after_it(database: Database) -> None:
    """To have each find out by itself would take the database's patience for each. What came before is done."""
    attempts: list[int] = []
    done, _ = all_at_once(
        database, [adding(1), troubled(2, attempts, times=9), troubled(3, attempts, times=0), adding(4)]
    )
    assert done[0].result() == 1
    assert {type(each.exception()) for each in done[1:]} == {OperationalError}
    assert numbers(database) == [1]
    assert attempts == [2, 2]


def test_what_fails_by_itself_after_trouble_is_its_own_and_no_others(database: Database) -> None:
    attempts: list[int] = []
    done, _ = all_at_once(database, [troubled(1, attempts, times=1), failing(2), adding(3)])
    assert [type(each.exception()) for each in done] == [type(None), Mistake, type(None)]
    assert numbers(database) == [1, 3]


def test_after_trouble_at_the_commit_nothing_is_done_a_second_time(database: Database) -> None:
    """Whether it was committed may be unknown."""
    attempts: list[int] = []
    done, transactions = all_at_once(
        database, [troubled(1, attempts, times=0), troubled_at_the_end(2), troubled(3, attempts, times=0)]
    )
    assert {type(each.exception()) for each in done} == {OperationalError}
    assert (attempts, transactions) == ([1, 3], 1)


def test_two_at_once_do_not_take_each_others_work(database: Database) -> None:
    together = Together(database, most=3, at_once=2)
    with ThreadPoolExecutor(12) as threads:
        done = list(threads.map(lambda number: together.run(adding(number)), range(1, 61)))
    assert done == numbers(database) == list(range(1, 61))


def test_alone_it_is_a_transaction_like_any_other(database: Database) -> None:
    together = Together(database)
    assert together.run(adding(1)) == 1
    with pytest.raises(Mistake):
        together.run(failing(2))
    assert numbers(database) == [1]
