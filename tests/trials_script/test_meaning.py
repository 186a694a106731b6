"""Fixed outputs: which figures look at the network at all, which way they go, and constants that never judge."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from traindx.evidence.observed import Ending, ScriptRun
from traindx.trials.claims import FixVerdict
from traindx.trials.script.meaning import KINDS, Meaning, examine
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.scoring_metric import choose
from trials_script.conftest import RunArm, edited, values_of
from trials_script.scripts_for_tests import CLASSIFY, SEGMENT
from trials_script.test_comparing import judged

PRINTED = 'print(f"epoch {epoch} loss {loss.item():.4f} val_acc {right / total:.6f}")'


RETURNING = """
    def loss(self, x, y):
        return {"loss": F.binary_cross_entropy_with_logits(self(x), y)}

"""


def meaning(arm: RunArm, source: str) -> tuple[ArmResult, Meaning]:
    """A script as it is, and what its figures gave for fixed outputs."""
    control = arm(source)

    def fixed(kinds: object, steps: int) -> ArmResult:
        return arm(source, {"treatment": "reference-prediction", "kinds": kinds}, iterations=steps, may_break=True)

    return control, examine(control, fixed, lambda: math.inf)


def reporting(line: str) -> str:
    """The segmentation script with another last line in each epoch."""
    return edited(SEGMENT, (PRINTED, line))


def test_a_perfect_and_a_shuffled_prediction_tell_the_direction(arm: RunArm) -> None:
    control, found = meaning(arm, SEGMENT)
    assert set(found.values) == set(KINDS)
    key = ("val_acc", "printed")
    assert found.values["perfect"][key] == 1.0
    shares = [float(text) for text in (found.values[kind][key] for kind in ("zeros", "ones"))]
    assert sum(shares) == pytest.approx(1.0, abs=1e-6)  # everything background, everything foreground
    assert found.tested.higher[key] is True
    assert found.tested.moves[key] is True
    assert ("loss", "printed") in found.tested.moves
    assert found.tested.moves["loss", "printed"] is False  # of training
    chosen = choose(control, tested=found.tested).chosen
    assert chosen is not None
    assert chosen.tested


def test_a_figure_whose_name_says_the_opposite_is_read_as_it_behaves(arm: RunArm) -> None:
    control, found = meaning(arm, reporting('print(f"val_dice {1 - right / total:.6f}")'))
    choice = choose(control, tested=found.tested)
    assert choice.chosen is not None
    assert not choice.chosen.higher_is_better
    assert "its name says the opposite" in choice.why


def test_a_direction_that_no_name_tells_is_found(arm: RunArm) -> None:
    control, found = meaning(arm, reporting('print(f"val_merit {100 * right / total:.4f}")'))
    assert choose(control).chosen.source == "captured"  # type: ignore[union-attr]
    chosen = choose(control, tested=found.tested).chosen
    assert chosen is not None
    assert (chosen.name, chosen.higher_is_better) == ("val_merit", True)


def told_beside_noise(name: str, own: tuple[float, ...], noise: float) -> dict[tuple[str, str], bool]:
    """Directions that noise alone tells of a figure."""
    at = (20, 40, 60)
    run = ScriptRun(target="t", ending=Ending.FINISHED, seconds=1.0)

    def arm(values: tuple[float, ...], **more: Any) -> ArmResult:
        figure = Series(name, "printed", at, values, None, True, "validation")
        return ArmResult(run=run, iterations=60, outputs="o", figures=(figure,), **more)

    passes = tuple((step, "noise") for step in at)
    fixed = arm((noise,) * 3, passes=passes)
    return dict(examine(arm(own), lambda kinds, steps: fixed, lambda: math.inf, ("noise",)).tested.higher)


def test_noise_tells_the_direction_where_there_are_no_targets() -> None:
    key = ("val", "printed")
    assert told_beside_noise("val", (0.5, 0.3, 0.2), 1.7) == {key: False}
    assert told_beside_noise("val", (0.5, 0.7, 0.8), 0.1) == {key: True}
    assert told_beside_noise("val", (0.5, 0.7, 0.8), 0.3) == {}, "a network that fails may be a little worse than noise"
    assert told_beside_noise("val", (1.0, 0.3, 0.2), 1.7) == {}, "it got there once"
    assert told_beside_noise("val psnr", (0.5, 0.3, 0.2), 1.7) == {}, "its name tells"
    named = ("val acc", "printed")
    assert told_beside_noise("val acc", (0.5, 0.3, 0.2), 1.7) == {named: False}, "no accuracy is 1.7, whatever its name"


def test_noise_that_tells_the_direction_is_not_called_a_perfect_prediction() -> None:
    run = ScriptRun(target="t", ending=Ending.FINISHED, seconds=1.0)
    figure = Series("val", "printed", (20, 40, 60), (0.5, 0.3, 0.2), None, True, "validation")
    control = ArmResult(run=run, iterations=60, outputs="o", figures=(figure,))
    worse = replace(figure, values=(1.7,) * 3)
    fixed = replace(control, figures=(worse,), passes=tuple((at, "noise") for at in (20, 40, 60)))
    choice = choose(control, tested=examine(control, lambda kinds, steps: fixed, lambda: math.inf, ("noise",)).tested)
    assert "noise is higher than all that the network reached" in choice.why
    assert "perfect" not in choice.why


def test_an_error_that_is_zero_at_every_reading_does_not_judge() -> None:
    """A term that is switched off in validation was chosen before PSNR, since noise in its place was more."""
    at, values = (2, 4, 6), (6.9, 8.1, 9.7)
    off = Series("val_physics", "logged by SummaryWriter", at, (0.0,) * 3, None, None, "validation")
    figure = Series("Val PSNR", "printed", at, values, None, True, "validation")
    run = ScriptRun(target="t", ending=Ending.FINISHED, seconds=1.0)
    control = ArmResult(run=run, iterations=6, outputs="o", figures=(off, figure))
    noise = (replace(off, values=(0.66,) * 3), replace(figure, values=(7.0,) * 3))
    fixed = replace(control, figures=noise, passes=tuple((step, "noise") for step in at))
    tested = examine(control, lambda kinds, steps: fixed, lambda: math.inf, ("noise",)).tested
    assert tested.higher == {("val_physics", "logged by SummaryWriter"): False}
    chosen = choose(control, tested=tested).chosen
    assert chosen is not None
    assert chosen.name == "Val PSNR"


TERMS = (
    ("q = p.clamp(0.3, 0.7)", "q = p"),
    ("right += ((net(x) > 0) == (y > 0)).sum().item()", "p = torch.sigmoid(net(x))"),
    ("total += y.numel()", "total += F.binary_cross_entropy(p, y).item()\n            right += DICE(p, y)"),
    (PRINTED, 'print(f"Epoch {epoch} Val - Loss: {total / 2 + 0.3 * right / 2:.4f} (dice: {right / 2:.4f})")'),
    ("range(3)", "range(6)"),
    ("torch.manual_seed(3)", "DICE = lambda p, y: 1 - float(2 * (p * y).sum() / (p + y).sum())\ntorch.manual_seed(3)"),
)


def test_a_term_of_the_loss_that_is_called_like_a_quality_is_read_as_it_behaves(arm: RunArm) -> None:
    """``Val - Loss: 0.43 (dice: 0.40)``: one minus Dice, which was called better where it was worse."""
    control, found = meaning(arm, edited(SEGMENT, *TERMS))
    dice = next(one for one in control.figures if one.split == "validation" and "dice" in one.name)
    untested = choose(control).chosen
    assert untested is None or "dice" not in untested.name or not untested.higher_is_better
    assert found.tested.higher[dice.name, dice.source] is False
    chosen = choose(control, tested=found.tested).chosen
    assert chosen is not None
    assert not chosen.higher_is_better


def in_step(dice: tuple[float, ...]) -> str:
    """What is chosen of a loss and a Dice of one validation, with nothing tested."""
    at = (8, 16, 24, 32, 40)[: len(dice)]
    run = ScriptRun(target="t", ending=Ending.FINISHED, seconds=1.0)
    loss = (0.43, 0.42, 0.41, 0.40, 0.38)[: len(dice)]
    figures = tuple(
        Series(name, "printed", at, values, None, True, "validation")
        for name, values in (("Val Loss", loss), ("Val dice", dice))
    )
    chosen = choose(ArmResult(run=run, iterations=60, outputs="o", figures=figures)).chosen
    assert chosen is not None
    return chosen.name


def test_a_quality_that_falls_with_the_loss_does_not_judge_untested() -> None:
    assert in_step((0.45, 0.43, 0.42, 0.41, 0.39)) == "Val Loss"
    assert in_step((0.45, 0.47, 0.48, 0.50, 0.52)) == "Val dice"
    assert in_step((0.45, 0.46, 0.44, 0.45, 0.44)) == "Val dice"  # of a program that learns nothing
    assert in_step((0.45, 0.43, 0.42)) == "Val dice"  # too few to tell


def test_a_program_that_gives_up_at_noise_is_tried_without_it(arm: RunArm) -> None:
    """Binary cross-entropy takes nothing beyond 0 and 1; the program caught that and ended, so nothing was known."""
    probabilities = edited(
        SEGMENT,
        ("return self.head(self.body(x))", "return torch.sigmoid(self.head(self.body(x)))"),
        ("p = torch.sigmoid(out)", "p = out"),
        ("right += ((net(x) > 0) == (y > 0)).sum().item()", "right += F.binary_cross_entropy(net(x), y).item()"),
        ("total += y.numel()", "total += 1"),
        (PRINTED, 'print(f"val_bce {right / total:.6f}")'),
    )
    _, found = meaning(arm, probabilities)
    assert set(found.values) == set(KINDS) - {"noise"}
    assert not found.why_not
    assert found.tested.higher["val_bce", "printed"] is False


def test_a_program_that_catches_what_noise_raises_is_tried_without_it() -> None:
    """It ended in good order after its line of training, which is no reading of the validation."""
    run = ScriptRun(target="t", ending=Ending.FINISHED, seconds=1.0)
    at, values = (8, 16, 24), (0.45, 0.43, 0.42)
    trained = Series("Train dice", "printed", at, values, None, True, "training")
    figure = Series("Val dice", "printed", at, values, None, True, "validation")
    control = ArmResult(run=run, iterations=24, outputs="o", figures=(trained, figure))
    asked: list[tuple[str, ...]] = []

    def fixed(kinds: Any, steps: int) -> ArmResult:
        asked.append(tuple(kinds))
        if "noise" in kinds:
            first = replace(trained, iterations=(8,), values=(0.45,))
            return replace(control, iterations=8, figures=(first,), passes=((8, "noise"),))
        return replace(control, passes=tuple(zip(at, kinds, strict=False)))

    found = examine(control, fixed, lambda: math.inf, ("noise", "zeros", "ones"))
    assert asked == [("noise", "zeros", "ones"), ("zeros", "ones")]
    assert set(found.values) == {"zeros", "ones"}


def test_a_loss_that_the_network_itself_returns_is_not_replaced(arm: RunArm) -> None:
    """Noise in its place would say that it moves with the output, and that two versions compute it alike."""
    returns = edited(
        SEGMENT,
        ("def forward(self, x):", "def forward(self, x, y=None):"),
        (
            "return self.head(self.body(x))",
            "out = self.head(self.body(x))\n        return out if y is None else LOSS(out, y)",
        ),
        ("right += ((net(x) > 0) == (y > 0)).sum().item()", "right += net(x, y)['loss'].item() * y.numel()"),
        (PRINTED, 'print(f"val_loss {right / total:.6f}")'),
        (
            "torch.manual_seed(3)",
            "LOSS = lambda out, y: {'loss': F.binary_cross_entropy_with_logits(out, y)}\ntorch.manual_seed(3)",
        ),
    )
    control, found = meaning(arm, returns)
    key = ("val_loss", "printed")
    assert key not in found.tested.moves
    assert all(key not in values for values in found.values.values())
    chosen = choose(control, tested=found.tested).chosen
    assert chosen is not None
    assert chosen.name == "val_loss"
    assert not chosen.higher_is_better


@pytest.mark.parametrize(("left", "batches"), [(9.0, [3, 2]), (0.9, [2, 2, 1]), (0.5, [1] * 5), (0.2, [])])
def test_as_many_fixed_outputs_go_into_one_run_as_there_is_time_for(left: float, batches: list[int]) -> None:
    """A run of 60 iterations and one second, with readings at 20, 40 and 60: the first costs 0.35 s, with a margin."""
    figure = Series("val acc", "printed", (20, 40, 60), (0.5, 0.6, 0.7), None, True, "validation")
    run = ScriptRun(target="t", ending=Ending.FINISHED, seconds=1.0)
    control = ArmResult(run=run, iterations=60, outputs="o", figures=(figure,))
    asked: list[int] = []

    def fixed(kinds: Any, steps: int) -> ArmResult:
        asked.append(len(kinds))
        assert steps == 20 * len(kinds) + 1
        passes = tuple(zip((20, 40, 60), kinds, strict=False))
        return ArmResult(run=run, iterations=steps, outputs="p", figures=(figure,), passes=passes)

    found = examine(control, fixed, lambda: left)
    assert asked == batches
    assert ("no time was left" in found.why_not) is (not batches)


def test_a_figure_that_looks_at_no_output_does_not_judge(arm: RunArm) -> None:
    source = reporting('print(f"val_accuracy {0.5 + epoch / 10:.4f} val_loss {1 - right / total:.6f}")')
    control, found = meaning(arm, source)
    assert choose(control).chosen.name == "val_accuracy"  # type: ignore[union-attr]
    choice = choose(control, tested=found.tested)
    assert choice.chosen is not None
    assert choice.chosen.name == "val_loss"
    assert choice.runner_up == "next would have been val_accuracy, but it does not move with the network's output"


@pytest.mark.parametrize(
    "line",
    [
        'print(f"loss {loss.item():.4f} dice_weight {W}")',  # at every epoch
        'print(f"val dice {W}")',  # called like a quality, at every epoch
        'if epoch == 2: print(f"dice_weight {W}")',  # once, after the last validation
        'if epoch == 2: print(f"final config | dice {W}")',
        "if epoch == 2: print(CONFIG)",
    ],
)
def test_a_constant_of_the_configuration_certifies_no_placebo(forked: Path, line: str) -> None:
    """``compare`` said "helps" of a placebo, because a logged weight of the loss went from 0.2 to 0.5."""
    held = "W = dice = 0.2\nCONFIG = {'dice': 0.2, 'lr': 0.01}\ntorch.manual_seed(3)"
    before = edited(reporting(line), ("torch.manual_seed(3)", held))
    comparison = judged(forked, before, before.replace("0.2\n", "0.5\n").replace("'dice': 0.2", "'dice': 0.5"))
    assert comparison.metric == "Dice"  # measured on the outputs
    assert comparison.verdict is FixVerdict.NO_EFFECT


def test_a_number_that_the_program_held_before_it_trained_is_known(arm: RunArm) -> None:
    setting = "class C:\n    pass\nc = C()\nc.iou = 0.75\nnested = {'opt': {'lr': 0.3}}\ntorch.manual_seed(5)"
    control = arm(edited(CLASSIFY, ("torch.manual_seed(5)", setting)))
    assert control.held["iou"] == [0.75]
    assert control.held["lr"] == [0.3]
    assert "loss" not in control.held


def test_what_writes_to_the_streams_is_read(arm: RunArm) -> None:
    line = "import sys; sys.stdout.write(f'val_a 0.{epoch}1\\n'); sys.stderr.write(f'val_b 0.{epoch}2')"
    line += "; print(file=sys.stderr)"
    bar = "from tqdm import tqdm; [b.set_postfix(dice=0.1 * epoch) for b in [tqdm(range(4), desc='Val')] for _ in b]"
    result = arm(reporting(f"{line}\n    {bar}\n    {PRINTED}"))
    assert values_of(result, "val_a") == (0.01, 0.11, 0.21)
    assert values_of(result, "val_b") == (0.02, 0.12, 0.22)
    assert values_of(result, "Val dice") == pytest.approx((0, 0.1, 0.2))
    assert len(values_of(result, "val_acc")) == 3  # once, although it is seen in two ways


def test_a_line_after_the_training_step_is_no_validation(arm: RunArm) -> None:
    """A teacher that is called without gradients within the training step makes no figure one of validation."""
    source = edited(
        SEGMENT,
        ("        out = net(x)\n", "        with torch.no_grad(): net(x)\n        out = net(x)\n"),
        ("        opt.step()\n", "        opt.step()\n        print(f'acc {out.mean().item():.4f}')\n"),
    )
    figures = {one.name: one for one in arm(source).figures}
    assert figures["acc"].evaluating is False
    assert figures["val_acc"].evaluating is True


def test_dice_and_accuracy_of_ours_are_those_of_the_outputs(arm: RunArm) -> None:
    own = (
        "            right += ((net(x) > 0) == (y > 0)).sum().item()",
        "            p = net(x) > 0\n            both += (p & (y > 0)).sum().item()\n"
        "            right += p.sum().item() + y.sum().item()",
    )
    source = edited(
        reporting('print(f"val_dice {2 * both / right:.6f}")'),
        own,
        ("    right = total = 0", "    right = total = both = 0"),
    )
    result = arm(source)
    captured = {one.name: one.values for one in result.captured}
    assert captured["Dice"] == pytest.approx(values_of(result, "val_dice"), abs=1e-6)
    assert set(captured) == {"Dice", "area under the ROC curve"}


def test_decibels_of_ours_are_by_the_range_of_the_targets(arm: RunArm) -> None:
    source = edited(
        reporting('print(f"val_psnr {10 * math.log10((top - low) ** 2 / (right / total)):.5f}")'),
        ("import numpy as np", "import math"),
        ("masks = (images[:, :1] > 0.6).float()", "masks = 3 * images[:, :1]"),
        ("fit = F.binary_cross_entropy(q, y)", "fit = (out - y).square().mean()"),
        (
            "            right += ((net(x) > 0) == (y > 0)).sum().item()",
            "            right += (net(x) - y).double().square().sum().item()",
        ),
        (
            "    right = total = 0",
            "    right = total = 0\n    top, low = masks[16:].max().item(), masks[16:].min().item()",
        ),
    )
    result = arm(source)
    captured = {one.name: one.values for one in result.captured}
    assert captured["peak signal-to-noise ratio"] == pytest.approx(values_of(result, "val_psnr"), abs=1e-3)
