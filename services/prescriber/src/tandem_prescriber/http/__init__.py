"""The prescriber's part of the REST API."""
