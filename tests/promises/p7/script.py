"""What happens in a run, drawn from a seed: the steps of both runs, and those that only the run with withheld entries has.

What is withheld is so by construction, for one reason each that nothing later in the script takes away.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from promises.p7.probes import probe_everything
from promises.p7.world import (
    ALDER,
    ALDERS,
    BEGINNING,
    DECLINED,
    EVALUATION,
    EXPIRY,
    FIRST,
    JUNIPER,
    RIVERBEND,
    SECOND,
    Prepared,
    World,
    a_permission,
    an_id,
    sealed,
)

from tandem.exchange.v1.exchange_pb2 import LateWrap, RowBody, SealedEntry
from tandem_care.categories import Category
from tandem_platform.rpc import words
from tandem_platform.sealing.entries import wrap_for

Play = Callable[[World], None]

NEVER_PERMITTED = (
    Category.DIAGNOSIS_SUMMARY,
    Category.SUBSTANCE_USE,
    Category.SAFETY_RISK,
    Category.OTHER_SENSITIVE,
    Category.MEDICATION_PRESCRIPTION,
)
VISIBLE = (
    (FIRST, Category.SCALE_SCORE),
    (FIRST, Category.MEDICATION_MONITORING),
    (SECOND, Category.SCALE_SCORE),
)
PROBED = 0.4
"""Share of all RPCs that a run tries at its end, besides those that it needs."""
VARIANTS = 4
"""Runs with withheld entries for each one without."""


@dataclass(frozen=True)
class Step:
    name: str
    play: Play
    seconds: int = 0
    """How far it moves the clock."""


@dataclass
class Script:
    """The steps of the run without withheld entries, and for each variant what is put between them."""

    seed: int
    steps: list[Step]
    between: list[dict[int, list[Step]]]
    """For each variant: what is put before the step of that number."""
    guesses: list[str]
    """Ids of withheld entries, which the watcher tries in every run."""

    def without(self) -> Play:
        return self._playing({})

    def variant(self, number: int) -> Play:
        return self._playing(self.between[number])

    def _playing(self, between: dict[int, list[Step]]) -> Play:
        def play(world: World) -> None:
            for number, step in enumerate(self.steps):
                for extra in between.get(number, ()):
                    extra.play(world)
                world.advances(step.seconds)
                step.play(world)

        return play

    def told(self, variant: int) -> str:
        """The variant in words, for a failure."""
        lines = []
        for number, step in enumerate(self.steps):
            lines += [f"  + {extra.name}" for extra in self.between[variant].get(number, ())]
            lines.append(f"{number:3} {step.name}")
        return "\n".join(lines)


@dataclass
class _Given:
    """What of Juniper's the patient's permissions let Riverbend see."""

    entries: list[SealedEntry] = field(default_factory=list)
    without_wrap: list[SealedEntry] = field(default_factory=list)


class Author:
    """Draws scripts for one prepared network."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self._prepared = prepared
        self._keys = prepared.keys
        self._seed = seed
        self._draw = random.Random(seed)
        self._count = 0
        self._steps: list[Step] = []
        self._now = prepared.at
        self._times: list[datetime] = []
        self._revoked_from: int | None = None
        self._before_sync: set[int] = set()
        self._given = _Given()

    def script(self) -> Script:
        self._begin()
        for _ in range(self._draw.randint(8, 16)):
            self._draw.choices(
                [self._entry, self._hub_works, self._watcher_reads, self._juniper_reads, self._event],
                [9, 4, 4, 2, 3],
            )[0]()
        self._end()
        variants = [_Withheld(self, random.Random(f"{self._seed} {number}")) for number in range(VARIANTS)]
        between = [variant.between() for variant in variants]
        guesses = [guess for variant in variants for guess in variant.guesses()]
        draw, size = self._draw.randrange(2**32), self._draw.randint(1, 3)
        last = Step(
            "Riverbend looks everywhere",
            lambda world: probe_everything(world, guesses, size, draw, PROBED),
        )
        return Script(self._seed, [*self._steps, last], between, guesses)

    @property
    def length(self) -> int:
        return len(self._steps)

    def time_before(self, step: int) -> datetime:
        return self._times[step] if step < len(self._times) else self._now

    def takes_commands(self, step: int) -> bool:
        """Whether the hub takes commands before the step: after a start it waits for the practice to sync."""
        return step not in self._before_sync

    @property
    def revoked_from(self) -> int | None:
        """The first step by which the permission for lab results is gone."""
        return self._revoked_from

    def an_entry(
        self,
        episode: str,
        category: Category,
        authored_at: datetime,
        *of: object,
        to: str = RIVERBEND,
        wrapped: bool = True,
        derived_from: tuple[Category, ...] = (),
        amends: str = "",
        in_error: bool = False,
        length: int = 40,
    ) -> SealedEntry:
        return sealed(
            self._keys,
            JUNIPER,
            to,
            episode,
            category,
            authored_at,
            self._seed,
            *of,
            wrapped=wrapped,
            derived_from=derived_from,
            amends=amends,
            in_error=in_error,
            length=length,
        )

    def late_wrap(self, entry: SealedEntry, to: str = RIVERBEND) -> RowBody:
        wrap = wrap_for(entry, self._keys[JUNIPER], self._keys[to].bundle)
        return RowBody(late_wrap=LateWrap(entry_id=entry.labels.entry_id, wrap=wrap))

    def _add(self, name: str, play: Play, seconds: int = 0) -> None:
        self._times.append(self._now)
        self._now += timedelta(seconds=seconds)
        self._steps.append(Step(name, play, seconds))

    def _begin(self) -> None:
        self._others_sync()
        if self._draw.random() < 0.3:
            # Entries come before the recipient has synced in this run of the hub: nothing is released yet.
            for _ in range(self._draw.randint(1, 3)):
                self._entry()
            self._sends("Push")
        self._riverbend_syncs()

    def _riverbend_syncs(self) -> None:
        """What waited for it is released."""

        def play(world: World) -> None:
            world[RIVERBEND].syncs()
            world.sweeps()

        self._add("Riverbend syncs", play, 1)

    def _others_sync(self) -> None:
        for name in (JUNIPER, ALDER):
            self._before_sync.add(len(self._steps))
            self._add(f"{name.title()} syncs", partial(_syncs, name))

    def _end(self) -> None:
        for entry in self._given.without_wrap:
            self._give_wrap(entry)
        self._sends("Push")
        self._add("The hub works", World.works, 61)
        self._watcher_reads()

    def _entry(self) -> None:
        """Of Juniper, permitted."""
        self._count += 1
        at = self._now - timedelta(seconds=1)
        if self._draw.random() < 0.15:
            body = sealed(
                self._keys,
                RIVERBEND,
                JUNIPER,
                FIRST,
                Category.PROGRESS_SUMMARY,
                self._now,
                self._seed,
                self._count,
            )
            self._add("Riverbend writes", lambda world: world[RIVERBEND].writes(RowBody(entry=body)), 1)
            self._add("Riverbend sends", lambda world: world[RIVERBEND].sends())
            return
        if self._given.entries and self._draw.random() < 0.2:
            target = self._draw.choice(self._given.entries).labels
            entry = self.an_entry(
                target.episode_id,
                Category(words.category_code(target.category)),
                at,
                self._count,
                amends=target.entry_id,
                in_error=self._draw.random() < 0.3,
            )
        elif self._revoked_from is None and self._draw.random() < 0.2:
            entry = self.an_entry(FIRST, Category.LAB_RESULT, at, self._count)
        else:
            episode, category = self._draw.choice(VISIBLE)
            wrapped = self._draw.random() < 0.8
            length = self._draw.choice([10, 300, 900])
            entry = self.an_entry(episode, category, at, self._count, wrapped=wrapped, length=length)
            if wrapped:
                self._given.entries.append(entry)
            else:
                self._given.without_wrap.append(entry)
        self._add("Juniper writes", lambda world: world[JUNIPER].writes(RowBody(entry=entry)), 2)
        if self._draw.random() < 0.6:
            self._sends(self._draw.choice(["Push", "Push", "Kafka"]))

    def _sends(self, way: str) -> None:
        if way == "Push":
            self._add("Juniper pushes", lambda world: world[JUNIPER].sends())
        else:
            self._add("Juniper publishes", lambda world: world[JUNIPER].publishes())
            self._add("The hub works", World.works)

    def _hub_works(self) -> None:
        self._add("The hub works", World.works, self._draw.choice([1, 5, 61]))

    def _watcher_reads(self) -> None:
        limit, acknowledges = self._draw.choice([1, 2, 500]), self._draw.random() < 0.7

        def play(world: World) -> None:
            watcher = world.watcher
            watcher.polls()
            watcher.syncs()
            watcher.reads(limit)
            if acknowledges:
                watcher.acknowledges()
                watcher.syncs()

        self._add(f"Riverbend reads by {limit}", play, 1)

    def _juniper_reads(self) -> None:
        def play(world: World) -> None:
            juniper = world[JUNIPER]
            juniper.sends()
            juniper.syncs()
            juniper.reads()
            juniper.acknowledges()
            juniper.syncs()

        self._add("Juniper sends and reads", play, 1)

    def _event(self) -> None:
        events = [self._restarts, self._look, self._grants]
        if self._revoked_from is None:
            events += [self._revokes, self._revokes]
        if self._given.without_wrap:
            events += [lambda: self._give_wrap(self._given.without_wrap.pop(0))] * 2
        self._draw.choice(events)()

    def _restarts(self) -> None:
        """In some order the practices come back; what Juniper sends before Riverbend is there has to wait."""
        self._add("The hub restarts", World.restarts_the_hub)
        self._others_sync()
        for _ in range(self._draw.randint(0, 2)):
            self._entry()
        self._sends("Push")
        self._riverbend_syncs()
        self._add("The hub works", World.works)

    def _look(self) -> None:
        size = self._draw.randint(1, 3)
        self._add("Riverbend looks around", lambda world: world.watcher.looks_around(size))

    def _grants(self) -> None:
        """A permission more for what is permitted already, with or without history; never for what is withheld."""
        self._count += 1
        episode, category = self._draw.choice(VISIBLE[:2])
        history = BEGINNING if self._draw.random() < 0.5 else None
        permission = a_permission(
            episode, JUNIPER, RIVERBEND, {category}, self._seed, self._count, history_from=history
        )
        self._command("Juniper grants", "GrantConsent", permission=permission)

    def _revokes(self) -> None:
        permission_id = an_id("perm", FIRST, JUNIPER, "to be revoked")
        word = self._draw.choice(["RevokeConsent", "HoldConsent"])
        self._command(f"Juniper: {word}", word, permission_id=permission_id)
        self._revoked_from = len(self._steps)

    def _command(self, name: str, method: str, **fields: object) -> None:
        self._count += 1
        number = (self._seed, self._count)

        def play(world: World) -> None:
            world[JUNIPER].sends()
            world[JUNIPER].commands(method, *number, **fields)
            world.sweeps()

        self._add(name, play, 1)

    def _give_wrap(self, entry: SealedEntry) -> None:
        wrap = self.late_wrap(entry)
        self._add("Juniper gives a wrap late", lambda world: world[JUNIPER].writes(wrap))
        self._sends("Push")


