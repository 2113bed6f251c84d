"""The transport that a process's settings ask for."""

from pathlib import Path

from tandem_platform.exchange.transport.kafka import KafkaSettings, KafkaTransport
from tandem_platform.exchange.transport.port import Transport
from tandem_platform.rpc.tls import TlsFiles


def transport_for(
    bootstrap: tuple[str, ...], tls_directory: Path | None, *, embedded: bool
) -> Transport | None:
    """None without brokers: gRPC alone is a supported mode.

    *embedded*: the broker is the one that starts itself, on loopback.
    *tls_directory*: client certificate and authorities, one principal for each practice; topics are then the operator's to make.
    """
    if not bootstrap:
        return None
    if embedded:
        return KafkaTransport(KafkaSettings.for_embedded(",".join(bootstrap)))
    if tls_directory is None:
        return KafkaTransport(KafkaSettings(",".join(bootstrap)))
    files = TlsFiles.in_directory(tls_directory)
    security = {
        "security_protocol": "SSL",
        "ssl_cafile": str(files.roots),
        "ssl_certfile": str(files.certificate),
        "ssl_keyfile": str(files.key),
    }
    return KafkaTransport(KafkaSettings(",".join(bootstrap), create_topics=False, security=security))
