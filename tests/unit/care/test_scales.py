"""Scales score as their published tables say."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_care.errors import Invalid
from tandem_care.scales import (
    CSSRS,
    GAD7,
    MADRS,
    PCL5,
    PHQ9,
    SCALES,
    Scale,
    Thresholds,
    change,
    read_scales,
    risk_level,
    scale_of,
    score,
)


def answers(scale: Scale, total: int) -> dict[str, int]:
    """Answers that add up to *total*, filled from the first item on."""
    found = {}
    for item in scale.items:
        found[item.code] = min(item.highest, total)
        total -= found[item.code]
    assert total == 0
    return found


@pytest.mark.parametrize(
    ("scale", "highest"), [(PHQ9, 27), (GAD7, 21), (PCL5, 80), (MADRS, 60), (CSSRS, None)]
)
def test_the_highest_total_follows_from_the_items(scale, highest):
    assert scale.highest_total == highest


def test_bands_cover_every_total_once():
    for scale in SCALES.values():
        if scale.bands:
            covered = [n for band in scale.bands for n in range(band.lowest, band.highest + 1)]
            assert covered == list(range((scale.highest_total or 0) + 1))


def test_no_severity_band_is_invented_for_the_pcl5():
    assert PCL5.bands == ()
    assert PCL5.provisional_cut is not None


@given(st.sampled_from([PHQ9, GAD7, PCL5, MADRS]), st.data())
def test_an_incomplete_scale_has_no_total_and_names_what_is_missing(scale, data):
    complete = answers(scale, data.draw(st.integers(0, scale.highest_total)))
    left_out = data.draw(st.sets(st.sampled_from(sorted(complete)), min_size=1))
    as_none = data.draw(st.booleans())
    given_answers = {code: value for code, value in complete.items() if code not in left_out}
    if as_none:
        given_answers |= dict.fromkeys(left_out)
    found = score(scale, given_answers)
    assert found.total is None
    assert found.band is None
    assert set(found.missing) == left_out
    assert not found.complete


@pytest.mark.parametrize("wrong", [-1, 4, 1.0, "1", True])
def test_an_answer_out_of_range_is_refused_by_item(wrong):
    with pytest.raises(Invalid) as refusal:
        score(PHQ9, answers(PHQ9, 10) | {"3": wrong})
    assert refusal.value.field == "items[3]"


def test_an_item_that_the_scale_does_not_have_is_refused():
    with pytest.raises(Invalid) as refusal:
        score(GAD7, {"8": 1})
    assert refusal.value.field == "items[8]"


def test_any_answer_above_zero_on_item_9_asks_for_a_risk_assessment_whatever_the_total():
    calm = dict.fromkeys((item.code for item in PHQ9.items), 0)
    assert not score(PHQ9, calm).risk_assessment_needed
    assert score(PHQ9, calm | {"9": 1}).risk_assessment_needed
    assert score(PHQ9, {"9": 1}).risk_assessment_needed, "an incomplete scale must not hide it"


def ladder(**yes: int) -> dict[str, int]:
    return {"1": 0, "2": 0, "6": 0} | {code.removeprefix("q"): value for code, value in yes.items()}


@pytest.mark.parametrize(
    ("given_answers", "level"),
    [
        (ladder(), "negative"),
        (ladder(q1=1), "low"),
        (ladder(q2=1, q3=0, q4=0, q5=0), "low"),
        (ladder(q2=1, q3=1, q4=0, q5=0), "moderate"),
        (ladder(q2=1, q3=1, q4=1, q5=0), "severe"),
        (ladder(q2=1, q3=0, q4=0, q5=1), "severe"),
        (ladder(q6=1) | {"6a": 0}, "moderate"),
        (ladder(q6=1) | {"6a": 1}, "severe"),
    ],
)
def test_the_worst_answer_decides_the_level_of_the_cssrs(given_answers, level):
    found = score(CSSRS, given_answers)
    assert (found.band, found.total, found.missing) == (level, None, ())
    assert found.risk_assessment_needed == (level != "negative")


def test_follow_up_questions_of_the_cssrs_are_missing_only_where_they_are_asked():
    assert score(CSSRS, {"1": 0, "2": 1, "6": 1}).missing == ("3", "4", "5", "6a")
    assert score(CSSRS, {"1": 0, "2": 0, "6": 0}).missing == ()


def test_recent_behaviour_contradicts_never():
    with pytest.raises(Invalid) as refusal:
        score(CSSRS, ladder() | {"6a": 1})
    assert refusal.value.field == "items[6a]"


@pytest.mark.parametrize(
    ("before", "after", "response", "remission"),
    [
        (20, 10, True, False),
        (20, 11, False, False),
        (20, 4, True, True),
        (8, 5, False, False),
        (0, 0, None, True),
    ],
)
def test_response_is_half_gone_and_remission_is_below_five(before, after, response, remission):
    found = change(PHQ9, before, after)
    assert (found.response, found.remission) == (response, remission)


def test_change_on_the_pcl5_is_judged_by_thresholds_from_a_named_source():
    quoted = PCL5.thresholds_named("ncptsd")
    assert change(PCL5, 50, 40, quoted).important is True
    assert change(PCL5, 50, 40, quoted).reliable is None
    assert change(PCL5, 50, 40).important is False
    assert change(PCL5, 50, 32).reliable is True
    assert change(PCL5, 50, 32).source == PCL5.thresholds[0].source
    with pytest.raises(Invalid, match="default, ncptsd"):
        PCL5.thresholds_named("mine")


def test_a_practice_may_bring_its_own_thresholds():
    own = Thresholds(name="ours", response_percent=40, remission_below=8, source="Agreed in March 2026")
    assert change(PHQ9, 20, 12, own).response is True
    assert change(PHQ9, 20, 7, own).remission is True
    assert change(PHQ9, 20, 7, own).reliable is None


def test_a_gad7_has_no_published_response_or_remission_here():
    found = change(GAD7, 20, 2)
    assert (found.response, found.remission) == (None, None)


@pytest.mark.parametrize(
    ("scale", "given_answers", "level"),
    [
        (PHQ9, {"9": 0}, "none"),
        (PHQ9, {"9": 1}, "low"),
        (PHQ9, {"9": 2}, "moderate"),
        (PHQ9, {"9": 3}, "severe"),
        (PHQ9, {"1": 3}, None),
        (MADRS, {"10": 2}, "low"),
        (MADRS, {"10": 3}, "moderate"),
        (MADRS, {"10": 4}, "moderate"),
        (MADRS, {"10": 5}, "severe"),
        (GAD7, {"1": 3}, None),
        (CSSRS, {"1": 0, "2": 0, "6": 0}, "none"),
        (CSSRS, {"1": 0, "2": 0}, None),
        (CSSRS, {"1": 0, "2": 1}, "low"),
        (CSSRS, {"4": 1}, "severe"),
    ],
)
def test_a_scale_says_what_level_of_risk_it_points_to_and_missing_answers_hide_nothing(
    scale, given_answers, level
):
    assert risk_level(scale, given_answers) == level


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (("lowest = 5, highest = 9", "lowest = 5, highest = 8"), "scales[0].bands"),
        (('code = "2", topic', 'code = "1", topic'), "scales[0].items"),
        (('code = "gad-7"', 'code = "phq-9"'), "scales[1].code"),
        (('title = "GAD-7"', 'name = "GAD-7"'), "scales[1].name"),
        (("reliable = 6", "reliable = 6.5"), "scales[0].thresholds[0].reliable"),
    ],
)
def test_a_file_of_scales_that_is_wrong_is_refused_by_field(broken: tuple[str, str], field: str):
    text = resources.files("tandem_care.scales").joinpath("instruments.toml").read_text("utf-8")
    assert broken[0] in text
    with pytest.raises(Invalid) as refusal:
        read_scales(text.replace(broken[0], broken[1], 1))
    assert refusal.value.field == field


def test_a_file_of_scales_must_be_toml():
    with pytest.raises(Invalid, match="TOML"):
        read_scales("scales = [")


def test_a_scale_without_a_total_has_no_change_of_total():
    with pytest.raises(Invalid):
        change(CSSRS, 1, 0)


def test_scales_are_found_by_code():
    assert scale_of("phq-9") is PHQ9
    with pytest.raises(Invalid, match="phq-9, gad-7"):
        scale_of("bdi-ii")


def test_every_scale_names_its_source():
    assert all(scale.source for scale in SCALES.values())
