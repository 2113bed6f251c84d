"""Tables of the prescriber."""
