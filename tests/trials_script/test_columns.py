"""Numbers that are printed without a word are named by the variables of the line that prints them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch

from traindx.watch.interventions.printed import Printed
from traindx.watch.interventions.readings import Readings

VALUES = {"it": 9, "loss": torch.tensor(0.25), "acc": torch.tensor(0.5), "total": 8.0, "scores": {"dice": 0.7}}


def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> tuple[dict[str, float], str]:
    """Figures of a line that a script prints, and what it shows."""
    file = tmp_path / "train.py"
    file.write_text(f"def dice(a):\n    return 0.5\n\n\ndef main(it, loss, acc, total, scores):\n    {line}\n")
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    readings = Readings()
    printed = Printed(readings, lambda: True)
    printed.install()
    try:
        scope: dict[str, object] = {}
        exec(compile(file.read_text(), str(file), "exec"), scope)
        scope["main"](**VALUES)  # type: ignore[operator]
        readings.flush()
    finally:
        printed.patches.undo()
    return {one.name: one.values[-1] for one in readings.figures.values()}, shown.getvalue()


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        ("print(it + 1, round(loss.item(), 4), round(acc.item(), 3))", {"it": 10, "loss": 0.25, "acc": 0.5}),
        ("print(it, loss, acc)", {"it": 9, "loss": 0.25, "acc": 0.5}),
        ('print(f"{it:3d} {loss.item():.4f} | {acc.item():.3f}")', {"it": 9, "loss": 0.25, "acc": 0.5}),
        ('print(it, total / len(scores), dice(acc), scores["dice"])', {"it": 9, "total": 8.0, "dice": 0.7}),
        ('print("step", it, "loss", loss.item())', {"step": 9, "loss": 0.25}),  # its own words
        ("print(loss.item())", {}),  # one number may be anything
        ("print(*[it, acc.item()])", {}),
        ("print(it, [1, 2])", {}),
        ("print(it, acc.item(), sep=';')", {"it": 9, "acc": 0.5}),
    ],
)
def test_columns_are_named_and_shown_as_they_are(tmp_path, monkeypatch, line, figures) -> None:
    found, shown = read(tmp_path, monkeypatch, line)
    assert found == figures
    monkeypatch.undo()
    plain = io.StringIO()
    scope: dict[str, object] = {}
    exec(compile((tmp_path / "train.py").read_text(), "train.py", "exec"), scope)
    monkeypatch.setattr(sys, "stdout", plain)
    scope["main"](**VALUES)  # type: ignore[operator]
    assert shown == plain.getvalue()
