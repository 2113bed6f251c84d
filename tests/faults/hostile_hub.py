"""A hub that lies to one clinic about entries, as well as it can: it has the hub's own keys, and nobody else's."""

import random
from collections.abc import Callable

from faults.effects import Effects
from faults.stage import FailingNetwork

from tandem.common.v1.common_pb2 import CATEGORY_MEDICATION_MONITORING, CATEGORY_SCALE_SCORE
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_platform.exchange.rows import Position, body_hash, downlink, position_of, sign_batch
from tandem_platform.exchange.signing import signer
from tandem_platform.sealing import PracticeKeys


class HostileHub:
    """Stands between the honest hub and the clinic *victim*: its rows are chained anew and signed by the hub's key.

    What it changes are rows with entries, and the keys of partners.
    """

    def __init__(self, network: FailingNetwork, victim: str, chance: random.Random) -> None:
        self._network = network
        self.victim = victim
        self._chance = chance
        self._log = downlink(victim)
        self._sign = signer(network.hub_keys)
        self._honest: dict[bytes, pb.LogPosition] = {}
        self._given: list[bytes] = []
        self.active = True
        self.expected: list[str] = []
        """What the victim has to refuse, in order."""
        self.tampered: set[str] = set()
        """Entries that were kept back, moved or changed."""
        self._deeds: list[Callable[[list[bytes]], list[bytes]]] = [
            self._drop,
            self._drop,
            self._move_content,
            self._flip_labels,
            self._replay,
            self._reorder,
        ]
        self._impostor: PracticeKeys | None = None

    @property
    def effects(self) -> Effects:
        return self._network.effects

    def asked(self, name: str, request: bytes) -> bytes:
        """What the honest hub is asked instead: positions that only the victim knows become real ones."""
        match name:
            case "Sync":
                sync = pb.SyncRequest.FromString(request)
                self._translate(sync.downlink_cursor)
                return sync.SerializeToString()
            case "Read":
                read = pb.ReadRequest.FromString(request)
                self._translate(read.after)
                return read.SerializeToString()
        return request

    def _translate(self, position: pb.LogPosition) -> None:
        honest = self._honest.get(position.hash)
        if honest is not None:
            position.CopyFrom(honest)

    def answered(self, name: str, request: bytes, answer: bytes) -> bytes:
        match name:
            case "Read":
                return self._rows_for(pb.ReadRequest.FromString(request).after, answer)
            case "Sync":
                sync = pb.SyncResponse.FromString(answer)
                if self._honest:
                    # Whatever number the victim has reached, there is more: it reads on, and is told when there is not.
                    sync.downlink_head.sequence += 1_000
                return sync.SerializeToString()
            case "ListKeyBundles":
                return self._keys_for(request, answer)
        return answer

    def _rows_for(self, after: pb.LogPosition, answer: bytes) -> bytes:
        response = pb.ReadResponse.FromString(answer)
        if not response.rows:
            return answer
        if not self.active and after.hash not in self._honest:
            return answer
        bodies = [row.body if not row.void_reason else b"" for row in response.rows]
        if self.active and self._chance.random() < 0.05:
            return self._with_broken_chain(response)
        altered = self._chance.choice(self._deeds)(list(bodies)) if self.active else bodies
        if altered == bodies and after.hash not in self._honest:
            self._remember(bodies)
            return answer
        self._remember(bodies)
        at = Position.from_message(after)
        rows: list[pb.LogRow] = []
        for body in altered:
            row = pb.LogRow(
                epoch=at.epoch,
                sequence=at.sequence + 1,
                previous_hash=at.hash,
                body_hash=body_hash(body) if body else bytes(32),
                body=body,
                void_reason="" if body else "revoked",
            )
            at = position_of(self._log, row)
            rows.append(row)
        if not rows:
            return pb.ReadResponse(downlink_head=response.downlink_head).SerializeToString()
        sign_batch(self._log, rows, self._sign)
        honest = position_of(self._log, response.rows[-1]).to_message()
        first = after if after.sequence else pb.LogPosition(epoch=1, hash=bytes(32))
        for row in rows[:-1]:
            # A batch is taken as a whole, because only its end is signed.
            self._honest[position_of(self._log, row).hash] = self._honest.get(first.hash, first)
        self._honest[at.hash] = honest
        return pb.ReadResponse(rows=rows, downlink_head=response.downlink_head).SerializeToString()

    def _remember(self, bodies: list[bytes]) -> None:
        self._given += [body for body in bodies if _entry(body)]

    def _with_broken_chain(self, response: pb.ReadResponse) -> bytes:
        response.rows[0].previous_hash = bytes(32)
        sign_batch(self._log, list(response.rows), self._sign)
        self.effects.note("hostile-hub-breaks-chain")
        return response.SerializeToString()

    # What is done to a batch --------------------------------------------------------------------

    def _of_entries(self, bodies: list[bytes]) -> list[int]:
        return [place for place, body in enumerate(bodies) if _entry(body)]

    def _touch(self, *bodies: bytes) -> None:
        self.tampered |= {_entry(body) for body in bodies}

    def _drop(self, bodies: list[bytes]) -> list[bytes]:
        places = self._of_entries(bodies)
        # The last row is kept, so that the victim's place moves with the honest one.
        places = [place for place in places if place < len(bodies) - 1] or places
        if not places or len(bodies) < 2:
            return bodies
        dropped = self._chance.choice(places)
        self._touch(bodies[dropped])
        return bodies[:dropped] + bodies[dropped + 1 :]

    def _move_content(self, bodies: list[bytes]) -> list[bytes]:
        """What was said of one goes under the labels of another, with all that proves it."""
        places = self._of_entries(bodies)
        if not places or not self._given:
            return bodies
        place = self._chance.choice(places)
        here, other = (
            pb.RowBody.FromString(bodies[place]),
            pb.RowBody.FromString(self._chance.choice(self._given)),
        )
        if here.entry_released.entry.labels.entry_id == other.entry_released.entry.labels.entry_id:
            return bodies
        self._touch(bodies[place])
        labels = pb.EntryLabels()
        labels.CopyFrom(here.entry_released.entry.labels)
        here.entry_released.entry.CopyFrom(other.entry_released.entry)
        here.entry_released.entry.labels.CopyFrom(labels)
        bodies[place] = here.SerializeToString()
        self._watch_for("hostile-hub-moves-content")
        return bodies

    def _flip_labels(self, bodies: list[bytes]) -> list[bytes]:
        places = self._of_entries(bodies)
        if not places:
            return bodies
        place = self._chance.choice(places)
        body = pb.RowBody.FromString(bodies[place])
        self._touch(bodies[place])
        labels = body.entry_released.entry.labels
        match self._chance.randrange(4):
            case 0:
                labels.part2 = not labels.part2
            case 1:
                labels.entered_in_error = not labels.entered_in_error
            case 2:
                vitals = labels.category == CATEGORY_MEDICATION_MONITORING
                labels.category = CATEGORY_SCALE_SCORE if vitals else CATEGORY_MEDICATION_MONITORING
            case 3:
                labels.authored_at.seconds -= 86_400
        bodies[place] = body.SerializeToString()
        self._watch_for("hostile-hub-flips-labels")
        return bodies

    def _replay(self, bodies: list[bytes]) -> list[bytes]:
        out = [body for body in self._given if self._is_out(_entry(body))]
        if not out:
            return bodies
        self.effects.note("hostile-hub-replays")
        return [self._chance.choice(out), *bodies]

    def _is_out(self, entry_id: str) -> bool:
        known = self._network.oracle.entries.get(entry_id)
        return known is not None and known.is_out and known.held_by_recipient

    def _reorder(self, bodies: list[bytes]) -> list[bytes]:
        places = self._of_entries(bodies)
        if len(places) < 2:
            return bodies
        one, other = self._chance.sample(places, 2)
        bodies[one], bodies[other] = bodies[other], bodies[one]
        self.effects.note("hostile-hub-reorders")
        return bodies

    def _watch_for(self, kind: str) -> None:
        """Counted when the victim has parked it: it refuses at its door what does not prove itself."""
        self.expected.append(kind)

    def _keys_for(self, request: bytes, answer: bytes) -> bytes:
        asked = directory_pb2.ListKeyBundlesRequest.FromString(request)
        if not self.active or asked.practice_id in ("hub", self.victim):
            return answer
        if self._impostor is None:
            network = self._network.keys
            self._impostor = PracticeKeys.generate(
                asked.practice_id, network.certificate("mallory"), network.clock.now()
            )
        response = directory_pb2.ListKeyBundlesResponse.FromString(answer)
        del response.bundles[:]
        response.bundles.append(self._impostor.signed_bundle.to_message())
        self.effects.note("hostile-hub-swaps-keys")
        return response.SerializeToString()


def _entry(body: bytes) -> str:
    """The id of the entry that the row releases, or empty."""
    if not body:
        return ""
    return pb.RowBody.FromString(body).entry_released.entry.labels.entry_id
