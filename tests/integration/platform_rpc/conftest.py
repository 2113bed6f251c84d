"""A real server on loopback with a network's certificates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.probe import NETWORK, Probe, ProbeStub, a_dispatcher
from tandem_ops.certs import DevelopmentCA, Issued
from tandem_platform.clock import SystemClock
from tandem_platform.rpc.client import SecureChannel, secure_channel
from tandem_platform.rpc.identity import PeerIdentity, RevokedSerials
from tandem_platform.rpc.server import Identify, RpcServer, ServerLimits, by_certificate
from tandem_platform.rpc.tls import HUB_SERVER_NAME, TlsFiles


@dataclass
class Hub:
    ca: DevelopmentCA
    tls: TlsFiles
    probe: Probe
    server: RpcServer
    target: str
    directory: Path

    def channel(self, issued: Issued, name: str = "client", **wishes: Any) -> SecureChannel:
        files = issued.write(self.directory / name)
        return secure_channel(self.target, files, **{"default_timeout": 5.0, **wishes})

    def stub(self, issued: Issued | None = None) -> ProbeStub:
        return ProbeStub(self.channel(issued or self.ca.issue_practice("prac_a")))

    def plain_tls_channel(self, issued: Issued | None) -> grpc.Channel:
        """Without anything of ours, and with a certificate only if one is given."""
        credentials = grpc.ssl_channel_credentials(
            self.ca.roots_pem,
            issued.key_pem if issued else None,
            issued.certificate_pem if issued else None,
        )
        return grpc.secure_channel(
            self.target, credentials, [("grpc.ssl_target_name_override", HUB_SERVER_NAME)]
        )


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCA:
    return DevelopmentCA(tmp_path_factory.mktemp("authority") / "ca", NETWORK)


@pytest.fixture
def a_hub(ca: DevelopmentCA, tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    started: list[Hub] = []

    def start(
        probe: Probe | None = None,
        limits: ServerLimits | None = None,
        address: str = "127.0.0.1:0",
        identify: Identify | None = None,
        **wishes: Any,
    ) -> Hub:
        probe = probe or Probe()
        directory = tmp_path / f"hub{len(started)}"
        tls = ca.issue_hub().write(directory / "own")
        identity = PeerIdentity(NETWORK, SystemClock(), RevokedSerials(ca.revoked_path))
        identify = identify or by_certificate(identity)
        server = RpcServer(a_dispatcher(probe), address, tls, identify, limits=limits, **wishes)
        server.start()
        started.append(Hub(ca, tls, probe, server, f"127.0.0.1:{server.port}", directory))
        return started[-1]

    yield start
    for hub in started:
        hub.server.stop(0)


@pytest.fixture
def hub(a_hub: Callable[..., Hub]) -> Hub:
    return a_hub()
