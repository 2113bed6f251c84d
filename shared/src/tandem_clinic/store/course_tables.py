"""Tables of a clinic for following courses."""

from dataclasses import dataclass

from sqlalchemy import JSON, Column, MetaData, String, Table

from tandem_platform.storage.types import UtcTime


@dataclass(frozen=True, slots=True)
class CourseTables:
    site: Table
    watch: Table


def course_tables(metadata: MetaData) -> CourseTables:
    return CourseTables(
        # Where the clinic works, and when it does not. One row.
        site=Table(
            "site",
            metadata,
            Column("site_id", String, primary_key=True),
            Column("time_zone", String, nullable=False),
            Column("closed_weekdays", JSON, nullable=False),
            Column("closed_days", JSON, nullable=False),
            # Whom a partner calls who may not be told why; empty where none was stated.
            Column("on_call_phone", String, nullable=False),
            Column("stated_by", String, nullable=False),
            Column("stated_at", UtcTime, nullable=False),
        ),
        # Episodes whose clocks are followed, and when next to look.
        watch=Table(
            "course_watch",
            metadata,
            Column("episode_id", String, primary_key=True),
            Column("look_at", UtcTime, nullable=False, index=True),
        ),
    )
