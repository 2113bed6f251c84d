"""What each member is started with: its module and its settings."""

from pathlib import Path

from tandem_ops.network.plan import LOOPBACK, Layout, NetworkPlan, PracticePlan
from tandem_ops.network.process import MemberProcess

_MODULES = {"prescriber": "tandem_prescriber", "therapy_provider": "tandem_therapy_provider"}


def hub_process(layout: Layout, plan: NetworkPlan) -> MemberProcess:
    settings = {
        "TANDEM_NETWORK": plan.network,
        "TANDEM_DATABASE_URL": _database(plan, layout.hub, "hub"),
        "TANDEM_GRPC_ADDRESS": f"{LOOPBACK}:{plan.hub.grpc}",
        "TANDEM_HTTP_ADDRESS": f"{LOOPBACK}:{plan.hub.http}",
        "TANDEM_TLS_DIRECTORY": str(layout.hub / "tls"),
        "TANDEM_KEYS_DIRECTORY": str(layout.hub / "keys"),
        "TANDEM_REVOKED_SERIALS": str(layout.authority / "revoked.txt"),
        "TANDEM_AT_REST_KEY": str(layout.hub / "at-rest.key"),
        **_kafka(plan),
    }
    return MemberProcess("hub", "tandem_referral", settings, port=plan.hub.grpc, log=layout.logs / "hub.log")


def clinic_process(layout: Layout, plan: NetworkPlan, practice: PracticePlan) -> MemberProcess:
    home = layout.practice(practice)
    settings = {
        "TANDEM_NETWORK": plan.network,
        "TANDEM_PRACTICE_ID": practice.practice_id,
        "TANDEM_DISPLAY_NAME": practice.display_name,
        "TANDEM_DATABASE_URL": _database(plan, home, practice.name),
        "TANDEM_HUB_TARGET": f"{LOOPBACK}:{plan.hub.grpc}",
        "TANDEM_GRPC_ADDRESS": f"{LOOPBACK}:{practice.ports.grpc}",
        "TANDEM_HTTP_ADDRESS": f"{LOOPBACK}:{practice.ports.http}",
        "TANDEM_TLS_DIRECTORY": str(home / "tls"),
        "TANDEM_SERVER_TLS_DIRECTORY": str(home / "server-tls"),
        "TANDEM_KEYS_DIRECTORY": str(home / "keys"),
        "TANDEM_AT_REST_KEY": str(home / "at-rest.key"),
        **_kafka(plan),
    }
    return MemberProcess(
        practice.display_name,
        _MODULES[practice.service],
        settings,
        port=practice.ports.http,
        log=layout.logs / f"{practice.name}.log",
    )


def database_url(plan: NetworkPlan, layout: Layout, name: str) -> str:
    """Of the hub ("hub") or of a practice, by its name."""
    return _database(plan, layout.hub if name == "hub" else layout.practice(plan.practice(name)), name)


def _database(plan: NetworkPlan, home: Path, name: str) -> str:
    if plan.postgres:
        from sqlalchemy import make_url  # takes as long as a member needs to start, and SQLite needs none

        return make_url(plan.postgres).set(database=f"tandem_{name}").render_as_string(hide_password=False)
    return f"sqlite:///{(home / 'tandem.db').resolve()}"


def _kafka(plan: NetworkPlan) -> dict[str, str]:
    if plan.kafka:
        return {"TANDEM_KAFKA_BOOTSTRAP": plan.kafka}
    if not plan.with_kafka:
        return {}
    return {"TANDEM_KAFKA_BOOTSTRAP": f"{LOOPBACK}:{plan.broker_port}", "TANDEM_KAFKA_EMBEDDED": "yes"}
