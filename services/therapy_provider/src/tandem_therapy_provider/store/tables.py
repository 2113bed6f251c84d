"""The therapy provider's tables: those of every clinic, its psychotherapy notes and its openings."""

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table

from tandem_clinic.store import tables as clinic
from tandem_platform.storage.types import UtcTime

metadata = MetaData()
for _table in clinic.metadata.sorted_tables:
    _table.to_metadata(metadata)

# 45 CFR 164.501: kept apart from the rest of the record. Nothing that seals or sends reads this table.
psychotherapy_note = Table(
    "psychotherapy_note",
    metadata,
    Column("note_id", String, primary_key=True),
    Column("patient_id", String, nullable=False, index=True),
    Column("author_id", String, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("session_at", UtcTime),
    Column("written_at", UtcTime, nullable=False),
)

# What was stated of the openings, newest last.
capacity_statement = Table(
    "capacity_statement",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("openings", Integer, nullable=False),
    Column("next_opening_at", UtcTime),
    Column("stated_by", String, nullable=False),
    Column("stated_at", UtcTime, nullable=False, index=True),
)
