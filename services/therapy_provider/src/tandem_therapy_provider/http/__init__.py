"""The therapy provider's part of the REST API."""
