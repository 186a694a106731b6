"""L335 on outputs, and channels of outputs, that no loss asks for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import NotExamined
from traindx.evidence.observed_outputs import OutputAsked
from traindx.finding import Standing
from watch.inside import found, watched


class TwoHeads(nn.Module):
    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 6, 3, padding=1)
        self.first, self.second = nn.Conv2d(6, channels, 3, padding=1), nn.Conv2d(6, channels, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.body(image))
        return self.first(hidden), self.second(hidden), hidden.mean((2, 3))


def data(channels: int = 1) -> DataLoader[tuple[Tensor, ...]]:
    torch.manual_seed(0)
    images = torch.randn(32, 1, 8, 8)
    real, imag = images.cumsum(2).repeat(1, channels, 1, 1), images.cumsum(3).repeat(1, channels, 1, 1)
    return DataLoader(TensorDataset(images, real, imag + 0.1 * torch.randn_like(imag)), 4)


def heads(kind: str) -> None:
    net, loader = TwoHeads(), data()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        net.train()
        for number, (image, clean_real, clean_imag) in enumerate(loader):
            optimizer.zero_grad()
            if kind == "copied":
                copied(net, image, clean_real).backward()
            elif kind == "both":
                both(net, image, clean_real, clean_imag).backward()
            elif kind == "in turn":
                in_turn(net, image, (clean_real, clean_imag), number % 2).backward()
            else:
                later(net, image, clean_real, clean_imag, 0).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            for image, _, clean_imag in loader:
                real, imag, mean = net(image)
                if kind == "never used":
                    float((real - clean_imag).square().mean())
                else:
                    float((torch.atan2(imag, real) - clean_imag).square().mean() + mean.mean())


def copied(net: TwoHeads, image: Tensor, clean_real: Tensor) -> Tensor:
    real, imag, _ = net(image)  # noqa: RUF059  (which is the fault)
    loss_r = (clean_real - real).square().mean()
    loss_i = (clean_real - real).square().mean()
    return loss_r + loss_i


def both(net: TwoHeads, image: Tensor, clean_real: Tensor, clean_imag: Tensor) -> Tensor:
    real, imag, _ = net(image)
    return F.mse_loss(real, clean_real) + F.mse_loss(imag, clean_imag)


def in_turn(net: TwoHeads, image: Tensor, targets: tuple[Tensor, ...], turn: int) -> Tensor:
    outputs = net(image)
    return F.mse_loss(outputs[turn], targets[turn])


def later(net: TwoHeads, image: Tensor, clean_real: Tensor, clean_imag: Tensor, epoch: int) -> Tensor:
    real, imag, _ = net(image)
    loss = F.mse_loss(real, clean_real)
    return loss + F.mse_loss(imag, clean_imag) if epoch > 5 else loss


def line(text: str, which: int = 0) -> int:
    lines = [number for number, one in enumerate(Path(__file__).read_text().splitlines(), 1) if one.strip() == text]
    return lines[which]


def test_a_term_that_was_copied_from_the_other_head(tmp_path: Path) -> None:
    (finding,) = found("L335", watched(lambda: heads("copied"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert finding.location.line == line("loss_i = (clean_real - real).square().mean()")
    assert finding.numbers["parameters"] == 6 * 9 + 1


def test_a_head_whose_term_comes_later_is_suspected_at_most(tmp_path: Path) -> None:
    for finding in found("L335", watched(lambda: heads("later"), tmp_path)):
        assert finding.standing is Standing.SUSPECTED


@pytest.mark.parametrize("kind", ["both", "in turn", "never used"])
def test_heads_that_are_trained_or_never_used(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: heads(kind), tmp_path)
    assert evidence.of(OutputAsked)
    assert not found("L335", evidence)


def channels(kind: str) -> None:
    loader = data(2 if kind != "no target" else 1)
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 3, padding=1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        net.train()
        for image, target, _ in loader:
            optimizer.zero_grad()
            channel_loss(kind, net(image), target).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            for image, target, _ in loader:
                out = torch.sigmoid(net(image)).flatten(2)
                if kind in ("target only", "no target"):
                    float((out[:, 0] - target[:, 0].flatten(1)).square().mean())
                else:
                    float((out[:, 1] - target[:, 1].flatten(1)).square().mean())


def channel_loss(kind: str, output: Tensor, target: Tensor) -> Tensor:
    if kind == "first alone":
        return F.mse_loss(output[:, 0], target[:, 0])
    if kind in ("target only", "no target"):
        return F.l1_loss(output.chunk(2, 1)[0], target[:, :1])
    if kind == "by mask":
        return F.mse_loss(output[:, torch.tensor([0])], target[:, :1])
    if kind == "by weight":
        return ((output - target).square() * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)).mean()
    if kind == "classes":
        return F.cross_entropy(output, torch.zeros_like(target[:, 0], dtype=torch.long))
    return F.mse_loss(output, target)


@pytest.mark.parametrize(
    ("kind", "text", "standing"),
    [
        ("first alone", "return F.mse_loss(output[:, 0], target[:, 0])", Standing.DEMONSTRATED),
        ("target only", "return F.l1_loss(output.chunk(2, 1)[0], target[:, :1])", Standing.SUSPECTED),
    ],
)
def test_a_channel_that_an_index_leaves_out(kind: str, text: str, standing: Standing, tmp_path: Path) -> None:
    (finding,) = found("L335", watched(lambda: channels(kind), tmp_path))
    assert finding.standing is standing
    assert finding.location is not None
    assert finding.location.line == line(text)
    assert finding.numbers["silent"] == 1


@pytest.mark.parametrize("kind", ["both", "no target", "by mask", "by weight", "classes"])
def test_channels_that_are_asked_for_or_left_out_by_the_data(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: channels(kind), tmp_path)
    assert any(one.channels == 2 for one in evidence.of(OutputAsked))
    assert not found("L335", evidence)


class Pieces(nn.Module):
    """A mean and a spread that are pieces of one tensor, as in a variational encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.head(F.relu(self.body(image))).chunk(2, 1)


def test_a_piece_that_no_loss_asks_for_gets_no_gradient_at_all(tmp_path: Path) -> None:
    """Autograd calls the hook of the other piece with None, which must not end the watching of both."""

    def train() -> None:
        net = Pieces()
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for image, real, _ in data():
            optimizer.zero_grad()
            mean, _ = net(image)
            F.mse_loss(mean, real).backward()
            optimizer.step()

    evidence = watched(train, tmp_path)
    assert not [one for one in evidence.of(NotExamined) if "Error" in one.reason]
    assert sorted(bool(one.reached) for one in evidence.of(OutputAsked)) == [False, True]
