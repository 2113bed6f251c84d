"""What a schedule plays with, and what keeps it going when something dies."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from faults.machines import was_injected
from faults.stage import NAMES, FailingNetwork, Share
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from support.watched import Crash
from tandem_clinic.store.tables import command
from tandem_clinic.store.tables import exchange as clinic_exchange
from tandem_platform.errors import Refusal
from tandem_referral.store.tables import exchange as hub_exchange


@dataclass
class Scene:
    """A copy of the stage under way.

    restores: who is set back to a backup, the hub, a clinic or "nobody".
    What a clinic and the hub have both lost, nobody has: only one of them is ever set back.
    """

    network: FailingNetwork
    shares: list[Share]
    chance: random.Random
    restores: str = "nobody"
    trail: list[str] = field(default_factory=list)

    def step_somebody(self) -> None:
        name = self.chance.choice(["hub", "hub", *NAMES])
        if name == "hub":
            if self.chance.random() < 0.5:
                self.network.change_hubs()
            index = self.chance.randrange(5)
            self.survive(lambda: self.network.step_hub_part(index))
            if self.network.zombie_hubs or self.network.zombie_nodes:
                self.survive(lambda: self.network.step_zombies("hub-zombie"))
            return
        index = self.chance.randrange(7)
        if self.network.clinics[name].running:
            self.survive(lambda: self.network.step_clinic_part(self.network.clinics[name], index))

    def survive(self, work: Callable[[], Any]) -> None:
        """Whatever dies is started again; what a loop would try again is tried again later."""
        try:
            work()
        except Crash as crash:
            self.revive(str(crash))
        except OperationalError as trouble:
            if not was_injected(trouble):
                raise
            self.network.look()
        except Refusal as refusal:
            if refusal.reason != "CLOCK_JUMPED":
                raise
            self.network.effects.note("hub-clock-jumped")
            self.network.look()

    def revive(self, died: str) -> None:
        self.trail.append(f"{died} starts again")
        self.network.look()
        if died == "hub":
            self.network.restart_hub()
        else:
            machine = self.network.machine(died)
            machine.database_away = machine.disk_full = False
            self.network.clinics[died].restart()

    def has_unfinished_work(self, name: str) -> bool:
        """Whether there is work under way: rows on their way out, or commands waiting."""
        database = self.network.hub.database if name == "hub" else self.network.clinics[name].db
        tables = hub_exchange if name == "hub" else clinic_exchange
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

    def meanwhile(self, name: str) -> Callable[[], None]:
        """While a call of this clinic is held up, the others go on."""
        others = [each for each in NAMES if each != name]

        def go_on() -> None:
            for _ in range(self.chance.randrange(1, 6)):
                self.survive(lambda: self.network.step_hub_part(self.chance.randrange(5)))
                other = self.chance.choice(others)
                index = self.chance.randrange(7)
                if not self.network.clinics[other].running:
                    continue
                self.survive(partial(self.network.step_clinic_part, self.network.clinics[other], index))

        return go_on
