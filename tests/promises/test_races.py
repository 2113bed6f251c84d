"""Two at once where only one order is right: the locks under the promises.

SQLite lets one transaction write at a time, so there all of this holds by itself; PostgreSQL needs every lock.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from support.care_examples import a_phq9, one_of_every_kind
from support.network import Network, Referred, SimulatedClinic
from support.pauses import meets, paused_at
from support.stacks import DatabaseOf
from tandem.exchange.v1.exchange_pb2 import LogRow, RowBody
from tandem_care.categories import Category
from tandem_clinic.store.tables import exchange as clinic_exchange
from tandem_platform.clock import SystemClock
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import Item, LogReader
from tandem_platform.exchange.rows import downlink, uplink
from tandem_platform.exchange.tables import exchange_tables
from tandem_platform.storage import Database, Transaction, at_rest
from tandem_referral.store.tables import exchange
from tandem_referral.store.tables import sweep as sweeps

SCORES, VITALS = Category.SCALE_SCORE, Category.MEDICATION_MONITORING


@pytest.fixture
def network(scene: Any) -> Network:
    network: Network = scene.network
    return network


@pytest.fixture
def juniper(scene: Any) -> SimulatedClinic:
    clinic: SimulatedClinic = scene.juniper
    return clinic


@pytest.fixture
def riverbend(scene: Any) -> SimulatedClinic:
    clinic: SimulatedClinic = scene.riverbend
    return clinic


@pytest.fixture
def shared(scene: Any) -> Referred:
    referred: Referred = scene.shared
    return referred


def given(network: Network, to: str) -> list[str]:
    """Of every row of the recipient's downlink that gives an entry: why it is void, if it is."""
    rows = exchange.log
    with network.hub.database.reading() as tx:
        query = select(rows.c.void_reason).where(rows.c.log == downlink(to), rows.c.entry_id.is_not(None))
        return [row.void_reason for row in tx.all(query.order_by(rows.c.sequence))]


def test_a_revocation_waits_for_a_release_under_way_and_voids_it(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {SCORES})
    network.settle()
    before = len(given(network, "riverbend"))
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    with paused_at(network.hub.database, "INSERT INTO release", juniper.node.sync.push) as (releasing, pause):
        riverbend.revokes(permission)
        meets(releasing, pause, riverbend.node.journal.step)
    assert [reason != "" for reason in given(network, "riverbend")[before:]] == [True]
    network.settle()
    assert riverbend.sees(SCORES) == []


def test_a_release_waits_for_a_revocation_under_way_and_is_withheld(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {SCORES})
    network.settle()
    before = len(given(network, "riverbend"))
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    riverbend.revokes(permission)
    revoke = riverbend.node.journal.step
    # The rows on their way have been looked for by then.
    with paused_at(network.hub.database, "INSERT INTO sweep", revoke) as (revoking, pause):
        meets(revoking, pause, juniper.node.sync.push)
    assert given(network, "riverbend")[before:] == []
    network.settle()
    assert riverbend.sees(SCORES) == []


