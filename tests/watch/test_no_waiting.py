"""Outside the iterations that are watched nothing of ours waits for a device.

There is no accelerator here, so one is pretended: to our own code, and to it alone, every tensor lies on ``cuda``. What
would make a real one wait (``item``, ``tolist``, ``cpu``, ``numpy``, ``nonzero``, truth and number of a tensor,
``equal`` and whatever else brings a value to the processor) is counted below the Python surface by a dispatch mode,
and on it by methods that count, wherever a line of ours is what asks.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import traindx
from traindx.watch.runtime import calling
from traindx.watch.runtime.schedule import ObservationLevel, Schedule
from traindx.watch.runtime.watch import Watch
from watch.inside import watching

OURS = str(Path(traindx.__file__).parent)
TORCHS = str(Path(torch.__file__).parent)
WAITING_OPERATORS = {
    "_local_scalar_dense", "equal", "is_nonzero", "nonzero", "nonzero_numpy", "argwhere", "masked_select",
    "unique_dim", "unique_consecutive", "_unique2", "bincount", "histc",
}  # fmt: skip
WAITING_METHODS = ("cpu", "tolist", "numpy", "item", "__bool__", "__float__", "__int__", "__index__")


def asked_by() -> str:
    """The line of ours that asks, or "" if the innermost line that is neither torch's nor this file's is another's."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name == calling.__file__:  # a call of the script's that passes through us
            return ""
        if name.startswith(OURS):
            return f"{name.removeprefix(OURS)}:{frame.f_lineno}"
        if not name.startswith(TORCHS) and not name.startswith("<") and name != __file__:
            return ""
        if name == __file__ and frame.f_code.co_name not in ("__torch_dispatch__", "method", "note"):
            return ""
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class Accelerator:
    """Counts what would wait, by line of ours, and tells the moments at which waiting is accepted from the others."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.outside: Counter[str] = Counter()
        self.inside: Counter[str] = Counter()

    def note(self, what: str) -> None:
        where = asked_by()
        if where and self.watch is not None:
            looking = self.watch.level is not ObservationLevel.OFF or self.watch.attached
            (self.inside if looking else self.outside)[f"{what} at {where}"] += 1


class Counting(TorchDispatchMode):
    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self.accelerator = accelerator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        by_mask = name in ("index", "index_put") and any(
            isinstance(one, torch.Tensor) and one.dtype is torch.bool for one in args[1]
        )
        if name in WAITING_OPERATORS or by_mask:
            self.accelerator.note(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    made = Accelerator()
    for name in WAITING_METHODS:
        monkeypatch.setattr(torch.Tensor, name, counting(made, name, getattr(torch.Tensor, name)))
    real = torch._C.TensorBase.device

    def device(tensor: torch.Tensor) -> torch.device:
        ours = sys._getframe(1).f_code.co_filename.startswith(OURS)
        return torch.device("cuda:0") if ours else real.__get__(tensor)

    monkeypatch.setattr(torch.Tensor, "device", property(device))
    ours = Watch.ours

    @contextmanager
    def counted(watch: Watch, *collector: Any) -> Iterator[None]:
        nested = watch.busy
        with ours(watch, *collector):
            if nested:
                yield
            else:
                with Counting(made):
                    yield

    monkeypatch.setattr(Watch, "ours", counted)
    return made


def counting(accelerator: Accelerator, name: str, original: Any) -> Any:
    def method(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        accelerator.note(name)
        return original(tensor, *args, **kwargs)

    return method


def training(accelerator: Accelerator, folder: Path, script: Callable[[], object]) -> None:
    torch.manual_seed(0)
    with watching(folder) as watch, Counting(accelerator):
        accelerator.watch = watch
        watch.schedule = Schedule(ratio=20.0, full_ratio=20.0)  # 300 iterations in a row that are not watched
        script()
        accelerator.watch = None  # what is written at the very end may wait


class Pairs(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.sin(torch.arange(16.0) * (index + 1))
        return x, x[:1]


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def usual() -> None:
    """Loader, Adam, clipping, a schedule, a validation, kept states, saved states, over three hundred iterations."""
    loader = torch.utils.data.DataLoader(Pairs(), batch_size=16, shuffle=True)
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=False)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 50)
    best, lowest = model.state_dict(), float("inf")
    for epoch in range(70):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            value = float(F.mse_loss(model(x), y))
        if value < lowest:
            best, lowest = {name: one.clone() for name, one in model.state_dict().items()}, value
        if epoch % 20 == 0:
            model.load_state_dict(best)


def adversarial() -> None:
    """Two optimisers, rates that are tensors, a copy that follows, a group and an optimiser that come late."""
    generator, critic, target = net(), net(), net()
    rate = torch.tensor(1e-3)
    first = torch.optim.Adam(generator[:3].parameters(), lr=rate, foreach=False, capturable=False)
    second = torch.optim.SGD(critic.parameters(), lr=torch.tensor(1e-3), foreach=False)
    schedule = torch.optim.lr_scheduler.ExponentialLR(second, 0.999)
    late = None
    for iteration in range(125):
        x = torch.randn(8, 16)
        if iteration == 101:
            first.add_param_group({"params": list(generator[4].parameters()), "lr": torch.tensor(1e-4)})
            late = torch.optim.SGD(target.parameters(), lr=1e-3)
        critic.zero_grad()
        (critic(x) ** 2).mean().backward()
        nn.utils.clip_grad_value_(critic.parameters(), 0.1)
        second.step()
        generator.zero_grad()
        F.softplus(-generator(x)).mean().backward()
        nn.utils.clip_grad_norm_(generator.parameters(), torch.tensor(1.0))
        first.step()
        schedule.step()
        if late is not None:
            F.l1_loss(target(x), x[:, :1]).backward()
            late.step()
            late.zero_grad()
        target.load_state_dict(critic.state_dict())


def scaled() -> None:
    """Half precision: a gradient scaler, unscaling, clipping, a batch that leaves its loader as a dictionary."""
    loader = torch.utils.data.DataLoader([{"x": torch.randn(16), "y": torch.randn(1)} for _ in range(32)], batch_size=8)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, foreach=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    for _ in range(40):
        for batch in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.mse_loss(model(batch["x"]).float(), batch["y"])
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()


@pytest.mark.parametrize("script", [usual, adversarial, scaled])
def test_nothing_of_ours_waits_for_a_device_between_watched_iterations(
    script: Callable[[], object], accelerator: Accelerator, tmp_path: Path
) -> None:
    training(accelerator, tmp_path, script)
    assert sum(accelerator.inside.values()) > 50  # the counting works: there it does wait
    assert not accelerator.outside, "\n".join(f"{n:5} {line}" for line, n in accelerator.outside.most_common())
