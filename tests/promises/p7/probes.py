"""Every RPC that a practice may call, called with its own ids, with others', with absent and with guessed ones."""

import random
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from promises.p7.world import ALDERS, FIRST, JUNIPER, RIVERBEND, World, an_id

from support.observation import methods_of_practices
from tandem.exchange.v1.exchange_pb2 import EntriesReceived, LateWrap, ReceivedItem, RowBody, SealedEntry
from tandem_platform.sealing.entries import sign_received

_OWN = {
    "referral_id": an_id("ref", FIRST),
    "replaces_referral_id": "",
    "episode_id": FIRST,
    "permission_id": an_id("perm", FIRST, JUNIPER),
    "partnership_id": an_id("pship", RIVERBEND),
    "practice_id": RIVERBEND,
    "entry_id": an_id("ent", "own"),
}
_FOREIGN = {
    **_OWN,
    "referral_id": an_id("ref", ALDERS),
    "episode_id": ALDERS,
    "permission_id": an_id("perm", ALDERS, JUNIPER),
    "partnership_id": an_id("pship", "alder"),
    "practice_id": "alder",
}
_ABSENT = {
    name: an_id(value.partition("_")[0], "absent") if "_" in value else value for name, value in _OWN.items()
} | {"practice_id": "nobody"}

# Sync, Push, Read and ReadBack are called with what belongs in them; a made-up position would end the run.
_BY_HAND = frozenset({"Sync", "Push", "Read", "ReadBack", "OpenEpoch"})


def probe_everything(world: World, guesses: list[str], size: int, seed: int, share: float = 1.0) -> None:
    """At the end of a run, because what it asks for may be granted. *share* of the RPCs are tried, drawn by *seed*."""
    draw = random.Random(seed)
    watcher = world.watcher
    watcher.looks_around(size)
    for method in methods_of_practices():
        ids, number = draw.choice([_OWN, _FOREIGN, _ABSENT]), draw.randint(0, 4)
        if method.name not in _BY_HAND and draw.random() < share:
            watcher.tries(method.full_name, _request(method, ids, number))
    _guess(world, guesses)
    watcher.tries(
        "tandem.exchange.v1.ExchangeService.OpenEpoch",
        _request(_method("OpenEpoch"), _OWN, draw.randint(0, 4)),
    )
    for tree in (1, 2, 99):
        method = _method("GetAuditProof")
        watcher.tries(method.full_name, GetMessageClass(method.input_type)(tree_number=tree))
    world.works()
    watcher.syncs()
    watcher.reads(size)
    watcher.audit(200)
    watcher.polls()


def _guess(world: World, guesses: list[str]) -> None:
    """Whoever had the ids of withheld entries by chance learns nothing by them."""
    watcher = world.watcher
    explain = _method("ExplainRelease")
    for guess in guesses:
        watcher.tries(explain.full_name, GetMessageClass(explain.input_type)(entry_id=guess))
        claimed = SealedEntry(content_hash=bytes(32))
        claimed.labels.entry_id = guess
        watcher.writes(RowBody(entries_received=sign_received(watcher.keys, JUNIPER, [claimed])))
        watcher.writes(RowBody(late_wrap=LateWrap(entry_id=guess)))
    unsigned = EntriesReceived(
        recipient_practice_id=RIVERBEND,
        origin_practice_id=JUNIPER,
        items=[ReceivedItem(entry_id=guess) for guess in guesses],
    )
    watcher.writes(RowBody(entries_received=unsigned))
    watcher.sends()
    watcher.syncs()


def _method(name: str) -> MethodDescriptor:
    return next(method for method in methods_of_practices() if method.name == name)


def _request(method: MethodDescriptor, ids: dict[str, str], number: int) -> Message:
    request = GetMessageClass(method.input_type)()
    _fill(request, method.name, ids, number)
    return request


def _fill(message: Message, method: str, ids: dict[str, str], number: int) -> None:
    for field in message.DESCRIPTOR.fields:
        value = _value(field, method, ids, number)
        if value is not None:
            setattr(message, field.name, value)
        elif (
            field.message_type is not None
            and not field.is_repeated
            and field.name in ("permission", "practice")
        ):
            _fill(getattr(message, field.name), method, ids, number)


def _value(field: Any, method: str, ids: dict[str, str], number: int) -> Any:
    if field.is_repeated:
        return None
    match field.name:
        case "request_id":
            return an_id("req", "probe", method)
        case "version" | "tree_number" | "after_number" | "page_size" | "epoch":
            return number
        case "page_token":
            return "made-up" if number == 4 else ""
        case "discloser_practice_id":
            return RIVERBEND
        case "recipient_practice_id" | "partner_practice_id":
            return JUNIPER
        case "permission_id" if method in ("GrantConsent", "DenyConsent"):
            # A fresh one: whether an id is taken is told to whoever tries to take it.
            return an_id("perm", "probe", method)
        case "reason":
            return "patient-declined"
        case "purpose" | "basis":
            return 1
        case "effect":
            return 2 if method == "DenyConsent" else 1
    return ids.get(field.name)
