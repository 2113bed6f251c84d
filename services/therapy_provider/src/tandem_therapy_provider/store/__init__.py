"""Tables of the therapy provider."""
