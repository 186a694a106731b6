"""Runs of a script that are too slow: they end at a common iteration, and what was reached is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed import Ending, ScriptRun
from traindx.finding import Finding, Location, Proposal, Severity, Standing
from traindx.trials.claims import FixVerdict
from traindx.trials.script import backend as running
from traindx.trials.script import comparing
from traindx.trials.script.comparing import ScriptComparison, Version
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.prove import Proof
from traindx.watch.runtime.settings import Settings
from trials_script.conftest import RunArm, edited
from trials_script.scripts_for_tests import CLASSIFY

FINDING = Finding(
    code="O401",
    name="a-rule",
    message="m",
    severity=Severity.MAJOR,
    standing=Standing.DEMONSTRATED,
    location=Location(file="train.py", line=12),
    proposals=(Proposal(treatment="learning-rate", parameters={"factor": 10.0}),),
)


class Runs:
    """Runs of 100 iterations with a reading every ten; a treated one may be slower than its time."""

    def __init__(self, seconds: float = 10.0, slow_at: dict[int, int] | None = None) -> None:
        self.seconds, self.slow_at = seconds, slow_at or {}
        self.asked: list[int] = []

    def __call__(self, settings: Settings, **given: Any) -> ArmResult:
        seed, treated, wanted = given["pair"], bool(given["treatments"]), given["iterations"] or 100
        iterations = min(100, wanted, self.slow_at.get(seed, 100) if treated else 100)
        self.asked.append(wanted)
        at = tuple(i for i in range(10, 101, 10) if i < iterations or iterations == 100)
        values = tuple(0.5 + (0.002 * i if treated else 0.001 * i) + 0.01 * seed for i in at)
        seconds = 1 + (self.seconds - 1) * iterations / 100
        return ArmResult(
            run=ScriptRun(target="train.py", ending=Ending.STOPPED, seconds=seconds),
            iterations=iterations,
            loop_seconds=seconds - 1,
            stopped=True,
            losses=(1.0,),
            weights=f"{seed}{treated}",
            figures=(Series("val dice", "printed", at, values, None, True),),
        )


def proof(folder: Path, monkeypatch: pytest.MonkeyPatch, runs: Runs, **options: Any) -> Proof:
    monkeypatch.setattr(running, "run_arm", runs)
    return Proof(Settings(target="train.py", out=str(folder)), [FINDING], Evidence(), folder, **options)


def test_a_late_run_is_compared_at_the_last_common_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = proof(tmp_path, monkeypatch, Runs(slow_at={1: 75}), budget=600.0, seeds=(0, 1)).run()
    effect = table.results[0].given_rest
    assert effect is not None
    # at iteration 70 in every pair, the first one too: 0.07 more with the treatment
    assert effect.differences == pytest.approx((0.07, 0.07))
    assert any("compared at iteration 70" in note for note in table.notes)


def test_a_run_that_reached_too_little_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = proof(tmp_path, monkeypatch, Runs(slow_at={1: 35}), budget=600.0, seeds=(0, 1)).run()
    effect = table.results[0].given_rest
    assert effect is not None
    assert effect.differences == pytest.approx((0.1,))
    assert any("ended before every arm was run" in note and "would do" in note for note in table.notes)


def test_runs_end_earlier_so_that_three_seeds_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(seconds=101.0)  # one second an iteration
    table = proof(tmp_path, monkeypatch, runs, budget=500.0, seeds=(0, 1, 2)).run()
    # 500 s / 1.1 / 6 runs is 75 s a run, one of them for the start: the reading at 70 is the last before that
    assert runs.asked == [300, 71, 71, 71, 71, 71, 71]
    assert len(table.seeds) == 3
    assert table.steps == 71
    assert any("runs end at iteration 71 of the 100" in note for note in table.notes)


def test_a_script_goes_on_until_it_has_validated(arm: RunArm) -> None:
    """A window that is over before the first validation ends after it; one without any ends at its longest."""
    late = edited(CLASSIFY, ("for epoch in range(8)", "for epoch in range(800)"))
    first = arm(late, seconds=1e-9, longest=1e9)
    assert first.stopped
    assert len(first.figures[-1].values) == 1
    assert first.iterations == 5, "four of the epoch, its validation, and the step that ends it"
    assert arm(late, seconds=1e-9).iterations == 2, "the first iteration begins the clock"


class Compared(Runs):
    """The same for two versions of a script, of which the one after may be late."""

    def __init__(self, late: int = 100) -> None:
        super().__init__()
        self.late = late

    def __call__(self, settings: Settings, **given: Any) -> ArmResult:
        after = settings.target == "after.py"
        fixed = bool(given["treatments"])
        self.slow_at = {given["pair"]: self.late}
        return super().__call__(settings, **{**given, "treatments": (1,) if after and not fixed else ()})


def compared(folder: Path, monkeypatch: pytest.MonkeyPatch, runs: Compared, **options: Any) -> ScriptComparison:
    monkeypatch.setattr(comparing, "run_arm", runs)
    versions = [Version(name, Settings(target=f"{name}.py")) for name in ("before", "after")]
    return ScriptComparison(*versions, directory=folder, **options)


def test_a_version_that_is_late_is_compared_at_the_last_reading_it_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = compared(tmp_path, monkeypatch, Compared(late=55), budget=600.0, seeds=(0, 1)).run()
    assert comparison.before == pytest.approx((0.55, 0.56))
    assert comparison.after == pytest.approx((0.60, 0.61))
    assert any("compared at iteration 50" in note for note in comparison.notes)


def test_a_version_that_reached_no_reading_is_not_said_to_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = compared(tmp_path, monkeypatch, Compared(late=5), budget=600.0).run()
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    assert "did not finish within the budget" in comparison.sentence
    assert "would do" in comparison.sentence
    assert "changed nothing" not in comparison.sentence


@pytest.mark.parametrize("differs", [False, True])
def test_of_a_version_that_reached_no_reading_it_is_said_whether_it_trained_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differs: bool
) -> None:
    class Losing(Compared):
        def __call__(self, settings: Settings, **given: Any) -> ArmResult:
            result = super().__call__(settings, **given)
            other = differs and settings.target == "after.py"
            losses = tuple(1 / (step + 1) + (other and step == 7) for step in range(result.iterations))
            return replace(result, losses=losses)

    comparison = compared(tmp_path, monkeypatch, Losing(late=9), budget=600.0).run()
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    said = "the losses of all 9 backward passes are bit-identical" in comparison.sentence
    assert said is not differs
