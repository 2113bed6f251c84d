"""Practices by the thousand that differ as real ones do, beside copies of the few that a run began with."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from load.growth import Change
from sqlalchemy import MetaData, create_engine, select

from tandem.directory.v1.directory_pb2 import Capacity, Practice, Service, Site
from tandem_care.offers import LANGUAGES, NUMBERS, PRICES, Offer, offer_of
from tandem_care.profile import ACCESS, AGE_GROUPS, MODALITIES, PAYMENTS, ROLES, ROUTES, SERVICES, STATES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1) // timedelta(microseconds=1)
_OPENINGS = 3


def some(draw: random.Random, codes: Sequence[str], chance: float) -> list[str]:
    return [code for code in codes if draw.random() < chance] or [draw.choice(codes)]


@lru_cache(maxsize=1)
def a_practice(number: int) -> Practice:
    """Half of them in Oregon, so that a search there has thousands to rank."""
    draw = random.Random(number)
    return Practice(
        display_name=f"Practice {number}",
        roles=[ROLES[number % 8 != 0]],
        licence_states={"OR", *some(draw, STATES, 0.02)} if number % 2 else some(draw, STATES, 0.04),
        modalities=some(draw, MODALITIES, 0.4),
        languages=some(draw, ["en", "es", "fr", "vi", "zh"], 0.3),
        routes=some(draw, ROUTES, 0.3),
        age_groups=some(draw, AGE_GROUPS, 0.5),
        telehealth=draw.random() < 0.6,
        contact_phone="+1 503 555 0110",
        on_call_phone="+1 503 555 0111",
        version=1,
        services=[
            Service(
                service=service,
                payments=some(draw, PAYMENTS, 0.3),
                lowest_price=draw.randrange(80, 400),
                highest_price=500,
            )
            for service in some(draw, SERVICES, 0.5)
        ],
        sites=[
            Site(
                name="Downtown",
                address="1 Main Street",
                contact_phone="+1 503 555 0110",
                access=some(draw, ACCESS, 0.4),
            )
            for _ in range(draw.randrange(1, 3))
        ],
    )


@lru_cache(maxsize=1)
def _offer(number: int) -> Offer:
    return offer_of(a_practice(number))


def _named(value: str, copy: int, _: int) -> str:
    return f"{value}_{copy}"


def _profile(value: bytes, copy: int, number: int) -> bytes:
    made = Practice(practice_id=_named(Practice.FromString(value).practice_id, copy, number))
    made.MergeFrom(a_practice(number))
    return made.SerializeToString(deterministic=True)


def _column(name: str) -> Change:
    return lambda _, __, number: _offer(number)[name]


def _now(*_: object) -> int:
    return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)


PRACTICES: Mapping[str, Mapping[str, Change]] = {
    "practice": {
        "practice_id": _named,
        "profile": _profile,
        "capacity": lambda _, __, number: Capacity(openings=number % _OPENINGS).SerializeToString(),
        "capacity_stated_at": _now,
    },
    "listing": {
        "practice_id": _named,
        **{name: _column(name) for name in (*NUMBERS, *PRICES, LANGUAGES)},
        "openings": lambda _, __, number: number % _OPENINGS,
        "stated_at": _now,
    },
}


def give_next_openings(url: str) -> None:
    """Two to each practice that has none, within the next two months."""
    engine = create_engine(url)
    metadata = MetaData()
    metadata.reflect(engine, only=["listing", "next_opening"])
    listing, opening = metadata.tables["listing"], metadata.tables["next_opening"]
    now, draw = _now(), random.Random(1)
    try:
        with engine.begin() as connection:
            without = select(listing.c.practice_id).where(
                listing.c.practice_id.not_in(select(opening.c.practice_id))
            )
            rows = [
                {
                    "practice_id": practice_id,
                    "number": number,
                    "at": now + draw.randrange(60 * _DAY),
                    "service": draw.choice(["", *SERVICES]),
                }
                for practice_id in connection.execute(without).scalars()
                for number in range(2)
            ]
            if rows:
                connection.execute(opening.insert(), rows)
    finally:
        engine.dispose()
