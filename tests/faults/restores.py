"""What is forgotten when a database is set back to an older backup, and what the promises still say of the rest.

A restored clinic may lose what nobody else had; a restored hub may lose the account of what it gave, which its clinics keep.
Everything else holds as before, and the oracle is told so.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import make_url

from support.network import SimulatedClinic
from support.oracle import Entry, Oracle, Permission, Release
from support.watched import Seen, WatchedNetwork
from tandem_clinic.store.tables import command, own_entry, received_entry, sealed_entry
from tandem_platform.exchange.rows import downlink
from tandem_platform.storage import Database


class RestoringOracle(Oracle):
    """Knows what restores took.

    hub_forgot: whether the hub was ever set back; until the end it may then be behind what was agreed.
    doubtful: entries that their own clinic has lost, and that the hub did not have.
    regiven: entries whose release the hub has lost; how they were delivered is in nobody's account but the clinics'.
    retaken: entries that their recipient has lost after it took them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hub_forgot = False
        self.epochs: dict[str, int] = {}
        """Of each downlink, as far as its rows have been looked at."""
        self.given_in: dict[str, int] = {}
        """The epoch in which an entry was given last."""
        self.unmade: set[str] = set()
        """Permissions that a restored hub has lost: each begins when it is made anew."""
        self.doubtful: set[str] = set()
        self.regiven: set[str] = set()
        self.retaken: set[str] = set()
        self.delivered: set[str] = set()
        self.refused_since: dict[str, str] = {}
        """Episodes that a restored hub refused to begin, by the request: perhaps only until others have replayed."""
        self.excused: set[str] = set()
        """Practices that do not play by the rules: of entries from and to them nothing is promised, and they are not told."""
        self.misled = ""
        """The practice that a hostile hub lies to: what does not arrive there has to be missed by its origin."""

    def permission_made(self, made: Permission) -> None:
        if made.permission_id in self.unmade:
            self.unmade.discard(made.permission_id)
            made.state = self.permissions.pop(made.permission_id).state
        super().permission_made(made)

    def entry_at_hub(self, entry_id: str) -> None:
        if not self._is_strange(entry_id):
            super().entry_at_hub(entry_id)

    def released(
        self, entry_id: str, to: str, number: int, permission_id: str, at: datetime, *, wrapped: set[str]
    ) -> None:
        if self._is_strange(entry_id):
            return
        entry = self.entries[entry_id]
        epoch = self.epochs.get(downlink(to), 1)
        if entry.is_out and epoch > self.given_in.get(entry_id, 1):
            # Its log goes on above a place that the hub does not know: what had not been acknowledged was appended anew.
            entry.releases[-1].number, self.given_in[entry_id] = number, epoch
            if any(each.voided for each in entry.releases):
                # So was the notice that it had been withdrawn, at which its recipient lets it go once more.
                entry.times_received = min(entry.times_received, len(entry.releases) - 1)
            return
        super().released(entry_id, to, number, permission_id, at, wrapped=wrapped)
        self.given_in[entry_id] = epoch

    def voided(self, entry_id: str, number: int, reason: str) -> None:
        if self._is_strange(entry_id):
            return
        entry = self.entries[entry_id]
        if self.epochs.get(downlink(entry.recipient), 1) > 1 and entry.is_out:
            entry.releases[-1].number = number
        super().voided(entry_id, number, reason)

    def forgotten(self, entry_id: str, by: str) -> None:
        if not self._is_strange(entry_id):
            super().forgotten(entry_id, by)

    def read(self, entry_id: str, at: datetime) -> None:
        if not self._is_strange(entry_id):
            super().read(entry_id, at)

    def _is_strange(self, entry_id: str) -> bool:
        return bool(self.excused) and entry_id not in self.entries

    def received(self, entry_id: str, by: str) -> None:
        if self._is_strange(entry_id):
            return
        entry = self.entries[entry_id]
        if entry_id in self.regiven and entry.times_received >= len(entry.releases):
            # Kafka still held what the hub had given before it was set back.
            entry.held_by_recipient = True
            self.delivered.add(entry_id)
            return
        known = entry_id in self.delivered and not entry.times_received
        super().received(entry_id, by)
        self.delivered.add(entry_id)
        if known:
            for chain in (entry.origin, entry.recipient):
                self.audited[chain][entry_id, "delivered"] -= 1

    def give_up_lost(self) -> None:
        """What its own clinic lost and nobody had is gone: the one loss that a restore may bring."""
        for entry_id in [each for each in self.doubtful if not self.entries[each].at_hub]:
            entry = self.entries.pop(entry_id)
            self.of_scope[entry.episode, entry.origin].remove(entry)
        self.doubtful.clear()

    def note_refusals(self, settled: Collection[str], decided: Collection[str]) -> None:
        """What was refused stays so if its clinic has settled for it, and if the hub had never granted it before."""
        for request_id, episode in self.refused_since.items():
            if request_id in settled and request_id not in decided:
                self.referral_refused(episode)

    def check_settled(self, now: datetime) -> None:
        hidden = {each.entry_id: each for each in self._ordered() if self._is_unaccounted(each)}
        for entry_id in hidden:
            del self.entries[entry_id]
        try:
            super().check_settled(now)
        finally:
            self.entries.update(hidden)

    def _is_unaccounted(self, entry: Entry) -> bool:
        """Given before the hub forgot, and not given again since: the recipient keeps what it had."""
        unaccounted = entry.entry_id in self.regiven and not entry.releases
        of_strangers = bool(self.excused & {entry.origin, entry.recipient})
        return unaccounted or of_strangers or entry.recipient == self.misled

    def _unsure(self) -> set[str]:
        """Of these the account need not say that they were delivered: whoever took them may never have told the hub."""
        of_strangers = {each.entry_id for each in self._ordered() if each.recipient in self.excused}
        return self.regiven | self.retaken | of_strangers

    def check_audit(self, chain: str, records: Iterable[tuple[str, str]]) -> None:
        unsure = self._unsure()
        kept = [
            (entry_id, action)
            for entry_id, action in records
            if not _open(unsure, entry_id, action) and not self._is_strange(entry_id)
        ]
        expected = self.audited[chain]
        self.audited[chain] = Counter({key: n for key, n in expected.items() if not _open(unsure, *key)})
        try:
            super().check_audit(chain, kept)
        finally:
            self.audited[chain] = expected

    def check_withheld(self, chain: str, records: Iterable[tuple[str, str]]) -> None:
        """What is for or from a practice that does not sync is not decided about before it does."""
        hidden = {
            each.entry_id: each
            for each in self._ordered()
            if each.recipient in self.excused or {each.origin, chain} <= self.excused
        }
        for entry_id in hidden:
            del self.entries[entry_id]
        try:
            super().check_withheld(chain, [(each, action) for each, action in records if each not in hidden])
        finally:
            self.entries.update(hidden)

    def check_accounting(
        self, discloser: str, disclosed: dict[str, tuple[bool, bool]], now: datetime
    ) -> None:
        unsure = self._unsure()
        hidden = {entry_id: self.entries[entry_id] for entry_id in unsure if entry_id in self.entries}
        told = {
            entry_id: (delivered or entry_id in self.delivered, voided)
            for entry_id, (delivered, voided) in disclosed.items()
            if entry_id not in unsure and not self._is_strange(entry_id)
        }
        before = {each.entry_id: each.times_received for each in self._ordered()}
        for entry_id in hidden:
            del self.entries[entry_id]
        for each in self._ordered():
            each.times_received = int(each.entry_id in self.delivered)
        try:
            super().check_accounting(discloser, told, now)
        finally:
            self.entries.update(hidden)
            for entry_id, times in before.items():
                self.entries[entry_id].times_received = times


