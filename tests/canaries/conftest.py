"""What the searches run on."""

from support.stacks import database_of, postgres

__all__ = ["database_of", "postgres"]
