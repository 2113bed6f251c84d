"""The history of referrals, as this clinic was told of it, with who of its own people made a move."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update

from tandem_clinic.store.tables import referral_desk
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

_line = referral_desk.line


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One move. ``by_practice_id`` is empty for the clock's, ``staff_id`` for all but our own people's."""

    referral_id: str
    version: int
    move: str
    state: str
    reason: str
    by_practice_id: str
    at: datetime
    staff_id: str = ""


def put(tx: Transaction, line: Line, staff_id: str = "") -> None:
    """Told by answer and by downlink, in either order: one line, which keeps who made it."""
    if not insert_new(tx, _line, asdict(line) | {"staff_id": staff_id}) and staff_id:
        tx.execute(_NAMING, {"of": line.referral_id, "at_version": line.version, "who": staff_id})


_NAMING = (
    update(_line)
    .where(_line.c.referral_id == bindparam("of"), _line.c.version == bindparam("at_version"))
    .values(staff_id=bindparam("who"))
)


def of(tx: Transaction, referral_id: str) -> list[Line]:
    """In order."""
    return [Line(**row._mapping) for row in tx.all(_OF, of=referral_id)]


_OF = select(_line).where(_line.c.referral_id == bindparam("of")).order_by(_line.c.version)
