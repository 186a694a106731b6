"""E824: an area under a curve that is given decisions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torchmetrics.classification.precision_recall_curve as of_torchmetrics
from torchmetrics.classification import BinaryAUROC, BinaryPrecisionRecallCurve

from traindx.evidence import Evidence
from traindx.watch.collectors.ranked_scores import RankedScores
from watch.inside import found


@pytest.fixture
def ranked() -> Iterator[RankedScores]:
    made = RankedScores()
    made.install_classes(of_torchmetrics)
    yield made
    made.stop()
    made.patches.undo()


def said(ranked: RankedScores) -> list[int]:
    evidence = Evidence()
    for record in ranked.records():
        evidence.add(record)
    return [one.location.line for one in found("E824", evidence) if one.location is not None]


@pytest.mark.parametrize("kind", ["decisions", "probabilities", "few", "a curve"])
def test_torchmetrics(kind: str, ranked: RankedScores) -> None:
    torch.manual_seed(0)
    score = BinaryPrecisionRecallCurve() if kind == "a curve" else BinaryAUROC()
    for _ in range(1 if kind == "few" else 4):
        probability, label = torch.rand(16), torch.randint(0, 2, (16,))
        given = probability if kind == "probabilities" else (probability > 0.5).float()
        score.update(given, label)
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "score.update(given" in text)
    assert said(ranked) == ([line] if kind == "decisions" else [])


def test_it_computes_what_it_did(ranked: RankedScores) -> None:
    probability, label = torch.tensor([0.1, 0.7, 0.4, 0.9]), torch.tensor([0, 1, 1, 0])
    score = BinaryAUROC()
    score.update(probability, label)
    assert float(score.compute()) == 0.5


@pytest.mark.parametrize(("soft", "count"), [(False, 1), (True, 0)])
def test_functions_that_take_the_labels_first(soft: bool, count: int) -> None:
    module = ModuleType("ranking")

    def roc_auc_score(y_true: object, y_score: object) -> float:
        return 0.5

    vars(module)["roc_auc_score"] = roc_auc_score
    ranked, rng = RankedScores(), np.random.default_rng(0)
    ranked.install_sklearn(module)
    labels, scores = rng.integers(0, 2, 60), rng.random(60)
    assert module.roc_auc_score(labels, scores if soft else scores > 0.5) == 0.5
    assert len(said(ranked)) == count
