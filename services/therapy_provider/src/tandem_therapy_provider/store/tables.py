"""The therapy provider's tables: those of every clinic."""

from sqlalchemy import MetaData

from tandem_clinic.store import tables as clinic

metadata = MetaData()
for _table in clinic.metadata.sorted_tables:
    _table.to_metadata(metadata)
