"""The table of psychotherapy notes, in a module of its own: nothing that seals or sends imports it."""

from sqlalchemy import Column, LargeBinary, MetaData, String, Table

from tandem_platform.storage.types import UtcTime

# 45 CFR 164.501: kept apart from the rest of the record.
psychotherapy_note = Table(
    "psychotherapy_note",
    MetaData(),
    Column("note_id", String, primary_key=True),
    Column("patient_id", String, nullable=False, index=True),
    Column("author_id", String, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Column("session_at", UtcTime),
    Column("written_at", UtcTime, nullable=False),
)
