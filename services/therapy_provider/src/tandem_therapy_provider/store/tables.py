"""All of the therapy provider's tables: those of every clinic, and its psychotherapy notes."""

from sqlalchemy import MetaData

from tandem_clinic.store import tables as clinic
from tandem_therapy_provider.store.note_table import psychotherapy_note

metadata = MetaData()
for _table in (*clinic.metadata.sorted_tables, psychotherapy_note):
    _table.to_metadata(metadata)
