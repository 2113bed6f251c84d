"""Random interleavings of people's work and machines' faults, each the same whenever it is run with the same seed.

``python -m faults.schedules SEED [STEPS]`` runs one of them and says what happened.
"""

import argparse
import hashlib
import logging
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from faults.effects import Effects
from faults.hostile_clinic import HostileClinic
from faults.hostile_hub import HostileHub
from faults.machines import was_injected
from faults.restores import Backups, ClinicBackup, HubBackup, own_records
from faults.stage import NAMES, FailingNetwork, Ids, Share, Stage, a_stage, refer, take_in
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from support.care_examples import one_of_every_kind
from support.network import SimulatedClinic
from support.oracle import hold
from support.staged import SCRATCH, a_place
from support.watched import Crash
from tandem_care.categories import Category
from tandem_care.entry_kinds import Content
from tandem_clinic.store import entries as clinic_entries
from tandem_clinic.store.tables import command, exchange, worklist_item
from tandem_clinic.usecases import partner
from tandem_clinic.usecases.entries import amend_entry, take_back_entry
from tandem_platform.errors import Refusal
from tandem_platform.exchange.rows import downlink

STEPS = 40
CONTENTS: list[Content] = [
    one_of_every_kind()[kind] for kind in ("scale-score", "vitals", "preparation-summary", "message")
]
CATEGORIES = [content.category for content in CONTENTS]
AGO = [timedelta(0), timedelta(minutes=5), timedelta(hours=2), timedelta(days=3)]
AHEAD = [timedelta(seconds=20), timedelta(minutes=10), timedelta(hours=3)]
REASONS = {
    "decline": "capacity",
    "waitlist": "capacity",
    "ask": "missing-documents",
    "hold": "patient-request",
    "fail": "moved",
    "cancel": "moved",
    "request_cancel": "moved",
    "refuse_cancel": "patient-wishes-to-continue",
}
MOVES = (
    *("accept", "start", "start", "hold", "resume", "request_cancel", "refuse_cancel", "agree_cancel"),
    *("decline", "waitlist", "ask", "answer", "complete", "fail", "cancel", "undo", "open"),
)
PATIENTS = ["Ada Alpha", "Ben Bravo", "Cleo Charlie", "Dora Delta", "Emil Echo", "Fritz Foxtrot", "Gita Golf"]
JUMPS = [timedelta(minutes=2), timedelta(minutes=4), timedelta(hours=2)]


@dataclass
class Outcome:
    """What a schedule did.

    digest: of what all databases hold in the end, but for what is random by its nature: keys, and what they made.
    broken: the promise that did not hold, or empty.
    """

    seed: int
    effects: Effects
    worked: dict[str, int]
    digest: str = ""
    broken: str = ""
    trail: list[str] = field(default_factory=list)


