"""Which figure judges: names, directions, printed lines, loggers and metric objects."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from traindx.errors import UsageError
from traindx.evidence.observed import Ending, ScriptRun
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.scoring_metric import choose, direction_of, wanted_metric
from traindx.watch.interventions.outputs import area_under_curve
from traindx.watch.interventions.readings import figures_in
from trials_script.conftest import RunArm, edited, values_of
from trials_script.scripts_for_tests import CLASSIFY, SEGMENT


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("val_dice: 0.83", [("val_dice", 0.83)]),
        ("epoch 3 val acc 0.71", [("epoch", 3.0), ("val acc", 0.71)]),
        (
            "epoch 0: loss 0.4102 val_dice 0.8300 (best 0.9)",
            [("epoch", 0), ("loss", 0.4102), ("val_dice", 0.83), ("best", 0.9)],
        ),
        ("[  3.1s] step 40 loss 0.5 val acc 0.71", [("step", 40), ("loss", 0.5), ("val acc", 0.71)]),
        ("Epoch 2/9 lr=1.00e-03 val_psnr=21.50", [("Epoch", 2), ("lr", 1e-3), ("val_psnr", 21.5)]),
        ("{'val_acc': 0.71, 'f1': tensor(0.5)}", [("val_acc", 0.71), ("f1", 0.5)]),
        ("val MAE -3.20 years, hd95 4", [("val MAE", -3.2), ("val hd95", 4)]),
        ("acc: 83.1%", [("acc", 83.1)]),
        ("loss nan", [("loss", float("nan"))]),
        ("1 2 3", []),
        ("see https://example.org/a1", []),
    ],
)
def test_figures_in_a_line(line: str, expected: list[tuple[str, float]]) -> None:
    assert [(name, repr(value)) for name, value in figures_in(line)] == [(n, repr(float(v))) for n, v in expected]


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        *(
            (name, True)
            for name in ("val_dice", "AUROC", "BinaryAccuracy", "val/psnr", "ssim", "valIoU", "R2", "test f1")
        ),
        *(
            (name, False)
            for name in ("loss", "val MAE", "HD95", "hd_95", "perplexity", "dice loss", "mean radial error")
        ),
        *((name, None) for name in ("val", "epoch", "throughput", "fg")),
    ],
)
def test_direction(name: str, higher: bool | None) -> None:
    assert direction_of(name) is higher


def control(*figures: tuple[str, float], **more: Any) -> ArmResult:
    series = tuple(Series(name, "printed", (1,), (value,)) for name, value in figures)
    return ArmResult(run=ScriptRun(target="t", ending=Ending.FINISHED), figures=series, **more)


@pytest.mark.parametrize(
    ("figures", "chosen"),
    [
        ((("loss", 1.0), ("val_loss", 1.0), ("val acc", 0.7)), "val acc"),
        ((("loss", 1.0), ("val_loss", 1.0)), "val_loss"),
        ((("train acc", 1.0), ("acc", 1.0)), "acc"),
        ((("best val_dice", 1.0), ("val_dice", 1.0)), "val_dice"),
        ((("loss", 1.0), ("train mse", 1.0), ("mse", 0.2)), None),
        ((("val", 1.0), ("epoch", 1.0)), None),
        ((("val_physics loss", 0.0), ("val_loss", 0.4)), "val_loss"),  # a term that is switched off
        ((("val_physics mse", 0.0), ("val mse", 0.4)), "val mse"),
        ((("val mse", 0.0),), "val mse"),  # for want of another, and provisionally
    ],
)
def test_choice(figures: tuple[tuple[str, float], ...], chosen: str | None) -> None:
    choice = choose(control(*figures))
    assert (choice.chosen.name if choice.chosen else None) == chosen
    assert bool(choice.why_not) is (chosen is None)


@pytest.mark.parametrize(
    ("name", "after_validation", "chosen"),
    [
        ("mean radial error", True, True),
        ("mean radial error", False, False),
        ("mse", True, False),
        ("loss", True, False),
    ],
)
def test_an_error_without_val_in_its_name_judges_only_where_it_follows_validation(
    name: str, after_validation: bool, chosen: bool
) -> None:
    figure = Series(name, "printed", (1,), (2.0,), evaluating=after_validation)
    seen = ArmResult(run=ScriptRun(target="t", ending=Ending.FINISHED), figures=(figure,))
    assert (choose(seen).chosen is not None) is chosen


def test_the_user_names_the_figure() -> None:
    seen = control(("val acc", 0.7), ("val score x", 3.0))
    assert choose(seen, "val acc").chosen is not None
    lower = choose(seen, "score x:lower").chosen
    assert lower is not None
    assert not lower.higher_is_better
    assert "is a higher 'val score x' better?" in choose(seen, "val score x").why_not
    assert "reported val acc, val score x" in choose(seen, "psnr").why_not
    with pytest.raises(UsageError):
        wanted_metric("acc:sideways")


def test_area_under_the_curve_against_every_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 7, (60,), generator=generator).float()
    truth = torch.rand(60, generator=generator) > 0.6
    positive, negative = scores[truth], scores[~truth]
    wins = (positive[:, None] > negative).double() + 0.5 * (positive[:, None] == negative).double()
    assert area_under_curve(torch, scores, truth) == pytest.approx(float(wins.mean()), abs=1e-12)
    assert area_under_curve(torch, torch.sigmoid(scores), truth) == area_under_curve(torch, scores, truth)
    assert area_under_curve(torch, scores, torch.ones(60, dtype=torch.bool)) is None


def test_captured_accuracy_is_that_of_the_script(arm: RunArm) -> None:
    source = edited(
        CLASSIFY,
        ("acc = (net(X[64:]).argmax(1) == Y[64:]).float().mean()", VALIDATE),
    )
    result = arm(source)
    captured = next(one for one in result.captured if one.name == "accuracy")
    assert captured.values == pytest.approx(values_of(result, "val acc"), abs=1e-4)


VALIDATE = """\
parts = [(net(a).argmax(1) == b).float() for a, b in DataLoader(TensorDataset(X[64:], Y[64:]), batch_size=8)]
        acc = torch.cat(parts).mean()"""


def test_metric_objects_and_loggers(arm: RunArm) -> None:
    source = edited(
        SEGMENT,
        (
            "torch.manual_seed(3)",
            "import csv\nimport logging\nimport torchmetrics\nfrom monai.metrics import DiceMetric\n\n"
            + LOGGING
            + "torch.manual_seed(3)",
        ),
        (
            "            total += y.numel()",
            "            total += y.numel()\n            acc.update(net(x), y.int()), dice((net(x) > 0).float(), y)",
        ),
        ('    print(f"epoch', REPORT + '    print(f"epoch'),
    )
    result = arm(source)
    named = {(one.name, one.source): one for one in result.figures}
    accuracy = named["BinaryAccuracy", "computed by torchmetrics"]
    assert accuracy.values == pytest.approx(values_of(result, "val_acc"), abs=1e-6)
    assert accuracy.higher_is_better
    assert accuracy.evaluating
    assert len(named["DiceMetric", "computed by monai"].values) == 3
    assert named["val f1", "printed"].values == (0.5, 0.5, 0.5)
    assert named["epoch", "logged as csv"].values == (0, 1, 2)
    assert named["score", "logged as csv"].values == (0.25, 0.25, 0.25)


LOGGING = """\
logging.basicConfig(level=logging.INFO)
acc = torchmetrics.classification.BinaryAccuracy()
dice = DiceMetric()
table = csv.DictWriter(open('log.csv', 'w'), ['epoch', 'score'])
table.writeheader()
"""
REPORT = """\
    acc.compute(), acc.reset(), dice.aggregate(), dice.reset()
    logging.getLogger(__name__).info('val f1 %.2f', 0.5)
    table.writerow({'epoch': epoch, 'score': 0.25})
"""


@pytest.mark.slow  # imports lightning
def test_lightning_reports_its_callback_metrics(arm: RunArm) -> None:
    pytest.importorskip("lightning")
    result = arm(LIGHTNING)
    named = {(one.name, one.source): one for one in result.figures}
    logged = named["val_acc", "logged by Lightning"]
    assert len(logged.values) == 2
    assert logged.values[-1] == pytest.approx(values_of(result, "final")[0], abs=1e-6)
    assert choose(result).chosen is not None
    assert choose(result).chosen.name == "val_acc"  # type: ignore[union-attr]


LIGHTNING = """\
import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

L.seed_everything(1, verbose=False)
X = torch.randn(32, 4)
data = TensorDataset(X, (X[:, 0] > 0).long())


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 2)

    def training_step(self, batch, _):
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log('train_acc', loss)
        return loss

    def validation_step(self, batch, _):
        self.log('val_acc', (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
trainer = L.Trainer(max_epochs=2, accelerator='cpu', **quiet)
trainer.fit(Model(), DataLoader(data, 8), DataLoader(data, 8))
print('final', trainer.callback_metrics['val_acc'].item())
"""
