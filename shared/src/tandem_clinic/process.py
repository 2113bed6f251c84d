"""A clinic's service as a process: from settings to threads and servers, and from a signal to their end."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from cryptography import x509
from flask import Flask
from sqlalchemy import MetaData

from tandem.audit.v1 import audit_pb2
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1 import exchange_pb2
from tandem.referral.v1 import referral_pb2
from tandem_clinic.clinic import Clinic
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.hub.gateway import Gateway
from tandem_clinic.hub.journal import COMMANDS
from tandem_clinic.node import ClinicNode
from tandem_clinic.notifications.configured import channels_of, refuse_unfit_channels
from tandem_clinic.notifications.notifier import Notifier
from tandem_clinic.settings import ROLES, ClinicSettings
from tandem_clinic.store import worklist
from tandem_clinic.store.notices import NOTICES
from tandem_clinic.store.vault import Vault
from tandem_platform.clock import SystemClock
from tandem_platform.exchange.log import ROWS
from tandem_platform.exchange.relay import REST
from tandem_platform.exchange.transport.configured import transport_for
from tandem_platform.lifecycle import DRAIN_SECONDS, Ending, Loop, drain, share_the_interpreter
from tandem_platform.rpc.client import SecureChannel, retry_safe_methods, secure_channel
from tandem_platform.rpc.server import RpcServer
from tandem_platform.rpc.tls import TlsFiles
from tandem_platform.sealing import PracticeKeys, load_certificate
from tandem_platform.settings import SettingsUnfit, is_loopback, load
from tandem_platform.storage import Database, at_rest
from tandem_platform.storage.encryption import Keyring
from tandem_platform.storage.migrations import bring_up_to_date
from tandem_platform.telemetry import logs
from tandem_platform.web.health import add_health
from tandem_platform.web.server import HttpServer

_log = structlog.get_logger(__name__)

SYNC_REST = 0.05
"""Seconds between two Syncs: while rows are under way each would answer at once."""

_HUB_SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (audit_pb2, "AuditService"),
        (consent_pb2, "ConsentService"),
        (directory_pb2, "DirectoryService"),
        (exchange_pb2, "ExchangeService"),
        (referral_pb2, "ReferralService"),
    )
)


@dataclass(frozen=True)
class ClinicService:
    """What makes one clinic service different from another.

    application: the REST interface over a node.
    rpc: the gRPC interface for the EHR, or None where TLS for it is not set up.
    """

    name: str
    metadata: MetaData
    migrations: Path
    application: Callable[[ClinicNode], Flask]
    rpc: Callable[[ClinicNode, ClinicSettings], RpcServer] | None = None


def assemble(service: ClinicService, settings: ClinicSettings) -> tuple[ClinicNode, SecureChannel]:
    """The node, with keys and database, made at the first start; nothing runs yet."""
    at_rest.install(at_rest.load_or_create(settings.at_rest_key))
    clock = SystemClock()
    database = Database(settings.database_url, service.metadata)
    bring_up_to_date(database, service.migrations)
    tls = TlsFiles.in_directory(settings.tls_directory)
    channel = secure_channel(
        settings.hub_target,
        tls,
        default_timeout=settings.hub_timeout,
        retry_safe=retry_safe_methods(*_HUB_SERVICES),
    )
    clinic = Clinic(
        practice_id=settings.practice_id,
        display_name=settings.display_name,
        db=database,
        keys=_keys(settings, tls),
        vault=Vault(_keyring(settings), settings.practice_id),
        clock=clock,
        gateway=Gateway(channel, settings.hub_timeout),
        trust=x509.load_pem_x509_certificates(tls.roots.read_bytes()),
        part2_program=settings.part2_program,
        allows_treatment_basis=settings.allows_treatment_basis,
        remind_before=timedelta(days=settings.remind_before),
    )
    transport = transport_for(
        settings.kafka_bootstrap, settings.kafka_tls_directory, embedded=settings.kafka_embedded
    )
    return ClinicNode(clinic, transport), channel


def _keys(settings: ClinicSettings, tls: TlsFiles) -> PracticeKeys:
    certificate = load_certificate(tls.certificate.read_bytes(), tls.key.read_bytes())
    return PracticeKeys.kept_in(
        settings.keys_directory, settings.practice_id, certificate, SystemClock().now()
    )


def _keyring(settings: ClinicSettings) -> Keyring:
    if not settings.keyring_file.exists():
        Keyring.generate().save(settings.keyring_file)
    return Keyring.from_file(settings.keyring_file)


def entrance_of(node: ClinicNode) -> Entrance:
    """What the REST interface needs of a node."""
    return Entrance(
        node.clinic,
        node.journal,
        lambda: node.health(),
        node.sync.reopen_uplink,
        node.sync.resume_downlink,
    )


class RunningClinic:
    """A clinic's node with its threads and servers."""

    def __init__(self, service: ClinicService, settings: ClinicSettings) -> None:
        self.node, self._channel = assemble(service, settings)
        self._roles = settings.roles
        self.loops = _loops(self.node, settings.roles)
        if "clock" in settings.roles:
            clinic = self.node.clinic
            notifier = Notifier(clinic, channels_of(settings), settings.notify_timeout)
            self.loops.append(Loop("notifications", notifier.step, 1.0, clinic.db.wakeup(NOTICES)))
        serves_rpc = service.rpc is not None and "grpc" in settings.roles and settings.server_tls_directory
        self.rpc = service.rpc(self.node, settings) if service.rpc and serves_rpc else None
        app = service.application(self.node) if "web" in settings.roles else Flask(service.name)
        add_health(app, {"database": self._database, "hub": self._hub, "loops": self._loops})
        self.http = HttpServer(app, settings.http_address)

    def start(self) -> None:
        if set(self._roles) != set(ROLES):
            self.node.clinic.db.watch()
        for loop in self.loops:
            loop.start()
        if self.rpc is not None:
            self.rpc.start()
            self.rpc.set_serving(True)
        self.http.start()
        _log.info("clinic serves", port=self.http.port)

    def stop(self) -> bool:
        """Drain: what is in flight finishes, loops end. Whether all ended in time."""
        until = time.monotonic() + DRAIN_SECONDS
        self.http.stop(DRAIN_SECONDS / 2)
        if self.rpc is not None:
            self.rpc.set_serving(False)
            self.rpc.stop(1.0)
        # Cancels a Sync that waits at the hub, which would else keep its thread for the hub's whole period.
        self._channel.close()
        ended = drain(self.loops, max(1.0, until - time.monotonic()))
        self.node.close()
        return ended

    def _database(self) -> str:
        self.node.clinic.db.version()
        return ""

    def _hub(self) -> str:
        """A clinic without its hub is usable, so this never makes it unready: it says so and stays ok."""
        return ""

    def _loops(self) -> str:
        return ", ".join(f"{loop.name}: {loop.fault}" for loop in self.loops if loop.fault)


