"""What a practice may say about itself, so that others find it: codes, and what belongs together."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Final, Protocol

from tandem_care.entry_kinds import Route
from tandem_care.errors import Invalid
from tandem_care.npi import is_npi

# In each of these lists a code's place is its bit in what the hub has stored: new codes go to the end.
ROLES: Final = ("prescriber", "therapy_provider")
_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR"
    " PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR GU VI AS MP"
)
STATES: Final = tuple(_STATES.split())
MODALITIES: Final = ("cbt", "act", "emdr", "exposure", "mindfulness", "trauma-informed")
ROUTES: Final = tuple(route.value for route in Route)
AGE_GROUPS: Final = ("child", "adolescent", "adult", "older-adult")
SERVICES: Final = (
    "medical-evaluation",
    "dosing-session",
    "preparation-session",
    "integration-session",
    "psychotherapy",
)
PAYMENTS: Final = (
    "self-pay",
    "in-network",
    "superbill",
    "sliding-scale",
    "medicaid",
    "medicare",
    "hsa-fsa",
    "veterans",
    "no-charge",
)
ACCESS: Final = (
    "step-free",
    "accessible-toilet",
    "sign-language",
    "hearing-support",
    "low-vision-support",
    "quiet-room",
)
"""What a site offers to whom stairs, noise or print would keep away. No more than six: see `tandem_care.offers`."""

LONGEST_NAME: Final = 200
HIGHEST_PRICE: Final = 100_000
MOST_OPENINGS: Final = 1000
MOST_NEXT_OPENINGS: Final = 20
FARTHEST_OPENING: Final = timedelta(days=730)
MOST_SITES: Final = 20
_MOST_TRAININGS = 20
_MOST_LANGUAGES = 100
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][A-Za-z]{1,3})?")
_PHONE = re.compile(r"\+?[0-9][0-9 ().x-]{1,38}")


class Training(Protocol):
    @property
    def program(self) -> str: ...
    @property
    def hours(self) -> int: ...
    @property
    def completed_year(self) -> int: ...


class Service(Protocol):
    """Prices are whole US dollars; a highest price of 0 is none that was stated."""

    @property
    def service(self) -> str: ...
    @property
    def payments(self) -> Sequence[str]: ...
    @property
    def lowest_price(self) -> int: ...
    @property
    def highest_price(self) -> int: ...


class Site(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def contact_phone(self) -> str: ...
    @property
    def on_call_phone(self) -> str: ...
    @property
    def access(self) -> Sequence[str]: ...


class Profile(Protocol):
    """As directory.v1.Practice has it."""

    @property
    def display_name(self) -> str: ...
    @property
    def npi(self) -> str: ...
    @property
    def roles(self) -> Sequence[str]: ...
    @property
    def licence_states(self) -> Sequence[str]: ...
    @property
    def modalities(self) -> Sequence[str]: ...
    @property
    def routes(self) -> Sequence[str]: ...
    @property
    def age_groups(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def telehealth(self) -> bool: ...
    @property
    def contact_phone(self) -> str: ...
    @property
    def on_call_phone(self) -> str: ...
    @property
    def kap_trainings(self) -> Sequence[Training]: ...
    @property
    def services(self) -> Sequence[Service]: ...
    @property
    def sites(self) -> Sequence[Site]: ...


def check_profile(profile: Profile) -> None:
    """All but the roles. Raises Invalid, naming the field."""
    if not profile.display_name.strip():
        raise Invalid("display_name", "must not be empty")
    check_line("display_name", profile.display_name)
    if profile.npi and not is_npi(profile.npi):
        raise Invalid("npi", "must be ten digits of which the last one checks the others")
    for field, given, known in (
        ("licence_states", profile.licence_states, STATES),
        ("modalities", profile.modalities, MODALITIES),
        ("routes", profile.routes, ROUTES),
        ("age_groups", profile.age_groups, AGE_GROUPS),
    ):
        check_codes(field, given, known)
    check_languages("languages", profile.languages, _MOST_LANGUAGES)
    _check_phones(profile)
    _each("kap_trainings", profile.kap_trainings, _MOST_TRAININGS, _check_training)
    _each("services", profile.services, len(SERVICES), _check_service)
    check_codes("services", [each.service for each in profile.services], SERVICES)
    _each("sites", profile.sites, MOST_SITES, _check_site)


def check_roles(roles: Sequence[str]) -> None:
    """The network's operator gives them. Raises Invalid."""
    if not roles:
        raise Invalid("roles", f"must name at least one of {', '.join(sorted(ROLES))}")
    check_codes("roles", roles, ROLES)


def check_line(field: str, text: str) -> None:
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise Invalid(field, f"must be one line of at most {LONGEST_NAME} characters")


def check_codes(field: str, given: Sequence[str], known: Collection[str]) -> None:
    if len(given) != len(set(given)) or not set(given) <= set(known):
        raise Invalid(field, f"must be among {', '.join(sorted(known))}, each at most once")


def check_languages(field: str, given: Sequence[str], most: int) -> None:
    if len(given) > most or not all(_LANGUAGE.fullmatch(each) for each in given):
        raise Invalid(field, f"must be at most {most} language codes, such as en or es")


def _each(field: str, given: Iterable[object], most: int, check: Callable[..., None]) -> None:
    for number, each in enumerate(given):
        if number == most:
            raise Invalid(field, f"must be at most {most}")
        try:
            check(each)
        except Invalid as fault:
            raise fault.inside(f"{field}[{number}]") from None


def _check_training(training: Training) -> None:
    if not training.program.strip():
        raise Invalid("program", "must not be empty")
    check_line("program", training.program)
    if training.hours > 10_000:
        raise Invalid("hours", "must be at most 10000")
    if training.completed_year and not 1960 <= training.completed_year <= 2200:
        raise Invalid("completed_year", "must be a year")


def _check_service(service: Service) -> None:
    check_codes("service", [service.service], SERVICES)
    if not service.payments:
        raise Invalid("payments", f"must name at least one of {', '.join(sorted(PAYMENTS))}")
    check_codes("payments", service.payments, PAYMENTS)
    if not service.lowest_price <= service.highest_price <= HIGHEST_PRICE:
        raise Invalid(
            "highest_price", f"must not be below the lowest price, and be at most {HIGHEST_PRICE} US dollars"
        )


def _check_site(site: Site) -> None:
    if not site.name.strip():
        raise Invalid("name", "must not be empty")
    check_line("name", site.name)
    check_line("address", site.address)
    if site.state:
        check_codes("state", [site.state], STATES)
    check_codes("access", site.access, ACCESS)
    _check_phones(site)


def _check_phones(of: Profile | Site) -> None:
    for field, phone in (("contact_phone", of.contact_phone), ("on_call_phone", of.on_call_phone)):
        if phone and not _PHONE.fullmatch(phone):
            raise Invalid(field, "must be a telephone number")
