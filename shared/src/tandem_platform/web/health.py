"""Health and metrics over HTTP, for the machine's own tools."""

import json
from collections.abc import Callable, Mapping

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Checks = Mapping[str, Callable[[], str]]
"""By dependency: what is wrong with it, empty if nothing is."""


def add_health(app: Flask, ready: Checks, refresh: Callable[[], None] = lambda: None) -> Flask:
    """``/health/live`` answers while the process does; ``/health/ready`` names each dependency; ``/metrics`` for Prometheus.

    refresh: brings gauges up to date before they are read.
    """

    @app.get("/health/live")
    def live() -> Response:
        return Response("{}", mimetype="application/json")

    @app.get("/health/ready")
    def ready_now() -> Response:
        states = {name: _state(check) for name, check in ready.items()}
        healthy = all(state == "ok" for state in states.values())
        return Response(json.dumps(states), status=200 if healthy else 503, mimetype="application/json")

    @app.get("/metrics")
    def metrics() -> Response:
        refresh()
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    return app


def _state(check: Callable[[], str]) -> str:
    try:
        return check() or "ok"
    except Exception as fault:  # noqa: BLE001 - a check that fails is what it reports
        return type(fault).__name__