def test_what_arrives_while_a_sweep_ends_is_not_overlooked(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.grants(shared, {SCORES})
    juniper.node.journal.step()
    with network.hub.database.reading() as tx:
        assert len(tx.all(select(sweeps))) == 1
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    push = juniper.node.sync.push
    with paused_at(network.hub.database, "UPDATE exchange_cursor", push) as (arriving, pause):
        meets(arriving, pause, network.hub.sweeper.step)
    network.settle()
    assert [each["content"]["total"] for each in riverbend.sees(SCORES)] == [18]


def test_two_sweepers_give_nothing_twice(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    start = network.clock.now()
    # Of the emergency set, so that the partner's wrap has travelled with it.
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    before = len(given(network, "riverbend"))
    juniper.grants(shared, {VITALS}, history_from=start)
    juniper.node.journal.step()
    sweep = network.hub.sweeper.step
    with paused_at(network.hub.database, "INSERT INTO release", sweep) as (sweeping, pause):
        meets(sweeping, pause, sweep)
    network.settle()
    assert len(given(network, "riverbend")) - before == 1


def leaves_with_a_partners_wrap(juniper: SimulatedClinic, before: int) -> list[bool]:
    """Of every entry on Juniper's uplink above *before* that is not void: whether its partner could open it."""
    rows = clinic_exchange.log
    with juniper.db.reading() as tx:
        query = select(rows.c.body).where(
            rows.c.log == juniper.clinic.uplink, rows.c.sequence > before, rows.c.void_reason == ""
        )
        sent = [RowBody.FromString(row.body).entry for row in tx.all(query)]
    return [any(wrap.practice_id != juniper.name for wrap in entry.wraps) for entry in sent]


@pytest.mark.parametrize("first", ["recording", "revoking"])
def test_an_entry_and_a_withdrawal_do_not_miss_each_other(
    network: Network, juniper: SimulatedClinic, shared: Referred, first: str
) -> None:
    permission = juniper.grants(shared, {SCORES})
    network.settle()
    with juniper.db.reading() as tx:
        before = log.head_of(tx, juniper.clinic.uplink).sequence
    content = a_phq9(total=18, taken_at=network.clock.now())

    def record() -> None:
        juniper.records(shared.patient_id, content)

    def revoke() -> None:
        juniper.revokes(permission)

    one, other = (record, revoke) if first == "recording" else (revoke, record)
    # By then the one has looked for withdrawals, the other for what is on its way.
    looked = (
        "INSERT INTO sealed_entry"
        if first == "recording"
        else "SELECT exchange_log.sequence, exchange_log.body"
    )
    with paused_at(juniper.db, looked, one) as (worker, pause):
        meets(worker, pause, other)
    assert leaves_with_a_partners_wrap(juniper, before) == [False]


_metadata = MetaData()
_effects = Table(
    "effect",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("entry_id", String, nullable=False),
)
exchange_tables(_metadata)


class _Keeping:
    """Writes down what takes effect; nothing else would keep it from happening twice."""

    def apply(self, tx: Transaction, items: Sequence[Item]) -> None:
        for item in items:
            tx.execute(_effects.insert().values(entry_id=item.body.late_wrap.entry_id))

    def episode_of(self, body: RowBody) -> str | None:
        return None

    def is_ready(self, tx: Transaction, log: str) -> bool:
        return True

    def must_wait(self, tx: Transaction, log: str, body: RowBody) -> bool:
        return False


def test_two_readers_of_one_log_give_a_row_effect_once(database_of: DatabaseOf) -> None:
    at_rest.install(bytes(range(32)))
    writer, reader = (Database(database_of(name), _metadata) for name in ("writer", "reader"))
    try:
        for database in (writer, reader):
            database.create_all()
        name = uplink("juniper")
        for entry_id in ("one", "two", "three"):
            body = RowBody()
            body.late_wrap.entry_id = entry_id
            writer.run(lambda tx, body=body: log.stage(tx, name, body))  # type: ignore[misc]
        with writer.reading() as tx:
            rows: list[LogRow] = log.read(tx, name, 0, 10)
        rows[-1].signature = b"signed"
        readers = [
            LogReader(reader, _Keeping(), lambda tx, log: lambda signature, message: True, SystemClock().now)
            for _ in range(2)
        ]
        readers[0].apply(name, rows[:0], authoritative=True)

        def apply(index: int) -> None:
            readers[index].apply(name, rows, authoritative=True)

        with paused_at(reader, "INSERT INTO effect", lambda: apply(0)) as (first, pause):
            meets(first, pause, lambda: apply(1))
        with reader.reading() as tx:
            assert [row.entry_id for row in tx.all(select(_effects).order_by(_effects.c.number))] == [
                "one",
                "two",
                "three",
            ]
    finally:
        writer.close()
        reader.close()
