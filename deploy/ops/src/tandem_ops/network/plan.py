"""What runs on the machine: the practices, the ports, and where each keeps its files."""

import fcntl
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from tandem_ops.console import Exit, Stop, usable
from tandem_platform.files import write_whole

LOOPBACK = "127.0.0.1"
Service = Literal["prescriber", "therapy_provider"]


@dataclass(frozen=True, slots=True)
class Ports:
    """0 means: any free port, chosen anew at each start."""

    http: int = 0
    grpc: int = 0


@dataclass(frozen=True, slots=True)
class PracticePlan:
    """One clinic. *name* is its directory and how people call it here; *practice_id* is what the network knows."""

    name: str
    display_name: str
    service: Service
    practice_id: str
    on_call_phone: str
    contact_phone: str
    licence_states: tuple[str, ...] = ("OR",)
    modalities: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    telehealth: bool = True
    ports: Ports = Ports()


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """The content of `network.json`."""

    network: str
    practices: tuple[PracticePlan, ...]
    hub: Ports = Ports()
    broker_port: int = 0
    with_kafka: bool = True
    """Whether a broker is started with the network."""
    kafka: str = ""
    """Brokers that somebody else runs, host:port; then none is started."""
    postgres: str = ""
    """An administrative URL, under which each member gets a database of its own; empty for SQLite files."""

    def practice(self, name: str) -> PracticePlan:
        for practice in self.practices:
            if name in (practice.name, practice.practice_id):
                return practice
        known = ", ".join(practice.name for practice in self.practices)
        raise Stop(Exit.USAGE, f"no practice here is called {name}", f"choose one of: {known}")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the members of a running network listen. Written while it runs, so that other commands find it."""

    hub: str
    broker: str
    http: dict[str, str] = field(default_factory=dict)
    grpc: dict[str, str] = field(default_factory=dict)


class Layout:
    """Where everything is, below one directory. The certificate authority stays apart from the hub's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan_file = root / "network.json"
        self.addresses_file = root / "running.json"
        self.authority = root / "ca"
        self.operator = root / "operator"
        self.hub = root / "hub"
        self.logs = root / "logs"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one network runs here at a time: two on the same databases would take each other's work. Raises Stop."""
        with usable("--directory", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / "up.lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Stop(
                    Exit.USAGE,
                    f"the network in {self.root} runs already",
                    "use it, end it with Ctrl-C where it was started, or make another with: tandem up --directory DIR",
                ) from None
            yield

    def practice(self, plan: PracticePlan) -> Path:
        return self.root / plan.name

    def token_file(self, plan: PracticePlan, role: str) -> Path:
        return self.practice(plan) / "tokens" / f"{role}.token"

    def load_plan(self) -> NetworkPlan:
        """Raises Stop where there is none, or none that can be read."""
        try:
            return _plan_from(json.loads(self.plan_file.read_text()))
        except FileNotFoundError:
            raise Stop(
                Exit.USAGE,
                f"there is no network in {self.root}",
                f"name another with --directory, or make this one with: tandem up --directory {self.root}",
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as broken:
            raise Stop(
                Exit.USAGE, f"{self.plan_file} cannot be read: {broken}", "mend the file, or begin elsewhere"
            ) from broken

    def save_plan(self, plan: NetworkPlan) -> None:
        write_whole(self.plan_file, _json(plan))

    def save_addresses(self, addresses: Addresses) -> None:
        write_whole(self.addresses_file, _json(addresses))

    def load_addresses(self) -> Addresses:
        """Raises Stop unless there is a network, and it runs, as far as the files can tell."""
        self.load_plan()
        try:
            return _addresses_from(json.loads(self.addresses_file.read_text()))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise Stop(
                Exit.UNREACHABLE,
                f"the network in {self.root} does not run",
                f"start it with: tandem up --directory {self.root}",
            ) from None


_KNOWN: dict[str, dict[str, Any]] = {
    "juniper": {
        "display_name": "Juniper Psychiatry",
        "service": "prescriber",
        "on_call_phone": "+1 503 555 0111",
        "contact_phone": "+1 503 555 0110",
    },
    "riverbend": {
        "display_name": "Riverbend Therapy",
        "service": "therapy_provider",
        "on_call_phone": "+1 503 555 0121",
        "contact_phone": "+1 503 555 0120",
        "modalities": ("cbt", "act", "trauma-informed"),
        "languages": ("en", "es"),
    },
    "alder": {
        "display_name": "Alder Counseling",
        "service": "therapy_provider",
        "on_call_phone": "+1 503 555 0131",
        "contact_phone": "+1 503 555 0130",
        "modalities": ("emdr", "mindfulness"),
    },
    "larkspur": {
        "display_name": "Larkspur Therapy",
        "service": "therapy_provider",
        "on_call_phone": "+1 503 555 0141",
        "contact_phone": "+1 503 555 0140",
        "modalities": ("exposure",),
    },
}
"""Synthetic practices; the numbers are of the range kept for fiction."""

TWO_PRACTICES = ("juniper", "riverbend")


def new_plan(
    names: Sequence[str] = TWO_PRACTICES, *, with_kafka: bool = True, kafka: str = "", postgres: str = ""
) -> NetworkPlan:
    practices = tuple(PracticePlan(name=name, practice_id=f"prac_{name}", **_KNOWN[name]) for name in names)
    return NetworkPlan("tandem.local", practices, with_kafka=with_kafka, kafka=kafka, postgres=postgres)


def free_ports(count: int) -> list[int]:
    """Of the loopback interface. All are held until all are known, so that no two are the same."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def with_free_ports(plan: NetworkPlan, find: Callable[[int], list[int]] = free_ports) -> NetworkPlan:
    """The plan with a number for every port that it leaves open."""
    wanted = [plan.hub.http, plan.hub.grpc, plan.broker_port]
    wanted += [port for practice in plan.practices for port in (practice.ports.http, practice.ports.grpc)]
    free = iter(find(wanted.count(0)))
    numbers = iter([port or next(free) for port in wanted])
    hub, broker = Ports(next(numbers), next(numbers)), next(numbers)
    practices = tuple(replace(each, ports=Ports(next(numbers), next(numbers))) for each in plan.practices)
    return replace(plan, hub=hub, broker_port=broker, practices=practices)


def _json(values: NetworkPlan | Addresses) -> bytes:
    return (json.dumps(asdict(values), indent=2) + "\n").encode()


def _plan_from(values: dict[str, Any]) -> NetworkPlan:
    practices = tuple(_practice_from(each) for each in values["practices"])
    return _checked(NetworkPlan(**{**values, "practices": practices, "hub": _ports_from(values["hub"])}))


def _practice_from(values: dict[str, Any]) -> PracticePlan:
    lists = {name: tuple(map(_text, values[name])) for name in ("licence_states", "modalities", "languages")}
    if values["service"] not in get_args(Service):
        raise ValueError(f"there is no service {values['service']!r}")
    return _checked(PracticePlan(**{**values, **lists, "ports": _ports_from(values["ports"])}))


def _ports_from(values: dict[str, Any]) -> Ports:
    return _checked(Ports(**values))


def _addresses_from(values: dict[str, Any]) -> Addresses:
    of_clinics = {
        name: {_text(clinic): _text(address) for clinic, address in dict(values[name]).items()}
        for name in ("http", "grpc")
    }
    return _checked(Addresses(**{**values, **of_clinics}))


T = TypeVar("T", NetworkPlan, PracticePlan, Ports, Addresses)
_PLAIN = {str, int, bool}


def _checked(made: T) -> T:
    """JSON may hold a text where a number belongs, which would show only when it is used."""
    for each in fields(made):
        value = getattr(made, each.name)
        if each.type in _PLAIN and type(value) is not each.type:
            raise TypeError(f"{each.name} must be of type {each.type}")
        if each.type is int and not 0 <= value < 65536:
            raise ValueError(f"{each.name} is no port")
    return made


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("a text is missing")
    return value
