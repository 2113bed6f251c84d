"""The floor under a command: gRPC over mutual TLS, one transaction that waits for the disk, and no logic.

usage: python -m load.floor_calls DATABASE TLS_DIRECTORY
It writes its port, and ends with its standard input.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from load.floor import Store

METHOD = "/floor.Commands/Accept"


def main(database: str, tls: Path) -> None:
    local = threading.local()
    writing = threading.Lock()

    def accept(request: bytes, _: grpc.ServicerContext) -> bytes:
        if not hasattr(local, "store"):
            local.store = Store(database)
        with writing:
            local.store.commit(
                uplink=[(request.decode(), request)], received_entry=[(request.decode(), request, 0)]
            )
        return request

    key, certificate, roots = ((tls / name).read_bytes() for name in ("key.pem", "cert.pem", "ca.pem"))
    server = grpc.server(ThreadPoolExecutor(16))
    handlers: dict[str, Any] = {"Accept": grpc.unary_unary_rpc_method_handler(accept)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("floor.Commands", handlers),))
    credentials = grpc.ssl_server_credentials([(key, certificate)], roots, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
