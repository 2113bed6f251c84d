"""The clinic's desk: worklist, journal, accounting, audit, people and health."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tandem_care.errors import Invalid
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import ADMINISTRATION, COORDINATION, OVERSIGHT, Role
from tandem_clinic.http import schemas
from tandem_clinic.http.entrance import caller, clinic, entrance, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.hub import journal
from tandem_clinic.store import audit, staff, worklist
from tandem_clinic.usecases import accounting, turns
from tandem_platform.storage import Transaction

api = Resources("desk", __name__, __doc__)


@api.get("/worklist")
@api.answer(200, schemas.WorklistAnswer(many=True))
def read_worklist() -> list[worklist.Item]:
    """What waits for the caller, for those whom the caller covers, or for anybody who coordinates."""
    caller().require(COORDINATION | OVERSIGHT)
    return read(lambda tx: turns.read_worklist(tx, clinic(), caller()))


@api.post("/worklist/<item_id>/done")
@api.answer(200, schemas.WorklistAnswer)
def finish_item(item_id: str) -> worklist.Item:
    """Take an item off the worklist."""
    caller().require(COORDINATION | OVERSIGHT)

    def work(tx: Transaction) -> worklist.Item:
        done = worklist.finish(tx, item_id, caller(), clinic().now())
        audit.note(
            tx, "worklist-done", clinic().now(), by=caller(), subject_id=done.subject_id, kind=done.kind
        )
        return done

    return read(work)


@api.get("/alerts")
@api.answer(200, schemas.AlertAnswer(many=True))
def read_alerts() -> list[dict[str, Any]]:
    """What whoever runs the service should look at."""
    caller().require(COORDINATION | OVERSIGHT)
    return _alerts()


def _alerts() -> list[dict[str, Any]]:
    found = read(worklist.alerts)
    return [
        {"kind": kind, "subject_id": subject_id, "facts": facts, "raised_at": raised_at}
        for kind, subject_id, facts, raised_at in found
    ]


@api.post("/exchange/uplink/reopen")
@api.answer(200, schemas.AlertAnswer(many=True))
def reopen_uplink() -> list[dict[str, Any]]:
    """When the hub has stopped our uplink: what it lacks goes again, in a new epoch. The alerts that are left."""
    return _remedy("uplink-reopened", entrance().reopen_uplink)


@api.post("/exchange/downlink/resume")
@api.answer(200, schemas.AlertAnswer(many=True))
def resume_downlink() -> list[dict[str, Any]]:
    """When the downlink was stopped here: try again to apply what the hub gives. The alerts that are left."""
    return _remedy("downlink-resumed", entrance().resume_downlink)


def _remedy(action: str, apply: Callable[[], None]) -> list[dict[str, Any]]:
    caller().require(ADMINISTRATION)
    apply()
    clinic().db.run(lambda tx: audit.note(tx, action, clinic().now(), by=caller()))
    return _alerts()


@api.get("/journal")
@api.answer(200, schemas.CommandInJournal(many=True))
def read_journal() -> list[journal.Command]:
    """Commands to the hub, newest first, with what became of them."""
    caller().require(COORDINATION | OVERSIGHT)
    return read(journal.listed)


@api.get("/accounting")
@api.query(schemas.AccountingQuery)
@api.answer(200, schemas.AccountingAnswer)
def read_accounting(query: dict[str, Any]) -> dict[str, Any]:
    """What was disclosed of ours: released, delivered, voided (45 CFR 164.528, 42 CFR 2.24)."""
    found = accounting.account_disclosures(
        clinic(), caller(), episode_id=query["episode_id"], since=query["since"]
    )
    return {"disclosures": found}


@api.get("/audit")
@api.query(schemas.AuditQuery)
@api.answer(200, schemas.AuditRecordAnswer(many=True))
def read_audit(query: dict[str, Any]) -> list[audit.AuditRecord]:
    """The clinic's own account of who read, recorded and disclosed what."""
    caller().require(OVERSIGHT)
    return read(
        lambda tx: audit.read(tx, after=query["after"], limit=query["limit"], patient_id=query["patient_id"])
    )


@api.get("/audit/findings")
@api.answer(200, schemas.FindingAnswer(many=True))
def verify_audit() -> list[dict[str, Any]]:
    """What in that account is not as it was written. Empty is good."""
    caller().require(OVERSIGHT)
    return [{"number": number, "fault": fault} for number, fault in read(lambda tx: list(audit.findings(tx)))]


@api.post("/staff")
@api.body(schemas.AddStaff)
@api.answer(201, schemas.StaffAnswer)
def add_staff(body: dict[str, Any]) -> dict[str, Any]:
    """Add a person or system of the clinic's own."""
    caller().require(ADMINISTRATION)
    unknown = set(body["roles"]) - set(Role)
    if unknown:
        raise ContentInvalid(Invalid("roles", f"must be among {', '.join(Role)}"))

    def work(tx: Transaction) -> dict[str, Any]:
        roles = frozenset(Role(role) for role in body["roles"])
        made = staff.add(tx, body["display_name"], roles, clinic().now())
        audit.note(tx, "staff-added", clinic().now(), by=caller(), subject_id=made.staff_id)
        return {"staff_id": made.staff_id, "display_name": made.display_name, "roles": sorted(made.roles)}

    return read(work)


@api.post("/staff/<staff_id>/tokens")
@api.body(schemas.IssueToken)
@api.answer(201, schemas.StaffAnswer)
def issue_token(body: dict[str, Any], staff_id: str) -> dict[str, Any]:
    """Issue an access token, which is shown this once."""
    caller().require(ADMINISTRATION)

    def work(tx: Transaction) -> dict[str, Any]:
        lifetime = None if body["days"] is None else timedelta(days=body["days"])
        token = staff.issue_token(tx, staff_id, clinic().now(), lifetime)
        audit.note(tx, "token-issued", clinic().now(), by=caller(), subject_id=staff_id)
        return {"staff_id": staff_id, "token": token}

    return read(work)


@api.post("/staff/<staff_id>/disable")
@api.answer(200, schemas.StaffAnswer)
def disable_staff(staff_id: str) -> dict[str, Any]:
    """End a person's or system's access, and its tokens with it."""
    caller().require(ADMINISTRATION)

    def work(tx: Transaction) -> dict[str, Any]:
        staff.disable(tx, staff_id, clinic().now())
        audit.note(tx, "staff-disabled", clinic().now(), by=caller(), subject_id=staff_id)
        return {"staff_id": staff_id}

    return read(work)


@api.get("/health")
@api.without_token()
@api.answer(200, schemas.HealthAnswer)
@api.or_answer(503, schemas.HealthAnswer, "the clinic's own database does not answer")
def health() -> tuple[dict[str, Any], int]:
    """Whether the clinic can work, and which of its dependencies answer. Without the hub it works, and queues."""
    checks = {**entrance().health(), "database": _database_answers()}
    works = checks.get("database", False)
    status = "ok" if all(checks.values()) else "alone" if works else "down"
    return {"status": status, "checks": checks}, 200 if works else 503


def _database_answers() -> bool:
    try:
        clinic().db.version()
    except Exception:  # noqa: BLE001 - whatever it is, the database does not answer
        return False
    return True
