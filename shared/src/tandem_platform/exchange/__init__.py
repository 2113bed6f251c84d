"""Two sequenced logs per clinic: how rows are numbered, signed, carried and applied."""
