"""A clinic's REST API under load: a connection for each thread, kept alive."""

import http.client
import json
import threading
from typing import Any


class Refused(Exception):
    """The clinic did not do what the bench asked for."""


class Rest:
    def __init__(self, address: str, token: str) -> None:
        """*address*: http://host:port."""
        self._host = address.removeprefix("http://")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._own = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def ask(self, path: str) -> Any:
        return self._call("GET", path, None)

    def tell(self, path: str, body: Any) -> Any:
        return self._call("POST", path, json.dumps(body))

    def _call(self, method: str, path: str, body: str | None) -> Any:
        connection = self._connection()
        connection.request(method, f"/api/v1{path}", body, self._headers)
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise Refused(f"{method} {path.split('/')[1]}: {response.status} {content[:200]!r}")
        return json.loads(content)

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection(self._host, timeout=30)
            self._all.append(self._own.connection)
        connection: http.client.HTTPConnection = self._own.connection
        return connection

    def close(self) -> None:
        for connection in self._all:
            connection.close()
