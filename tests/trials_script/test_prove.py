"""Verdicts: a real cause is proven, an innocent one refuted, a harmful treatment named, a broken run reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from traindx.diagnosis import Diagnosis, Outcome, TreatmentResult, TrialTable
from traindx.evidence import Evidence
from traindx.finding import Finding, Proposal, Standing, Verdict
from traindx.trials.script import backend as proving
from traindx.trials.script.pairing import ArmResult
from traindx.trials.script.prove import Length, Proof, concluded, prove
from traindx.watch.runtime.settings import Settings
from trials_script.conftest import edited, finding_at, line_of
from trials_script.scripts_for_tests import CLASSIFY, SEGMENT

SLOW = edited(CLASSIFY, ("lr=0.3", "lr=1e-5"))


def found(code: str, source: str, text: str, treatment: str, **parameters: Any) -> Finding:
    return finding_at(code, source, text, Proposal(treatment=treatment, parameters=parameters))


def trial(folder: Path, source: str, *findings: Finding, **options: Any) -> Proof:
    (folder / "train.py").write_text(source, encoding="utf-8")
    out = folder / "out"
    out.mkdir(exist_ok=True)
    options.setdefault("budget", 120.0)
    return Proof(Settings(target="train.py", out=str(out)), findings, Evidence(), out, **options)


def conclude(table: TrialTable, *findings: Finding) -> Diagnosis:
    return concluded(Diagnosis(case="train.py", outcome=Outcome.FAULT_FOUND, findings=findings), table)


def row(table: TrialTable, treatment: str) -> TreatmentResult:
    return next(one for one in table.results if one.treatment == treatment)


def test_a_real_cause_is_proven(forked: Path) -> None:
    finding = found("O401", SLOW, "opt = torch", "learning-rate", factor=30000.0)
    table = trial(forked, SLOW, finding).run()
    assert row(table, "learning-rate").verdict is Verdict.PROVEN
    assert table.metric == "val acc"
    assert table.higher_is_better
    assert [arm.name for arm in table.arms] == ["none", "all"]
    assert all(len(arm.values) == 3 for arm in table.arms)
    judged = conclude(table, finding).findings[0]
    assert judged.standing is Standing.PROVEN
    assert judged.worth is not None
    assert judged.worth.given_rest is not None
    assert judged.worth.given_rest.low > 0.05
    # the arms are the very figures that the script prints with and without the rate fixed in its source
    assert table.arms[0].values != table.arms[1].values


def test_an_innocent_clamp_is_refuted_bit_by_bit(forked: Path) -> None:
    source = edited(SEGMENT, ("q = p.clamp(0.3, 0.7)", "q = p.clamp(0, 1)"))
    finding = found("L306", source, "q = p.clamp", "unclamp", mode="identity", file="train.py", line=27)
    finding = finding.model_copy(
        update={"proposals": (Proposal(treatment="unclamp", parameters={"mode": "identity"}),)}
    )
    table = trial(forked, source, finding).run()
    result = row(table, "unclamp")
    assert result.verdict is Verdict.NO_EFFECT
    assert result.bit_identical
    assert "no effect" in result.note
    assert table.seeds == (0,), "bit-identity needs no further seed"
    diagnosis = conclude(table, finding)
    assert diagnosis.findings[0].standing is Standing.REFUTED
    assert diagnosis.outcome is Outcome.NOTHING_FOUND


def test_a_harmful_treatment_is_called_so(forked: Path) -> None:
    finding = found("O402", CLASSIFY, "opt = torch", "learning-rate", factor=1e-6)
    table = trial(forked, CLASSIFY, finding).run()
    assert row(table, "learning-rate").verdict is Verdict.HARMFUL
    assert conclude(table, finding).findings[0].standing is Standing.DEMONSTRATED


def test_a_place_that_is_never_reached_was_not_tried_and_is_not_innocent(forked: Path) -> None:
    source = edited(
        SEGMENT,
        ("        q = p.clamp(0.3, 0.7)", "        q = p\n        if epoch > 99:\n            q = p.clamp(0.3, 0.7)"),
    )
    finding = found("L306", source, "q = p.clamp", "unclamp", mode="identity")
    table = trial(forked, source, finding).run()
    result = row(table, "unclamp")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "never acted" in result.note
    assert conclude(table, finding).findings[0].standing is Standing.DEMONSTRATED


def test_an_arm_that_crashes_is_reported_with_its_line(forked: Path) -> None:
    source = edited(
        SEGMENT,
        ("q = p.clamp(0.3, 0.7)", "q = p.clamp(0.3, 0.7)\n        assert q.max() <= 0.7001, 'out of range'"),
    )
    finding = found("L306", source, "q = p.clamp", "unclamp", mode="identity")
    table = trial(forked, source, finding).run()
    result = row(table, "unclamp")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "out of range" in result.note
    assert f"train.py:{line_of(source, 'assert q')}" in result.note


def test_two_causes_are_tried_alone_and_given_the_rest(forked: Path) -> None:
    source = edited(SLOW, ("out = net(x)", "out = net(x).clamp(-0.05, 0.05)"))
    findings = (
        found("O401", source, "opt = torch", "learning-rate", factor=30000.0),
        found("L306", source, "clamp(", "unclamp", mode="identity"),
    )
    table = trial(forked, source, *findings, seeds=(0, 1)).run()
    assert sorted(arm.name for arm in table.arms) == ["all", "none", "only learning-rate", "only unclamp"]
    rate = row(table, "learning-rate")
    assert rate.alone is not None
    assert rate.given_rest is not None
    assert rate.alone.mean != rate.given_rest.mean


def test_loss_that_is_not_a_number_without_the_treatment(forked: Path) -> None:
    source = edited(CLASSIFY, ("lr=0.3", "lr=1e30"))
    finding = found("O402", source, "opt = torch", "learning-rate", factor=3e-31)
    table = trial(forked, source, finding, seeds=(0, 1)).run()
    result = row(table, "learning-rate")
    assert result.verdict is Verdict.PROVEN
    assert "diverges" in result.note


# -- the figure that judges --------------------------------------------------------------------------------------


def test_an_unknown_direction_is_asked_for(forked: Path) -> None:
    # below zero, where noise does not tell which way is better
    source = edited(SLOW, ("val acc {acc.item():.4f}", "val merit {acc.item() - 2:.4f}"))
    finding = found("O401", source, "opt = torch", "learning-rate", factor=30000.0)
    asked = trial(forked, source, finding).run()
    assert not asked.arms
    assert "--metric 'val merit:higher'" in row(asked, "learning-rate").note
    assert any("--metric" in one.reason for one in conclude(asked, finding).not_examined)
    told = trial(forked, source, finding, metric="val merit:higher", seeds=(0, 1)).run()
    assert (told.metric, told.higher_is_better) == ("val merit", True)
    turned = trial(forked, source, finding, metric="val merit:lower", seeds=(0, 1)).run()
    assert row(turned, "learning-rate").verdict in (Verdict.HARMFUL, Verdict.INCONCLUSIVE)
    assert row(turned, "learning-rate").given_rest.mean < 0  # type: ignore[union-attr]


def test_without_a_figure_of_its_own_the_outputs_are_scored(forked: Path) -> None:
    source = edited(SEGMENT, ('    print(f"epoch {epoch} loss {loss.item():.4f} val_acc {right / total:.6f}")\n', ""))
    finding = found("L306", source, "q = p.clamp", "unclamp", mode="identity")
    table = trial(forked, source, finding, seeds=(0, 1)).run()
    assert table.metric == "Dice"
    assert all(0 <= value <= 1 for arm in table.arms for value in arm.values)


def test_no_validation_is_said_to_be_missing(forked: Path) -> None:
    finding = found("O401", SLOW, "opt = torch", "learning-rate", factor=30000.0)
    table = trial(forked, SLOW, finding, length=Length(steps=3)).run()
    assert "no validation was reached within 3 iterations" in row(table, "learning-rate").note


def test_a_figure_at_its_limit_acquits_nobody(forked: Path) -> None:
    source = edited(CLASSIFY, ("val acc {acc.item():.4f}", "val acc {min(acc.item(), 0.3):.4f}"))
    finding = found("O402", source, "opt = torch", "learning-rate", factor=0.5)
    table = trial(forked, source, finding, seeds=(0, 1)).run()
    result = row(table, "learning-rate")
    assert not table.arms
    assert result.verdict not in (Verdict.NO_EFFECT, Verdict.PROVEN)
    assert "val acc: it does not move with the network's output" in result.note


def test_a_validation_loss_is_no_judge_of_what_changes_it(forked: Path) -> None:
    source = edited(
        SEGMENT,
        ("right += ((net(x) > 0) == (y > 0)).sum().item()", "right += F.mse_loss(limited(net(x)), y).item()"),
        ("val_acc", "val_loss"),
        ("q = p.clamp(0.3, 0.7)", "q = limited(p)"),
        ("torch.manual_seed(3)", "def limited(p):\n    return p.clamp(0.3, 0.7)\n\n\ntorch.manual_seed(3)"),
    )
    finding = found("L306", source, "return p.clamp", "unclamp", mode="identity")
    table = trial(forked, source, finding, seeds=(0, 1)).run()
    assert row(table, "unclamp").verdict is Verdict.INCONCLUSIVE
    assert "means something else" in row(table, "unclamp").note


# -- seeds, budget, interruption, files --------------------------------------------------------------------------


def test_a_script_with_generators_of_its_own_gives_one_pair(forked: Path) -> None:
    source = edited(
        CLASSIFY,
        ("torch.manual_seed(5)", "G = torch.Generator().manual_seed(5)"),
        ("torch.randn(96, 6)", "torch.randn(96, 6, generator=G)"),
        ("shuffle=True)", "shuffle=False)"),
        (
            "opt = torch",
            "for p in net.parameters():\n    p.data = torch.randn(p.shape, generator=G) * 0.2\nopt = torch",
        ),
    )
    finding = found("O402", source, "opt = torch", "learning-rate", factor=1e-6)
    table = trial(forked, source, finding).run()
    assert table.seeds == (0,)
    assert any("generators of its own" in note for note in table.notes)
    assert row(table, "learning-rate").verdict is Verdict.INCONCLUSIVE


def test_pairs_differ_by_seed_and_arms_of_a_pair_do_not(forked: Path, arm: Any) -> None:
    first, again, second = arm(CLASSIFY), arm(CLASSIFY), arm(CLASSIFY, pair=1)
    assert first.weights == again.weights
    assert first.weights != second.weights


def test_seeds_taken_from_the_clock_are_those_of_the_control(forked: Path, arm: Any) -> None:
    source = edited(CLASSIFY, ("torch.manual_seed(5)", "import time\ntorch.manual_seed(time.time_ns())"))
    control = arm(source)
    assert arm(source).weights != control.weights
    assert arm(source, control=control).weights == control.weights


def test_files_are_as_they_were_after_every_arm(forked: Path, arm: Any) -> None:
    source = CLASSIFY + "import os\nos.makedirs('made', exist_ok=True)\ntorch.save(net, 'best.pt')\n"
    source += "open('made/log.csv', 'w').write('x')\nos.remove('old.txt')\nos.rename('a.txt', 'b.txt')\n"
    source += "assert os.path.getsize('best.pt') > 100\n"
    before = {"best.pt": "mine", "old.txt": "old", "a.txt": "a"}
    for name, text in before.items():
        (forked / name).write_text(text, encoding="utf-8")
    arm(source)
    assert {name: (forked / name).read_text(encoding="utf-8") for name in before} == before
    assert not (forked / "made").exists()
    assert not (forked / "b.txt").exists()


def test_files_of_a_run_that_was_killed_are_put_back(forked: Path, arm: Any) -> None:
    killed = "open('best.txt', 'w').write('treated')\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    (forked / "best.txt").write_text("mine", encoding="utf-8")
    result = arm(killed, may_break=True)
    assert "SIGKILL" in result.broke
    assert (forked / "best.txt").read_text(encoding="utf-8") == "mine"


def test_interruption_keeps_what_is_finished(forked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = found("O401", SLOW, "opt = torch", "learning-rate", factor=30000.0)
    proof = trial(forked, SLOW, finding)
    real, calls = proving.run_arm, 0

    def interrupted(*args: Any, **kwargs: Any) -> ArmResult:
        nonlocal calls
        calls += 1
        if calls == 5:  # one of each, what the figure means, one more control
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(proving, "run_arm", interrupted)
    diagnosis = Diagnosis(case="train.py", outcome=Outcome.FAULT_FOUND, findings=(finding,))
    with pytest.raises(KeyboardInterrupt):
        prove(diagnosis, proof)
    written = json.loads((forked / "out" / "diagnosis.json").read_text(encoding="utf-8"))
    assert [len(arm["values"]) for arm in written["trials"]["arms"]] == [2, 1]
    assert any("interrupted" in note for note in written["trials"]["notes"])
    assert not written["trials"]["complete"]


def test_what_cannot_be_tried_while_running_is_listed_with_the_reason(forked: Path) -> None:
    finding = found("S501", CLASSIFY, "opt = torch", "reference-sampler")
    table = trial(forked, CLASSIFY, finding).run()
    assert "describe the sampler in a case" in row(table, "reference-sampler").note
    assert not table.arms
