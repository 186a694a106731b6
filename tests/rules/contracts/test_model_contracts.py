"""C1115, call by call: models and losses that libraries ship, and scores of them."""

from __future__ import annotations

import linecache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy

from rules.contracts.test_contract_numbers import said
from traindx.evidence import Evidence
from traindx.watch.collectors.contracts import Contracts
from traindx.watch.collectors.library_contracts import LibraryContracts, exchanged, unpacked
from traindx.watch.contracts import models
from traindx.watch.contracts.base import IN_ORDER, Broken, Said
from traindx.watch.runtime.call_sites import CallSite
from watch.inside import found, watching


class TinyForCausalLM:
    config = SimpleNamespace(pad_token_id=0, eos_token_id=9, num_attention_heads=2)


IDS = torch.randint(1, 9, (4, 8), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([8, 5, 3, 6])
KEPT = (torch.arange(8)[None] < LENGTHS[:, None]).long()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (IDS, "order"),
        (torch.cat([IDS[:, 1:], IDS[:, :1]], 1), "broken"),
        (torch.where(torch.arange(8)[None] < 3, -100, IDS), "order"),  # a prompt
        (torch.full_like(IDS, -100), "nothing"),
        (IDS.flip(1), "nothing"),
        (torch.ones_like(IDS), "nothing"),
    ],
)
def test_labels_of_a_language_model(labels: Tensor, expected: str) -> None:
    assert said(models.shifted, module=TinyForCausalLM(), input_ids=IDS, labels=labels) == expected


@pytest.mark.parametrize("side", ["right", "left"])
def test_attention_masks(side: str) -> None:
    kept = KEPT if side == "right" else KEPT.flip(1)
    ids = IDS * kept
    for mask, given, right in ((None, "broken", "nothing"), (kept, "order", "order"), (1 - kept, "order", "broken")):
        assert said(models.mask_given, module=TinyForCausalLM(), input_ids=ids, attention_mask=mask) == given
        assert said(models.mask_right, module=TinyForCausalLM(), input_ids=ids, attention_mask=mask) == right
    assert said(models.mask_given, module=TinyForCausalLM(), input_ids=IDS) == "nothing"  # one length
    ends = SimpleNamespace(config=SimpleNamespace(pad_token_id=0, eos_token_id=0, num_attention_heads=2))
    assert said(models.mask_given, module=ends, input_ids=ids) == "nothing"


@pytest.mark.parametrize(("labels", "expected"), [([0, 1], "broken"), ([1, 2], "order"), ([], "nothing")])
def test_detectors(labels: list[int], expected: str) -> None:
    targets = [{"labels": torch.tensor(labels, dtype=torch.long)}]
    assert said(models.background, module=SimpleNamespace(roi_heads=1), targets=targets) == expected
    assert said(models.background, module=SimpleNamespace(), targets=targets) == "nothing"
    own = SimpleNamespace(transform=SimpleNamespace(image_mean=[0.5]))
    off = SimpleNamespace(transform=SimpleNamespace(image_mean=[0.0]))
    raw, normalised = torch.rand(3, 8, 8), torch.rand(3, 8, 8) * 4 - 2
    assert said(models.raw_images, module=own, images=[raw]) == "order"
    assert said(models.raw_images, module=own, images=[normalised]) == "broken"
    assert said(models.raw_images, module=off, images=[normalised]) == "nothing"


def test_probabilities_for_logits() -> None:
    scores = torch.randn(4, 3, requires_grad=True)
    focal, told = SimpleNamespace(), SimpleNamespace(from_logits=False)
    assert said(models.logits, module=focal, input=scores.sigmoid()) == "broken"
    assert said(models.logits, module=focal, input=scores * 2) == "order"
    assert said(models.logits, module=focal, input=scores.sigmoid() * 8 - 4) == "order"
    assert said(models.logits, module=told, y_pred=scores.sigmoid()) == "nothing"
    assert said(models.shares, module=told, y_pred=scores.sigmoid()) == "order"
    assert said(models.shares, module=told, y_pred=scores * 3) == "broken"


@pytest.mark.parametrize(
    ("weight", "expected"),
    [([0.9, 0.1], "broken"), ([0.1, 0.9], "order"), ([1.0, 1.0], "nothing"), ([1.0, 5.0], "order"),
     ([5.0, 1.0], "nothing")],
)  # fmt: skip
def test_class_weights(weight: list[float], expected: str) -> None:
    target = torch.tensor([0] * 90 + [1] * 10)
    assert said(models.class_weights, weight=torch.tensor(weight), target=target) == expected
    balanced = torch.tensor([0] * 50 + [1] * 50)
    assert said(models.class_weights, weight=torch.tensor(weight), target=balanced) == "nothing"


