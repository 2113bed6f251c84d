"""What people do meanwhile: they write, permit, withdraw, refer, move referrals and read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from faults.scene import Scene
from faults.stage import NAMES, Share, refer, take_in

from support.care_examples import one_of_every_kind
from support.network import SimulatedClinic
from support.oracle import hold
from tandem_care.entry_kinds import Content
from tandem_clinic.store import entries as clinic_entries
from tandem_clinic.usecases import partner
from tandem_clinic.usecases.entries import amend_entry, take_back_entry
from tandem_platform.errors import Refusal

CONTENTS: list[Content] = [
    one_of_every_kind()[kind] for kind in ("scale-score", "vitals", "preparation-summary", "message")
]
CATEGORIES = [content.category for content in CONTENTS]
AGO = [timedelta(0), timedelta(minutes=5), timedelta(hours=2), timedelta(days=3)]
AHEAD = [timedelta(seconds=20), timedelta(minutes=10), timedelta(hours=3)]
_REASONS = {
    "decline": "capacity",
    "waitlist": "capacity",
    "ask": "missing-documents",
    "hold": "patient-request",
    "fail": "moved",
    "cancel": "moved",
    "request_cancel": "moved",
    "refuse_cancel": "patient-wishes-to-continue",
}
_MOVES = (
    *("accept", "start", "start", "hold", "resume", "request_cancel", "refuse_cancel", "agree_cancel"),
    *("decline", "waitlist", "ask", "answer", "complete", "fail", "cancel", "undo", "open"),
)
_PATIENTS = [
    "Ada Alpha",
    "Ben Bravo",
    "Cleo Charlie",
    "Dora Delta",
    "Emil Echo",
    "Fritz Foxtrot",
    "Gita Golf",
]
_AFTER_A_RESTORE = (
    "PATIENT_NOT_FOUND",
    "EPISODE_NOT_FOUND",
    "PATIENT_NOT_LINKED",
    "REFERRAL_NOT_FOUND",
    "PERMISSION_NOT_FOUND",
    "ENTRY_NOT_FOUND",
)
NOTHING_TO_SHARE = ("EPISODE_CLOSED", "PATIENT_NOT_LINKED", "EPISODE_NOT_FOUND")
"""Why nothing may be granted on an episode: it is over, or not taken in, or not there yet."""
_FEED, _SWEEPER, _RELAY = 0, 1, 4
"""Places among the hub's parts."""
_CLINIC_FEED = 5
_MOST_QUEUED = 8
"""Commands that are sent in a row."""
WORK = {
    "record": 10,
    "amend_or_take_back": 3,
    "grant_or_deny": 6,
    "withdraw": 4,
    "withdraw_what_just_arrived": 4,
    "share_for_a_moment": 2,
    "refer": 1,
    "take_in": 2,
    "move": 4,
    "suspend_or_resume": 2,
    "read": 3,
    "wait": 3,
}
"""What they do, and how often it is chosen."""


