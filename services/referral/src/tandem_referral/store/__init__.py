"""Tables and repositories of the hub."""
