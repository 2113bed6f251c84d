"""Metrics that every service has; names and labels are closed lists, and no label is about a patient."""

from prometheus_client import Counter, Gauge, Histogram

RPC_SECONDS = Histogram(
    "tandem_rpc_seconds",
    "Time to answer a call.",
    ["method", "code"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)
UPLINK_LAG = Gauge("tandem_uplink_lag_entries", "Rows of the uplink that the hub has not acknowledged.")
DOWNLINK_LAG = Gauge("tandem_downlink_lag_entries", "Rows of the downlink that are known of and not applied.")
RESCUED = Counter("tandem_sync_rescued_total", "Rows that gRPC brought although Kafka should have.")
PARKED = Gauge("tandem_quarantine_entries", "Rows parked in quarantine.")
JOURNAL_DEPTH = Gauge("tandem_journal_queued_commands", "Commands queued and not confirmed.")
UP = Gauge("tandem_dependency_up", "1 while the dependency answers.", ["dependency"])


def count_rpc(method: str, code: str, seconds: float) -> None:
    """The dispatcher's hook."""
    RPC_SECONDS.labels(method, code).observe(seconds)
