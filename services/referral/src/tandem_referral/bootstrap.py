"""From settings to a running hub, and from a signal to its end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from flask import Flask

from tandem_care.lifecycle import CLOCKS
from tandem_platform.clock import SystemClock
from tandem_platform.exchange.log import ROWS
from tandem_platform.exchange.relay import REST
from tandem_platform.exchange.signing import HUB
from tandem_platform.exchange.transport.configured import transport_for
from tandem_platform.lifecycle import DRAIN_SECONDS, Ending, Loop, drain, share_the_interpreter
from tandem_platform.rpc.identity import PeerIdentity, RevokedSerials
from tandem_platform.rpc.server import RpcServer, by_certificate
from tandem_platform.rpc.tls import TlsFiles
from tandem_platform.sealing import PracticeKeys, load_certificate
from tandem_platform.storage import Database, at_rest
from tandem_platform.storage.migrations import bring_up_to_date
from tandem_platform.telemetry.metrics import count_rpc
from tandem_platform.web.health import add_health
from tandem_platform.web.server import HttpServer
from tandem_referral.hub import Hub
from tandem_referral.settings import ROLES, HubSettings
from tandem_referral.store.sync import SWEEPS
from tandem_referral.store.tables import metadata
from tandem_referral.usecases.directory import KeyTrust

MIGRATIONS = Path(__file__).parent / "migrations"
_log = structlog.get_logger(__name__)


def keys_of_hub(settings: HubSettings) -> PracticeKeys:
    """The hub's signing keys, made under its certificate if there are none."""
    files = TlsFiles.in_directory(settings.tls_directory)
    certificate = load_certificate(files.certificate.read_bytes(), files.key.read_bytes())
    return PracticeKeys.kept_in(settings.keys_directory, HUB, certificate, SystemClock().now())


@dataclass
class RunningHub:
    """A hub with its threads and servers."""

    hub: Hub
    loops: list[Loop]
    rpc: RpcServer | None
    http: HttpServer

    def stop(self) -> bool:
        """Drain: no new calls, those in flight finish, loops end. Whether all ended in time."""
        until = time.monotonic() + DRAIN_SECONDS
        if self.rpc is not None:
            self.rpc.set_serving(False)
            self.hub.exchange.end_waiting()
            self.rpc.stop(DRAIN_SECONDS / 2)
        ended = drain(self.loops, max(1.0, until - time.monotonic()))
        self.http.stop(1.0)
        self.hub.close()
        return ended


def start(settings: HubSettings) -> RunningHub:
    """Everything that this process's roles ask for."""
    at_rest.install(at_rest.load_or_create(settings.at_rest_key))
    tls = TlsFiles.in_directory(settings.tls_directory)
    clock = SystemClock()
    database = Database(settings.database_url, metadata)
    bring_up_to_date(database, MIGRATIONS)
    if set(settings.roles) != set(ROLES):
        database.watch()
    revoked = RevokedSerials(settings.revoked_serials)
    authorities = x509.load_pem_x509_certificates(tls.roots.read_bytes())
    transport = transport_for(
        settings.kafka_bootstrap, settings.kafka_tls_directory, embedded=settings.kafka_embedded
    )
    hub = Hub(
        database,
        keys_of_hub(settings),
        KeyTrust(authorities, revoked),
        clock,
        transport,
        at_rest.load_or_create(settings.at_rest_key),
        ticking=time.monotonic,
        sync_period=settings.sync_period,
        outcomes=count_rpc,
        clocks={**CLOCKS, **dict(settings.referral_clocks)},
        serves="grpc" in settings.roles,
    )
    loops = _loops(hub, settings.roles)
    rpc = None
    if "grpc" in settings.roles:
        identity = PeerIdentity(settings.network, clock, revoked)
        rpc = RpcServer(
            hub.dispatcher,
            settings.grpc_address,
            tls,
            by_certificate(identity),
            with_reflection=settings.development,
        )
    app = add_health(
        Flask("tandem_referral"), {"database": _database_check(database), "loops": _loops_check(loops)}
    )
    http = HttpServer(app, settings.http_address, threads=2)
    for loop in loops:
        loop.start()
    if rpc is not None:
        rpc.start()
        rpc.set_serving(True)
    http.start()
    _log.info("hub serves", port=rpc.port if rpc else 0)
    return RunningHub(hub, loops, rpc, http)


def _loops(hub: Hub, roles: tuple[str, ...]) -> list[Loop]:
    wakeup = hub.database.wakeup
    loops = []
    if "relay" in roles and hub.relay is not None:
        loops.append(Loop("relay", hub.relay.step_urgently, REST, wakeup(ROWS)))
    if "reader" in roles:
        if hub.feed is not None:
            feed = hub.feed
            loops.append(Loop("uplink-feed", lambda: feed.step(0.2), 0.0))
        loops.append(Loop("sweeper", hub.sweeper.step, 1.0, wakeup(SWEEPS)))
    if "clock" in roles:
        loops += [Loop("ticker", hub.ticker.step, 0.5), Loop("roots", hub.roots.step, 1.0)]
    return loops


def _database_check(database: Database) -> Callable[[], str]:
    def check() -> str:
        database.version()
        return ""

    return check


def _loops_check(loops: list[Loop]) -> Callable[[], str]:
    return lambda: ", ".join(f"{loop.name}: {loop.fault}" for loop in loops if loop.fault)


def run(settings: HubSettings) -> int:
    """Until a signal. The process's exit code."""
    share_the_interpreter()
    ending = Ending()
    ending.listen()
    running = start(settings)
    ending.wait()
    _log.info("hub drains")
    return 0 if running.stop() else 1