class _Withheld:
    """What one variant has beside the script: entries that Riverbend may not see, and acts of which it may not learn."""

    def __init__(self, author: Author, draw: random.Random) -> None:
        self._author = author
        self._draw = draw
        self._label = draw.random()
        self._count = 0
        self._between: dict[int, list[Step]] = {}
        self._entries: list[SealedEntry] = []
        self._denied_from: int | None = None

    def between(self) -> dict[int, list[Step]]:
        length = self._author.length
        commandable = [step for step in range(length) if self._author.takes_commands(step)]
        if self._draw.random() < 0.6:
            self._deny_homework(self._draw.choice(commandable))
        for _ in range(self._draw.randint(3, 10)):
            # The order at one place is the order of drawing: an amendment comes after what it amends.
            self._at = self._draw.randrange(length)
            kinds = [self._entry, self._amendment, self._late_wrap, self._act]
            self._draw.choices(kinds, [7, 2, 1, 2 if self._at in commandable else 0])[0]()
        return self._between

    def guesses(self) -> list[str]:
        return [entry.labels.entry_id for entry in self._entries[:1]]

    def _put(self, name: str, play: Play, at: int | None = None) -> None:
        self._between.setdefault(self._at if at is None else at, []).append(Step(name, play))

    def _write(self, name: str, entry: SealedEntry) -> None:
        self._entries.append(entry)
        self._put(name, lambda world: world[JUNIPER].writes(RowBody(entry=entry), withheld=True))
        if self._draw.random() < 0.4:
            self._put("sent", lambda world: world[JUNIPER].sends_what_is_withheld())

    def _entry(self) -> None:
        reasons: list[Callable[[], None]] = [
            self._not_named,
            self._not_named,
            self._before_history,
            self._no_history,
            self._declined,
            self._evaluation,
            self._of_another_partner,
            self._derived,
            self._never_wrapped,
        ]
        if self._denied_from is not None and self._at > self._denied_from:
            reasons += [self._denied] * 3
        if self._author.revoked_from is not None and self._at > self._author.revoked_from:
            reasons += [self._revoked] * 3
        if self._author.time_before(self._at) - self._author.time_before(0) > EXPIRY:
            reasons += [self._expired] * 3
        self._draw.choice(reasons)()

    def _made(
        self, episode: str, category: Category, at: datetime | None = None, **details: object
    ) -> SealedEntry:
        self._count += 1
        now = self._author.time_before(self._at) - timedelta(seconds=1)
        wrapped = bool(details.pop("wrapped", self._draw.random() < 0.7))
        return self._author.an_entry(
            episode,
            category,
            at or now,
            self._label,
            self._count,
            wrapped=wrapped,
            **details,  # type: ignore[arg-type]
        )

    def _not_named(self) -> None:
        episode, category = self._draw.choice([FIRST, SECOND]), self._draw.choice(NEVER_PERMITTED)
        length = self._draw.choice([10, 5000])
        self._write("category not named", self._made(episode, category, length=length))

    def _before_history(self) -> None:
        entry = self._made(FIRST, Category.SCALE_SCORE, BEGINNING - timedelta(days=30), wrapped=True)
        self._write("before the history", entry)

    def _no_history(self) -> None:
        entry = self._made(SECOND, Category.SCALE_SCORE, BEGINNING, wrapped=True)
        self._write("before the permission, which opens no history", entry)

    def _declined(self) -> None:
        self._write("referral over", self._made(DECLINED, Category.SCALE_SCORE))

    def _evaluation(self) -> None:
        self._write("no permission in this episode", self._made(EVALUATION, Category.SCALE_SCORE))

    def _of_another_partner(self) -> None:
        self._write("for another partner", self._made(ALDERS, Category.SCALE_SCORE, to=ALDER))

    def _derived(self) -> None:
        sources = (self._draw.choice(NEVER_PERMITTED),)
        entry = self._made(FIRST, Category.SCALE_SCORE, derived_from=sources, wrapped=True)
        self._write("derived from what is not permitted", entry)

    def _never_wrapped(self) -> None:
        self._write("the source gives no wrap", self._made(FIRST, Category.SCALE_SCORE, wrapped=False))

    def _denied(self) -> None:
        self._write("denied", self._made(FIRST, Category.HOMEWORK_PRACTICE, wrapped=True))

    def _revoked(self) -> None:
        self._write("revoked or held", self._made(FIRST, Category.LAB_RESULT, wrapped=True))

    def _expired(self) -> None:
        self._write("expired", self._made(FIRST, Category.LOGISTICS, wrapped=True))

    def _amendment(self) -> None:
        """Of the last withheld entry at this place, in a category that is permitted."""
        if not self._entries:
            return
        target = self._entries[-1].labels
        episode = target.episode_id
        entry = self._made(
            episode,
            Category.SCALE_SCORE,
            amends=target.entry_id,
            in_error=self._draw.random() < 0.3,
            wrapped=True,
            to=ALDER if episode == ALDERS else RIVERBEND,
        )
        self._write("amends what is withheld", entry)

    def _late_wrap(self) -> None:
        """For an entry that stays withheld, for a stranger, or for no entry: the hub takes or parks it."""
        self._count += 1
        entry = self._made(FIRST, self._draw.choice(NEVER_PERMITTED), wrapped=False)
        match self._draw.randrange(3):
            case 0:
                self._write("category not named", entry)
                wrap = self._author.late_wrap(entry)
            case 1:
                self._write("category not named", entry)
                wrap = self._author.late_wrap(entry, ALDER)
            case _:
                wrap = self._author.late_wrap(entry)
        self._put("a late wrap that opens nothing", lambda world: world[JUNIPER].writes(wrap, withheld=True))

    def _deny_homework(self, at: int) -> None:
        """Nothing of it was on its way, so that there is nothing to tell Riverbend."""
        self._denied_from = at
        self._command(
            at,
            "denial",
            "DenyConsent",
            permission=a_permission(
                FIRST, JUNIPER, RIVERBEND, {Category.HOMEWORK_PRACTICE}, self._label, deny=True
            ),
        )

    def _act(self) -> None:
        """What Juniper does between itself and the hub, or with another partner."""
        self._count += 1
        number = (self._label, self._count)
        now = self._author.time_before(self._at)
        match self._draw.randrange(4):
            case 0:
                soon = a_permission(
                    FIRST,
                    JUNIPER,
                    RIVERBEND,
                    {self._draw.choice(NEVER_PERMITTED)},
                    *number,
                    deny=True,
                    starts_at=now + timedelta(seconds=self._draw.choice([0, 3, 30])),
                    ends_at=now + timedelta(seconds=self._draw.choice([40, 70])),
                )
                self._command(self._at, "denial for a time", "DenyConsent", permission=soon)
            case 1:
                denial = a_permission(
                    SECOND, JUNIPER, RIVERBEND, {self._draw.choice(NEVER_PERMITTED)}, *number, deny=True
                )
                self._command(self._at, "denial", "DenyConsent", permission=denial)
                self._command(self._at, "denial lifted", "RevokeConsent", permission_id=denial.permission_id)
            case 2:
                elsewhere = a_permission(ALDERS, JUNIPER, ALDER, {Category.SAFETY_RISK}, *number)
                self._command(
                    self._at, "permission for another partner", "GrantConsent", permission=elsewhere
                )
            case _:
                self._command(
                    self._at,
                    "move of another partner's referral",
                    "OpenReferral",
                    by=ALDER,
                    referral_id=an_id("ref", ALDERS),
                    version=3,
                )

    def _command(self, at: int, name: str, method: str, *, by: str = JUNIPER, **fields: object) -> None:
        self._count += 1
        number = (self._label, self._count)

        def play(world: World) -> None:
            world[by].commands(method, *number, **fields)
            world.sweeps()

        self._put(name, play, at)


def _syncs(name: str, world: World) -> None:
    world[name].syncs()
