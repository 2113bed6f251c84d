"""The network itself: started together, watched, drained in the order that loses nothing."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tandem_ops.network.credentials import provide_certificates
from tandem_ops.network.members import clinic_process, hub_process
from tandem_ops.network.plan import LOOPBACK, Addresses, Layout, NetworkPlan, PracticePlan, with_free_ports
from tandem_ops.network.process import MemberProcess
from tandem_ops.network.servers import provide_databases
from tandem_platform.broker.embedded import EmbeddedBroker

_START = 60.0
_DRAIN = 20.0

Tell = Callable[[str], None]


class Network:
    """All members of *plan*, below one directory. Not thread-safe, but for `drain`."""

    def __init__(self, directory: Path, plan: NetworkPlan, tell: Tell = lambda text: None) -> None:
        self.layout = Layout(directory)
        self.plan = with_free_ports(plan)
        self.tokens: dict[tuple[str, str], str] = {}
        self._tell = tell
        self.broker = (
            EmbeddedBroker(self.plan.broker_port, log=self.layout.logs / "broker.log")
            if plan.with_kafka and not plan.kafka
            else None
        )
        self.hub = hub_process(self.layout, self.plan)
        self.clinics = {
            practice.name: clinic_process(self.layout, self.plan, practice)
            for practice in self.plan.practices
        }

    def start(self) -> Addresses:
        """Everything runs and knows each other when this returns; what had begun is ended if it fails."""
        began = time.monotonic()
        self.layout.logs.mkdir(parents=True, exist_ok=True)
        try:
            provide_certificates(self.layout, self.plan)
            provide_databases(self.plan)
            # All at once: a member that comes before those it needs waits for them.
            self.hub.start()
            for clinic in self.clinics.values():
                clinic.start()
            if self.broker is not None:
                self.broker.start()
                self._tell(f"broker on {self.broker.bootstrap}")
            # Imported only now, while the members start: gRPC and SQLAlchemy take as long as they do.
            from tandem_ops.network.admission import admit_practices
            from tandem_ops.network.tokens import provide_tokens

            self.hub.await_ready(_START)
            self._tell(f"hub on {LOOPBACK}:{self.plan.hub.grpc}")
            for practice in admit_practices(self.layout, self.plan):
                self._tell(f"{practice.display_name} admitted to the network")
            for practice in self.plan.practices:
                self.clinics[practice.name].await_ready(_START)
                self.tokens |= provide_tokens(self.layout, self.plan, practice)
                self._tell(f"{practice.display_name} on {self.http_address(practice)}")
        except BaseException:
            self.kill()
            raise
        self.layout.save_addresses(self.addresses())
        self._tell(f"up after {time.monotonic() - began:.1f} s")
        return self.addresses()

    def practice_plans(self) -> tuple[PracticePlan, ...]:
        return self.plan.practices

    def http_address(self, practice: PracticePlan) -> str:
        return f"http://{LOOPBACK}:{practice.ports.http}"

    def addresses(self) -> Addresses:
        return Addresses(
            hub=f"{LOOPBACK}:{self.plan.hub.grpc}",
            broker=self.broker.bootstrap if self.broker else "",
            http={each.name: self.http_address(each) for each in self.plan.practices},
            grpc={each.name: f"{LOOPBACK}:{each.ports.grpc}" for each in self.plan.practices},
        )

    def token(self, name: str, role: str = "clinician") -> str:
        return self.tokens[(name, role)]

    def members(self) -> list[MemberProcess]:
        return [self.hub, *self.clinics.values()]

    def revive(self) -> list[str]:
        """Start again whatever has ended by itself; give the names."""
        fallen = [member for member in self.members() if not member.running()]
        for member in fallen:
            member.start()
        names = [member.name for member in fallen]
        if self.broker is not None and not self.broker.running():
            self.broker.start()
            names.append("broker")
        return names

    def drain(self) -> list[str]:
        """Stop clinics, then hub, then broker, each letting what it has begun come to its end.

        Gives the names of those that had to be killed.
        """
        self.layout.addresses_file.unlink(missing_ok=True)
        with ThreadPoolExecutor(max(1, len(self.clinics))) as pool:
            gentle = list(pool.map(lambda member: member.stop(_DRAIN), self.clinics.values()))
        killed = [name for name, ended in zip(self.clinics, gentle, strict=True) if not ended]
        if not self.hub.stop(_DRAIN):
            killed.append("hub")
        if self.broker is not None:
            self.broker.kill()
        return killed

    def kill(self) -> None:
        """End everything at once. Repeating it changes nothing."""
        self.layout.addresses_file.unlink(missing_ok=True)
        for member in self.members():
            member.kill()
        if self.broker is not None:
            self.broker.kill()
