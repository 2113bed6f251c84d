"""Scale results agree with published tables: one below and one above each cut."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tandem_care.scales import SCALES, Scale, ScaleCode, change, score

TABLES: dict[str, list[dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("cut_offs.toml").read_text("utf-8")
)


def rows(table: str) -> Any:
    return pytest.mark.parametrize(
        "row", TABLES[table], ids=lambda row: f"{row.get('scale', table)}-{row.get('thresholds', 'default')}"
    )


def scale_of(row: dict[str, Any]) -> Scale:
    return SCALES[ScaleCode(row["scale"])]


def changed(row: dict[str, Any], before: int, after: int) -> Any:
    scale = scale_of(row)
    thresholds = scale.thresholds_named(row["thresholds"]) if "thresholds" in row else None
    return change(scale, before, after, thresholds)


def band_of(scale: Scale, total: int) -> str | None:
    answers = {}
    for item in scale.items:
        answers[item.code] = min(item.highest, total)
        total -= answers[item.code]
    found = score(scale, answers)
    assert found.complete
    return found.band


@rows("bands")
def test_each_cut_opens_its_band_and_one_below_does_not(row):
    scale = scale_of(row)
    below = row["lowest"]
    assert band_of(scale, 0) == below
    for cut in row["cuts"]:
        assert band_of(scale, cut["at"] - 1) == below
        assert band_of(scale, cut["at"]) == cut["band"]
        assert band_of(scale, cut["at"] + 1) == cut["band"]
        below = cut["band"]
    assert scale.highest_total == row["highest_total"]
    assert band_of(scale, row["highest_total"]) == below


def test_every_scale_with_bands_is_in_the_published_table():
    assert {row["scale"] for row in TABLES["bands"]} == {code for code, each in SCALES.items() if each.bands}


@rows("provisional")
def test_the_provisional_cut_is_reached_at_its_lowest_score(row):
    scale = scale_of(row)
    assert scale.provisional_cut is not None
    assert (scale.provisional_cut.lowest, scale.provisional_cut.highest) == (row["lowest"], row["highest"])
    assert (scale.highest_total, scale.bands) == (row["highest_total"], ())
    assert changed(row, 50, row["lowest"] - 1).provisional is False
    assert changed(row, 50, row["lowest"]).provisional is True


@rows("remission")
def test_remission_is_below_its_cut(row):
    before = scale_of(row).highest_total or 0
    assert changed(row, before, row["below"] - 1).remission is True
    assert changed(row, before, row["below"]).remission is False


@rows("response")
def test_response_is_half_and_no_less(row):
    for pair in row["pairs"]:
        assert changed(row, pair["before"], pair["after"]).response is True
        assert changed(row, pair["before"], pair["after"] + 1).response is False


@rows("change")
def test_change_counts_from_its_points_on_in_both_directions(row):
    for field in ("important", "reliable"):
        points = row.get(field)
        if points is None:
            assert getattr(changed(row, 20, 10), field) is None
            continue
        assert getattr(changed(row, 20, 20 - points + 1), field) is False
        assert getattr(changed(row, 20, 20 - points), field) is True
        assert getattr(changed(row, 20 - points, 20), field) is True


@rows("triage")
def test_one_answer_more_changes_the_level(row):
    scale = SCALES[ScaleCode.CSSRS]
    for each in row["rows"]:
        answers = {item.code: int(item.code in each["yes"]) for item in scale.items}
        assert score(scale, answers).band == each["level"], each


def test_every_row_names_its_source():
    assert all(row["source"] for table in TABLES.values() for row in table)
