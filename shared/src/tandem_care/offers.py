"""A practice's profile as numbers, so that a database can compare it with what is looked for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tandem_care.profile import (
    ACCESS,
    AGE_GROUPS,
    MODALITIES,
    PAYMENTS,
    ROLES,
    ROUTES,
    SERVICES,
    STATES,
    Profile,
)

Offer = Mapping[str, int | str | None]
"""By column. Of each list of codes the bits of those that hold; of each service its payments and its lowest price."""


def payments_column(service: str) -> str:
    return f"payments_{service.replace('-', '_')}"


def price_column(service: str) -> str:
    return f"price_{service.replace('-', '_')}"


NUMBERS: Final = (
    "roles",
    "licence_states",
    "modalities",
    "routes",
    "age_groups",
    "access",
    "telehealth",
    "kap_trained",
    *map(payments_column, SERVICES),
)
PRICES: Final = tuple(map(price_column, SERVICES))
"""Null where no price is stated."""

LANGUAGES: Final = "languages"
""",en,es,"""


def offer_of(profile: Profile) -> Offer:
    """The profile must have been checked."""
    offer: dict[str, int | str | None] = dict.fromkeys(NUMBERS, 0) | dict.fromkeys(PRICES)
    offer |= {
        "roles": bits_of(profile.roles, ROLES),
        "licence_states": bits_of(profile.licence_states, STATES),
        "modalities": bits_of(profile.modalities, MODALITIES),
        "routes": bits_of(profile.routes, ROUTES),
        "age_groups": bits_of(profile.age_groups, AGE_GROUPS),
        "access": _access(site.access for site in profile.sites),
        "telehealth": int(profile.telehealth),
        "kap_trained": int(bool(profile.kap_trainings)),
        LANGUAGES: _languages(profile.languages),
    }
    for each in profile.services:
        offer[payments_column(each.service)] = bits_of(each.payments, PAYMENTS)
        if each.highest_price or "no-charge" in each.payments:
            offer[price_column(each.service)] = each.lowest_price
    return offer


def number_in(value: int | str | None) -> int:
    assert isinstance(value, int)
    return value


def bits_of(codes: Iterable[str], known: Sequence[str]) -> int:
    return sum({1 << known.index(code) for code in codes})


def bit_of_all(access: Iterable[str]) -> int:
    """The bit of a set of access needs: sets are numbered by their own bits, and the empty one has none.

    Six needs make 63 sets that are not empty: as many as a signed number of 64 bits has room for.
    """
    return 1 << (bits_of(access, ACCESS) - 1)


def _access(sites: Iterable[Sequence[str]]) -> int:
    """A bit for every set of needs that one of the sites meets as a whole: what two sites have between them helps nobody."""
    met = [bits_of(site, ACCESS) for site in sites]
    every_set = range(1, 1 << len(ACCESS))
    return sum(1 << (needs - 1) for needs in every_set if any(needs & ~site == 0 for site in met))


def _languages(codes: Iterable[str]) -> str:
    """Who speaks es-MX is found by es, too."""
    words = sorted({word for code in codes for word in (code, code.partition("-")[0])})
    return f",{','.join(words)}," if words else ""