@pytest.mark.parametrize(
    ("weight", "positives", "expected"),
    [(0.11, 10, "broken"), (9.0, 10, "order"), (9.0, 90, "broken"), (2.0, 50, "nothing"), (0.5, 10, "nothing"),
     (1.0, 10, "order")],
)  # fmt: skip
def test_positive_weights(weight: float, positives: int, expected: str) -> None:
    target = torch.cat([torch.ones(positives), torch.zeros(100 - positives)])
    assert said(models.positive_weight, pos_weight=torch.tensor([weight]), target=target) == expected


def read(look: Any, text: str, *more: str) -> str:
    file = f"/nowhere/{abs(hash(text))}.py"
    linecache.cache[file] = (len(text), None, [text + "\n"], file)
    answer: Said = look(CallSite(file, 1, ""), *more)
    return "broken" if isinstance(answer, Broken) else "order" if answer == IN_ORDER else "nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p = precision_score(y_pred, y_true)", "broken"),
        ("p = metrics.precision_score(preds.numpy(), labels.numpy())", "broken"),
        ("p = precision_score(y_true, y_pred)", "order"),
        ("p = precision_score(y_true=labels, y_pred=outputs)", "nothing"),
        ("p = precision_score(a, b)", "nothing"),
        ("p = precision_score(y_test, model.predict(X))", "nothing"),
        ("p = precision_score(pred_labels, labels)", "nothing"),
    ],
)
def test_truth_and_prediction(text: str, expected: str) -> None:
    assert read(exchanged, text, "precision_score") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X_train, y_train, X_test, y_test = train_test_split(X, y)", "broken"),
        ("X_test, X_train, y_test, y_train = train_test_split(X, y)", "broken"),
        ("X_train, X_test, y_train, y_test = train_test_split(X, y)", "order"),
        ("a, b, c, d = train_test_split(X, y)", "nothing"),
        ("train, test = train_test_split(X)", "nothing"),
        ("parts = train_test_split(X, y)", "nothing"),
    ],
)
def test_parts_of_a_split(text: str, expected: str) -> None:
    assert read(unpacked, text) == expected


@pytest.mark.parametrize(("conversion", "count"), [("", 1), ("image = image[..., ::-1]", 0)])
def test_colours(conversion: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    contracts, module = LibraryContracts(), ModuleType("cv2")
    image = np.zeros((8, 8, 3), np.uint8) + np.array([10, 90, 200], np.uint8)
    vars(module)["imread"] = lambda name: image if "grey" not in name else image[..., :1].repeat(3, 2)
    contracts.install_reader(module)
    for _ in range(4):
        module.imread("grey.png")
        module.imread("colour.png")
    text = f"net = resnet18(weights='DEFAULT')\n{conversion}\n"
    linecache.cache["/nowhere/net.py"] = (len(text), None, text.splitlines(True), "/nowhere/net.py")
    monkeypatch.setattr("traindx.watch.collectors.library_contracts.source_files", lambda: ("/nowhere/net.py",))
    evidence = Evidence()
    for record in contracts.records():
        evidence.add(record)
    contracts.patches.undo()
    assert len(found("C1115", evidence)) == count


@pytest.mark.parametrize(("resets", "count"), [(False, 1), (True, 0)])
def test_metric_never_reset(resets: bool, count: int, tmp_path: Path) -> None:
    import torchmetrics.metric as module

    data = DataLoader(TensorDataset(torch.rand(12), torch.arange(12) % 2), 4)
    with watching(tmp_path) as watch:
        next(one for one in watch.collectors if isinstance(one, Contracts)).with_torchmetrics(module)
        net, score = nn.Linear(1, 1), BinaryAccuracy()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            for value, label in data:
                optimizer.zero_grad()
                net(value[:, None]).square().mean().backward()
                optimizer.step()
                score.update(value, label)
                if resets:
                    score.compute()  # within a pass
            score.compute()
            if resets:
                score.reset()
    findings = [one for one in found("C1115", Evidence.load(tmp_path)) if one.variant == "metric-never-reset"]
    assert len(findings) == count


@pytest.mark.parametrize(("thresholds", "resets", "variants"), [
    (False, False, ["metric-never-reset", "overlap-metric-of-no-mask"]), (True, True, []),
])  # fmt: skip
def test_scores_of_monai(thresholds: bool, resets: bool, variants: list[str], tmp_path: Path) -> None:
    import monai.metrics.metric as module
    from monai.metrics import DiceMetric

    data = DataLoader(TensorDataset(torch.rand(8, 1, 6, 6)), 2)
    with watching(tmp_path) as watch:
        next(one for one in watch.collectors if isinstance(one, Contracts)).with_monai(module)
        net, score = nn.Conv2d(1, 1, 3, padding=1), DiceMetric()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            for (image,) in data:
                optimizer.zero_grad()
                net(image).square().mean().backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                for (image,) in data:
                    chance = net(image).sigmoid()
                    score((chance > 0.5).float() if thresholds else chance, (image > 0.5).float())
            net.train()
            score.aggregate()
            if resets:
                score.reset()
    findings = found("C1115", Evidence.load(tmp_path))
    assert sorted(one.variant for one in findings) == variants
