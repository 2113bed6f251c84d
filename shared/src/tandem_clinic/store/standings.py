"""What sharing in an episode depends on, beside its permissions: read for many episodes by one statement."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from tandem_clinic.store.tables import command, episode, hub_referral, partner_key, partnership
from tandem_platform.storage import Transaction
from tandem_platform.storage.lists import among


@dataclass(frozen=True, slots=True)
class Standing:
    """referral_state: of the latest referral. bundle: the partner's newest keys, encoded.

    withholding: a revocation, hold or denial is queued, so that nothing leaves with the partner's wrap.
    last_queued: the command that an uplink row of the episode must come after.
    """

    episode_id: str
    partnership_state: str | None
    partner_allows_treatment_basis: bool | None
    referral_state: str | None
    bundle: bytes | None
    withholding: int | None
    last_queued: str | None


def of_episodes(tx: Transaction, episode_ids: Collection[str]) -> dict[str, Standing]:
    rows = tx.all(_STANDING, episodes=list(episode_ids))
    return {row.episode_id: Standing(**row._mapping) for row in rows}


_QUEUED = select(command).where(command.c.state == "queued", command.c.episode_id == episode.c.episode_id)
_STANDING = (
    select(
        episode.c.episode_id,
        partnership.c.state.label("partnership_state"),
        partnership.c.partner_allows_treatment_basis,
        select(hub_referral.c.state)
        .where(hub_referral.c.episode_id == episode.c.episode_id)
        .order_by(hub_referral.c.requested_at.desc())
        .limit(1)
        .scalar_subquery()
        .label("referral_state"),
        select(partner_key.c.bundle)
        .where(partner_key.c.practice_id == episode.c.partner_practice_id)
        .order_by(partner_key.c.version.desc())
        .limit(1)
        .scalar_subquery()
        .label("bundle"),
        _QUEUED.with_only_columns(command.c.position)
        .where(command.c.withholds)
        .limit(1)
        .scalar_subquery()
        .label("withholding"),
        _QUEUED.with_only_columns(command.c.request_id)
        .order_by(command.c.position.desc())
        .limit(1)
        .scalar_subquery()
        .label("last_queued"),
    )
    .join(partnership, partnership.c.partnership_id == episode.c.partnership_id, isouter=True)
    .where(among(episode.c.episode_id, "episodes"))
)
