"""Bad cases through the real examination: a clear message with file and line, exit code of at least 2, and a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from traindx.cli.app import run

START = """
import torch
from torch import nn
import traindx as dx


def batches():
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        x = torch.randn(2, 1, 8, 8, generator=generator)
        yield {"x": x, "y": x}


def model():
    return nn.Conv2d(1, 1, 1)


def loss(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


def predict(model, batch):
    return model(batch["x"])


parts = dict(model=model, train=batches, loss=loss, predict=predict, target=lambda batch: batch["y"], name="bad")
"""

BAD = {
    "a model that cannot be built": (
        "def broken():\n    raise FileNotFoundError('weights.pt')  # here\n"
        "case = dx.Case(**{**parts, 'model': broken})\n",
        "weights.pt",
    ),
    "a model that returns NaN": (
        "class Poisoned(nn.Module):  # here\n    def __init__(self):\n        super().__init__()\n"
        "        self.c = nn.Conv2d(1, 1, 1)\n    def forward(self, x):\n"
        "        return torch.log(-self.c(x).abs() - 1)\ncase = dx.Case(**{**parts, 'model': Poisoned})\n",
        "is nan",
    ),
    "a loader that ends before its first batch": (
        "case = dx.Case(**{**parts, 'train': iter(())})\n",
        "ended before the first one",
    ),
    "a loader that raises": (
        "def torn():\n    raise OSError('pt_7.nii.gz is cut short')  # here\n    yield\n"
        "case = dx.Case(**{**parts, 'train': torn})\n",
        "pt_7.nii.gz is cut short",
    ),
    "a loss that raises": (
        "def wrong(model, batch):\n    return batch['z']  # here\ncase = dx.Case(**{**parts, 'loss': wrong})\n",
        "'z'",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_cases(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = BAD[kind]
    text = START + text
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"bad_case_{list(BAD).index(kind)}.py"
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert run(["examine", f"{name}:case", "--budget", "0s", "--out", "out", "--json"]) >= 2
    out, err = capsys.readouterr()
    diagnosis = json.loads(out)
    assert diagnosis["outcome"] == "not enough seen"
    assert words in diagnosis["errors"][0]
    assert words in err
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    for line in lines:
        assert f"{name}:{line}" in err
        assert f"{name}:{line}" in diagnosis["errors"][0]
    assert "not enough seen" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "evidence.jsonl").exists()
