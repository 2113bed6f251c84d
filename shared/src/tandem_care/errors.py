"""What is wrong with a piece of clinical content, said by field, and what a rule of care forbids."""


class Invalid(ValueError):
    """The content of *field* cannot be accepted.

    The message says what the field needs and never repeats the value, which may be about a patient.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message

    def inside(self, parent: str) -> "Invalid":
        """The same fault, named from one level further out."""
        if not self.field:
            return Invalid(parent, self.message)
        joint = "" if self.field.startswith("[") else "."
        return Invalid(f"{parent}{joint}{self.field}", self.message)


class NotAllowed(Exception):
    """A rule of care stands against it. *rule* is for machines, reason and way out are for people."""

    def __init__(self, rule: str, reason: str, way_out: str) -> None:
        super().__init__(f"{reason} {way_out}")
        self.rule = rule
        self.reason = reason
        self.way_out = way_out
