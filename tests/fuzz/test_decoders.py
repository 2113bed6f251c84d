"""Bytes that nobody meant, before every decoder: the same value again or its own refusal, never anything else."""

import resource
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.decoders import DECODERS, Decoder, decoder, kept_seeds, seed_in
from support.fuzzed_calls import LONG

SEEDS = Path(__file__).parent / "seeds"
KEPT = kept_seeds(SEEDS)
EXAMPLES = 5_000 if LONG else 120
MOST_KILOBYTES = 64 * 1024
every_decoder = pytest.mark.parametrize("read", DECODERS, ids=lambda each: each.name)
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=2_000,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# What a length that lies, a number that is none and a nesting without end look like.
TELLING = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80" * 10 + b"\x01",
    b"\xff" * 9 + b"\x01",
    bytes(8),
    b"L\xff\xff\xff\xff",
    b"S\xff\xff\xff\xff",
    b"[" * 2_000,
    b'{"a":' * 2_000,
    b"1" * 5_000,
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b'""',
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\r\n\0",
    "٣".encode(),
    b"0001-01-01T00:00:00+14:00",
    b"-----BEGIN PRIVATE KEY-----\n",
)


@cache
def valid(name: str) -> Sequence[bytes]:
    return tuple(decoder(name).valid())


@st.composite
def mutations(draw: st.DrawFn, encodings: Sequence[bytes]) -> bytes:
    """One to four changes to a valid encoding: bits, cuts, insertions, repetitions, a splice with another."""
    changed = bytearray(draw(st.sampled_from(encodings)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(("flip", "cut", "drop", "insert", "tell", "repeat", "splice"))):
            case "flip" if at < len(changed):
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del changed[at:]
            case "drop":
                del changed[at : at + draw(st.integers(1, 16))]
            case "insert":
                changed[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "tell":
                told = draw(st.sampled_from(TELLING))
                changed[at : at + draw(st.sampled_from((0, 1, len(told))))] = told
            case "repeat":
                changed[at:at] = changed[at : at + draw(st.integers(1, 200))]
            case "splice":
                other = draw(st.sampled_from(encodings))
                changed[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(changed)


@every_decoder
def test_what_is_valid_is_read(read: Decoder) -> None:
    assert [read.holds(each) for each in valid(read.name)].count(None) == 0


@every_decoder
@fuzzed
@given(data=st.data())
def test_what_was_changed_on_its_way_is_read_as_it_stands_or_refused(
    read: Decoder, data: st.DataObject
) -> None:
    read.holds(data.draw(mutations(valid(read.name))))


@every_decoder
@fuzzed
@given(encoded=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))
def test_what_is_nothing_is_refused(read: Decoder, encoded: bytes) -> None:
    read.holds(encoded)


@every_decoder
def test_what_tells_a_lie_about_itself_is_refused(read: Decoder) -> None:
    """And takes no memory for what it only says that it holds."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _try_lies(read)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES


def _try_lies(read: Decoder) -> None:
    for told in TELLING:
        read.holds(told)
        for encoded in valid(read.name)[: 1 if read.is_slow else 2]:
            for at in {1, len(encoded) // 2} if read.is_slow else {0, 1, len(encoded) // 2, len(encoded)}:
                read.holds(encoded[:at] + told + encoded[at:])
                read.holds(encoded[:at] + told)


@pytest.mark.parametrize(("name", "file"), KEPT, ids=[f"{name}-{file.stem}" for name, file in KEPT])
def test_what_was_kept_is_read_or_refused_for_good(name: str, file: Path) -> None:
    read = decoder(name).holds(seed_in(file))
    if file.stem.startswith("valid"):
        assert read is not None
    if file.stem.startswith("refused"):
        assert read is None


def test_seeds_are_of_decoders_that_there_are_and_hold_no_key_of_anybody() -> None:
    assert {name for name, _ in KEPT} <= {each.name for each in DECODERS}
    holding_keys = [
        file for name, file in KEPT if not decoder(name).keeps_seeds and not file.stem.startswith("refused")
    ]
    assert holding_keys == []
