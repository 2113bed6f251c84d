"""A practice or a hub that turns hostile in the middle of a schedule, and what is asked of the others then."""

from faults.hostile_clinic import HostileClinic
from faults.hostile_hub import HostileHub
from faults.people import CATEGORIES, CONTENTS, NOTHING_TO_SHARE, People
from faults.scene import Scene
from faults.stage import Share
from sqlalchemy import select

from support.network import SimulatedClinic
from support.oracle import hold
from tandem_clinic.store.tables import exchange, worklist_item
from tandem_platform.errors import Refusal
from tandem_platform.exchange.rows import downlink

_A_DAY_ON_ANY_CLOCK = 27 * 3600
"""An origin whose clock was two hours ahead when it sealed misses the receipt that much later."""


class Hostility:
    """who: "clinic", "hub", or empty if everybody is honest."""

    def __init__(self, scene: Scene, people: People, who: str) -> None:
        self.scene = scene
        self.people = people
        self.network = scene.network
        self.chance = scene.chance
        self.who = who
        self.villain: HostileClinic | None = None
        self.liar: HostileHub | None = None

    def clinic(self, name: str) -> SimulatedClinic:
        return self.network.clinics[name]

    def act(self) -> None:
        """Once in every step."""
        scene = self.scene
        if self.villain is not None and scene.chance.random() < 0.4:
            scene.trail.append("the hostile clinic acts")
            scene.survive(self.villain.act)
        if self.liar is not None and scene.chance.random() < 0.5:
            scene.survive(self._write_to_the_victim)
            scene.survive(lambda: scene.network.settle(3))
            scene.survive(self._try_again)

    @property
    def whose_keys_matter(self) -> str:
        """The partner whose keys a hostile hub would swap."""
        if self.liar is None:
            return ""
        return "riverbend" if self.liar.victim == "juniper" else "juniper"

    def end(self) -> None:
        """The hub is honest again; what it did is found out when everything has healed."""
        if self.liar is not None:
            self.liar.active = False
            self.network.liar = None

    def make_good(self) -> None:
        if self.liar is not None:
            self._resume(self.clinic(self.liar.victim))

    def check(self) -> None:
        if self.liar is not None:
            self._check_missed(self.liar)

    def begin(self) -> None:
        if self.who == "clinic":
            self.network.turn("cedar")
            of_cedar = [each.referred.episode_id for each in self.scene.shares if "cedar" in each.sides]
            others = [each.referred.episode_id for each in self.scene.shares if "cedar" not in each.sides]
            self.villain = HostileClinic(self.network, "cedar", of_cedar + others, self.chance)
        elif self.who == "hub":
            self.liar = HostileHub(self.network, self.chance.choice(["juniper", "riverbend"]), self.chance)
            self.network.liar = self.liar
            self.network.knowing.misled = self.liar.victim
            self.network.broker.silenced = downlink(self.liar.victim)
            for share in self.scene.shares:
                for name in share.sides:
                    if self.liar.victim in share.sides and name != self.liar.victim:
                        self._permit(share, name)

    def _permit(self, share: Share, name: str) -> None:
        clinic = self.clinic(name)
        self.people.attempt(name, lambda: clinic.grants(share.referred, CATEGORIES), *NOTHING_TO_SHARE)

    def _resume(self, clinic: SimulatedClinic) -> None:
        """Somebody has looked at the log that stands still, and the hub is honest again."""
        clinic.node.sync.resume_downlink()
        self.network.heal()

    def _write_to_the_victim(self) -> None:
        """What it may have, two at a time, so that there is something to lie about."""
        assert self.liar is not None
        victim = self.liar.victim
        for share in self.scene.shares:
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
                self.scene.trail.append("the hub is away")

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
            and not each.times_received
        ]
        self.network.advance(_A_DAY_ON_ANY_CLOCK)
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
