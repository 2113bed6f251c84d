"""An expectation that is not met says which it was, and what was seen."""

import pytest

from tandem_ops.reach import ClinicAway
from tandem_ops.story.expectations import ExpectationFailed, eventually, expect


def test_what_comes_in_time_is_given_back():
    seen = iter(["requested", "requested", "received"])
    assert eventually("received", lambda: next(seen), lambda state: state == "received") == "received"


def test_what_never_comes_is_told_with_what_was_seen_instead():
    with pytest.raises(ExpectationFailed, match=r"received \(within 0\.1 s\)\nseen: +requested"):
        eventually("received", lambda: "requested", lambda state: state == "received", within=0.1)


def test_a_practice_that_does_not_answer_has_not_shown_it_yet():
    def away():
        raise ClinicAway("connection refused")

    with pytest.raises(ExpectationFailed, match="connection refused"):
        eventually("an answer", away, lambda seen: True, within=0.1)


def test_what_is_so_passes_in_silence():
    expect("true", True, "anything")
