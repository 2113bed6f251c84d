"""The way to the hub: calls with a deadline, and the journal of commands."""
