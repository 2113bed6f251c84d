"""What the chapters of the story share."""

from dataclasses import dataclass, field
from typing import Any

from tandem_ops.network.elsewhere import NetworkElsewhere
from tandem_ops.network.network import Network
from tandem_ops.reach import ClinicApi
from tandem_ops.story.narrator import Narrator
from tandem_ops.story.practice import Practice


@dataclass
class Stage:
    """*ids*: what earlier chapters made and later ones need, by a name in plain words."""

    network: Network | NetworkElsewhere
    narrator: Narrator
    practices: dict[str, Practice] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def set_on(cls, network: Network | NetworkElsewhere, narrator: Narrator) -> "Stage":
        stage = cls(network, narrator)
        for plan in network.practice_plans():
            api = ClinicApi(network.http_address(plan), network.token(plan.name))
            stage.practices[plan.name] = Practice(
                plan.display_name, plan.practice_id, plan.on_call_phone, api
            )
        return stage

    @property
    def juniper(self) -> Practice:
        return self.practices["juniper"]

    @property
    def riverbend(self) -> Practice:
        return self.practices["riverbend"]

    @property
    def alder(self) -> Practice:
        return self.practices["alder"]

    def facts(self) -> dict[str, Any]:
        return {"shown": self.narrator.shown, "seconds": round(self.narrator.seconds, 1)}