def _loops(node: ClinicNode, roles: Sequence[str]) -> list[Loop]:
    wakeup = node.clinic.db.wakeup
    loops = []
    if "clock" in roles:
        loops += [
            Loop("upkeep", node.upkeep.step, 1.0, wakeup(worklist.SERVICE)),
            Loop("journal", node.journal.step, 1.0, wakeup(COMMANDS)),
        ]
    if "relay" in roles:
        if node.relay is not None:
            loops.append(Loop("relay", node.relay.step_urgently, REST, wakeup(ROWS)))
        # Kafka has its time first: to look after every commit would be for nothing.
        loops.append(Loop("push", node.step_push, 0.1, None if node.has_kafka else wakeup(ROWS)))
    if "reader" in roles:
        sync = Loop(
            "sync",
            lambda: node.step_sync(wait=True),
            1.0,
            rest=lambda: max(SYNC_REST, node.sync.next_after.total_seconds()),
        )
        loops += [sync, Loop("catch-up", node.step_catch_up, 0.1)]
        if node.has_kafka:
            loops.append(Loop("downlink-feed", lambda: node.step_feed(0.2), 0.0))
    return loops


def run(service: ClinicService, settings: ClinicSettings) -> int:
    """Until a signal. The process's exit code."""
    share_the_interpreter()
    ending = Ending()
    ending.listen()
    running = RunningClinic(service, settings)
    running.start()
    ending.wait()
    _log.info("clinic drains")
    return 0 if running.stop() else 1


def _refuse_bare_http(settings: ClinicSettings) -> None:
    """Patients' data do not cross a network in the clear."""
    if not (is_loopback(settings.http_address) or settings.tls_proxy):
        raise SettingsUnfit(
            [
                "TANDEM_HTTP_ADDRESS is unfit: must be on loopback, unless TANDEM_TLS_PROXY says that a proxy speaks TLS"
            ]
        )


def main(service: ClinicService) -> int:
    """A service's ``__main__``."""
    try:
        settings = load(ClinicSettings)
        _refuse_bare_http(settings)
        refuse_unfit_channels(settings)
    except SettingsUnfit as unfit:
        sys.stderr.write(f"{unfit}\n")
        return 2
    logs.configure(service.name, settings.practice_id)
    return run(service, settings)
