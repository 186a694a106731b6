"""E830: printed figures that are none of their name, from the printed line and its source to the finding."""

from __future__ import annotations

import ast
import logging
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from traindx.core.figure_ranges import range_of
from traindx.evidence import Evidence
from traindx.evidence.observed_figures import ReportedFigure
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.collectors import reported_figures
from traindx.watch.collectors.reported_figures import ReportedFigures, figures_of
from traindx.watch.runtime.call_sites import CallSite


def said(
    source: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str = ""
) -> list[Finding]:
    """What the rule says of a source whose line with ``print`` or ``add_scalar`` showed these texts."""
    text = textwrap.dedent(source)
    file = str(tmp_path / "train.py")
    line = next(number for number, one in enumerate(text.split("\n"), 1) if "print(" in one or "add_scalar(" in one)
    monkeypatch.setattr(reported_figures, "own_sources", lambda: {file: ast.parse(text)})
    collector = ReportedFigures(mock.MagicMock(torch=torch))
    for one in lines:
        if tag:
            collector._logged(tag, float(one), CallSite(file, line, ""))
        else:
            collector.heard(one, CallSite(file, line, ""))
    evidence = Evidence()
    for record in collector.records():
        evidence.add(record)
    return list(catalogue()["E830"].check(evidence))


MEAN = """
def dice(guess, truth):
    return 2 * (guess * truth).sum() / (guess.sum() + truth.sum())

def evaluate(net, loader):
    total = 0.0
    for i, (x, y) in enumerate(loader):
        total += dice(net(x), y).item()
    return {0}

val_dice = evaluate(net, loader)
print(f"epoch {{epoch}} | val dice: {{val_dice:.3f}}")
"""


def test_a_running_mean_without_brackets(tmp_path, monkeypatch) -> None:
    shown = ["epoch 1 | val dice: 1.421", "epoch 2 | val dice: 1.702"]
    (found,) = said(MEAN.format("total / i + 1"), shown, tmp_path, monkeypatch)
    assert found.standing is Standing.DEMONSTRATED
    assert found.location is not None
    assert found.location.line == 9
    assert "1.702" in found.message
    assert "cannot be above 1" in found.message
    assert said(MEAN.format("total / (i + 1)"), ["epoch 1 | val dice: 0.421"], tmp_path, monkeypatch) == []


def test_percent_is_told_from_a_share(tmp_path, monkeypatch) -> None:
    percent = MEAN.format("100 * total / len(loader)")
    assert said(percent, ["epoch 1 | val dice: 84.200"], tmp_path, monkeypatch) == []
    (found,) = said(percent, ["epoch 1 | val dice: 103.100"], tmp_path, monkeypatch)
    assert "cannot be above 100" in found.message
    signed = MEAN.format("total / len(loader)")
    assert said(signed, ["epoch 1 | val dice: 84.2%"], tmp_path, monkeypatch) == []


def test_hundred_for_the_progress_makes_no_percent(tmp_path, monkeypatch) -> None:
    source = MEAN.format("total") + "\nshown = 100.0 * batch_idx / len(loader)\n"
    (found,) = said(source, ["epoch 1 | val dice: 23.184"], tmp_path, monkeypatch)
    assert found.location is not None
    assert found.location.line == 8


def test_below_the_least_value(tmp_path, monkeypatch) -> None:
    source = """
    auc = a - b
    mae = (guess - truth).mean().item()
    print("AUC %.3f, MAE %.4f" % (auc, mae))
    """
    found = said(source, ["AUC -0.200, MAE -0.0312"], tmp_path, monkeypatch)
    assert sorted(one.location.line for one in found if one.location) == [2, 3]
    assert all("cannot be below 0" in one.message for one in found)
    assert said(source, ["AUC 0.800, MAE 0.0312"], tmp_path, monkeypatch) == []


def test_a_writer_and_a_dictionary(tmp_path, monkeypatch) -> None:
    source = """
    def scores(guess, truth):
        hits = (guess == truth).sum().item()
        return {"accuracy": hits / len(batches), "n": hits}
    result = scores(guess, truth)
    writer.add_scalar("val/accuracy", result["accuracy"], epoch)
    """
    (found,) = said(source, ["7.25"], tmp_path, monkeypatch, tag="val/accuracy")
    assert found.location is not None
    assert found.location.line == 4


