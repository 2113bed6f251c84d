"""Structured logs: one JSON object a line, allow-listed fields only."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import Counter

DROPPED = Counter(
    "tandem_log_fields_dropped_total", "Log fields that were not on the allow-list, and therefore left out."
)

ALLOWED = frozenset(
    {
        "event",
        "level",
        "logger",
        "timestamp",
        "service",
        "practice",
        "fault",
        "frames",
        "loop",
        "log",
        "method",
        "code",
        "reason",
        "reference",
        "retriable",
        "rows",
        "seconds",
        "status",
        "route",
        "attempts",
        "broker",
        "address",
        "port",
        "version",
        "kind",
        "traceparent",
    }
)
"""Codes, counts, names of our own things. A field that is not here is dropped, and counted."""


def configure(service: str, practice: str = "") -> None:
    """Send structlog and the standard library's logging to standard output, through one filter."""
    shared = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service, practice),
        _only_allowed,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(_without_traceback)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Libraries log addresses and payload sizes at length; only their warnings matter here, and only by name.
    for noisy in ("kafka", "sqlalchemy", "werkzeug", "waitress", "grpc", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # It reports every attempt to reconnect as an error; that Kafka is away the relay says, once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def _named(service: str, practice: str) -> Any:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        if practice:
            event["practice"] = practice
        return event

    return add


def _only_allowed(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in [name for name in event if name not in ALLOWED and not name.startswith("_")]:
        del event[name]
        DROPPED.inc()
    return event


def _without_traceback(record: logging.LogRecord) -> bool:
    """A traceback quotes values and a library's message may quote input: the type of the fault is what is kept."""
    if record.exc_info and record.exc_info[0] is not None:
        record.fault = record.exc_info[0].__name__
    record.exc_info, record.exc_text, record.stack_info = None, None, None
    if not record.name.startswith("tandem"):
        record.msg, record.args = "library reports", None
    return True
