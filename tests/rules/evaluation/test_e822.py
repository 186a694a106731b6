"""E822, E823 and E812: what becomes of the outputs of a validation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import Evidence
from traindx.evidence.observed_evaluation import EvaluationOutputs, EvaluationPairs, FigureRegion
from traindx.finding import Finding, Standing
from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 2, 3, padding=1)
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net, x = Net(), torch.randn(24, 1, 20, 20)
    y = (x[:, 0] > 0).long()
    train = DataLoader(TensorDataset(x, y), 6, shuffle=True)
    val = DataLoader(TensorDataset(x[:20], y[:20]), 5, shuffle=kind in ("two shuffled passes", "shuffled"))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(2):
        net.train()
        for images, labels in train:
            outputs = net(images)
            loss = F.cross_entropy(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        stale, total = outputs[:5], loss.item()
        with torch.no_grad():
            sum(evaluated(kind, net, val, stale))
            for images, labels in val if "number" in kind else ():
                val_outputs = net(images)
                if kind == "own number":
                    loss = F.cross_entropy(val_outputs, labels)
                total += loss.item()
                total += float((val_outputs.argmax(1) == labels).float().mean())


def evaluated(kind: str, net: Net, val: DataLoader[tuple[Tensor, ...]], outputs: Tensor) -> Iterator[float]:
    if kind in ("two passes", "two shuffled passes"):
        given = [net(images).argmax(1) for images, _ in val]
        wanted = [labels for _, labels in val]
        for a, b in zip(given, wanted, strict=True):
            yield float((a == b).float().mean())
        return
    if "number" in kind:
        return
    if kind == "appended":
        every = [(net(images), labels) for images, labels in val]
        yield float((torch.cat([a for a, _ in every]).argmax(1) == torch.cat([b for _, b in every])).float().mean())
        return
    for images, labels in val:
        val_outputs = net(images)
        if kind == "stale":
            val_outputs = torch.argmax(outputs.softmax(1), 1)
            yield float((val_outputs == labels).float().mean())
        elif kind in ("right", "shuffled"):
            yield float((val_outputs.data.cpu().numpy().argmax(1) == labels.numpy()).mean())
            yield float((val_outputs.argmax(1) == labels).float().mean())
        elif kind == "corner":
            part = val_outputs[:, :, :4, -4:] * 0.01
            yield float(part.square().mean())
        elif kind == "border":
            yield float(val_outputs[:, :, 2:-2, 2:-2].square().mean())
    if kind == "last batch":
        yield float((val_outputs.argmax(1) == labels).float().mean())


def line(finding: Finding) -> str:
    assert finding.location is not None
    return Path(__file__).read_text().splitlines()[finding.location.line - 1].strip()


def test_what_a_training_step_computed_is_named_where_it_is_scored(tmp_path: Path) -> None:
    (finding,) = found("E822", watched(lambda: loop("stale"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert line(finding) == "val_outputs = torch.argmax(outputs.softmax(1), 1)"


def test_the_loss_of_the_last_training_batch_is_suspected(tmp_path: Path) -> None:
    (finding,) = found("E822", watched(lambda: loop("number"), tmp_path))
    assert (finding.standing, finding.variant) == (Standing.SUSPECTED, "training-number-summed")
    assert line(finding) == "total += loss.item()"


def test_a_loss_of_its_own_batch_is_left_alone(tmp_path: Path) -> None:
    assert not found("E822", watched(lambda: loop("own number"), tmp_path))


def test_a_training_loss_beside_the_figure_of_a_single_batch_is_left_alone(tmp_path: Path) -> None:
    def train() -> None:
        torch.manual_seed(0)
        net, x = Net(), torch.randn(24, 1, 20, 20)
        y = (x[:, 0] > 0).long()
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(15):
            outputs = net(x[:12])
            loss = F.cross_entropy(outputs, y[:12])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 3 == 2:
                with torch.no_grad():
                    outputs = net(x[12:])
                    sum([loss.item(), float((outputs.argmax(1) == y[12:]).float().mean())])

    run = watched(train, tmp_path)
    assert max(seen.numbers for seen in run.of(EvaluationOutputs)) >= 3  # it was seen, and is not said
    assert not found("E822", run)


def test_an_evaluation_of_its_last_batch_is_suspected(tmp_path: Path) -> None:
    (finding,) = found("E822", watched(lambda: loop("last batch"), tmp_path))
    assert (finding.standing, finding.variant) == (Standing.SUSPECTED, "last-batch-scored")
    assert line(finding) == "val_outputs = net(images)"


def test_labels_of_another_shuffled_pass_are_suspected(tmp_path: Path) -> None:
    (finding,) = found("E812", watched(lambda: loop("two shuffled passes"), tmp_path))
    assert line(finding) == "yield float((a == b).float().mean())"


@pytest.mark.parametrize("kind", ["right", "shuffled", "two passes", "appended", "border"])
def test_outputs_that_are_scored_are_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    (seen,) = (one for one in evidence.of(EvaluationOutputs) if one.phase == "validation")
    assert seen.calls >= 4
    assert seen.unused == 0
    if kind != "border":
        assert any(one.same and not one.other for one in evidence.of(EvaluationPairs))
    assert not [*found("E822", evidence), *found("E812", evidence), *found("E823", evidence)]


def test_a_figure_of_one_corner_is_measured_as_that(tmp_path: Path) -> None:
    (seen,) = watched(lambda: loop("corner"), tmp_path).of(FigureRegion)
    assert seen.share == pytest.approx(16 / 400)
    assert seen.calls >= 4
    assert not seen.whole


@pytest.mark.parametrize(
    ("share", "contrast", "whole", "said"),
    [(0.016, 0.02, 0, 1), (0.56, 0.02, 0, 0), (0.016, 0.9, 0, 0), (0.016, 0.02, 40, 0)],
)
def test_a_small_uniform_part_alone_is_suspected(share: float, contrast: float, whole: int, said: int) -> None:
    record = FigureRegion(network="Net", share=share, contrast=contrast, calls=40, whole=whole)
    evidence = Evidence()
    evidence.add(record)
    findings = found("E823", evidence)
    assert [one.standing for one in findings] == [Standing.SUSPECTED] * said


class OneBag(nn.Module):
    """A network that gives one number for a bag, and its attention."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh, self.judge = nn.Linear(6, 1), nn.Linear(6, 1)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        attention = self.weigh(bag[0]).softmax(0)
        return self.judge((attention * bag[0]).sum(0)).squeeze(), attention


def bags() -> None:
    torch.manual_seed(0)
    net, x = OneBag(), torch.randn(12, 5, 6)
    y = (x[:, :, 0].mean(1) > 0).float()
    train = DataLoader(TensorDataset(x, y), 1, shuffle=True)
    val = DataLoader(TensorDataset(x, y), 1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        net.train()
        for bag, label in train:
            loss = F.binary_cross_entropy_with_logits(net(bag)[0], label[0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            scores = [(net(bag)[0].item(), label.item()) for bag, label in val]
        sum(one for one, _ in scores)


def test_a_map_beside_a_single_number_may_be_dropped(tmp_path: Path) -> None:
    assert not found("E822", watched(bags, tmp_path))
