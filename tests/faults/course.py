"""The course of one schedule: turns of people and of machines, steps of processes between them, and the end."""

import random
from collections.abc import Callable

from faults.breakage import FAULTS, Breakage
from faults.hostility import Hostility
from faults.people import WORK, People
from faults.restores import Backups
from faults.scene import Scene
from faults.stage import NAMES

STEPS = 40


class Course:
    """Whatever the scene's chance says."""

    def __init__(self, scene: Scene, backups: Backups) -> None:
        self.scene = scene
        self.worked: dict[str, int] = {}
        chance = scene.chance
        scene.restores = chance.choice(["nobody", "hub", "hub", *NAMES])
        self.people = People(scene)
        who = chance.choice([*([""] * 5), "clinic", "clinic", "hub", "hub"])
        self.hostility = Hostility(scene, self.people, who)
        if who:
            scene.restores = "nobody"
        self.breakage = Breakage(scene, self.people, backups)
        for name in NAMES:
            scene.network.line(name).meanwhile = scene.meanwhile(name)

    def run(self, steps: int) -> None:
        scene, chance = self.scene, self.scene.chance
        for step in range(steps):
            if step == steps // 4:
                scene.survive(self.hostility.begin)
            self.hostility.act()
            if step == 3 * steps // 4 and self.hostility.whose_keys_matter:
                self.breakage.new_keys(self.hostility.whose_keys_matter)
            if scene.restores != "nobody" and step in (steps // 3, 2 * steps // 3):
                self._fail("back_up" if step == steps // 3 else "restore")
            if scene.restores != "nobody" and step == 5 * steps // 6:
                self._fail("again_of_ended_epochs")
            if chance.random() < 0.5:
                self._work(_chosen(WORK, chance))
            else:
                self._fail(_chosen(FAULTS, chance))
            for _ in range(chance.choice([0, 0, 1, 2, 4, 8])):
                scene.step_somebody()
            if chance.random() < 0.1:
                scene.survive(lambda: scene.network.settle(chance.choice([1, 2, 4])))
        self._end()

    def _end(self) -> None:
        self.scene.trail.append("everything is healed")
        self.hostility.end()
        self.scene.network.heal()
        self.hostility.make_good()
        self.scene.network.check()
        self.hostility.check()

    def _work(self, turn: str) -> None:
        self.worked[turn] = self.worked.get(turn, 0) + 1
        self._turn(turn, getattr(self.people, turn))

    def _fail(self, turn: str) -> None:
        self._turn(turn, getattr(self.breakage, turn))

    def _turn(self, name: str, turn: Callable[[], None]) -> None:
        self.scene.trail.append(name)
        self.scene.survive(turn)


def _chosen(turns: dict[str, int], chance: random.Random) -> str:
    return chance.choices(list(turns), list(turns.values()))[0]
