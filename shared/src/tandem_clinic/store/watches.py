"""Episodes whose clocks are followed."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import bindparam, select, update

from tandem_clinic.store.tables import courses
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_into

watch = courses.watch


def look(tx: Transaction, episode_ids: Collection[str], at: datetime) -> None:
    """Have these looked at from *at* on, or when they would have been anyway, if that is sooner."""
    for episode_id in sorted(episode_ids):
        adding = insert_into(watch, tx.dialect).values(episode_id=episode_id, look_at=at)
        tx.execute(
            adding.on_conflict_do_update(
                index_elements=[watch.c.episode_id],
                set_={"look_at": at},
                where=watch.c.look_at > at,
            )
        )


def put_off(tx: Transaction, episode_id: str, at: datetime) -> None:
    tx.execute(update(watch).where(watch.c.episode_id == episode_id).values(look_at=at))


def forget(tx: Transaction, episode_id: str) -> None:
    tx.execute(watch.delete().where(watch.c.episode_id == episode_id))


def due(tx: Transaction, now: datetime, most: int) -> list[str]:
    return [row.episode_id for row in tx.all(_DUE.limit(most), now=now)]


_DUE = (
    select(watch.c.episode_id)
    .where(watch.c.look_at <= bindparam("now"))
    .order_by(watch.c.look_at, watch.c.episode_id)
)
