"""The rules of a clinic that need neither a database nor a network."""
