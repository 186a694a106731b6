"""L305 on softmaxes over the wrong axis: the batch, or an axis that is never longer than one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from watch.inside import found, watched


def loop(loss_of: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...] = (6, 8), classes: int = 3) -> None:
    torch.manual_seed(0)
    net = nn.Linear(shape[-1], classes)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(4):
        size = 1 + step % 2 if shape[0] == 0 else shape[0]
        loss = loss_of(net(torch.randn(size, *shape[1:])), torch.randint(0, classes, (size, *shape[1:-1])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


FAULTY = {
    "batch": (lambda y, t: F.nll_loss(F.log_softmax(y, dim=0), t), (6, 8), 3),
    "negative index": (lambda y, t: F.nll_loss(F.log_softmax(y, -2).float(), t), (6, 8), 3),
    "last of an image": (lambda y, t: F.nll_loss(F.log_softmax(y, -1), t % 2), (2, 4, 8), 4),
    "one unit": (lambda y, t: F.binary_cross_entropy(torch.softmax(y, 1) * 0.5, t[:, None].float()), (6, 8), 1),
}
HEALTHY = {
    "classes": (lambda y, t: F.nll_loss(F.log_softmax(y, dim=1), t), (6, 8), 3),
    "moved since": (lambda y, t: F.nll_loss(F.log_softmax(y, -1).movedim(-1, 1), t), (2, 5, 8), 4),
    "another loss": (lambda y, t: (torch.softmax(y, 0) * F.one_hot(t, 3)).square().mean(), (6, 8), 3),
    "a set of one, sometimes": (lambda y, t: (torch.softmax(y, 0) * y).sum(), (0, 8), 1),
}


@pytest.mark.parametrize("name", FAULTY)
def test_the_wrong_axis_is_found(name: str, tmp_path: Path) -> None:
    loss_of, shape, classes = FAULTY[name]
    shape_of_target = {"last of an image": (2, 8)}.get(name)

    def of(y: Tensor, t: Tensor) -> Tensor:
        target = torch.zeros(2, 4, dtype=torch.long) if shape_of_target else t
        return loss_of(y.movedim(-1, 1).movedim(1, -1) if shape_of_target else y, target)

    variants = [finding.variant for finding in found("L305", watched(lambda: loop(of, shape, classes), tmp_path))]
    assert variants == ["axis-of-length-one" if name == "one unit" else "wrong-axis"]


@pytest.mark.parametrize("name", HEALTHY)
def test_the_right_axis_is_left_alone(name: str, tmp_path: Path) -> None:
    loss_of, shape, classes = HEALTHY[name]
    assert not found("L305", watched(lambda: loop(loss_of, shape, classes), tmp_path))
