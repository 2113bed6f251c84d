"""From a record of the clinic's own to sealed entries: the one way by which anything leaves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from tandem.exchange.v1.exchange_pb2 import EntryLabels, LateWrap, LogRow, RowBody, SealedEntry
from tandem_care.categories import EMERGENCY, PART2, Category, Purpose
from tandem_care.permission import Decision, Permission, Question, Rule, decide
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.episodes import OVER, Episode
from tandem_clinic.hub import journal
from tandem_clinic.store import entries, episodes, partners, permissions, referrals, standings, worklist
from tandem_clinic.store.entries import NewSealing, OwnEntry
from tandem_clinic.store.standings import Standing
from tandem_clinic.store.tables import exchange
from tandem_platform.exchange import log
from tandem_platform.ids import new_id
from tandem_platform.rpc import words
from tandem_platform.sealing import trust
from tandem_platform.sealing.bundles import KeyBundle
from tandem_platform.sealing.entries import seal, wrap_for
from tandem_platform.storage import Transaction

WRAP_WANTED = "wrap-wanted"
"""The service's own worklist: wraps that the hub asked for, and that could not be given yet."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What decides about sharing in one episode, read once for all entries that a transaction records.

    Holds for that transaction only, and only while nothing in it changes permissions or queues commands.
    """

    clinic: Clinic
    episode: Episode
    rules: Sequence[Permission]
    partnership_active: bool
    referral_live: bool
    by_treatment: bool
    withholding: bool
    partner: KeyBundle | None
    after_request_id: str

    def decide(
        self,
        category: str,
        derived_from: Iterable[str],
        authored_at: datetime,
        at: datetime | None = None,
        *,
        item: str = "",
    ) -> Decision:
        """Whether this clinic itself would disclose an entry to the episode's partner now, or at another time. The hub decides again.

        ``item`` is its id in the episode, or the id of what it amends: an amendment goes where that goes.
        """
        question = Question(
            discloser=self.clinic.practice_id,
            recipient=self.episode.partner_practice_id,
            episode=self.episode.episode_id,
            category=category,
            derived_from=frozenset(derived_from),
            authored_at=authored_at,
            now=at or self.clinic.now(),
            purpose=Purpose.TREATMENT,
            part2=self.clinic.part2_program,
            item=item,
        )
        return decide(
            self.rules,
            question,
            partnership_active=self.partnership_active,
            referral_live=self.referral_live,
            treatment_relationship_allowed=self.by_treatment,
        )

    def to_wrap_for(self, entry: OwnEntry, decision: Decision) -> KeyBundle | None:
        """The partner whose wrap goes with *entry*, if it may have it from the start."""
        if self.withholding:
            return None
        if decision.permitted or (
            decision.rule is not Rule.PARTNERSHIP_NOT_ACTIVE and emergency_may_open(entry)
        ):
            return self.partner
        return None


def outlooks(tx: Transaction, clinic: Clinic, among: Sequence[Episode]) -> dict[str, Outlook]:
    """By episode."""
    ids = {episode.episode_id for episode in among}
    rules = permissions.rules_of(tx, ids)
    standing = standings.of_episodes(tx, ids)
    return {
        episode.episode_id: _outlook(clinic, episode, rules[episode.episode_id], standing[episode.episode_id])
        for episode in among
    }


def _outlook(clinic: Clinic, episode: Episode, rules: Sequence[Permission], standing: Standing) -> Outlook:
    return Outlook(
        clinic=clinic,
        episode=episode,
        rules=rules,
        partnership_active=standing.partnership_state == "active",
        referral_live=episode.is_open and standing.referral_state not in OVER,
        by_treatment=clinic.allows_treatment_basis and bool(standing.partner_allows_treatment_basis),
        withholding=standing.withholding is not None,
        partner=trust.usable_now(partners.decoded(standing.bundle), clinic.now()),
        after_request_id=standing.last_queued or "",
    )


def outlook(tx: Transaction, clinic: Clinic, episode: Episode) -> Outlook:
    return outlooks(tx, clinic, [episode])[episode.episode_id]


def own_view(
    tx: Transaction,
    clinic: Clinic,
    episode: Episode,
    category: str,
    derived_from: Iterable[str],
    authored_at: datetime,
    item: str,
) -> Decision:
    """As `Outlook.decide`, for a single entry."""
    return outlook(tx, clinic, episode).decide(category, derived_from, authored_at, item=item)


def seal_for(
    view: Outlook, entry: OwnEntry, *, amends_entry_id: str = "", entered_in_error: bool = False
) -> NewSealing:
    """Seal *entry* for the episode of *view*.

    Withheld or not it travels, so that the hub can release it later. The partner's wrap goes with it only
    where our own view permits, or where the emergency set needs it; never while a revocation is on its way.
    """
    clinic = view.clinic
    labels = EntryLabels(
        entry_id=new_id("ent"),
        episode_id=view.episode.episode_id,
        origin_practice_id=clinic.practice_id,
        category=words.category_number(entry.category),
        derived_from=[words.category_number(code) for code in entry.derived_from],
        amends_entry_id=amends_entry_id,
        entered_in_error=entered_in_error,
        part2=entry.part2,
    )
    labels.authored_at.FromDatetime(entry.authored_at)
    decision = view.decide(
        entry.category, entry.derived_from, entry.authored_at, item=amends_entry_id or labels.entry_id
    )
    partner = view.to_wrap_for(entry, decision)
    return NewSealing(
        sealed=seal(labels, entry.content, clinic.keys, partner),
        record_id=entry.record_id,
        partner_wrapped=partner is not None,
        rule=decision.rule,
    )


def send(tx: Transaction, clinic: Clinic, made: Sequence[tuple[Outlook, NewSealing]]) -> None:
    """Keep the sealings and stage them on the uplink, in order."""
    entries.add_sealings(tx, [sealing for _, sealing in made], clinic.now())
    for view, sealing in made:
        body = RowBody(entry=sealing.sealed, after_request_id=view.after_request_id)
        log.stage(
            tx,
            clinic.uplink,
            body,
            at=clinic.now(),
            entry_id=sealing.entry_id,
            episode_id=view.episode.episode_id,
        )


def share(
    tx: Transaction,
    clinic: Clinic,
    episode: Episode,
    entry: OwnEntry,
    *,
    amends_entry_id: str = "",
    entered_in_error: bool = False,
) -> str:
    """Seal and send a single entry; the id that it has in the episode."""
    episodes.hold(tx, episode.episode_id, "shared")
    view = outlook(tx, clinic, episode)
    sealing = seal_for(view, entry, amends_entry_id=amends_entry_id, entered_in_error=entered_in_error)
    send(tx, clinic, [(view, sealing)])
    return sealing.entry_id


def emergency_may_open(entry: OwnEntry) -> bool:
    """All that it says belongs to the emergency set: the hub may open it at night, with this clinic off line."""
    return {Category(entry.category), *map(Category, entry.derived_from)} <= EMERGENCY


def needs_part2_label(clinic: Clinic, category: str, derived_from: Iterable[str]) -> bool:
    return clinic.part2_program or not PART2.isdisjoint({category, *derived_from})


def stage(tx: Transaction, clinic: Clinic, sealed: SealedEntry) -> None:
    episode_id = sealed.labels.episode_id
    body = RowBody(entry=sealed, after_request_id=journal.last_queued(tx, episode_id) or "")
    log.stage(
        tx, clinic.uplink, body, at=clinic.now(), entry_id=sealed.labels.entry_id, episode_id=episode_id
    )


def void_rows(tx: Transaction, clinic: Clinic, entry_ids: list[str], reason: str) -> None:
    """Take the content of these entries out of our own log."""
    log.unstage_entries(tx, entry_ids)
    rows = exchange.log
    found = tx.all(
        select(rows.c.sequence).where(
            rows.c.log == clinic.uplink, rows.c.entry_id.in_(entry_ids), rows.c.void_reason == ""
        )
    )
    log.void(tx, clinic.uplink, [row.sequence for row in found], reason)


def withhold_unsent(tx: Transaction, clinic: Clinic, episode_id: str, reason: str) -> int:
    """Void what of the episode has not reached the hub, and send it again without the partner's wraps; how many.

    Called with the revocation in the journal: what is sent again comes after it. Holds the episode, so that what
    another transaction is sending of it is either found here or finds the revocation.
    """
    episodes.hold(tx, episode_id, "exclusive")
    staged = log.take_staged(tx, clinic.uplink, episode_id)
    rows = exchange.log
    unsent = tx.all(
        select(rows.c.sequence, rows.c.body)
        .where(
            rows.c.log == clinic.uplink,
            rows.c.sequence > log.acknowledged(tx, clinic.uplink),
            rows.c.episode_id == episode_id,
            rows.c.void_reason == "",
        )
        .order_by(rows.c.sequence)
    )
    bodies = [(row.sequence, RowBody.FromString(row.body)) for row in unsent]
    wrapped = [
        (sequence, body)
        for sequence, body in bodies
        if body.HasField("late_wrap") or _has_partner_wrap(clinic, body)
    ]
    log.void(tx, clinic.uplink, [sequence for sequence, _ in wrapped], reason)
    for body in [*(body for _, body in wrapped), *staged]:
        if body.HasField("late_wrap"):
            entries.set_partner_wrapped(tx, body.late_wrap.entry_id, wrapped=False)
            # Asked for by the hub, which asks once: if it is allowed again, we remember.
            worklist.raise_item(
                tx,
                WRAP_WANTED,
                body.late_wrap.entry_id,
                clinic.now(),
                episode_id=episode_id,
                staff_id=worklist.SERVICE,
            )
        else:
            own = [wrap for wrap in body.entry.wraps if wrap.practice_id == clinic.practice_id]
            del body.entry.wraps[:]
            body.entry.wraps.extend(own)
            entries.set_partner_wrapped(tx, body.entry.labels.entry_id, wrapped=False)
            stage(tx, clinic, body.entry)
    return len(wrapped) + len(staged)


def stop_waiting(tx: Transaction, clinic: Clinic, row: LogRow) -> bool:
    """Let a row go that comes after a command which the hub will never answer: refused there, or cancelled here.

    It and all that follow are voided and sent again in their order, it without waiting; what belongs to an episode
    that never came to be is not sent again. False if its command is still on its way.
    """
    if not _waits_in_vain(tx, RowBody.FromString(row.body)):
        return False
    rows = exchange.log
    following = tx.all(
        select(rows)
        .where(rows.c.log == clinic.uplink, rows.c.sequence >= row.sequence, rows.c.void_reason == "")
        .order_by(rows.c.sequence)
    )
    log.void(tx, clinic.uplink, [each.sequence for each in following], "closed")
    for each in following:
        body = RowBody.FromString(each.body)
        if _waits_in_vain(tx, body):
            body.after_request_id = ""
        referral = referrals.of_episode(tx, each.episode_id) if each.episode_id else None
        if referral is None or referral.state != "refused":
            log.stage(
                tx,
                clinic.uplink,
                body,
                at=clinic.now(),
                entry_id=each.entry_id,
                episode_id=each.episode_id,
                permission_id=each.permission_id,
            )
    return True


def _waits_in_vain(tx: Transaction, body: RowBody) -> bool:
    if not body.after_request_id:
        return False
    command = journal.find(tx, body.after_request_id)
    return command is None or command.state in ("refused", "cancelled")


def _has_partner_wrap(clinic: Clinic, body: RowBody) -> bool:
    return body.HasField("entry") and any(wrap.practice_id != clinic.practice_id for wrap in body.entry.wraps)


def wrap_late(tx: Transaction, clinic: Clinic, episode: Episode, entry_id: str, partner: KeyBundle) -> None:
    """Give the partner its wrap of an entry that travelled without. Whether it may have it was decided before."""
    found = entries.sealed(tx, entry_id)
    if found is None:
        return
    sealed, _ = found
    body = RowBody(
        late_wrap=LateWrap(entry_id=entry_id, wrap=wrap_for(sealed, clinic.keys, partner)),
        after_request_id=journal.last_queued(tx, episode.episode_id) or "",
    )
    log.stage(tx, clinic.uplink, body, at=clinic.now(), entry_id=entry_id, episode_id=episode.episode_id)
    entries.set_partner_wrapped(tx, entry_id, wrapped=True)
