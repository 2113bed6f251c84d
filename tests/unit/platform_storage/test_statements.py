"""Statements that come again, rows by the hundred, and lists in one parameter: the same as SQLAlchemy's own, on either database."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    event,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, StatementError

from support.stacks import DatabaseOf
from tandem_platform.storage import Database, Transaction
from tandem_platform.storage.inserts import FEWEST_AS_ARRAYS, insert_into, insert_new, insert_rows
from tandem_platform.storage.lists import among, among_rows
from tandem_platform.storage.types import UtcTime

METADATA = MetaData()
THING = Table(
    "thing",
    METADATA,
    Column("name", String, primary_key=True),
    Column("kind", String(4), nullable=False, server_default="none"),
    Column("at", UtcTime),
    Column("content", LargeBinary),
    Column("facts", JSON),
    Column("done", Boolean),
)
AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
ALL = select(THING).order_by(THING.c.name)
ONE = select(THING).where(THING.c.name == bindparam("wanted"))


@pytest.fixture
def database(database_of: DatabaseOf) -> Iterator[Database]:
    made = Database(database_of("storage"), METADATA)
    made.create_all()
    yield made
    made.close()


def a_thing(name: str, **changes: object) -> dict[str, object]:
    thing = {
        "name": name,
        "kind": "a",
        "at": AT,
        "content": b"\x00\xff",
        "facts": {"of": [1, "ü"]},
        "done": True,
    }
    return thing | changes


def things(count: int) -> list[dict[str, object]]:
    """Every second one without what may be missing."""
    empty = {"at": None, "content": None, "facts": None, "done": None}
    return [a_thing(f"t{number:03}", **(empty if number % 2 else {})) for number in range(count)]


def names(tx: Transaction, statement: object, **values: Any) -> list[str]:
    return [row.name for row in tx.all(statement, **values)]


@pytest.mark.parametrize("count", [1, FEWEST_AS_ARRAYS - 1, FEWEST_AS_ARRAYS, 150])
def test_rows_are_stored_as_one_by_one(database: Database, count: int) -> None:
    database.run(lambda tx: insert_rows(tx, THING, things(count)))
    with database.reading() as tx:
        assert [dict(row._mapping) for row in tx.connection.execute(ALL)] == things(count)


def test_a_column_that_is_empty_in_every_row_is_stored_too(database: Database) -> None:
    rows = [a_thing(f"t{number}", at=None, content=None, facts=None, done=None) for number in range(5)]
    database.run(lambda tx: insert_rows(tx, THING, rows))
    with database.reading() as tx:
        assert [row.content for row in tx.all(ALL)] == [None] * 5


def test_a_column_that_is_left_out_has_its_default(database: Database) -> None:
    database.run(lambda tx: insert_rows(tx, THING, [{"name": f"t{number}"} for number in range(5)]))
    with database.reading() as tx:
        assert {row.kind for row in tx.all(ALL)} == {"none"}


def test_rows_that_collide_are_refused_together_or_settled_as_the_statement_says(database: Database) -> None:
    database.run(lambda tx: insert_rows(tx, THING, things(5)))
    with pytest.raises(IntegrityError):
        database.run(lambda tx: insert_rows(tx, THING, [a_thing("new 1"), a_thing("new 2"), *things(5)]))
    statement = insert_into(THING, "sqlite" if database.is_sqlite else "postgresql")
    settling = statement.on_conflict_do_update(
        index_elements=["name"], set_={"kind": statement.excluded["kind"]}
    )
    again = [{**thing, "kind": "b"} for thing in things(6)]
    database.run(lambda tx: insert_rows(tx, settling, again))
    with database.reading() as tx:
        assert [row.kind for row in tx.all(ALL)] == ["b"] * 6
        assert tx.all(ALL)[0].at == AT


def test_only_the_first_of_a_name_is_new(database: Database) -> None:
    with database.transaction() as tx:
        assert [insert_new(tx, THING, a_thing("one")) for _ in range(4)] == [True, False, False, False]


def test_a_statement_gives_the_same_however_often_it_comes(database: Database) -> None:
    database.run(lambda tx: insert_rows(tx, THING, things(4)))
    with database.reading() as tx:
        rows = [tx.first(ONE, wanted="t001") for _ in range(3)]
        whole = [[dict(row._mapping) for row in tx.all(ALL)] for _ in range(3)]
        nothing = [tx.first(ONE, wanted="nobody") for _ in range(3)]
    assert [tuple(row) for row in rows if row] == 3 * [("t001", "a", None, None, None, None)]
    assert whole == 3 * [things(4)]
    assert nothing == [None, None, None]


def test_a_value_that_is_missing_is_told_each_time(database: Database) -> None:
    with database.reading() as tx:
        for _ in range(3):
            with pytest.raises(StatementError, match="wanted"):
                tx.first(ONE)


def test_what_is_written_by_a_statement_that_comes_again_is_committed_and_rolled_back(
    database: Database,
) -> None:
    insert = THING.insert()
    for number in range(4):
        database.run(lambda tx, name=f"t{number}": tx.execute(insert, a_thing(name)))  # type: ignore[misc]
    with pytest.raises(IntegrityError):
        database.run(lambda tx: [tx.execute(insert, a_thing(name)) for name in ("lost", "t0")])
    with database.reading() as tx:
        assert names(tx, ALL) == ["t0", "t1", "t2", "t3"]


def test_a_failure_shows_no_values(database: Database) -> None:
    insert = THING.insert()
    for name in ("first", "second"):
        database.run(lambda tx, name=name: tx.execute(insert, a_thing(name)))  # type: ignore[misc]
    with pytest.raises(IntegrityError) as failure:
        database.run(lambda tx: tx.execute(insert, a_thing("second", facts={"secret": "Robin Vale"})))
    assert "Robin Vale" not in str(failure.value)


@pytest.mark.parametrize("wanted", [[], ["t001"], ["t000", "t003", "nobody"], ['"', "'", "[]", "t002"]])
def test_a_list_is_one_parameter(database: Database, wanted: list[str]) -> None:
    database.run(lambda tx: insert_rows(tx, THING, things(5)))
    statement = select(THING).where(among(THING.c.name, "names")).order_by(THING.c.name)
    pairs = select(THING).where(among_rows((THING.c.name, THING.c.kind), "pairs")).order_by(THING.c.name)
    expected = sorted({f"t{number:03}" for number in range(5)} & {*wanted})
    with database.reading() as tx:
        for _ in range(3):
            assert names(tx, statement, names=wanted) == expected
            assert names(tx, pairs, pairs=[(name, "a") for name in wanted]) == expected
            assert names(tx, pairs, pairs=[(name, "b") for name in wanted]) == []


def test_an_observer_hears_of_every_statement(database: Database) -> None:
    heard: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        heard.append(statement.split()[0])

    event.listen(database.engine, "after_cursor_execute", hear)
    with database.transaction() as tx:
        for _ in range(3):
            tx.all(ALL)
        insert_rows(tx, THING, things(10))
        tx.execute(text("DELETE FROM thing"))
    assert [word for word in heard if word in {"SELECT", "INSERT", "DELETE"}] == [
        *3 * ["SELECT"],
        "INSERT",
        "DELETE",
    ]
