"""Every run ends with the same figure: how soon it was reached tells; and a loss that is called nothing but ``val``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed import Ending, ScriptRun
from traindx.finding import Finding, Location, Proposal, Severity, Verdict
from traindx.trials.script import backend as running
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.prove import Proof
from traindx.trials.script.scoring_metric import Tested as Worth
from traindx.trials.script.scoring_metric import choose
from traindx.watch.runtime.settings import Settings

FINDING = Finding(
    code="O401",
    name="a-rule",
    message="m",
    severity=Severity.MAJOR,
    location=Location(file="train.py", line=12),
    proposals=(Proposal(treatment="learning-rate", parameters={"factor": 10.0}),),
)


class Runs:
    """Runs that reach an accuracy of 1 after some readings, sooner or as soon with the treatment."""

    def __init__(self, sooner: int, other_end: tuple[int, ...] = (), end: float = 0.99) -> None:
        self.sooner, self.other_end, self.end = sooner, other_end, end

    def __call__(self, settings: Settings, **given: Any) -> ArmResult:
        seed, treated = given["pair"], bool(given["treatments"])
        reached = 4 + seed % 3 - (self.sooner if treated else 0)
        values = tuple(1.0 if i >= reached else 0.5 for i in range(10))
        if seed in self.other_end:
            values = (*values[:-1], self.end - 0.01 * treated)
        return ArmResult(
            run=ScriptRun(target="train.py", ending=Ending.FINISHED, seconds=1.0),
            iterations=100,
            loop_seconds=0.5,
            losses=(1.0,),
            weights=f"{seed}{treated}",
            figures=(Series("val acc", "printed", tuple(range(10, 101, 10)), values, None, True),),
        )


def proven(folder: Path, monkeypatch: pytest.MonkeyPatch, runs: Runs) -> Proof:
    monkeypatch.setattr(running, "run_arm", runs)
    settings = Settings(target="train.py", out=str(folder))
    made = Proof(settings, [FINDING], Evidence(), folder, 1000.0, seeds=(0, 1, 2))
    made.run()
    return made


def test_what_ends_the_same_is_judged_by_how_soon_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = proven(tmp_path, monkeypatch, Runs(sooner=2)).table()
    effect = table.results[0].given_rest
    assert effect is not None
    # two readings of ten are 1 instead of 0.5, in every pair, the first one too
    assert effect.differences == pytest.approx((0.1, 0.1, 0.1))
    assert any("val acc is 1 at the end of every run" in note for note in table.notes)


def test_what_is_reached_as_soon_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = proven(tmp_path, monkeypatch, Runs(sooner=0)).table()
    assert table.results[0].verdict is not Verdict.PROVEN
    effect = table.results[0].given_rest
    assert effect is not None
    assert effect.differences == (0.0, 0.0, 0.0)


def test_few_runs_that_end_otherwise_do_not_keep_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most runs are at the best value that was ever read, so that the end says nothing of most of them."""
    table = proven(tmp_path, monkeypatch, Runs(sooner=2, other_end=(1,))).table()
    effect = table.results[0].given_rest
    assert effect is not None
    assert effect.differences == pytest.approx((0.1, 0.1 - 0.001, 0.1))
    assert any("val acc is 1 at the end of 3 of 5 runs" in note for note in table.notes)


@pytest.mark.parametrize(("others", "end"), [((1, 2), 0.99), ((1,), 1.5)])
def test_the_end_judges_where_most_are_below_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[int, ...], end: float
) -> None:
    table = proven(tmp_path, monkeypatch, Runs(sooner=2, other_end=others, end=end)).table()
    effect = table.results[0].given_rest
    assert effect is not None
    assert effect.differences == pytest.approx(tuple(-0.01 if seed in others else 0.0 for seed in range(3)))
    assert not any("at the end of" in note for note in table.notes)


def lines(training: tuple[float, ...], stepped: tuple[float, ...], name: str = "val") -> ArmResult:
    """A run that printed at iterations 20, 40 and 60, where these losses were stepped on, and others in between."""
    at = (20, 40, 60)
    losses = [2.0 + 0.013 * step for step in range(60)]
    for step, loss in zip(at, stepped, strict=True):
        losses[step - 1] = loss
    return ArmResult(
        run=ScriptRun(target="t", ending=Ending.FINISHED),
        iterations=60,
        losses=tuple(losses),
        figures=(
            Series("train", "printed", at, training, None, True, "training"),
            Series(name, "printed", at, (0.5, 0.4, 0.3), None, True, "validation"),
        ),
    )


def test_a_figure_beside_the_loss_of_training_is_the_loss_of_validation() -> None:
    printed = (0.512, 0.414, 0.333)
    exact = (0.51204, 0.41398, 0.333)
    chosen = choose(lines(printed, exact)).chosen
    assert chosen is not None
    assert (chosen.name, chosen.higher_is_better, chosen.is_loss) == ("val", False, True)
    scaled = choose(lines(printed, tuple(65536 * loss for loss in exact))).chosen
    assert scaled is not None, "a scaler multiplies what is stepped on"
    assert choose(lines(printed, (0.6, 0.5, 0.4))).chosen is None
    assert choose(lines(printed, (0.51204, 4 * 0.41398, 0.333))).chosen is None, "not the same power of two"
    assert choose(lines(printed, exact, name="val score x")).chosen is None


@pytest.mark.parametrize(
    ("name", "values", "higher"),
    [
        ("val giou", (1.31, 1.02, 0.9), None),  # a loss: GIoU is 1 at best
        ("val giou", (0.31, 0.5, 0.9), True),
        ("val acc", (12.0, 55.0, 83.0), True),  # percent
        ("val dice loss", (1.5, 1.2, 1.1), False),
        ("val psnr", (1.5, 1.8, 1.9), True),  # which has no such limit
        ("val mae", (1.5, 1.2, 1.1), False),
    ],
)
def test_a_quality_above_one_is_not_what_its_name_says(
    name: str, values: tuple[float, ...], higher: bool | None
) -> None:
    figure = Series(name, "printed", (20, 40, 60), values, None, True, "validation")
    chosen = choose(ArmResult(run=ScriptRun(target="t", ending=Ending.FINISHED), figures=(figure,))).chosen
    assert (chosen.higher_is_better if chosen is not None else None) is higher


def test_a_direction_that_was_tested_holds_above_one() -> None:
    figure = Series("val giou", "printed", (20, 40, 60), (1.31, 1.02, 0.9), None, True, "validation")
    seen = ArmResult(run=ScriptRun(target="t", ending=Ending.FINISHED), figures=(figure,))
    chosen = choose(seen, tested=Worth(higher={("val giou", "printed"): False})).chosen
    assert chosen is not None
    assert not chosen.higher_is_better
    assert "val giou" in choose(seen).why_not


def test_a_quality_that_fixed_outputs_make_more_than_one_is_a_loss() -> None:
    figure = Series("val giou", "printed", (20, 40, 60), (0.8, 0.7, 0.6), None, True, "validation")
    seen = ArmResult(run=ScriptRun(target="t", ending=Ending.FINISHED), figures=(figure,))
    assert choose(seen).chosen is not None
    assert choose(seen, tested=Worth(most={("val giou", "printed"): 0.9})).chosen is not None
    refused = choose(seen, tested=Worth(most={("val giou", "printed"): 1.98}))
    assert refused.chosen is None
    assert "--metric 'val giou:lower'" in refused.why_not
