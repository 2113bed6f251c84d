"""What a practice may be called and may say about itself in the directory."""

import re

from tandem_care.errors import Invalid
from tandem_care.matching import Needs, check_needs
from tandem_care.profile import Profile, check_profile, check_roles
from tandem_platform.errors import Code, Refusal

# The form in which certificates name practices. It is the name of an audit chain too, and so is "hub".
_PRACTICE_ID = re.compile(r"(?!hub$)[a-z0-9][a-z0-9_-]{0,62}")


class ProfileNotAllowed(Refusal):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "PROFILE_NOT_ALLOWED", message, field=field)


class NeedsNotAllowed(Refusal):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "NEEDS_NOT_ALLOWED", message, field=field)


def require_practice_id(practice_id: str, field: str) -> None:
    if not _PRACTICE_ID.fullmatch(practice_id):
        raise ProfileNotAllowed(
            field,
            "a practice id has up to 63 of a-z, 0-9, _ and -, begins with a letter or digit and is not hub",
        )


def require_profile(profile: Profile) -> None:
    """Raises ProfileNotAllowed, naming the field below ``practice``."""
    try:
        check_roles(profile.roles)
        check_profile(profile)
    except Invalid as fault:
        raise ProfileNotAllowed(fault.inside("practice").field, fault.message) from None


def require_needs(needs: Needs, field: str) -> None:
    """A requirement that nothing could ever meet is a mistake of the caller's."""
    try:
        check_needs(needs)
    except Invalid as fault:
        raise NeedsNotAllowed(fault.inside(field).field, fault.message) from None