class Schedule:
    """One run: a copy of the stage, and whatever the seed says."""

    def __init__(self, network: FailingNetwork, shares: list[Share], backups: Backups, seed: int) -> None:
        self.network = network
        self.shares = shares
        self.backups = backups
        self.chance = random.Random(seed)
        network.chance.seed(seed + 1)
        self.worked: dict[str, int] = {}
        self.trail: list[str] = []
        # What a clinic and the hub have both lost, nobody has: only one of them is ever set back.
        self.restores = self.chance.choice(["nobody", "nobody", "hub", *NAMES])
        self.hostile = self.chance.choice(["", "", "", "", "", "clinic", "hub", "hub"])
        if self.hostile:
            self.restores = "nobody"
        self.villain: HostileClinic | None = None
        self.liar: HostileHub | None = None
        self.clinic_backup: ClinicBackup | None = None
        self.hub_backup: HubBackup | None = None
        for name in NAMES:
            network.line(name).meanwhile = self._meanwhile(name)

    def clinic(self, name: str) -> SimulatedClinic:
        return self.network.clinics[name]

    # The course ------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        for step in range(steps):
            if step == steps // 4:
                self._survive(self._turn_hostile)
            if self.villain is not None and self.chance.random() < 0.3:
                self.trail.append("the hostile clinic acts")
                self._survive(self.villain.act)
            if self.liar is not None and self.chance.random() < 0.5:
                self._survive(self._write_to_the_victim)
                self._survive(lambda: self.network.settle(3))
                self._survive(self._try_again)
            if self.liar is not None and step == 3 * steps // 4:
                self._new_keys("riverbend" if self.liar.victim == "juniper" else "juniper")
            if self.restores != "nobody" and step in (steps // 3, 2 * steps // 3):
                self._turn("back_up" if step == steps // 3 else "restore")
            turns = WORK if self.chance.random() < 0.5 else FAULTS
            self._turn(self.chance.choices(list(turns), list(turns.values()))[0])
            for _ in range(self.chance.choice([0, 0, 1, 2, 4, 8])):
                self._step_any()
            if self.chance.random() < 0.1:
                self._survive(lambda: self.network.settle(self.chance.choice([1, 2, 4])))
        self.trail.append("everything is healed")
        if self.liar is not None:
            self.liar.active = False
            self.network.liar = None
        self.network.heal()
        if self.liar is not None:
            self._resume(self.clinic(self.liar.victim))
        self.network.check()
        if self.liar is not None:
            self._check_missed(self.liar)

    def _turn_hostile(self) -> None:
        if self.hostile == "clinic":
            self.network.turn("cedar")
            of_cedar = [each.referred.episode_id for each in self.shares if "cedar" in each.sides]
            others = [each.referred.episode_id for each in self.shares if "cedar" not in each.sides]
            self.villain = HostileClinic(self.network, "cedar", of_cedar + others, self.chance)
        elif self.hostile == "hub":
            self.liar = HostileHub(self.network, self.chance.choice(["juniper", "riverbend"]), self.chance)
            self.network.liar = self.liar
            self.network.knowing.misled = self.liar.victim
            self.network.broker.silenced = downlink(self.liar.victim)
            for share in self.shares:
                for name in share.sides:
                    if self.liar.victim in share.sides and name != self.liar.victim:
                        self.clinic(name).grants(share.referred, CATEGORIES)

    def _resume(self, clinic: SimulatedClinic) -> None:
        """Somebody has looked at the log that stands still, and the hub is honest again."""
        clinic.node.sync.resume_downlink()
        self.network.heal()

    def _write_to_the_victim(self) -> None:
        """What it may have, two at a time, so that there is something to lie about."""
        assert self.liar is not None
        victim = self.liar.victim
        for share in self.shares:
            for name in share.sides:
                if victim in share.sides and name != victim and name in share.patients:
                    for content in self.chance.sample(CONTENTS, 2):
                        self.clinic(name).records(share.patients[name], content)

    def _try_again(self) -> None:
        """An administrator of the clinic that is lied to."""
        assert self.liar is not None
        clinic = self.clinic(self.liar.victim)
        if "downlink-stopped" in clinic.alerts():
            try:
                clinic.node.sync.resume_downlink()
            except Refusal:
                self.trail.append("the hub is away")

    def _check_missed(self, liar: HostileHub) -> None:
        """What did not arrive is missed by its origin a day later, and what had to be refused was."""
        victim = self.clinic(liar.victim)
        effects = self.network.effects
        with victim.db.reading() as tx:
            parked = tx.all(
                select(exchange.quarantine.c.reason).where(exchange.quarantine.c.reason != "queued-behind")
            )
        for kind, _ in zip(liar.expected, parked, strict=False):
            effects.note(kind)
        now = self.network.watch.now
        missing = [
            each
            for each in self.network.oracle.entries.values()
            if each.recipient == liar.victim
            and self.network.oracle.may_have(each, now)
            and each.is_out
            and not each.held_by_recipient
        ]
        self.network.advance(25 * 3600)
        self.network.settle()
        for entry in missing:
            with self.clinic(entry.origin).db.reading() as tx:
                overdue = tx.first(
                    select(worklist_item.c.item_id).where(
                        worklist_item.c.kind == "receipt-overdue",
                        worklist_item.c.subject_id == entry.entry_id,
                    )
                )
            hold("P8", overdue, f"{entry.entry_id} never arrived at {liar.victim}, and nobody missed it")
            effects.note("hostile-hub-drops")

    def _turn(self, name: str) -> None:
        self.trail.append(name)
        if name in WORK:
            self.worked[name] = self.worked.get(name, 0) + 1
        self._survive(getattr(self, f"_{name}"))

    def _step_any(self) -> None:
        name = self.chance.choice(["hub", "hub", *NAMES])
        if name == "hub":
            if self.chance.random() < 0.5:
                self.network.change_hubs()
            index = self.chance.randrange(5)
            self._survive(lambda: self.network.step_hub_part(index))
            if self.network.zombie_hubs or self.network.zombie_nodes:
                self._survive(lambda: self.network.step_zombies("hub-zombie"))
            return
        index = self.chance.randrange(7)
        if self.clinic(name).running:
            self._survive(lambda: self.network.step_clinic_part(self.clinic(name), index))

    def _survive(self, work: Callable[[], Any]) -> None:
        """Whatever dies is started again; what a loop would try again is tried again later."""
        try:
            work()
        except Crash as crash:
            self._revive(str(crash))
        except OperationalError as trouble:
            if not was_injected(trouble):
                raise
            self.network.look()
        except Refusal as refusal:
            if refusal.reason != "CLOCK_JUMPED":
                raise
            self.network.effects.note("hub-clock-jumped")
            self.network.look()

    def _revive(self, died: str) -> None:
        self.trail.append(f"{died} starts again")
        self.network.look()
        if died == "hub":
            self.network.restart_hub()
        else:
            machine = self.network.machine(died)
            machine.database_away = machine.disk_full = False
            self.clinic(died).restart()

    def _meanwhile(self, name: str) -> Callable[[], None]:
        """While a call of this clinic is held up, the others go on."""
        others = [each for each in NAMES if each != name]

        def go_on() -> None:
            for _ in range(self.chance.randrange(1, 6)):
                self._survive(lambda: self.network.step_hub_part(self.chance.randrange(5)))
                other = self.chance.choice(others)
                index = self.chance.randrange(7)
                if not self.clinic(other).running:
                    continue
                self._survive(lambda o=other, i=index: self.network.step_clinic_part(self.clinic(o), i))  # type: ignore[misc]

        return go_on

    # What people do --------------------------------------------------------------------------

    def _attempt(self, name: str, work: Callable[[], Any], *allowed: str) -> Any:
        """A use case at *name*'s, which may be refused, but only for the named reasons."""
        try:
            return work()
        except Refusal as refusal:
            if refusal.reason not in (*allowed, *_AFTER_A_RESTORE):
                raise
            if refusal.reason in _AFTER_A_RESTORE and self.restores != name and refusal.reason not in allowed:
                raise
        return None

    def _some_side(self) -> tuple[Share, str]:
        share = self.chance.choice(self.shares)
        return share, self.chance.choice([each for each in share.sides if self.clinic(each).running])

    def _record(self) -> None:
        share, name = self._some_side()
        if name not in share.patients:
            return
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            content = self.chance.randrange(len(CONTENTS))
            inputs = [CATEGORIES[content - 1]] if self.chance.random() < 0.1 else []
            recorded = self._attempt(
                name,
                lambda content=content, inputs=inputs: self.clinic(name).records(  # type: ignore[misc]
                    share.patients[name],
                    CONTENTS[content],
                    authored_at=self.clinic(name).clinic.now() - self.chance.choice(AGO),
                    derived_from=inputs,
                ),
            )
            if recorded is not None:
                share.records.setdefault(name, []).append(recorded.record_id)

    def _amend_or_take_back(self) -> None:
        known = [
            (share, name, record_id)
            for share in self.shares
            for name, record_ids in sorted(share.records.items())
            if self.clinic(name).running
            for record_id in record_ids
        ]
        if not known:
            return
        share, name, record_id = self.chance.choice(known)
        clinic = self.clinic(name)
        if self.chance.random() < 0.4:
            self._attempt(name, lambda: clinic.do(take_back_entry, record_id), "ENTRY_NOT_ACTIVE")
            return

        def amend() -> Any:
            with clinic.db.reading() as tx:
                kind = clinic_entries.own(tx, clinic.clinic.vault, record_id).kind
            content = next(each for each in CONTENTS if each.kind == kind)
            return clinic.do(amend_entry, record_id, content)

        amended = self._attempt(name, amend, "ENTRY_NOT_ACTIVE")
        if amended is not None:
            share.records[name].append(amended.record_id)

    def _grant_or_deny(self) -> None:
        share, name = self._some_side()
        now = self.clinic(name).clinic.now()
        categories = {self.chance.choice(CATEGORIES), self.chance.choice(CATEGORIES)}
        times: dict[str, Any] = {}
        if self.chance.random() < 0.6:
            times["history_from"] = now - self.chance.choice(AGO)
        ahead = self.chance.randrange(8)
        if ahead in (1, 2):
            times["ends_at"] = now + AHEAD[ahead]
        if ahead == 3:
            times["starts_at"] = now + AHEAD[0]
        permits = self.chance.random() < 0.75
        clinic = self.clinic(name)
        self._attempt(
            name,
            lambda: share.permissions.append(
                clinic.grants(share.referred, categories, **times)
                if permits
                else clinic.denies(share.referred, categories)
            ),
            "EPISODE_CLOSED",
            "PATIENT_NOT_LINKED",
            "EPISODE_NOT_FOUND",
        )

    def _withdraw(self) -> None:
        known = [(share, each) for share in self.shares for each in share.permissions]
        if not known:
            return
        share, permission_id = self.chance.choice(known)
        name = self.chance.choice([each for each in share.sides if self.clinic(each).running])
        clinic = self.clinic(name)
        only_hold = self.chance.random() < 0.4
        self._attempt(
            name,
            lambda: clinic.holds(permission_id) if only_hold else clinic.revokes(permission_id),
            "PERMISSION_NOT_FOUND",
            "PERMISSION_OVER",
        )

    def _refer(self) -> None:
        if len(self.shares) >= 6:
            return
        by, to = self.chance.choice(
            [("juniper", "riverbend"), ("riverbend", "juniper"), ("cedar", "juniper")]
        )
        clinic = self.clinic(by)
        if not clinic.running:
            return
        patient = PATIENTS[len(self.shares)]
        made = self._attempt(
            by,
            lambda: refer(self.network, by, to, clinic.registers(patient)),
            "PARTNERSHIP_NOT_ACTIVE",
        )
        if made is not None:
            self.shares.append(made)

    def _take_in(self) -> None:
        waiting = [
            each
            for each in self.shares
            if each.recipient not in each.patients and self.clinic(each.recipient).running
        ]
        if not waiting:
            return
        share = self.chance.choice(waiting)
        self._attempt(
            share.recipient,
            lambda: take_in(self.network, share),
            "IDENTITY_NOT_RECEIVED",
            "REFERRAL_NOT_FOUND",
        )

    def _move(self) -> None:
        share, name = self._some_side()
        move = self.chance.choice(MOVES)
        details = {"reason": REASONS[move]} if move in REASONS else {}
        if move == "complete":
            details["outcome"] = "treated" if share.kind == "psychotherapy" else "eligible"
        self._attempt(
            name,
            lambda: self.clinic(name).moves(share.referred, move, **details),
            "MOVE_NOT_ALLOWED",
            "PATIENT_NOT_LINKED",
            "REFERRAL_NOT_FOUND",
        )

    def _suspend_or_resume(self) -> None:
        other = self.chance.choice(NAMES[1:])
        name = self.chance.choice(["juniper", other])
        if not self.clinic(name).running:
            return
        partnership_id = self.network.partnerships[frozenset({"juniper", other})]
        change = self.chance.choice([partner.suspend_partnership, partner.resume_partnership])
        self._attempt(name, lambda: self.clinic(name).do(change, partnership_id))

    def _read(self) -> None:
        share, name = self._some_side()
        if name not in share.patients:
            return
        clinic = self.clinic(name)
        items = self._attempt(name, lambda: clinic.plan(share.patients[name]))
        if items is None:
            return
        own = {item.id for item in items if item.origin == "own"}
        for record_id in share.records.get(name, []):
            hold("P9", record_id in own, f"{name} no longer sees a record of its own")
        for item in items:
            if item.origin != "own":
                known = self.network.oracle.entries.get(item.id)
                hold("P9", known is not None, f"{name} shows {item.id}, which nobody wrote")
                if item.content:
                    self.network.oracle.read(item.id, self.network.clock.now())

    def _wait(self) -> None:
        self.network.advance(self.chance.choice([1, 1, 5, 31, 65, 700, 11_000]))

    # What machines do ------------------------------------------------------------------------

    def _crash(self) -> None:
        name = self.chance.choice(["hub", *NAMES])
        if self._unfinished(name):
            self.network.effects.note(self.network.machine(name).kind("crash-between-steps"))
        self._revive(name)

    def _unfinished(self, name: str) -> bool:
        """Whether there is work under way: rows on their way out, or commands waiting."""
        database = self.network.hub.database if name == "hub" else self.clinic(name).db
        tables = exchange if name != "hub" else _hub_exchange()
        head = tables.head
        with self.network.machine(name).looked_into(), database.reading() as tx:
            behind = tx.first(
                select(func.count()).select_from(head).where(head.c.sequence > head.c.acknowledged)
            )
            queued = (
                None
                if name == "hub"
                else tx.first(select(func.count()).select_from(command).where(command.c.state == "queued"))
            )
        return bool((behind and behind[0]) or (queued and queued[0]))

    def _some_machine(self) -> Any:
        return self.network.machine(self.chance.choice(["hub", "hub", *NAMES]))

    def _die_before_commit(self) -> None:
        self._some_machine().dies_before_commit = self.chance.randrange(1, 6)

    def _die_after_commit(self) -> None:
        self._some_machine().dies_after_commit = self.chance.randrange(1, 6)

    def _abort(self) -> None:
        self._some_machine().aborts = self.chance.randrange(1, 6)

    def _database_away(self) -> None:
        self._some_machine().database_away = True

    def _database_back(self) -> None:
        for machine in self.network.machines.values():
            if machine.database_away:
                machine.database_away = False
                database = self.network.hub.database if machine.is_hub else self.clinic(machine.name).db
                database.engine.dispose()
                self.network.effects.note("database-restarted")

    def _disk(self) -> None:
        machine = self._some_machine()
        machine.disk_full = not machine.disk_full

    def _broker(self) -> None:
        broker = self.network.broker
        match self.chance.choice(["down", "up", "up", "empty", "small", "dies"]):
            case "down":
                broker.down = True
            case "up":
                broker.down = False
                broker.refuse_above(10_000_000)
            case "empty":
                broker.forget()
            case "small":
                broker.refuse_above(self.chance.choice([300, 900, 2000]))
            case "dies":
                broker.dies = self._die_publishing

    def _die_publishing(self, topic: str) -> None:
        self.network.broker.dies = None
        self.network.effects.note("crash-in-publishing")
        raise Crash(topic.split(".")[1] if topic.endswith(".up") else "hub")

    def _spoil_records(self) -> None:
        broker = self.network.broker
        broker.share = self.chance.choice([0.2, 0.5, 1.0])
        broker.kinds = self.chance.sample(_RECORD_FAULTS, self.chance.randrange(1, 4))

    def _spare_records(self) -> None:
        self.network.broker.share = 0.0
        self.network.broker.deliver_late()

    def _again(self) -> None:
        self.network.broker.again(self.chance.randrange(1, 8))

    def _line(self) -> None:
        line = self.network.line(self.chance.choice(NAMES))
        count = self.chance.randrange(1, 5)
        match self.chance.choice(
            ["cut", "join", "join", "requests", "answers", "late", "delay", "die", "spoil", "spoil"]
        ):
            case "cut":
                line.cut = True
            case "join":
                line.cut = False
            case "requests":
                line.lost_requests = count
            case "answers":
                line.lost_answers = count
            case "late":
                line.late_answers = count
            case "delay":
                line.delayed = count
            case "die":
                line.dies_after = count - 1
            case "spoil":
                line.spoilt += self.chance.choices(_BODY_FAULTS, k=count)

    def _clock(self) -> None:
        machine = self._some_machine()
        jump = self.chance.choice(JUMPS)
        machine.skew = self.chance.choice([jump, -jump, timedelta(0)])
        self.trail.append(f"the clock of {machine.name} is off by {machine.skew}")

    def _succeed(self) -> None:
        if self.network.zombie_hubs or self.network.zombie_nodes or self.network.second:
            self.network.bury()
        elif self.network.machine("hub").database_away:
            return
        elif self.chance.random() < 0.4:
            self.network.begin_second_hub()
        elif self.chance.random() < 0.5:
            self.network.succeed_hub()
        else:
            self.network.succeed_clinic(self.clinic(self.chance.choice(NAMES)))

    def _rotate_keys(self) -> None:
        name = self.chance.choice(NAMES)
        if self.clinic(name).running:
            self._new_keys(name)

    def _new_keys(self, name: str) -> None:
        clinic = self.clinic(name)
        under_way = self._unfinished(name)
        clinic.keys = self.network.keys.rotated(clinic.keys, self.network.clock.now())
        clinic.restart()
        if under_way:
            self.network.effects.note("keys-rotated")

    def _back_up(self) -> None:
        if self.restores == "hub":
            self.hub_backup = self.backups.of_hub()
        elif self.restores != "nobody":
            with self.network.machine(self.restores).looked_into():
                self.clinic_backup = self.backups.of_clinic(self.clinic(self.restores))

    def _restore(self) -> None:
        if self.restores == "hub" and self.hub_backup is not None:
            self._restore_hub(self.hub_backup)
        elif self.clinic_backup is not None:
            self._restore_clinic(self.clinic(self.restores), self.clinic_backup)

    def _restore_hub(self, backup: HubBackup) -> None:
        """All its processes are stopped before; commands whose answers were lost are sent again before, too."""
        self.network.bury()
        with ExitStack() as looking:
            for name in NAMES:
                looking.enter_context(self.network.machine(name).looked_into())
            if self.backups.unheard_answers():
                return
        if self.backups.restore_hub(backup):
            self.network.effects.note("hub-restored")
            self.trail.append("the hub is set back")

    def _restore_clinic(self, clinic: SimulatedClinic, backup: ClinicBackup) -> None:
        self.network.bury()
        machine = self.network.machine(clinic.name)
        machine.heal()
        if self.backups.restore_clinic(clinic, backup):
            self.network.effects.note("clinic-restored")
            self.trail.append(f"{clinic.name} is set back")
        there = own_records(clinic.db)
        for share in self.shares:
            known = share.records.get(clinic.name, [])
            share.records[clinic.name] = [each for each in known if each in there]


def _hub_exchange() -> Any:
    from tandem_referral.store.tables import exchange as hub_exchange

    return hub_exchange


_AFTER_A_RESTORE = (
    "PATIENT_NOT_FOUND",
    "EPISODE_NOT_FOUND",
    "PATIENT_NOT_LINKED",
    "REFERRAL_NOT_FOUND",
    "PERMISSION_NOT_FOUND",
    "ENTRY_NOT_FOUND",
)
_RECORD_FAULTS = [
    *("lost", "lost", "delayed", "reordered", "duplicated", "corrupted"),
    *("truncated", "oversized", "unknown-version"),
]
_BODY_FAULTS = [
    "request-corrupted",
    "request-oversized",
    "request-unknown-version",
    "answer-corrupted",
    "answer-truncated",
]
WORK = {
    "record": 10,
    "amend_or_take_back": 3,
    "grant_or_deny": 6,
    "withdraw": 4,
    "refer": 1,
    "take_in": 2,
    "move": 4,
    "suspend_or_resume": 1,
    "read": 3,
    "wait": 3,
}
FAULTS = {
    "crash": 4,
    "die_before_commit": 4,
    "die_after_commit": 4,
    "abort": 3,
    "database_away": 2,
    "database_back": 3,
    "disk": 2,
    "broker": 4,
    "spoil_records": 4,
    "spare_records": 3,
    "again": 2,
    "line": 8,
    "clock": 3,
    "succeed": 3,
    "rotate_keys": 1,
    "back_up": 1,
    "restore": 2,
}


def run_schedule(seed: int, steps: int = STEPS, stage: Stage | None = None) -> Outcome:
    """Run it to its end, or to the first promise that is broken. Without a *stage* one is built, which takes a second."""
    with ExitStack() as ending:
        if stage is None:
            stage = a_stage(ending.enter_context(a_place(None)))
        copy_of = ending.enter_context(stage.place.copies())
        directory = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="tandem-", dir=SCRATCH)))
        ending.enter_context(Ids(seed))
        network = stage.start.continued(copy_of)
        ending.callback(network.close)
        shares = [share.copied() for share in stage.shares]
        schedule = Schedule(network, shares, Backups(network, network.knowing, directory), seed)
        outcome = Outcome(seed, network.effects, schedule.worked, trail=schedule.trail)
        try:
            network.settle()
            schedule.run(steps)
            network.look()
            outcome.digest = digest_of(network)
        except AssertionError as broken:
            outcome.broken = str(broken)
        except Exception as fault:  # noqa: BLE001 - a fault of the product's that nobody injected is a finding, too
            outcome.broken = f"{type(fault).__name__}: {fault}"
            outcome.trail += traceback.format_exc().splitlines()
        return outcome


