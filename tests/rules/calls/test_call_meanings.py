"""Rules about single calls whose arguments mean something else: M213, L318, L319, L320."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.finding import Finding, Standing
from watch.inside import found, watched


def loop(loss_of: Callable[[nn.Module, Tensor], Tensor], steps: int = 6) -> None:
    """A few steps on images of a batch that changes."""
    torch.manual_seed(0)
    net = nn.Conv2d(1, 2, 3, padding=1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(net, torch.randn(6, 1, 8, 12)).backward()
        optimizer.step()


def line_of(finding: Finding) -> str:
    assert finding.location is not None
    return Path(__file__).read_text().splitlines()[finding.location.line - 1].strip()


# -- M213 ----------------------------------------------------------------------------------------------------


def grid(kind: str, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    made = {
        "right": torch.stack([columns, rows], -1),
        "transposed": torch.stack([rows, columns], -1),
        "pixels": torch.stack([(columns + 1) * (width - 1) / 2, (rows + 1) * (height - 1) / 2], -1),
        "unit": torch.stack([(columns + 1) / 2, (rows + 1) / 2], -1),
        "turned": torch.stack([rows, -columns], -1),  # by a quarter, as an augmentation does
        "shifted": torch.stack([columns + 0.6, rows], -1),
        "centre": torch.stack([columns * 0.5, rows * 0.5], -1),
    }[kind]
    return made.expand(len(like), -1, -1, -1)


def warped(kind: str) -> Callable[[nn.Module, Tensor], Tensor]:
    def loss_of(net: nn.Module, image: Tensor) -> Tensor:
        flow = 0.02 * net(image).permute(0, 2, 3, 1)
        moved = F.grid_sample(image, grid(kind, image) + flow, align_corners=True)
        return F.mse_loss(moved, image.roll(1, -1))

    return loss_of


@pytest.mark.parametrize(("kind", "variant"), [("transposed", "order"), ("pixels", "pixels"), ("unit", "unit")])
def test_a_grid_of_other_axes_or_units_is_shown_at_its_line(kind: str, variant: str, tmp_path: Path) -> None:
    (finding,) = found("M213", watched(lambda: loop(warped(kind)), tmp_path))
    assert (finding.standing, finding.variant) == (Standing.DEMONSTRATED, variant)
    assert line_of(finding).startswith("moved = F.grid_sample(")


@pytest.mark.parametrize("kind", ["right", "turned", "shifted", "centre"])
def test_a_grid_that_moves_the_image_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("M213", watched(lambda: loop(warped(kind)), tmp_path))


def test_volumes_have_their_last_axis_first(tmp_path: Path) -> None:
    volume = torch.randn(2, 1, 5, 6, 7)
    scale = nn.Parameter(torch.ones(()))

    def train(reverse: bool) -> None:
        optimizer = torch.optim.SGD([scale], 1e-3)
        for _ in range(4):
            axes = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in (5, 6, 7)), indexing="ij")
            points = torch.stack(axes[::-1] if reverse else axes, -1).expand(2, -1, -1, -1, -1)
            F.grid_sample(volume, points * scale, align_corners=True).square().mean().backward()
            optimizer.step()

    (finding,) = found("M213", watched(lambda: train(False), tmp_path / "a"))
    assert finding.variant == "order"
    assert not found("M213", watched(lambda: train(True), tmp_path / "b"))


# -- L318 ----------------------------------------------------------------------------------------------------


def penalty(kind: str) -> Callable[[nn.Module, Tensor], Tensor]:
    def loss_of(net: nn.Module, image: Tensor) -> Tensor:
        image.requires_grad_()
        score = net(image).tanh().square()
        score = score if kind == "points" else score.mean((1, 2, 3))
        (gradient,) = torch.autograd.grad(
            score, image, torch.ones_like(score), retain_graph=True, create_graph=kind != "saliency"
        )
        if kind == "flat":
            norm = gradient.flatten(1).norm(2, dim=1)
        elif kind == "whole":
            norm = gradient.norm(2, dim=(1, 2, 3))
        else:
            norm = gradient.norm(2, dim=1)
        return (norm - 1).square().mean() + score.mean()

    return loss_of


def test_a_penalty_on_every_pixel_is_shown_at_its_line(tmp_path: Path) -> None:
    (finding,) = found("L318", watched(lambda: loop(penalty("channels")), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert line_of(finding) == "norm = gradient.norm(2, dim=1)"
    assert finding.numbers["left"] == 8 * 12


@pytest.mark.parametrize("kind", ["flat", "whole", "points", "saliency"])
def test_a_penalty_on_samples_or_on_points_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("L318", watched(lambda: loop(penalty(kind)), tmp_path))


# -- L319 ----------------------------------------------------------------------------------------------------


def distilled(kind: str) -> Callable[[nn.Module, Tensor], Tensor]:
    teacher = nn.Conv2d(1, 2, 3, padding=1)

    def loss_of(net: nn.Module, image: Tensor) -> Tensor:
        out = net(image)
        with torch.no_grad():
            wanted = teacher(image).softmax(1)
        said = teacher(image) if kind == "teacher twice" else out
        term = F.kl_div(said.log_softmax(1), wanted.softmax(1) if kind == "twice softened" else wanted, reduction="sum")
        return term + out.square().mean()

    return loss_of


def test_a_term_that_compares_a_network_with_itself_is_shown(tmp_path: Path) -> None:
    (finding,) = found("L319", watched(lambda: loop(distilled("teacher twice")), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert line_of(finding).startswith("term = F.kl_div(")


@pytest.mark.parametrize("kind", ["right", "twice softened"])
def test_two_networks_that_differ_are_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("L319", watched(lambda: loop(distilled(kind)), tmp_path))


def test_a_copy_that_is_equal_only_at_first_is_left_alone(tmp_path: Path) -> None:
    net, frozen = nn.Linear(4, 4), nn.Linear(4, 4)
    frozen.load_state_dict(net.state_dict())

    def train() -> None:
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(6):
            x = torch.randn(8, 4)
            (F.mse_loss(net(x), frozen(x).detach()) + net(x).square().mean()).backward()
            optimizer.step()

    assert not found("L319", watched(train, tmp_path))


# -- L320 ----------------------------------------------------------------------------------------------------


def selected(kind: str) -> Callable[[nn.Module, Tensor], Tensor]:
    def loss_of(net: nn.Module, image: Tensor) -> Tensor:
        risk = net(image).mean((1, 2, 3))
        event = torch.tensor([0, 1, 1, 0, 0, 1])
        index = {
            "integers": event,
            "mask": event.bool(),
            "order": torch.randperm(6),
            "some": event[:5],
            "sorted": risk.argsort(),
        }[kind]
        chosen = risk[index]
        return chosen.square().mean() + risk.mean()

    return loss_of


def test_a_mask_of_integers_is_shown_at_its_line(tmp_path: Path) -> None:
    (finding,) = found("L320", watched(lambda: loop(selected("integers")), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert line_of(finding) == "chosen = risk[index]"


@pytest.mark.parametrize("kind", ["mask", "order", "some", "sorted"])
def test_what_gathers_or_selects_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("L320", watched(lambda: loop(selected(kind)), tmp_path))


def test_a_table_of_two_rows_is_looked_up(tmp_path: Path) -> None:
    table = nn.Parameter(torch.randn(4, 3))

    def train() -> None:
        optimizer = torch.optim.SGD([table], 0.1)
        for step in range(6):
            sex = torch.tensor([0, 1, 1, 0, 1, 0, 1][: 4 + step % 3])  # batches of four, five and six
            table[sex].square().mean().backward()
            optimizer.step()

    assert not found("L320", watched(train, tmp_path))