def _open(unsure: set[str], entry_id: str, action: str) -> bool:
    return entry_id in unsure and action == "delivered"


@dataclass
class ClinicBackup:
    """A copy of a clinic's database, and what the checker had seen of it."""

    url: str
    sealed: set[str]
    held: dict[str, Any]
    times_received: dict[str, int]
    read_at: dict[str, datetime | None]
    sequence: int


@dataclass
class HubBackup:
    url: str
    releases: dict[str, list[Release]]
    at_hub: set[str]
    audited: dict[str, Counter[tuple[str, str]]]
    delivered: set[str]
    seen: Seen
    epochs: dict[str, int]
    given_in: dict[str, int]
    permissions: set[str]


class Backups:
    """Copies databases into *directory*, and sets processes back to them."""

    def __init__(self, network: WatchedNetwork, oracle: RestoringOracle, directory: Path) -> None:
        self._network = network
        self._oracle = oracle
        self._directory = directory
        self._made = 0

    def _copied(self, url: str) -> str:
        """Of a database that is in use."""
        self._made += 1
        path = self._directory / f"backup-{self._made}.db"
        with (
            closing(sqlite3.connect(make_url(url).database or "")) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
        return f"sqlite:///{path}"

    def of_clinic(self, clinic: SimulatedClinic) -> ClinicBackup:
        watch, entries = self._network.watch, self._oracle.entries
        watch.look_at(clinic)
        return ClinicBackup(
            self._copied(clinic.url),
            _sealed(clinic),
            deepcopy(watch.seen.held.get(clinic.name, {})),
            {each.entry_id: each.times_received for each in entries.values()},
            {each.entry_id: each.read_at for each in entries.values()},
            watch.seen.sequences.get(clinic.clinic.uplink, 0),
        )

    def restore_clinic(self, clinic: SimulatedClinic, backup: ClinicBackup) -> bool:
        """Whether anything was lost by it."""
        oracle, seen = self._oracle, self._network.watch.seen
        self._network.watch.look_at(clinic)
        lost = False
        for entry in oracle.entries.values():
            if entry.origin == clinic.name and entry.entry_id not in backup.sealed:
                lost = True
                if not entry.at_hub:
                    oracle.doubtful.add(entry.entry_id)
            if entry.recipient == clinic.name:
                before = backup.times_received.get(entry.entry_id, 0)
                if entry.times_received != before or entry.entry_id in oracle.delivered:
                    lost |= entry.times_received != before
                    if entry.times_received != before:
                        oracle.retaken.add(entry.entry_id)
                entry.times_received = before
                held = backup.held.get(entry.entry_id)
                entry.held_by_recipient = held is not None and held.has_content
                entry.read_at = backup.read_at.get(entry.entry_id)
        seen.held[clinic.name] = deepcopy(backup.held)
        seen.revoked.pop(clinic.name, None)
        seen.sequences[clinic.clinic.uplink] = backup.sequence
        clinic.restart(self._copied(backup.url))
        return lost

    def of_hub(self) -> HubBackup:
        network, oracle = self._network, self._oracle
        network.watch.look_at_hub()
        return HubBackup(
            self._copied(network.hub_url),
            {each.entry_id: deepcopy(each.releases) for each in oracle.entries.values()},
            {each.entry_id for each in oracle.entries.values() if each.at_hub},
            deepcopy(oracle.audited),
            set(oracle.delivered),
            deepcopy(network.watch.seen),
            dict(oracle.epochs),
            dict(oracle.given_in),
            set(oracle.permissions),
        )

    def restore_hub(self, backup: HubBackup) -> bool:
        """Whether anything was lost by it. Every command that it had answered must be known to its clinic to be so."""
        oracle, seen = self._oracle, self._network.watch.seen
        self._network.watch.look_at_hub()
        lost = False
        audited = defaultdict(Counter, deepcopy(backup.audited))
        for entry in oracle.entries.values():
            releases = deepcopy(backup.releases.get(entry.entry_id, []))
            lost |= entry.at_hub and entry.entry_id not in backup.at_hub
            entry.at_hub = entry.entry_id in backup.at_hub
            if len(releases) != len(entry.releases) or any(
                now.voided != then.voided for now, then in zip(entry.releases, releases, strict=True)
            ):
                lost = True
                oracle.regiven.add(entry.entry_id)
                entry.times_received = 0
            entry.releases = releases
            if entry.entry_id in oracle.delivered - backup.delivered:
                for chain in (entry.origin, entry.recipient):
                    audited[chain][entry.entry_id, "delivered"] = 1
        oracle.audited = audited
        oracle.hub_forgot = True
        oracle.unmade |= oracle.permissions.keys() - backup.permissions
        oracle.epochs, oracle.given_in = dict(backup.epochs), dict(backup.given_in)
        seen.at_hub = set(backup.seen.at_hub)
        seen.voids = set(backup.seen.voids)
        seen.wrapped_from_the_start = set(backup.seen.wrapped_from_the_start)
        for name in self._network.clinics:
            seen.sequences[downlink(name)] = backup.seen.sequences.get(downlink(name), 0)
        self._network.restart_hub(self._copied(backup.url))
        return lost

    def unheard_answers(self) -> bool:
        """Whether a clinic still has a command queued that the hub has answered already."""
        decided = self._network.watch.seen.decided
        for clinic in self._network.clinics.values():
            with clinic.db.reading() as tx:
                queued = tx.all(select(command.c.request_id).where(command.c.state == "queued"))
            if any(row.request_id in decided for row in queued):
                return True
        return False


def _sealed(clinic: SimulatedClinic) -> set[str]:
    with clinic.db.reading() as tx:
        return {row.entry_id for row in tx.all(select(sealed_entry.c.entry_id))}


def own_records(database: Database) -> set[str]:
    with database.reading() as tx:
        return {row.record_id for row in tx.all(select(own_entry.c.record_id))}


def taken(database: Database) -> set[str]:
    with database.reading() as tx:
        return {row.entry_id for row in tx.all(select(received_entry.c.entry_id))}