NOTHING = {
    "a part of the loss": (
        """
        dice = dice_loss(guess, truth)
        loss = ce + dice
        print(f"dice: {dice.item():.3f}")
        """,
        "dice: 1.420",
    ),
    "a term of that name": (
        """
        ssim = 1 - similarity(guess, truth)
        total_loss = l1 + ssim
        print(f"ssim: {ssim.item():.3f}")
        """,
        "ssim: 1.420",
    ),
    "turned round to be made small": (
        """
        dice = -(2 * inter / union)
        print(f"dice: {dice.item():.3f}")
        """,
        "dice: -0.820",
    ),
    "somebody else's percent": (
        """
        acc = library.accuracy(guess, truth)
        print(f"acc: {acc:.2f}")
        """,
        "acc: 64.20",
    ),
    "one digit of round-off": (
        """
        dice = (2 * inter + 1) / (union + 1)
        print(f"dice: {dice:.2f}")
        """,
        "dice: 1.00",
    ),
    "hits of so many": (
        """
        accuracy = hits
        print(f"accuracy: {hits + 0}/{n}")
        """,
        "accuracy: 134/150",
    ),
    "a parameter": (
        """
        def show(acc):
            print(f"acc: {acc:.2f}")
        """,
        "acc: 64.20",
    ),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_said_of(name, tmp_path, monkeypatch) -> None:
    source, shown = NOTHING[name]
    assert said(source, [shown], tmp_path, monkeypatch) == []


@pytest.mark.parametrize(
    "text",
    [
        "dice loss: 1.4",
        "log dice 1.4",
        "best dice epoch: 34",
        "Accuracy of the network on the 10000 test images: 85 %",
        "accuracy on 10000 images: 0.9",
        "Dice class 3: 0.9",
        "acc steps 4",
        "feature map: 12.5",
        "mean precision weight: 4.0",
        "dice 85",
    ],
)
def test_other_things_are_no_such_figures(text) -> None:
    outside = [
        one for one in figures_of(text) if not (one[3].least or 0) <= one[1] <= (one[3].most or 1e9) and not one[2]
    ]
    assert outside == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Epoch 3/20 - train loss 0.31 - val_dice 1.42", 1.42),
        ("2026-01-01 10:00:00,123 INFO: mIoU = 1.31", 1.31),
        ("{'loss': 0.3, 'dice': 1.25}", 1.25),
        ("Mean Dice Score: tensor(1.5000)", 1.5),
        ("Recall: 1.02 ± 0.01", 1.02),
    ],
)
def test_lines_are_read(text, value) -> None:
    assert [one[1] for one in figures_of(text) if one[1] > 1] == [value]


def test_ranges_by_name() -> None:
    assert range_of("val/ssim") is not None
    assert range_of("val r2") is not None
    assert range_of("learning auc") is None
    assert range_of("psnr") is None
    assert range_of("explained neg mse") is None


def test_print_and_logging_show_what_they_showed(capsys, monkeypatch) -> None:
    seen: list[str] = []
    collector = ReportedFigures(mock.MagicMock(torch=torch))
    monkeypatch.setattr(collector, "heard", lambda text, site: seen.append(text))
    monkeypatch.setattr(collector, "_listens", lambda: True)
    shown = collector._make_print(print)
    shown("dice:", 0.5, sep=" ")
    shown(torch.ones(1))
    assert capsys.readouterr().out == "dice: 0.5\ntensor([1.])\n"
    assert seen == ["dice: 0.5"]
    passed: list[Any] = []
    handlers = collector._make_handlers(lambda logger, record: passed.append(record))
    record = logging.LogRecord("a", logging.INFO, __file__, 3, "dice: %.1f", (0.5,), None)
    handlers(SimpleNamespace(), record)
    assert passed == [record]


def test_a_share_above_hundred_of_unknown_source_is_suspected() -> None:
    evidence = Evidence()
    evidence.add(ReportedFigure(name="acc", called="acc", least=0.0, most=1.0, percent=True, values=(103.0,)))
    (found,) = catalogue()["E830"].check(evidence)
    assert found.standing is Standing.SUSPECTED
    evidence = Evidence()
    evidence.add(ReportedFigure(name="acc", called="acc", least=0.0, most=1.0, percent=False, values=(53.0,)))
    assert list(catalogue()["E830"].check(evidence)) == []
