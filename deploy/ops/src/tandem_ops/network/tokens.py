"""People of a clinic and the tokens with which they use its API. The first has nobody who could issue one."""

from datetime import UTC, datetime

from tandem_clinic.domain.staff import Role
from tandem_clinic.store import audit, staff
from tandem_clinic.store.tables import metadata
from tandem_ops.network.members import database_url
from tandem_ops.network.plan import Layout, NetworkPlan, PracticePlan
from tandem_ops.opening import opened
from tandem_platform.files import write_whole
from tandem_platform.storage import Database, Transaction

ROLES = {
    "clinician": ("Clinician", frozenset({Role.CLINICIAN, Role.COORDINATOR, Role.ADMIN})),
    "auditor": ("Auditor", frozenset({Role.AUDITOR})),
}


def provide_tokens(
    layout: Layout, plan: NetworkPlan, practice: PracticePlan, database: str = ""
) -> dict[tuple[str, str], str]:
    """Tokens by practice and role, each in a file that its owner alone can read.

    *database*: the practice's, where the plan does not say.
    The clinic keeps only their hashes, so a lost file means another person and a new token.
    """
    tokens = {}
    for role, (name, roles) in ROLES.items():
        file = layout.token_file(practice, role)
        if not file.exists():
            url = database or database_url(plan, layout, practice.name)
            with opened(practice.name, url, metadata, "a clinic's") as clinic:
                token = add_person(clinic, name, roles)
            write_whole(file, f"{token}\n".encode())
        tokens[(practice.name, role)] = file.read_text().strip()
    return tokens


def add_person(clinic: Database, name: str, roles: frozenset[Role]) -> str:
    """Add somebody straight to a clinic's database, and give their token, which is shown this once."""

    def add(tx: Transaction) -> str:
        now = datetime.now(UTC)
        member = staff.add(tx, name, roles, now)
        audit.note(tx, "staff-added-by-operator", now, subject_id=member.staff_id)
        return staff.issue_token(tx, member.staff_id, now)

    return clinic.run(add)
