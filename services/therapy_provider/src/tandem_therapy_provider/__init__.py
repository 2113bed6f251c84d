"""A therapy clinic: roster and capacity, therapy sessions, psychotherapy notes."""
