"""The table of what was stated of the openings, newest last."""

from sqlalchemy import Column, Integer, MetaData, String, Table

from tandem_platform.storage.types import UtcTime

capacity_statement = Table(
    "capacity_statement",
    MetaData(),
    Column("request_id", String, primary_key=True),
    Column("openings", Integer, nullable=False),
    Column("next_opening_at", UtcTime),
    Column("stated_by", String, nullable=False),
    Column("stated_at", UtcTime, nullable=False, index=True),
)
