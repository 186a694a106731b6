"""Scores of a classification by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.finding import Standing

TABLE = """
import numpy as np

def roc_auc(truth, score):
    above = (score[truth == 1][:, None] > score[truth == 0][None]).mean()
    return above + 0.5 * (score[truth == 1][:, None] == score[truth == 0][None]).mean()

def compute_metrics(preds, labels, n_labels):
    rows = []
    for c in range(n_labels):
        truth = (labels == c).astype(int)
        pred = (preds.argmax(1) == c).astype(int)
        prob = {prob}
        tp, fp = (pred * truth).sum(), (pred * (1 - truth)).sum()
        fn = ((1 - pred) * truth).sum()
        rows.append({{"f1": {f1},
                     "auc": roc_auc(truth, prob), "accuracy": (pred == truth).mean()}})
    return rows

def main():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    preds = rng.random((60, 4)) + np.eye(4)[labels]
    preds = preds / preds.sum(1, keepdims=True)
    rows = compute_metrics(preds, labels, 4)
    stop()
"""
ONE = """
import torch

def {name}({arguments}):
    {body}

def main():
    torch.manual_seed(0)
    labels = (torch.rand(50) > 0.6).long()
    scores = {scores}
    value = {name}({given})
    stop()
"""
RIGHT = {
    "accuracy": ("accuracy", "pred, target", "return ((pred > 0).long() == target).float().mean().item()", "logits"),
    "percent": ("accuracy", "pred, target", "return 100 * ((pred > 0).long() == target).float().mean()", "logits"),
    "f1": (
        "f1_score", "y_true, y_pred",
        "p = (y_pred > 0.5).long(); return (2 * (p * y_true).sum() / (p.sum() + y_true.sum()))", "probabilities",
    ),
    "one hot": ("accuracy", "pred, target", "return (pred.argmax(1) == target.argmax(1)).float().mean()", "one hot"),
    "several": (
        "table", "pred, target",
        "acc = (pred.round() == target).float().mean(); rows = len(pred)\n    return acc, rows", "probabilities",
    ),
}  # fmt: skip
WRONG = {
    "never 1": ("accuracy", "pred, target", "return ((pred > 0).long() == target).float().sum() / 100", "logits"),
    "for any": ("accuracy", "pred, target", "return ((pred > -99).long() >= target).float().mean().item()", "logits"),
    "twice": (
        "f1_score", "y_true, y_pred",
        "p = (y_pred.sigmoid() > 0.5).long(); return 2 * (p * y_true).sum() / (p.sum() + y_true.sum())",
        "probabilities",
    ),
}  # fmt: skip


def source(name: str, arguments: str, body: str, form: str) -> str:
    scores = {
        "logits": "torch.randn(50) + labels",
        "probabilities": "(torch.randn(50) + labels).sigmoid()",
        "one hot": "torch.randn(50, 3); labels = torch.eye(3)[torch.randint(0, 3, (50,))]",
    }
    given = "labels, scores" if arguments == "y_true, y_pred" else "scores, labels"
    return ONE.format(name=name, arguments=arguments, body=body, scores=scores[form], given=given)


def test_an_area_of_what_does_not_tell_the_class(script: Callable[[str], Any]) -> None:
    f1 = "2 * tp / (2 * tp + fp + fn)"
    faulty = script(TABLE.format(prob="preds.max(1)", f1=f1))
    (finding,) = faulty.found("E821")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location.line == faulty.line("prob = preds")
    assert "AUC" in finding.message
    healthy = script(TABLE.format(prob="preds[:, c]", f1=f1))
    assert len(healthy.records) >= 3
    assert not healthy.found("E821")


def test_a_wrong_entry_is_named_where_it_gets_its_value(script: Callable[[str], Any]) -> None:
    faulty = script(TABLE.format(prob="preds[:, c]", f1="tp / (2 * tp + fp + fn)"))
    (finding,) = faulty.found("E821")
    assert finding.location.line == faulty.line('rows.append({"f1"')
    assert finding.numbers["perfect"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", WRONG)
def test_a_score_that_is_not_1_or_always_1(script: Callable[[str], Any], kind: str) -> None:
    assert len(script(source(*WRONG[kind])).found("E821")) == 1


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_score_in_any_form(script: Callable[[str], Any], kind: str) -> None:
    healthy = script(source(*RIGHT[kind]))
    assert healthy.records
    assert not healthy.found("E821")


SOFT = """
import torch

def {name}(probabilities, target):
    overlap = (probabilities * target).sum()
    return (2 * overlap + 1e-6) / (probabilities.sum() + target.sum() + 1e-6)

def main():
    torch.manual_seed(0)
    target = (torch.rand(80) > 0.5).float()
    value = {name}((torch.randn(80) + target).sigmoid(), target)
    stop()
"""
MAPS = """
import torch

