"""Every kind of fault of real processes, and what counts as its effect: something that was seen from outside."""

from collections import Counter
from typing import Literal

Stack = Literal["embedded", "production"]

ON_BOTH: dict[str, str] = {
    "hub-killed": "the hub died with a write transaction open",
    "juniper-killed": "the prescriber died with a write transaction open",
    "riverbend-killed": "the provider died with a write transaction open",
    "broker-killed": "entries arrived while no broker ran",
    "broker-emptied": "the broker came back without what the recipient had read from it",
    "hub-hung": "the hub took nothing of what was acknowledged meanwhile",
    "juniper-hung": "nobody was given an answer",
    "riverbend-hung": "nothing arrived of what was acknowledged meanwhile",
    "broker-hung": "entries arrived while the broker stood still",
    "juniper-line-cut": "the prescriber came to the hub in vain",
    "juniper-line-half-open": "what was sent between prescriber and hub never arrived",
    "juniper-line-slow": "what was sent between prescriber and hub was held up",
    "juniper-line-reset": "connections between prescriber and hub broke",
    "riverbend-line-cut": "the provider came to the hub in vain",
    "riverbend-line-half-open": "what was sent between provider and hub never arrived",
    "riverbend-line-slow": "what was sent between provider and hub was held up",
    "riverbend-line-reset": "connections between provider and hub broke",
    "broker-line-cut": "somebody came to the broker in vain",
    "broker-line-half-open": "what was sent to the broker or by it never arrived",
    "broker-line-slow": "what was sent to the broker or by it was held up",
    "broker-line-reset": "connections to the broker broke",
    "second-hub": "entries arrived while a second process served a clinic on the hub's database",
    "juniper-restored": "the prescriber was set back, and had lost records",
    "riverbend-restored": "the provider was set back, and had lost entries",
}
ON_ONE: dict[Stack, dict[str, str]] = {
    "embedded": {
        "hub-disk-full": "the hub took nothing of what was acknowledged meanwhile",
        "juniper-disk-full": "nobody was given a good answer",
        "riverbend-disk-full": "nothing arrived of what was acknowledged meanwhile",
    },
    "production": {
        "database-killed": "the server died with connections in use, and a writer had to ask again",
        "hub-backends-ended": "the server ended the hub's connections, a write transaction among them",
        "juniper-backends-ended": "the server ended the prescriber's connections, a write transaction among them",
        "riverbend-backends-ended": "the server ended the provider's connections, a write transaction among them",
    },
}


def kinds(stack: Stack) -> dict[str, str]:
    return {**ON_BOTH, **ON_ONE[stack]}


class RealEffects(Counter[str]):
    """How often each kind of fault had an effect."""

    def note(self, kind: str) -> None:
        if kind not in ON_BOTH and not any(kind in more for more in ON_ONE.values()):
            raise KeyError(kind)
        self[kind] += 1

    def table(self, stack: Stack) -> str:
        return "\n".join(f"{self[kind]:5}  {kind:26} {what}" for kind, what in kinds(stack).items())
