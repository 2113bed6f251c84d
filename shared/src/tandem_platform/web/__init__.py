"""Serving HTTP: the server itself, and the pages that operators' tools read."""
