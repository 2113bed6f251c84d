"""What a practice may say about itself in the directory."""

import re
from collections.abc import Iterable
from typing import Final

from tandem_platform.errors import Code, Refusal

ROLES: Final = frozenset({"prescriber", "therapy_provider"})
MODALITIES: Final = frozenset({"cbt", "act", "emdr", "exposure", "mindfulness", "trauma-informed"})
LONGEST_NAME: Final = 200

# The form in which certificates name practices. It is the name of an audit chain too, and so is "hub".
_PRACTICE_ID = re.compile(r"(?!hub$)[a-z0-9][a-z0-9_-]{0,62}")
_LICENCE_STATE = re.compile(r"[A-Z]{2}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][A-Za-z]{1,3})?")
_PHONE = re.compile(r"\+?[0-9][0-9 ().x-]{1,38}")
_MOST_CODES = 100


class ProfileNotAllowed(Refusal):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "PROFILE_NOT_ALLOWED", message, field=field)


def check_practice_id(practice_id: str, field: str) -> None:
    if not _PRACTICE_ID.fullmatch(practice_id):
        raise ProfileNotAllowed(
            field,
            "a practice id has up to 63 of a-z, 0-9, _ and -, begins with a letter or digit and is not hub",
        )


def check_profile(
    *,
    display_name: str,
    roles: Iterable[str],
    licence_states: Iterable[str],
    modalities: Iterable[str],
    languages: Iterable[str],
    phones: dict[str, str],
) -> None:
    """Raises ProfileNotAllowed, naming the field below ``practice``. *phones* by field; empty is allowed."""
    if not display_name.strip() or len(display_name) > LONGEST_NAME or not display_name.isprintable():
        raise ProfileNotAllowed(
            "practice.display_name", f"must be a printable name of at most {LONGEST_NAME} characters"
        )
    if not set(roles):
        raise ProfileNotAllowed("practice.roles", f"must name at least one of {_listed(ROLES)}")
    _check_codes("roles", roles, ROLES)
    _check_codes("modalities", modalities, MODALITIES)
    _check_forms("licence_states", licence_states, _LICENCE_STATE, "two-letter codes of states, such as CO")
    _check_forms("languages", languages, _LANGUAGE, "language codes, such as en or es")
    for field, phone in phones.items():
        if phone and not _PHONE.fullmatch(phone):
            raise ProfileNotAllowed(f"practice.{field}", "must be a telephone number")


def check_search(*, role: str, licence_state: str, modality: str, language: str) -> None:
    """A filter that nothing could ever match is a mistake of the caller's; empty filters nothing."""
    if role and role not in ROLES:
        raise ProfileNotAllowed("role", f"must be one of {_listed(ROLES)}")
    if modality and modality not in MODALITIES:
        raise ProfileNotAllowed("modality", f"must be one of {_listed(MODALITIES)}")
    if licence_state and not _LICENCE_STATE.fullmatch(licence_state):
        raise ProfileNotAllowed("licence_state", "must be the two-letter code of a state, such as CO")
    if language and not _LANGUAGE.fullmatch(language):
        raise ProfileNotAllowed("language", "must be a language code, such as en or es")


def _check_codes(field: str, codes: Iterable[str], known: frozenset[str]) -> None:
    if set(codes) - known:
        raise ProfileNotAllowed(f"practice.{field}", f"must be among {_listed(known)}")


def _check_forms(field: str, codes: Iterable[str], form: re.Pattern[str], said: str) -> None:
    given = list(codes)
    if len(given) > _MOST_CODES or not all(form.fullmatch(code) for code in given):
        raise ProfileNotAllowed(f"practice.{field}", f"must be at most {_MOST_CODES} {said}")


def _listed(codes: frozenset[str]) -> str:
    return ", ".join(sorted(codes))
