"""One hub and one clinic for all tests of a module."""

from support.stacks import database_of, postgres
from support.whole import clinic, hub

__all__ = ["clinic", "database_of", "hub", "postgres"]
