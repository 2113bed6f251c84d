"""An HTTP server inside the process, which drains.

waitress holds slow clients off its worker threads, and runs in the process whose parts the application calls;
a server that forks workers could not.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from waitress.server import BaseWSGIServer, create_server

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class HttpServer:
    """Serves *app* at *address* ("127.0.0.1:0" picks a free port) in threads of its own."""

    def __init__(self, app: WsgiApp, address: str, *, threads: int = 16) -> None:
        host, _, port = address.rpartition(":")
        self._in_flight = 0
        self._lock = threading.Lock()
        server = create_server(
            self._counted(app),
            host=host,
            port=int(port),
            threads=threads,
            channel_timeout=10,
            cleanup_interval=2,
            max_request_body_size=2 * 1024 * 1024,
            max_request_header_size=32 * 1024,
            connection_limit=500,
            ident="tandem",
            clear_untrusted_proxy_headers=True,
        )
        if not isinstance(server, BaseWSGIServer):
            raise ValueError(f"{address} stands for several addresses: name one of them")
        assert server.socket is not None
        self._server = server
        self.port = int(server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Take no new connections, let what is in flight finish for at most *seconds*."""
        until = time.monotonic() + seconds
        self._server.accepting = False
        while time.monotonic() < until:
            with self._lock:
                if self._in_flight == 0:
                    break
            time.sleep(0.02)
        self._server.close()

    def _counted(self, app: WsgiApp) -> WsgiApp:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            with self._lock:
                self._in_flight += 1
            try:
                return list(app(environ, start_response))
            finally:
                with self._lock:
                    self._in_flight -= 1

        return serve
