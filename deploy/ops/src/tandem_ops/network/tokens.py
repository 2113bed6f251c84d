"""A first person in each clinic, with a token for its API, kept in a file that its owner alone can read."""

from datetime import UTC, datetime

from tandem_clinic.domain.staff import Role
from tandem_clinic.store import staff
from tandem_clinic.store.tables import metadata
from tandem_ops.network.members import database_url
from tandem_ops.network.plan import Layout, NetworkPlan, PracticePlan, write_whole
from tandem_platform.storage import Database

ROLES = {
    "clinician": ("Clinician", frozenset({Role.CLINICIAN, Role.COORDINATOR, Role.ADMIN})),
    "auditor": ("Auditor", frozenset({Role.AUDITOR})),
}


def provide_tokens(layout: Layout, plan: NetworkPlan, practice: PracticePlan) -> dict[tuple[str, str], str]:
    """Tokens by practice and role. The clinic keeps only their hashes, so a lost file means a new token."""
    tokens = {}
    for role, (name, roles) in ROLES.items():
        file = layout.token_file(practice, role)
        if not file.exists():
            database = Database(database_url(plan, layout, practice.name), metadata)
            with database.transaction() as tx:
                now = datetime.now(UTC)
                member = staff.add(tx, name, roles, now)
                write_whole(file, staff.issue_token(tx, member.staff_id, now) + "\n")
            database.close()
        tokens[(practice.name, role)] = file.read_text().strip()
    return tokens
