"""Episodes."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from tandem_clinic.domain.episodes import Episode
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import episode
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction
from tandem_platform.storage.database import Lock
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.lists import among

_COLUMNS = (
    episode.c.episode_id,
    episode.c.partnership_id,
    episode.c.partner_practice_id,
    episode.c.patient_id,
    episode.c.state,
    episode.c.opened_at,
)
_OF_PATIENTS = (
    select(*_COLUMNS)
    .where(among(episode.c.patient_id, "patients"))
    .order_by(episode.c.opened_at, episode.c.episode_id)
)


class EpisodeOpenAlready(Refusal):
    """One episode per patient and partnership at a time."""

    def __init__(self, episode_id: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "EPISODE_OPEN_ALREADY",
            "this patient has an open episode with that partner",
            way_out="use the open episode, or close its referral first",
            metadata={"episode_id": episode_id} if episode_id else None,
        )


def add(
    tx: Transaction,
    episode_id: str,
    partnership_id: str,
    partner_practice_id: str,
    patient_id: str | None,
    now: datetime,
) -> Episode:
    """Repeating it for the same id changes nothing."""
    if patient_id is not None:
        _refuse_second(tx, patient_id, partnership_id, but=episode_id)
    insert_new(
        tx,
        episode,
        {
            "episode_id": episode_id,
            "partnership_id": partnership_id,
            "partner_practice_id": partner_practice_id,
            "patient_id": patient_id,
            "state": "open",
            "opened_at": now,
        },
    )
    made = find(tx, episode_id)
    if made is None:
        # Another transaction has just opened one: the unique index let only the first through.
        raise EpisodeOpenAlready("")
    return made


def hold(tx: Transaction, episode_id: str, lock: Lock) -> None:
    """Until the commit. Shared by what sends of the episode, exclusive for what stops sending."""
    if tx.dialect != "sqlite":
        tx.first(select(episode.c.episode_id).where(episode.c.episode_id == episode_id), lock=lock)


def get(tx: Transaction, episode_id: str, *, lock: Lock | None = None) -> Episode:
    row = tx.first(select(*_COLUMNS).where(episode.c.episode_id == episode_id), lock=lock)
    if row is None:
        raise NotKnown("episode", "episode_id")
    return Episode(**row._mapping)


def find(tx: Transaction, episode_id: str) -> Episode | None:
    row = tx.first(select(*_COLUMNS).where(episode.c.episode_id == episode_id))
    return None if row is None else Episode(**row._mapping)


def found(tx: Transaction, episode_ids: Collection[str]) -> dict[str, Episode]:
    rows = tx.all(_AMONG, episodes=list(episode_ids))
    return {row.episode_id: Episode(**row._mapping) for row in rows}


_AMONG = select(*_COLUMNS).where(among(episode.c.episode_id, "episodes"))


def of_patient(tx: Transaction, patient_id: str) -> list[Episode]:
    return [Episode(**row._mapping) for row in tx.all(_OF_PATIENTS, patients=[patient_id])]


def hold_open_of(tx: Transaction, patient_ids: Collection[str]) -> dict[str, list[Episode]]:
    """The open episodes of each, held as what sends does, see `hold`."""
    found: dict[str, list[Episode]] = {patient_id: [] for patient_id in patient_ids}
    if found:
        for row in tx.execute(_HELD_OPEN[tx.dialect], {"patients": list(found)}):
            found[row.patient_id].append(Episode(**row._mapping))
    return found


# In the order of their ids, in which whoever takes several of these locks takes them.
_OPEN_OF_PATIENTS = (
    _OF_PATIENTS.where(episode.c.state == "open").order_by(None).order_by(episode.c.episode_id)
)
_HELD_OPEN = {"sqlite": _OPEN_OF_PATIENTS, "postgresql": _OPEN_OF_PATIENTS.with_for_update(read=True)}


def link(tx: Transaction, episode_id: str, patient_id: str) -> None:
    found = get(tx, episode_id)
    if found.patient_id not in (None, patient_id):
        raise Refusal(
            Code.FAILED_PRECONDITION,
            "EPISODE_LINKED_ALREADY",
            "this episode belongs to another patient here",
            way_out="correct the patient's record instead",
        )
    _refuse_second(tx, patient_id, found.partnership_id, but=episode_id)
    try:
        tx.execute(update(episode).where(episode.c.episode_id == episode_id).values(patient_id=patient_id))
    except IntegrityError:
        raise EpisodeOpenAlready("") from None


def close(tx: Transaction, episode_id: str, now: datetime) -> None:
    tx.execute(
        update(episode)
        .where(episode.c.episode_id == episode_id, episode.c.state == "open")
        .values(state="closed", closed_at=now)
    )


def reopen(tx: Transaction, episode_id: str) -> None:
    """A final move was undone."""
    tx.execute(update(episode).where(episode.c.episode_id == episode_id).values(state="open", closed_at=None))


def _refuse_second(tx: Transaction, patient_id: str, partnership_id: str, but: str) -> None:
    open_one = open_with(tx, patient_id, partnership_id, but=but)
    if open_one is not None:
        raise EpisodeOpenAlready(open_one)


def open_with(tx: Transaction, patient_id: str, partnership_id: str, *, but: str = "") -> str | None:
    """The patient's open episode with a partner, other than *but*."""
    row = tx.first(
        select(episode.c.episode_id).where(
            episode.c.patient_id == patient_id,
            episode.c.partnership_id == partnership_id,
            episode.c.state == "open",
            episode.c.episode_id != but,
        )
    )
    return None if row is None else str(row.episode_id)
