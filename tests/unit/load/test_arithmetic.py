"""What the bench computes from what it measures."""

import pytest
from load.figures import Figure
from load.growth import spread
from load.growth_figures import powers
from load.model import Cost, Station, calibrated, simulate
from load.timetable import at_rate
from load.timings import percentile


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(percent, expected):
    assert percentile([*range(100, 0, -1)], percent) == expected


def test_a_ratio_is_of_medians_and_missing_without_a_floor():
    figure = Figure("key", "Title")
    for ours, bare in ((2.0, 1.0), (30.0, 1.0), (4.0, 2.0)):
        figure.add("tandem", "both", "ms", ours)
        figure.add("floor", "both", "ms", bare)
        figure.add("tandem", "alone", "ms", ours)

    assert figure.rows["both"].ratio == 4.0
    assert figure.rows["alone"].ratio is None


def test_a_call_that_is_late_because_of_the_one_before_counts_as_late():
    """All callers are held by the first calls, so the last is late by about what they took."""
    import threading

    gate = threading.Event()
    threading.Timer(0.3, gate.set).start()

    seconds = at_rate(1000.0, range(40), lambda _: gate.wait())

    assert min(seconds) > 0.2


def test_sizes_grow_tenfold_up_to_the_largest():
    assert [*powers(10, 5000)] == [10, 100, 1000, 5000]
    assert [*powers(1000, 1000)] == [1000]


def test_a_copied_id_keeps_its_form_and_is_the_same_in_every_table():
    original = "ent_abcdefghijklmnopqrstuvwxyz"

    copies = {spread(original, copy, row) for copy in range(3) for row in range(5)}

    assert len(copies) == 3
    assert all(copy and copy.startswith("ent_") and len(copy) == len(original) for copy in copies)


def test_stations_in_a_row_are_as_fast_as_the_slowest_and_share_the_cores():
    def stations():
        return [Station("fast", Cost(0.0, 0.001), 1, most=10), Station("slow", Cost(0.0, 0.003), 1, most=10)]

    assert max(simulate([0.0] * 1000, stations())) == pytest.approx(3.0, rel=0.02)
    assert max(simulate([0.0] * 1000, stations(), cores=1)) == pytest.approx(4.0, rel=0.02)


def test_costs_fall_into_a_part_for_the_transaction_and_one_for_each_entry():
    def row(name, value):
        return {"name": name, "tandem": value}

    figures = {
        "propagation": {"rows": [row("CPU of hub, user", 5.0), row("CPU of hub, system", 1.5)]},
        "throughput": {"rows": [row("CPU of hub, user", 1.0), row("CPU of hub, system", 0.05)]},
        "start": {"rows": [row("idle CPU of hub", 50.0)]},
    }

    cost = calibrated(figures, "hub")

    assert cost.of(1) == pytest.approx(0.006)
    assert cost.of(100) / 100 == pytest.approx(0.00105)
