"""A writer back from a backup goes on above its reader's cursor."""

from sqlalchemy import event

from support.logs import JUNIPER, Reader, Writer, an_entry, tables, word_of
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import move_cursor
from tandem_platform.exchange.rows import START, Position
from tandem_platform.storage import Transaction


def loses_rows_above(writer: Writer, sequence: int) -> None:
    """As from a backup: rows and head of an earlier day."""

    def work(tx: Transaction) -> None:
        place = log.position_at(tx, JUNIPER, sequence)
        assert place is not None
        tx.execute(tables.log.delete().where(tables.log.c.sequence > sequence))
        tx.execute(tables.head.update().values(epoch=place.epoch, sequence=sequence, hash=place.hash))

    writer.database.run(work)


def goes_on(writer: Writer, reader: Reader, epoch: int, common: int) -> None:
    above = reader.cursor()
    writer.database.run(lambda tx: log.open_epoch(tx, JUNIPER, epoch, above, common))
    reader.database.run(lambda tx: move_cursor(tx, JUNIPER, Position(epoch, above.sequence, above.hash)))


def continuation(writer: Writer, place: Position) -> int | None:
    with writer.database.reading() as tx:
        return log.continuation(tx, JUNIPER, place)


def test_a_place_of_the_log_is_told_from_one_of_another(writer: Writer, reader: Reader) -> None:
    assert continuation(writer, START) == 1
    writer.words(["a", "b", "c"])
    reader.pushed(writer.batch(limit=2))
    assert continuation(writer, reader.cursor()) == 1
    assert continuation(writer, writer.head) == 1
    assert continuation(writer, Position(1, 2, b"\x01" * 32)) is None
    assert continuation(writer, Position(1, 9, writer.head.hash)) is None
    loses_rows_above(writer, 1)
    assert continuation(writer, reader.cursor()) is None


def test_rows_written_after_the_backup_go_again_above_the_cursor(writer: Writer, reader: Reader) -> None:
    writer.words(["a", "b", "c", "d"])
    reader.pushed(writer.batch())
    loses_rows_above(writer, 2)
    writer.words(["c2", "d2", "e2"])
    assert continuation(writer, reader.cursor()) is None
    goes_on(writer, reader, epoch=2, common=2)
    assert continuation(writer, reader.cursor()) == 2
    reader.pushed(writer.batch(after=4))
    assert reader.words == ["a", "b", "c", "d", "c2", "d2", "e2"]
    assert [(row.epoch, row.sequence) for row in writer.batch(after=4)] == [(2, 5), (2, 6), (2, 7)]


def test_a_row_that_the_reader_gave_back_does_not_go_again(writer: Writer, reader: Reader) -> None:
    writer.words(["a", "b", "c", "d"])
    keeping = Reader(reader.database, keep=True)
    keeping.pushed(writer.batch())
    kept = Writer(reader.database).all()
    loses_rows_above(writer, 3)
    above = keeping.cursor()
    writer.database.run(lambda tx: log.open_epoch(tx, JUNIPER, 2, above, 1, kept[1:]))
    assert [(row.epoch, row.sequence) for row in writer.all()] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert (writer.head.epoch, writer.head.sequence) == (2, 4)


def test_voids_are_not_sent_again(writer: Writer, reader: Reader) -> None:
    writer.words(["a", "b"])
    reader.pushed(writer.batch())
    loses_rows_above(writer, 1)
    writer.words(["kept", "withdrawn"])
    writer.database.run(lambda tx: log.void(tx, JUNIPER, [3], "revoked"))
    goes_on(writer, reader, epoch=2, common=1)
    assert [word_of(RowBody.FromString(row.body)) for row in writer.batch(after=2)] == ["kept"]


def test_two_restores_one_after_the_other(writer: Writer, reader: Reader) -> None:
    writer.words(["a", "b", "c"])
    reader.pushed(writer.batch())
    loses_rows_above(writer, 1)
    goes_on(writer, reader, epoch=2, common=1)
    writer.words(["d"])
    reader.pushed(writer.batch(after=3))
    # The second backup is older than the first restore.
    writer.database.run(lambda tx: tx.execute(tables.log.delete().where(tables.log.c.sequence > 1)))
    writer.database.run(_back_to_first_row)
    goes_on(writer, reader, epoch=3, common=1)
    writer.writes(an_entry("e"))
    reader.pushed(writer.batch(after=4))
    assert reader.words == ["a", "b", "c", "d", "e"]
    assert reader.cursor().epoch == 3


def _back_to_first_row(tx: Transaction) -> None:
    place = log.position_at(tx, JUNIPER, 1)
    assert place is not None
    tx.execute(tables.head.update().values(epoch=1, sequence=1, hash=place.hash))


def test_a_reader_that_is_behind_is_told_of_the_next_epoch_where_it_begins(
    writer: Writer, reader: Reader
) -> None:
    writer.words(["a", "b"])
    end_of_first = writer.head
    writer.database.run(lambda tx: log.open_epoch(tx, JUNIPER, 2, end_of_first, 2))
    writer.words(["c"])
    reader.pushed(writer.batch(limit=1))
    assert continuation(writer, reader.cursor()) == 1
    reader.pushed(writer.batch(after=1))
    assert continuation(writer, reader.cursor()) == 2


def test_a_row_that_is_committed_meanwhile_does_not_make_a_place_look_like_nowhere(writer: Writer) -> None:
    """Or a hub would take itself for restored whenever it writes while a clinic syncs."""
    writer.words(["a"])
    place = writer.head
    added: list[str] = []

    def add(*_: object) -> None:
        if not added:
            added.append("b")
            writer.words(added)

    event.listen(writer.database.engine, "after_cursor_execute", add)
    try:
        with writer.database.glancing() as tx:
            assert log.continuation(tx, JUNIPER, place) == 1
    finally:
        event.remove(writer.database.engine, "after_cursor_execute", add)
    assert added
    assert continuation(writer, place) == 1
