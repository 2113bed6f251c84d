"""Whether an entry costs the same however many lie there already, and however many practices there are."""

import time
from collections.abc import Callable, Iterator, Sequence

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from load import growth
from load.arrivals import DidNotArrive
from load.figures import Figure
from load.network import Ground, Side, Tandem, floor
from load.population import PRACTICES, give_next_openings
from load.recorder import Order, RecorderEnded
from load.resources import memory
from load.timetable import at_rate
from load.timings import median, percentile

from tandem.directory.v1.directory_pb2 import Needs, SearchPracticesRequest
from tandem.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from tandem_platform.rpc.client import secure_channel

Tell = Callable[[str], None]
TOGETHER = 100
SEARCHES = 20.0


def powers(first: int, largest: int) -> Iterator[int]:
    size = first
    while size < largest:
        yield size
        size *= 10
    yield largest


def stored(
    ground: Ground, tandem: Tandem, sizes: Sequence[int], entries: int, rounds: int, tell: Tell
) -> Figure:
    """Seconds for an entry in a backlog, at each number of stored entries; the floor beside it stays as it is."""
    figure = Figure("stored", "Cost of an entry against stored entries", axes=("stored entries", "ms/entry"))
    with tandem.side() as side:
        side.send(Order(600, TOGETHER))
    tell("stored: a first sample is there")
    for size in sizes:
        tandem.pause()
        growth.grow(tandem.database("juniper"), growth.CLINIC_A, size, "own_entry")
        growth.grow(tandem.database("hub"), growth.HUB, size, "entry")
        growth.grow(tandem.database("riverbend"), growth.CLINIC_B, size, "received_entry")
        tandem.go_on()
        _measure(ground, tandem, figure, f"at {size:,} stored", size, entries, rounds)
        tell(f"stored: {size:,}")
    _flatness(figure)
    return figure


def practices(
    ground: Ground, tandem: Tandem, sizes: Sequence[int], entries: int, rounds: int, tell: Tell
) -> Figure:
    """The same against practices of the network, and how long a search among them takes."""
    figure = Figure("practices", "Cost of an entry against practices", axes=("practices", "ms/entry"))
    for size in sizes:
        growth.grow(tandem.database("hub"), PRACTICES, size, "practice")
        give_next_openings(tandem.database("hub"))
        searches = _search(tandem, round(SEARCHES * 5))
        for name, percent in (("p50", 50.0), ("p99", 99.0)):
            value = 1000 * percentile(searches, percent)
            figure.add("tandem", f"search among {size:,}, {name} at {SEARCHES:g}/s", "ms", value)
        try:
            _await_topics(ground, size)
            _measure(ground, tandem, figure, f"with {size:,} practices", size, entries, rounds)
        except (DidNotArrive, RecorderEnded, KafkaError) as failed:
            figure.notes.append(f"with {size:,} practices on one broker: {type(failed).__name__}, {failed}")
            tell(f"practices: failed at {size:,}: {failed}")
            break
        figure.add("tandem", f"memory of the hub with {size:,}", "MB", memory().get("hub", 0.0))
        tell(f"practices: {size:,}")
    _flatness(figure)
    return figure


def _await_topics(ground: Ground, practices: int, patience: float = 120.0) -> None:
    """Return when the hub has made a topic for every uplink: while it does, entries wait, which is not what is asked here."""
    admin = KafkaAdminClient(bootstrap_servers=ground.broker.bootstrap)
    deadline = time.monotonic() + patience
    try:
        while True:
            named = [name for name in admin.list_topics() if name.startswith("tandem.")]
            made = sum(name.endswith(".up") for name in named)
            if made >= practices:
                return
            if time.monotonic() > deadline:
                raise DidNotArrive(f"{made:,} of {practices:,} uplinks have a topic after {patience:g} s")
            time.sleep(0.5)
    finally:
        admin.close()


def _measure(
    ground: Ground, tandem: Tandem, figure: Figure, name: str, size: int, entries: int, rounds: int
) -> None:
    taken: dict[str, list[float]] = {"tandem": [], "floor": []}
    with tandem.side() as ours, floor(ground) as bare:
        # Whole rounds to warm up: Tandem has just started anew, and has to find its caches and its consumer group.
        for side in (ours, bare):
            _seconds_for_each(side, entries)
        for _ in range(rounds):
            for side in (ours, bare):
                seconds = _seconds_for_each(side, entries)
                taken[side.name].append(seconds)
                figure.add(side.name, name, "ms/entry", 1000 * seconds)
    for side_name, seconds_each in taken.items():
        figure.curves.setdefault(side_name, []).append((size, 1000 * median(seconds_each)))


def _seconds_for_each(side: Side, entries: int) -> float:
    began = time.monotonic()
    journeys = side.send(Order(entries, TOGETHER))
    return (max(each.visible for each in journeys) - began) / entries


def _flatness(figure: Figure) -> None:
    """The largest size over the smallest."""
    for side, points in figure.curves.items():
        (smallest, first), (largest, last) = points[0], points[-1]
        figure.add(side, f"{largest:,.0f} over {smallest:,.0f}", "times", last / first)


def _search(tandem: Tandem, how_many: int) -> list[float]:
    port = tandem.network.plan.hub.grpc
    with secure_channel(f"127.0.0.1:{port}", tandem.tls("juniper"), default_timeout=10) as channel:
        stub = DirectoryServiceStub(channel)
        required = Needs(role="therapy_provider", licence_state="OR")
        preferred = Needs(
            modalities=["emdr", "trauma-informed"],
            languages=["es"],
            age_group="adult",
            service="integration-session",
            payments=["in-network", "sliding-scale"],
            price_at_most=200,
            access=["step-free"],
            telehealth=True,
            kap_trained=True,
        )
        request = SearchPracticesRequest(page_size=20, required=required, preferred=preferred)
        stub.SearchPractices(request)
        return at_rate(SEARCHES, range(how_many), lambda _: stub.SearchPractices(request))
