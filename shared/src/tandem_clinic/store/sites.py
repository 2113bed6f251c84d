"""Where the clinic works, and when it does not."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from tandem_care.local_time import Site
from tandem_clinic.store.tables import courses
from tandem_platform.storage import Transaction

site = courses.site
_HERE = "here"


@dataclass(frozen=True, slots=True)
class StatedSite:
    site: Site
    on_call_phone: str


def stated(tx: Transaction) -> StatedSite | None:
    row = tx.first(select(site).where(site.c.site_id == _HERE))
    if row is None:
        return None
    days = frozenset(date.fromisoformat(day) for day in row.closed_days)
    found = Site(time_zone=row.time_zone, closed_weekdays=frozenset(row.closed_weekdays), closed_days=days)
    return StatedSite(found, row.on_call_phone)


def state(tx: Transaction, new: StatedSite, by: str, now: datetime) -> None:
    tx.execute(site.delete().where(site.c.site_id == _HERE))
    tx.execute(
        site.insert().values(
            site_id=_HERE,
            time_zone=new.site.time_zone,
            closed_weekdays=sorted(new.site.closed_weekdays),
            closed_days=[day.isoformat() for day in sorted(new.site.closed_days)],
            on_call_phone=new.on_call_phone,
            stated_by=by,
            stated_at=now,
        )
    )
