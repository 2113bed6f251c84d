"""What docker-compose.yml needs done once: certificates and passwords, admission, first people, the check at the end."""

import os
import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tandem_ops.network.credentials import provide_certificates
from tandem_ops.network.plan import Layout, NetworkPlan, new_plan
from tandem_platform.files import write_whole

CAST = ("juniper", "riverbend", "alder")
"""The practices of docker-compose.yml. Each is a service there, and a volume."""

HUB = "hub:7443"
KAFKA = "kafka:9092"
POSTGRES = "postgres:5432"
USER = 10001
"""Who runs in Tandem's images."""

_ROOT_PERIOD = 90.0
"""The hub publishes a root each minute."""


def plan() -> NetworkPlan:
    return new_plan(CAST, kafka=KAFKA)


def prepare(root: Path, owner: int = USER) -> None:
    """Keys, certificates and passwords below *root*, a volume for each member. What is there stays.

    The authority's key is in a volume of its own, which nothing else mounts.
    The hub gets its list of revoked certificates anew each time.
    """
    layout, network = Layout(root), plan()
    homes = {"hub": layout.hub} | {each.name: layout.practice(each) for each in network.practices}
    provide_certificates(layout, network)
    shutil.copy(layout.authority / "revoked.txt", layout.hub / "revoked.txt")
    _provide_passwords(root / "database", homes)
    for home in (*homes.values(), layout.operator):
        for path in (home, *home.rglob("*")):
            os.chown(path, owner, owner)


def _provide_passwords(database: Path, homes: dict[str, Path]) -> None:
    """Roles and databases as SQL, which the server reads at its first start; each member's password where it alone sees it."""
    script = database / "members.sql"
    if script.exists():
        return
    statements = []
    for name, home in homes.items():
        password = secrets.token_hex(24)
        write_whole(home / "pgpass", f"*:*:*:{name}:{password}\n".encode())
        statements += [
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}';",
            f"CREATE DATABASE {name} OWNER {name};",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
        ]
    # The server runs as a user of its own image's choice; this volume is mounted there and nowhere else.
    write_whole(database / "superuser.password", f"{secrets.token_hex(24)}\n".encode(), mode=0o444)
    write_whole(script, "\n".join([*statements, ""]).encode(), mode=0o444)


def database_url(layout: Layout, name: str) -> str:
    """Of the member, whose home with its password must be mounted."""
    return f"postgresql+psycopg://{name}@{POSTGRES}/{name}?passfile={layout.root / name / 'pgpass'}"


def admit(root: Path) -> list[str]:
    """Register the practices as the operator would; give the ids of those that were new."""
    from tandem_ops.network.admission import admit_practices

    return [each.practice_id for each in admit_practices(Layout(root), plan(), HUB)]


def people(root: Path) -> dict[str, str]:
    """A clinician's token by practice; who was added before keeps theirs."""
    from tandem_ops.network.tokens import provide_tokens

    layout, network = Layout(root), plan()
    tokens = {}
    for practice in network.practices:
        of_practice = provide_tokens(layout, network, practice, database_url(layout, practice.name))
        tokens[practice.name] = of_practice[(practice.name, "clinician")]
    return tokens


def account(root: Path) -> dict[str, Any]:
    """Hold the hub's account against the roots that clinics kept, once they have one over everything until now."""
    from tandem_ops.account import check_account, kept_by

    layout = Layout(root)
    end = datetime.now(UTC)
    deadline = time.monotonic() + _ROOT_PERIOD
    while True:
        kept = [kept_by(database_url(layout, name), name) for name in CAST]
        whole = all(each.roots and each.roots[-1].published_at.ToDatetime(tzinfo=UTC) > end for each in kept)
        if whole or time.monotonic() > deadline:
            break
        time.sleep(1)
    findings = check_account(database_url(layout, "hub"), layout.hub / "at-rest.key", kept)
    return {
        "roots": sum(len(each.roots) for each in kept),
        "clinics": len(kept),
        "covers_everything": whole,
        "findings": [f"{each.chain} {each.number}: {each.fault}" for each in findings],
    }
