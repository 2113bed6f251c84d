"""Databases of the stack under test."""

from support.stacks import database_of, postgres

__all__ = ["database_of", "postgres"]