_SAID = {
    "hub": {
        "entry": ("entry_id", "episode_id", "origin_practice_id", "uplink_sequence"),
        "release": ("entry_id", "recipient_practice_id", "result", "rule", "permission_id"),
        "permission": ("permission_id", "version", "state"),
        "referral": ("referral_id", "state", "version"),
        "exchange_log": ("log", "sequence", "epoch", "void_reason", "entry_id", "permission_id"),
        "exchange_cursor": ("log", "sequence", "epoch", "stopped"),
        "audit_head": ("chain", "number"),
    },
    "clinic": {
        "received_entry": ("entry_id", "state", "permission_id"),
        "own_entry": ("record_id", "state"),
        "sealed_entry": ("entry_id", "record_id"),
        "hub_referral": ("referral_id", "state", "version"),
        "command": ("request_id", "method", "state"),
        "exchange_log": ("log", "sequence", "epoch", "void_reason", "entry_id"),
        "exchange_cursor": ("log", "sequence", "epoch", "stopped"),
        "worklist_item": ("kind", "subject_id"),
    },
}
"""What is compared: neither keys nor what keys made, which are new in every run, nor times of day."""


def digest_of(network: FailingNetwork) -> str:
    """One hash over what all databases say, and over what the faults did."""
    digest = hashlib.sha256()
    for name in ("hub", *NAMES):
        database = network.hub.database if name == "hub" else network.clinics[name].db
        for table, columns in _SAID["hub" if name == "hub" else "clinic"].items():
            found = database.metadata.tables[table]
            with database.reading() as tx:
                rows = sorted(
                    repr(tuple(row)) for row in tx.all(select(*(found.c[each] for each in columns)))
                )
            digest.update(f"{name} {table} {rows}".encode())
    digest.update(repr(sorted(network.effects.items())).encode())
    return digest.hexdigest()


@contextmanager
def standing() -> Iterator[Stage]:
    with a_place(None) as place:
        yield a_stage(place)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.schedules", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("steps", type=int, nargs="?", default=STEPS)
    parser.add_argument("--through", type=int, default=None, help="the last seed of several")
    parser.add_argument(
        "--until-broken", action="store_true", help="end with the first that breaks a promise"
    )
    asked = parser.parse_args(arguments)
    # What a fault makes the services log says nothing here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    failed = 0
    effects = Effects()
    with standing() as stage:
        for seed in range(asked.seed, (asked.through or asked.seed) + 1):
            outcome = run_schedule(seed, asked.steps, stage)
            effects.update(outcome.effects)
            if outcome.broken:
                failed += 1
                sys.stdout.write(f"{seed}: {outcome.broken}\n")
                sys.stdout.flush()
                if asked.until_broken:
                    break
            if asked.through is None:
                sys.stdout.write("\n".join([*outcome.trail, f"digest {outcome.digest}"]) + "\n")
    sys.stdout.write(f"{effects.table()}\n{failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


__all__ = ["STEPS", "Category", "Outcome", "run_schedule", "standing"]
