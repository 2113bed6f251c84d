"""What machines do: processes die, databases, brokers, lines and clocks fail, backups come back."""

from contextlib import ExitStack
from datetime import timedelta

from faults.machines import Machine
from faults.people import People
from faults.restores import Backups, ClinicBackup, HubBackup, own_records
from faults.scene import Scene
from faults.stage import NAMES

from support.network import SimulatedClinic
from support.watched import Crash

_LONGEST_PAUSE = 31
"""Seconds after which whoever found the hub away has asked again."""
_JUMPS = [timedelta(minutes=2), timedelta(minutes=4), timedelta(hours=2)]
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
    "rotate_keys": 2,
    "back_up": 1,
    "restore": 2,
}
"""What fails, and how often it is chosen."""


class Breakage:
    def __init__(self, scene: Scene, people: People, backups: Backups) -> None:
        self.scene = scene
        self.people = people
        self.network = scene.network
        self.chance = scene.chance
        self.backups = backups
        self.clinic_backup: ClinicBackup | None = None
        self.hub_backup: HubBackup | None = None

    def clinic(self, name: str) -> SimulatedClinic:
        return self.network.clinics[name]

    def crash(self) -> None:
        name = self.chance.choice(["hub", *NAMES])
        if self.scene.has_unfinished_work(name):
            self.network.effects.note(self.network.machine(name).kind("crash-between-steps"))
        self.scene.revive(name)

    def _some_machine(self) -> Machine:
        return self.network.machine(self.chance.choice(["hub", "hub", *NAMES]))

    def die_before_commit(self) -> None:
        self._some_machine().dies_before_commit = self.chance.randrange(1, 6)

    def die_after_commit(self) -> None:
        self._some_machine().dies_after_commit = self.chance.randrange(1, 6)

    def abort(self) -> None:
        self._some_machine().aborts = self.chance.randrange(1, 6)

    def database_away(self) -> None:
        self._some_machine().database_away = True

    def database_back(self) -> None:
        for machine in self.network.machines.values():
            if machine.database_away:
                machine.database_away = False
                database = self.network.hub.database if machine.is_hub else self.clinic(machine.name).db
                database.engine.dispose()
                self.network.effects.note("database-restarted")

    def disk(self) -> None:
        machine = self._some_machine()
        machine.disk_full = not machine.disk_full

    def broker(self) -> None:
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

    def spoil_records(self) -> None:
        broker = self.network.broker
        broker.share = self.chance.choice([0.2, 0.5, 1.0])
        broker.kinds = self.chance.sample(_RECORD_FAULTS, self.chance.randrange(1, 4))

    def spare_records(self) -> None:
        self.network.broker.share = 0.0
        self.network.broker.deliver_late()

    def again(self) -> None:
        self.network.broker.again(self.chance.randrange(1, 8))

    def again_of_ended_epochs(self) -> None:
        """Whoever was set back has gone on in a new epoch, and Kafka still holds copies of the one before."""
        self.scene.survive(lambda: self.network.settle(6))
        self.network.broker.again_of_ended_epochs(self.chance.randrange(1, 8))

    def line(self) -> None:
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

    def clock(self) -> None:
        machine = self._some_machine()
        jump = self.chance.choice(_JUMPS)
        machine.skew = self.chance.choice([jump, -jump, timedelta(0)])
        self.scene.trail.append(f"the clock of {machine.name} is off by {machine.skew}")

    def succeed(self) -> None:
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

    def rotate_keys(self) -> None:
        """Where it can show: there is work under way that the old keys have begun."""
        running = [name for name in NAMES if self.clinic(name).running]
        busy = [name for name in running if self.scene.has_unfinished_work(name)]
        name = self.chance.choice(busy or running)
        if self.chance.random() < 0.3:
            self.people.close_alone(name)
        self.new_keys(name)

    def new_keys(self, name: str) -> None:
        clinic = self.clinic(name)
        under_way = self.scene.has_unfinished_work(name)
        clinic.keys = self.network.keys.rotated(clinic.keys, self.network.clock.now())
        clinic.restart()
        if under_way:
            self.network.effects.note("keys-rotated")

    def back_up(self) -> None:
        if self.scene.restores == "hub":
            self.hub_backup = self.backups.of_hub()
        elif self.scene.restores != "nobody":
            with self.network.machine(self.scene.restores).looked_into():
                self.clinic_backup = self.backups.of_clinic(self.clinic(self.scene.restores))

    def restore(self) -> None:
        if self.scene.restores == "hub" and self.hub_backup is not None:
            self._restore_hub(self.hub_backup)
        elif self.clinic_backup is not None:
            self._restore_clinic(self.clinic(self.scene.restores), self.clinic_backup)

    def _restore_hub(self, backup: HubBackup) -> None:
        """All its processes are stopped before; commands whose answers were lost are sent again before, too."""
        self.network.bury()
        self._hear_answers()
        with ExitStack() as looking:
            for name in NAMES:
                looking.enter_context(self.network.machine(name).looked_into())
            if self.backups.unheard_answers():
                return
        if self.backups.restore_hub(backup):
            self.network.effects.note("hub-restored")
            self.scene.trail.append("the hub is set back")

    def _hear_answers(self) -> None:
        self.network.advance(_LONGEST_PAUSE)
        for name in NAMES:
            self.network.line(name).heal()
            self.scene.survive(lambda name=name: self.network.step_clinic(self.clinic(name), "journal"))  # type: ignore[misc]

    def _restore_clinic(self, clinic: SimulatedClinic, backup: ClinicBackup) -> None:
        self.network.bury()
        machine = self.network.machine(clinic.name)
        machine.heal()
        if self.backups.restore_clinic(clinic, backup):
            self.network.effects.note("clinic-restored")
            self.scene.trail.append(f"{clinic.name} is set back")
        there = own_records(clinic.db)
        for share in self.scene.shares:
            known = share.records.get(clinic.name, [])
            share.records[clinic.name] = [each for each in known if each in there]