class People:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.network = scene.network
        self.chance = scene.chance

    def clinic(self, name: str) -> SimulatedClinic:
        return self.network.clinics[name]

    def attempt(self, name: str, work: Callable[[], Any], *allowed: str) -> Any:
        """A use case at *name*'s, which may be refused, but only for the named reasons."""
        try:
            return work()
        except Refusal as refusal:
            if refusal.reason not in (*allowed, *_AFTER_A_RESTORE):
                raise
            if (
                refusal.reason in _AFTER_A_RESTORE
                and self.scene.restores != name
                and refusal.reason not in allowed
            ):
                raise
        return None

    def _some_side(self) -> tuple[Share, str]:
        share = self.chance.choice(self.scene.shares)
        return share, self.chance.choice([each for each in share.sides if self.clinic(each).running])

    def record(self) -> None:
        share, name = self._some_side()
        if name not in share.patients:
            return
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            content = self.chance.randrange(len(CONTENTS))
            inputs = [CATEGORIES[content - 1]] if self.chance.random() < 0.1 else []
            recorded = self.attempt(
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

    def amend_or_take_back(self) -> None:
        known = [
            (share, name, record_id)
            for share in self.scene.shares
            for name, record_ids in sorted(share.records.items())
            if self.clinic(name).running
            for record_id in record_ids
        ]
        if not known:
            return
        share, name, record_id = self.chance.choice(known)
        clinic = self.clinic(name)
        if self.chance.random() < 0.4:
            self._take_back(name, record_id)
            return

        def amend() -> Any:
            with clinic.db.reading() as tx:
                kind = clinic_entries.own(tx, clinic.clinic.vault, record_id).kind
            content = next(each for each in CONTENTS if each.kind == kind)
            return clinic.do(amend_entry, record_id, content)

        amended = self.attempt(name, amend, "ENTRY_NOT_ACTIVE")
        if amended is not None:
            share.records[name].append(amended.record_id)

    def _take_back(self, name: str, record_id: str) -> None:
        clinic = self.clinic(name)
        self.attempt(name, lambda: clinic.do(take_back_entry, record_id), "ENTRY_NOT_ACTIVE")

    def grant_or_deny(self) -> None:
        share, name = self._some_side()
        now = self.clinic(name).clinic.now()
        categories = {self.chance.choice(CATEGORIES), self.chance.choice(CATEGORIES)}
        times: dict[str, Any] = {}
        if self.chance.random() < 0.6:
            times["history_from"] = now - self.chance.choice(AGO)
        ahead = self.chance.randrange(8)
        if ahead in (1, 2, 4):
            times["ends_at"] = now + self.chance.choice(AHEAD)
        if ahead == 3:
            times["starts_at"] = now + AHEAD[0]
        permits = self.chance.random() < 0.75
        clinic = self.clinic(name)
        self.attempt(
            name,
            lambda: share.permissions.append(
                clinic.grants(share.referred, categories, **times)
                if permits
                else clinic.denies(share.referred, categories)
            ),
            *NOTHING_TO_SHARE,
        )

    def withdraw(self) -> None:
        known = [(share, each) for share in self.scene.shares for each in share.permissions]
        if not known:
            return
        share, permission_id = self.chance.choice(known)
        name = self.chance.choice([each for each in share.sides if self.clinic(each).running])
        clinic = self.clinic(name)
        only_hold = self.chance.random() < 0.4
        self.attempt(
            name,
            lambda: clinic.holds(permission_id) if only_hold else clinic.revokes(permission_id),
            "PERMISSION_NOT_FOUND",
            "PERMISSION_OVER",
        )

    def refer(self) -> None:
        if len(self.scene.shares) >= 6:
            return
        by, to = self.chance.choice(
            [("juniper", "riverbend"), ("riverbend", "juniper"), ("cedar", "juniper")]
        )
        clinic = self.clinic(by)
        if not clinic.running:
            return
        patient = _PATIENTS[len(self.scene.shares)]
        made = self.attempt(
            by,
            lambda: refer(self.network, by, to, clinic.registers(patient)),
            "PARTNERSHIP_NOT_ACTIVE",
        )
        if made is not None:
            self.scene.shares.append(made)

    def take_in(self) -> None:
        waiting = [
            each
            for each in self.scene.shares
            if each.recipient not in each.patients and self.clinic(each.recipient).running
        ]
        if not waiting:
            return
        share = self.chance.choice(waiting)
        self.attempt(
            share.recipient,
            lambda: take_in(self.network, share),
            "IDENTITY_NOT_RECEIVED",
            "REFERRAL_NOT_FOUND",
        )

    def move(self) -> None:
        share, name = self._some_side()
        self._move(share, name, self.chance.choice(_MOVES))

    def _move(self, share: Share, name: str, move: str) -> None:
        details = {"reason": _REASONS[move]} if move in _REASONS else {}
        if move == "complete":
            details["outcome"] = "treated" if share.kind == "psychotherapy" else "eligible"
        self.attempt(
            name,
            lambda: self.clinic(name).moves(share.referred, move, **details),
            "MOVE_NOT_ALLOWED",
            "PATIENT_NOT_LINKED",
            "REFERRAL_NOT_FOUND",
        )

    def suspend_or_resume(self) -> None:
        other = self.chance.choice(NAMES[1:])
        name = self.chance.choice(["juniper", other])
        if not self.clinic(name).running:
            return
        change = self.chance.choice([partner.suspend_partnership, partner.resume_partnership])
        self._change_partnership(name, other, change)
        if change is partner.suspend_partnership:
            author = "juniper" if name == other else other
            self._write_unaware(author, name)
            if self.chance.random() < 0.5:
                self._change_partnership(name, other, partner.resume_partnership)
                self._write_unaware(author, name)

    def _change_partnership(self, name: str, other: str, change: Callable[..., Any]) -> None:
        """Of Juniper and *other*, by *name*; the hub hears of it at once."""
        partnership_id = self.network.partnerships[frozenset({"juniper", other})]
        self.attempt(name, lambda: self.clinic(name).do(change, partnership_id))
        self._send(name)

    def _send(self, name: str) -> None:
        """Its commands to the hub, as far as it takes them just now."""
        clinic = self.clinic(name)
        self.network.step_clinic(clinic, "sync")
        for _ in range(_MOST_QUEUED):
            self.network.step_clinic(clinic, "journal")

    def _write_unaware(self, author: str, reader: str) -> None:
        """Before *author* hears that *reader* has suspended their partnership, or resumed it: wrapped for it all the same."""
        if not self.clinic(author).running:
            return
        for share in self.scene.shares:
            if {author, reader} == set(share.sides) and author in share.patients:
                for content in self.chance.sample(CONTENTS, 2):
                    self._write(share, author, content)
        self.network.step_clinic(self.clinic(author), "relay")
        self.network.step_hub_part(_FEED)

    def withdraw_what_just_arrived(self) -> None:
        """Kafka has brought it, nobody has acknowledged it, and perhaps somebody has read it or taken it back; perhaps it is given anew.

        Or Kafka brings it only when Sync has told of the revocation.
        """
        share, name = self._some_side()
        reader = next(each for each in share.sides if each != name)
        if not {name, reader} <= set(share.patients) or not self.clinic(reader).running:
            return
        if self.network.broker.down or any(self.network.line(each).cut for each in share.sides):
            return
        self.network.step_clinic(self.clinic(reader), "sync")
        clinic, since = self.clinic(name), self.clinic(name).clinic.now()
        permission_id = self._grant(share, name)
        if permission_id is None:
            return
        if self.chance.random() < 0.5:
            # What is voided is given anew at once, by this one.
            self._grant(share, name)
        self._send(name)
        for content in self.chance.sample(CONTENTS, 2):
            self._write(share, name, content)
        if self.chance.random() < 0.3 and share.records.get(name):
            self._take_back(name, share.records[name][-1])
        self.network.step_clinic(clinic, "relay")
        comes_late = self.chance.random() < 0.3
        self._bring("" if comes_late else reader)
        if self.chance.random() < 0.5:
            self._read_plan(share, reader)
        self.network.advance(1)
        self.attempt(name, lambda: clinic.revokes(permission_id), "PERMISSION_NOT_FOUND", "PERMISSION_OVER")
        self._send(name)
        if comes_late:
            self.network.step_clinic(self.clinic(reader), "sync")
        if self.chance.random() < 0.7:
            self._bring(reader)
        if self.chance.random() < 0.5:
            self.network.advance(1)
            self._grant(share, name, history_from=since)
            self._send(name)

    def share_for_a_moment(self) -> None:
        """Written before and after the permission ends."""
        share, name = self._some_side()
        if name not in share.patients:
            return
        content = self.chance.choice(CONTENTS)
        self._grant(share, name, ends_at=self.clinic(name).clinic.now() + AHEAD[0])
        for seconds in (1, 31):
            self._send(name)
            self._write(share, name, content)
            self.network.step_clinic(self.clinic(name), "relay")
            self.network.step_hub_part(_FEED)
            self.network.advance(seconds)

    def close_alone(self, name: str) -> None:
        """Written and closed while the hub is away from *name*."""
        known = [share for share in self.scene.shares if name in share.sides and name in share.patients]
        if not known:
            return
        share = self.chance.choice(known)
        self.network.line(name).cut = True
        self._write(share, name, self.chance.choice(CONTENTS))
        self._move(share, name, "cancel" if name == share.referrer else "fail")

    def _grant(self, share: Share, name: str, **times: Any) -> str | None:
        """All at once."""
        made: str | None = self.attempt(
            name,
            lambda: self.clinic(name).grants(share.referred, CATEGORIES, **times),
            *NOTHING_TO_SHARE,
        )
        if made is not None:
            share.permissions.append(made)
        return made

    def _write(self, share: Share, name: str, content: Content) -> None:
        recorded = self.attempt(name, lambda: self.clinic(name).records(share.patients[name], content))
        if recorded is not None:
            share.records.setdefault(name, []).append(recorded.record_id)

    def _bring(self, reader: str) -> None:
        """By Kafka alone, through the hub, as far as Kafka if there is no *reader*: nothing is acknowledged by it."""
        for hub_part in (_FEED, _SWEEPER, _RELAY):
            self.network.step_hub_part(hub_part)
        if reader:
            self.network.step_clinic_part(self.clinic(reader), _CLINIC_FEED)

    def read(self) -> None:
        self._read_plan(*self._some_side())

    def _read_plan(self, share: Share, name: str) -> None:
        if name not in share.patients:
            return
        clinic = self.clinic(name)
        items = self.attempt(name, lambda: clinic.plan(share.patients[name]))
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

    def wait(self) -> None:
        self.network.advance(self.chance.choice([1, 1, 5, 31, 65, 700, 11_000]))
