"""Clinical and legal knowledge as pure functions and data."""