def mean_iou(logits, target):
    pred = logits.argmax({axis})
    return sum(((pred == c) & (target == c)).sum() / ((pred == c) | (target == c)).sum() for c in range(4)).item() / 4

def main():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (4, 6, 6))
    value = mean_iou(torch.randn(4, 4, 6, 6), target)
    stop()
"""
OBJECT = """
import numpy as np

class Evaluator:
    def __init__(self, classes):
        self.classes = classes
        self.reset()

    def reset(self):
        self.matrix = np.zeros((self.classes, self.classes))

    def update(self, preds, labels):
        pair = {pair}
        self.matrix += np.bincount(pair, minlength=self.classes ** 2).reshape(self.classes, self.classes)

    def accuracy(self):
        return np.diag(self.matrix).sum() / self.matrix.sum()

def main():
    rng = np.random.default_rng(0)
    labels, preds = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    evaluator = Evaluator(3)
    evaluator.update(preds, labels)
    value = evaluator.accuracy()
    stop()
"""


def test_an_overlap_of_probabilities_is_tried_on_sure_ones(script: Callable[[str], Any]) -> None:
    healthy = script(SOFT.format(name="dice_coefficient"))
    assert healthy.records
    assert not healthy.found("E821")


def test_maps_of_classes(script: Callable[[str], Any]) -> None:
    (finding,) = script(MAPS.format(axis="1").replace("logits.argmax(1)", "logits[:, :3].argmax(1)")).found("E821")
    assert "IoU" in finding.message
    healthy = script(MAPS.format(axis="1"))
    assert healthy.records
    assert not healthy.found("E821")


def test_an_object_that_gathers_first(script: Callable[[str], Any]) -> None:
    faulty = script(OBJECT.format(pair="labels * self.classes + (preds + 1) % self.classes"))
    assert not faulty.found("E821")  # 0 for perfect predictions: it may be meant the other way round
    faulty = script(OBJECT.format(pair="labels * self.classes + np.minimum(preds, 1)"))
    (finding,) = faulty.found("E821")
    assert finding.location.line == faulty.line("return np.diag")
    healthy = script(OBJECT.format(pair="labels * self.classes + preds"))
    assert healthy.records
    assert not healthy.found("E821")


COUNTED = """
import torch

def {name}(pred, target):
    pred = (pred > 0).long()
    tp, fp = (pred * target).sum(), (pred * (1 - target)).sum()
    fn = ((1 - pred) * target).sum()
    return {formula}

def main():
    torch.manual_seed(0)
    target = (torch.rand(80) > 0.5).long()
    value = {name}(torch.randn(80) + target, target)
    stop()
"""


@pytest.mark.parametrize(
    ("name", "formula", "means"),
    [
        ("iou", "tp / (tp + fn)", "recall"),
        ("precision", "tp / (tp + fn)", "recall"),
        ("iou", "2 * tp / (2 * tp + fp + fn)", "Dice"),
        ("iou", "tp / (tp + fp + fn)", ""),
        ("f1_score", "2 * tp / (2 * tp + fp + fn)", ""),
        ("dice", "(2 * tp + 1) / (2 * tp + fp + fn + 1)", ""),
        ("sensitivity", "tp / (tp + fn)", ""),
        ("accuracy", "1 - (fp + fn) / len(target)", ""),
    ],
)
def test_a_score_that_is_another_one(script: Callable[[str], Any], name: str, formula: str, means: str) -> None:
    tried = script(COUNTED.format(name=name, formula=formula))
    assert tried.records
    findings = tried.found("E821")
    assert len(findings) == bool(means)
    if means:
        assert f"that is their {means}" in findings[0].message
        assert findings[0].location.line == tried.line("return ")


def test_a_mean_over_samples_or_classes_is_a_convention(script: Callable[[str], Any]) -> None:
    each = "        return sum(mean_iou(a[None], b[None]) for a, b in zip(logits, target)) / len(logits)\n"
    of_samples = MAPS.format(axis="1").replace("    pred = logits", f"    if len(logits) > 1:\n{each}    pred = logits")
    healthy = script(of_samples)
    assert healthy.records
    assert not healthy.found("E821")


OF_INPUTS = """
import torch

class Trainer:
    def __init__(self):
        self.net = torch.nn.Linear(4, 2)

    def accuracy(self, {first}, labels):
        return (self.net({first}).argmax(1) == labels).float().mean().item()

def accuracy(net, {first}, labels):
    return (net({first}).argmax(1) == labels).float().mean().item()

def main():
    x, labels = torch.randn(20, 4), torch.arange(20) % 2
    trainer = Trainer()
    first = trainer.accuracy(x, labels)
    second = accuracy(trainer.net, x, labels)
    stop()
"""


@pytest.mark.parametrize("first", ["x", "features", "outputs"])
def test_inputs_of_a_network_are_no_predictions(script: Callable[[str], Any], first: str) -> None:
    assert not script(OF_INPUTS.format(first=first)).records
