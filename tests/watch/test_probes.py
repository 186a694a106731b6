"""What every probe promises: a run with probes is the run without, and what cannot be probed is said."""

from __future__ import annotations

import logging
import random
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from traindx.evidence import NotExamined
from traindx.evidence.probed import InputProbed
from traindx.watch.probes.isolation import CannotRepeatError, Moment, isolated, twin
from watch.inside import watched


class Restless(nn.Module):
    """Everything that a forward pass can change: statistics, counters, queues, prints, weights, three generators."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.spectral_norm(nn.Conv2d(1, 4, 3, padding=1))
        self.new_norm = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(4, 2)
        self.slow = nn.Linear(2, 2)
        self.slow.requires_grad_(False)
        self.register_buffer("queue", torch.zeros(8, 2))
        self.calls = 0
        self.seen: list[float] = []
        self.own = torch.Generator().manual_seed(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        h = self.norm(self.new_norm(self.conv(x)))
        h = h + random.random() + float(np.random.rand()) + torch.rand_like(h)
        h = h + torch.rand(h.shape, generator=self.own)
        y = self.head(self.drop(h).mean((2, 3)))
        self.slow.weight.data.mul_(0.9).add_(0.01)
        self.queue = self.queue.roll(1, 0)
        self.queue[0] = y[0].detach()
        self.seen.append(float(y.detach().mean()))
        print("forward", self.calls)
        logging.getLogger("restless").warning("forward %d", self.calls)
        return y + self.slow(y)


def train(steps: int = 8) -> tuple[list[torch.Tensor], tuple[object, ...]]:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    net = Restless()
    handled: list[int] = []
    net.register_forward_hook(lambda *_: handled.append(1))
    optimizer = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), 1e-2)
    for _ in range(steps):
        loss = F.cross_entropy(net(torch.randn(6, 1, 8, 8)), torch.randint(0, 2, (6,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        net(torch.randn(6, 1, 8, 8))
    grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    state = [value.clone() for value in net.state_dict().values()]
    versions = [p._version for p in (*net.parameters(), *net.buffers())]
    numbers = (net.calls, tuple(net.seen), len(handled), net.training, tuple(versions), random.random())
    return [*state, *grads, torch.rand(3), net.own.get_state()], (*numbers, float(np.random.rand()))


def test_a_run_with_probes_is_the_run_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    bare, numbers = train()
    printed, logged = capsys.readouterr().out, len(caplog.records)
    caplog.clear()
    kept: list[tuple[list[torch.Tensor], tuple[object, ...]]] = []
    evidence = watched(lambda: kept.append(train()), tmp_path)
    tensors, others = kept[0]
    assert not evidence.of(InputProbed)  # it counts, prints and keeps lists: not to be called again
    assert any("Restless.forward assigns" in one.reason for one in evidence.of(NotExamined))
    assert all(torch.equal(a, b) for a, b in zip(bare, tensors, strict=True))
    assert others == numbers
    assert capsys.readouterr().out == printed
    assert len(caplog.records) == logged


def test_a_generator_of_the_script_does_not_move_on(tmp_path: Path) -> None:
    foreign = torch.Generator().manual_seed(5)

    class Net(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + torch.randn(x.shape, generator=foreign))

    def script() -> None:
        net = Net(4, 2)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(4):
            net(torch.randn(5, 4)).square().mean().backward()
            optimizer.step()

    assert watched(script, tmp_path).of(InputProbed)
    after = foreign.get_state()
    foreign.manual_seed(5)
    for _ in range(4):
        torch.randn((5, 4), generator=foreign)
    assert torch.equal(foreign.get_state(), after)


def test_a_network_that_raises_warns_of_nothing_of_ours(tmp_path: Path) -> None:
    class Net(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == 1:
                raise ValueError("one sample")
            return super().forward(x)

    def script() -> None:
        net = Net(4, 2)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            with pytest.raises(ValueError, match="one sample"):
                net(torch.randn(1, 4))
            net(torch.randn(5, 4)).square().mean().backward()
            optimizer.step()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watched(script, tmp_path)


def test_a_twin_shares_nothing_and_computes_the_same() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.LSTM(3, 3, batch_first=True)
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.plain = [self.a, self.b]
            self.act = self.twice

        def twice(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x + self.b.bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.plain:
                x = layer(self.body(x)[0])
            return self.act(x)

    net = Tied()
    copy = twin(torch, net)
    x = torch.randn(2, 4, 3)
    assert torch.equal(net(x), copy(x))
    assert copy.b.weight is copy.a.weight
    pointers = {p.data_ptr() for p in net.parameters()}
    assert not any(p.data_ptr() in pointers for p in copy.parameters())
    with torch.no_grad():
        for p in copy.parameters():
            p.zero_()
    assert not torch.equal(net(x), copy(x))


def test_a_scripted_module_has_no_twin() -> None:
    with pytest.raises(CannotRepeatError, match="TorchScript"):
        twin(torch, torch.jit.script(nn.Linear(2, 2)))


class _AsyncWriterThread(threading.Thread):
    """The thread by which ``torch.utils.tensorboard.SummaryWriter`` writes its file, by the name of its class."""


@pytest.mark.parametrize("kind", [threading.Thread, _AsyncWriterThread])
def test_a_thread_that_may_draw_is_not_disturbed_and_one_that_writes_events_is_no_obstacle(
    kind: type[threading.Thread],
) -> None:
    done = threading.Event()
    thread = kind(target=done.wait, daemon=True)
    thread.start()
    try:
        if kind is threading.Thread:
            with pytest.raises(CannotRepeatError, match="other threads"), isolated(torch, seed=4):
                pass
        else:
            with isolated(torch, seed=4):
                torch.rand(1)
    finally:
        done.set()
        thread.join()


def test_the_writer_of_tensorboard_is_no_obstacle(tmp_path: Path) -> None:
    """Asked of the library itself, where it is installed: the name of its thread is not promised."""
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path))
    try:
        with isolated(torch, seed=4):
            torch.rand(1)
    finally:
        writer.close()


@pytest.mark.parametrize("draw", [torch.rand, lambda n: random.random(), lambda n: np.random.rand()])
def test_isolated_puts_every_generator_back(draw: Callable[[int], object]) -> None:
    before = Moment.now(torch)
    first = draw(1)
    before.restore()
    with isolated(torch, seed=4):
        draw(1)
    assert draw(1) == first
