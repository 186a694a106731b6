"""Claimed fixes of scripts: one that helps, a placebo, one that harms, one that breaks, one that moves the metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from traindx.trials.claims import Comparison, FixVerdict
from traindx.trials.script import comparing
from traindx.trials.script.comparing import ScriptComparison, Version
from traindx.trials.script.pairing import ArmResult
from traindx.watch.runtime.settings import Settings
from trials_script.conftest import edited
from trials_script.scripts_for_tests import CLASSIFY, SEGMENT

SLOW = edited(CLASSIFY, ("lr=0.3", "lr=1e-5"))


def judged(folder: Path, before: str, after: str, **options: Any) -> Comparison:
    return work(folder, before, after, **options).run()


def work(folder: Path, before: str, after: str, **options: Any) -> ScriptComparison:
    (folder / "before.py").write_text(before, encoding="utf-8")
    (folder / "after.py").write_text(after, encoding="utf-8")
    versions = [Version(name, Settings(target=f"{name}.py")) for name in ("before", "after")]
    options.setdefault("budget", 120.0)
    return ScriptComparison(*versions, directory=folder / "runs", **options)


def identical(comparison: Comparison) -> dict[str, bool]:
    return {change.what: change.identical for change in comparison.changes}


def test_a_fix_that_helps(forked: Path) -> None:
    comparison = judged(forked, SLOW, CLASSIFY)
    assert comparison.verdict is FixVerdict.HELPS
    assert comparison.effect is not None
    assert comparison.effect.low > 0.05
    assert len(comparison.before) == len(comparison.after) == 3
    seen = identical(comparison)
    assert seen["first loss"] and seen["first gradients"]  # noqa: PT018  (the rate acts after both)
    assert not seen["weights"]
    assert not comparison.metric_changed
    assert any("means the same in both" in note for note in comparison.notes)


def test_a_fix_that_harms(forked: Path) -> None:
    comparison = judged(forked, CLASSIFY, SLOW)
    assert comparison.verdict is FixVerdict.HARMS


@pytest.mark.parametrize(
    "change",
    [
        ("out = net(x)", "out = net(x).clamp(-1e6, 1e6)"),
        ("loss.backward()", "(loss + 1e6 * out.detach().abs().mean()).backward()"),
        ("opt = torch", "scheduler = None\nopt = torch"),
    ],
)
def test_a_placebo_is_bit_identical(forked: Path, change: tuple[str, str]) -> None:
    comparison = judged(forked, CLASSIFY, edited(CLASSIFY, change))
    assert comparison.verdict is FixVerdict.NO_EFFECT
    assert "bit-identical" in comparison.sentence
    different = [what for what, same in identical(comparison).items() if not same]
    assert different == (["first loss", "losses"] if change[0] == "loss.backward()" else [])
    if not different:
        assert comparison.seeds == (0,)


def test_a_fix_that_breaks(forked: Path) -> None:
    comparison = judged(
        forked, CLASSIFY, edited(CLASSIFY, ("loss = F.cross_entropy(out, y)", "loss = F.cross_entropy(out, z)"))
    )
    assert comparison.verdict is FixVerdict.BREAKS
    assert "'z' is not defined" in comparison.sentence
    assert "after.py:16" in comparison.sentence


def test_a_fix_that_diverges_breaks(forked: Path) -> None:
    comparison = judged(forked, CLASSIFY, edited(CLASSIFY, ("lr=0.3", "lr=1e30")))
    assert comparison.verdict is FixVerdict.BREAKS
    assert "diverges" in comparison.sentence


def test_a_script_that_did_not_run_before(forked: Path) -> None:
    broken = edited(CLASSIFY, ("loss = F.cross_entropy(out, y)", "loss = F.cross_entropy(out, z)"))
    comparison = judged(forked, broken, CLASSIFY)
    assert comparison.verdict is FixVerdict.HELPS
    assert "did not run before" in comparison.sentence


def test_a_metric_that_changed_its_meaning_decides_nothing(forked: Path) -> None:
    after = edited(SEGMENT, ("right / total", "(1 + right / total) / 2"), ("lr=1e-2", "lr=1.1e-2"))
    comparison = judged(forked, SEGMENT, after, seeds=(0, 1))
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    assert set(comparison.metric_changed) >= {"zeros", "noise"}
    assert "no model made" in comparison.sentence
    # the shift of an output that no model made is (1 + a)/2 - a
    assert all(0 < shift < 0.5 for shift in comparison.metric_changed.values())


def test_a_metric_alone_changed_its_meaning_and_the_model_did_not(forked: Path) -> None:
    comparison = judged(forked, SEGMENT, edited(SEGMENT, ("right / total", "(1 + right / total) / 2")), seeds=(0, 1))
    assert comparison.verdict is FixVerdict.NO_EFFECT
    assert "means something else" in comparison.sentence
    assert identical(comparison)["weights"]
    assert not identical(comparison)["metric"]


def test_without_a_figure_only_identity_is_judged(forked: Path) -> None:
    silent = edited(CLASSIFY, ("val acc", "val merit"))
    same = judged(forked, silent, silent)
    assert same.verdict is FixVerdict.NO_EFFECT
    other = judged(forked, silent, edited(silent, ("lr=0.3", "lr=0.2")), seeds=(0,))
    assert other.verdict is FixVerdict.INCONCLUSIVE
    assert any("--metric" in note for note in other.notes)


def test_interruption_keeps_finished_pairs(forked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = work(forked, SLOW, CLASSIFY)
    real, calls = comparing.run_arm, 0

    def interrupted(*args: Any, **kwargs: Any) -> ArmResult:
        nonlocal calls
        calls += 1
        if calls == 8:  # the first pair takes four, with fixed outputs in each version
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(comparing, "run_arm", interrupted)
    with pytest.raises(KeyboardInterrupt):
        comparison.run()
    assert len(comparison.result().before) == 2
