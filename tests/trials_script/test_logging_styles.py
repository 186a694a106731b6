"""Which figure judges, in 108 styles of logging: the right series, split and direction, and never a constant."""

from __future__ import annotations

import pytest

from traindx.evidence.observed import Ending, ScriptRun
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.scoring_metric import Choice, choose
from traindx.watch.interventions.readings import Readings
from trials_script.logging_styles import Style, styles

STYLES = styles()
KNOWN = {  # what is not decided as the corpus has it, and why
    "only an arrow tells the new value": "a figure that is printed only when it improves is the best so far",
    "rates of both kinds": "a rate of one kind of error judges, and the loss below it has lost its split",
    "reconstruction figures with long names": "of three qualities the first judges, an error",
}


def decided(style: Style) -> tuple[Choice, dict[tuple[str, str], Series]]:
    """What is chosen of what the style prints."""
    readings = Readings()
    for phase, line in style.lines:
        readings.iteration += phase == "t"
        readings.text(f"{line}\n", evaluating=phase == "v")
    readings.flush()
    found = {
        (one.name, one.source): Series(
            one.name,
            one.source,
            tuple(one.iterations),
            tuple(one.values),
            one.higher_is_better,
            one.evaluating,
            one.split,
        )
        for one in readings.figures.values()
    }
    run = ScriptRun(target="train.py", ending=Ending.FINISHED)
    choice = choose(ArmResult(run=run, figures=tuple(found.values()), iterations=readings.iteration))
    if choice.chosen is not None and choice.chosen.provisional:
        choice = Choice(why_not=choice.why)
    return choice, found


def is_right(style: Style) -> bool:
    """The series, its split and its direction, or nothing where nothing may judge."""
    choice, found = decided(style)
    if choice.chosen is None or not style.figures:
        return choice.chosen is None and not style.figures
    one = found[choice.chosen.name, choice.chosen.source]
    split = one.split == style.split or (not one.split and one.evaluating is True)
    return one.values in style.figures and split and choice.chosen.higher_is_better is style.higher


@pytest.mark.parametrize("style", [style for style in STYLES if style.name not in KNOWN], ids=lambda style: style.name)
def test_the_right_figure_judges(style: Style) -> None:
    choice, _ = decided(style)
    assert is_right(style), choice
    assert (choice.chosen is None) is bool(choice.why_not)


def test_at_least_95_of_100_styles_are_read_right() -> None:
    assert len({style.name for style in STYLES}) == len(STYLES) >= 100
    wrong = {style.name for style in STYLES if not is_right(style)}
    assert wrong == set(KNOWN)
    assert len(wrong) <= 0.05 * len(STYLES)


def test_nothing_that_may_not_judge_is_chosen() -> None:
    silent = [style for style in STYLES if not style.figures]
    assert len(silent) >= 10
    assert all(decided(style)[0].chosen is None for style in silent)


def test_train_and_validation_lines_of_one_name_are_two_series() -> None:
    style = next(style for style in STYLES if style.name == "split in square brackets")
    series = decided(style)[1]
    assert series["VAL psnr", "printed"].values == (21.4, 23.9)
    assert series["TRAIN psnr", "printed"].values == (20.9, 23.6)
    assert series["TRAIN psnr", "printed"].split == "training"


def test_the_choice_the_runner_up_and_the_reasons_are_told() -> None:
    style = next(style for style in STYLES if style.name == "equals signs and commas")
    choice = decided(style)[0]
    assert choice.why == "val_auc was chosen: a figure of validation"
    assert choice.runner_up == "next would have been val_loss (a loss may change its meaning)"
    weights = next(style for style in STYLES if style.name == "weights and rates only")
    assert "dice_weight: it is a weight, a rate or a size" in decided(weights)[0].why_not
