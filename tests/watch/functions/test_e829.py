"""Figures over a loader that leave batches out, or divide by one less than there are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import Evidence
from traindx.evidence.probed_figures import LoaderFigure
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes import loader_figures as limits
from traindx.watch.probes.loader_figures import loader_figures
from traindx.watch.probes.loader_passes import passes_in_calls, passes_in_frames
from traindx.watch.probes.recorded import Recorder

Loader = DataLoader[Any]


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine takes longer for is tried all the same."""
    monkeypatch.setattr(limits, "SECONDS", 120.0)
    monkeypatch.setattr(limits, "LONGEST", 60.0)


def first_lost(model: nn.Module, loader: Loader) -> dict[str, float]:
    sums: dict[str, float] = {}
    for x, y in loader:
        value = F.mse_loss(model(x), y, reduction="sum").item()
        if "error" in sums:
            sums["error"] += value
        else:
            sums["error"] = 0.0
    return {key: value / len(loader.dataset) for key, value in sums.items()}  # type: ignore[arg-type]


def last_alone(model: nn.Module, loader: Loader) -> float:
    value = 0.0
    for x, y in loader:
        value = F.mse_loss(model(x), y).item()
    return value


def divided_by_items(model: nn.Module, loader: Loader, optimizer: Any) -> float:
    total = 0.0
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader.dataset)  # type: ignore[arg-type]


def one_less(model: nn.Module, loader: Loader) -> float:
    total, number = 0.0, 0
    for number, (x, y) in enumerate(loader):  # noqa: B007
        total += F.mse_loss(model(x), y).item()
    return total / number


def weighted(model: nn.Module, loader: Loader) -> float:
    total = 0.0
    for x, y in loader:
        total += F.mse_loss(model(x), y).item() * len(x)
    return total / len(loader.dataset)  # type: ignore[arg-type]


def of_batches(model: nn.Module, loader: Loader) -> tuple[float, int]:
    values = [F.l1_loss(model(x), y).item() for x, y in loader]
    return sum(values) / len(loader), len(values)


def summed(model: nn.Module, loader: Loader) -> float:
    return sum(F.mse_loss(model(x), y, reduction="sum").item() for x, y in loader)


def correct(model: nn.Module, loader: Loader) -> float:
    right = 0
    for x, y in loader:
        right += int(((model(x) > 0) == (y > 0)).sum())
    return 100.0 * right / len(loader.dataset)  # type: ignore[arg-type]


def two_batches(model: nn.Module, loader: Loader) -> float:
    total = 0.0
    for number, (x, y) in enumerate(loader):
        if number == 2:
            break
        total += F.mse_loss(model(x), y).item()
    return total / 2


def smooth_overlap(model: nn.Module, loader: Loader) -> float:
    """Nothing is predicted yet: one over the size of the masks, which twice the items halve."""
    values = []
    for x, _ in loader:
        mask = torch.ones(len(x), 4096)
        inside = (model(x).detach().clamp(1, 1) - 1) * mask
        values.append(float((2 * inside.sum() + 1) / (inside.sum() + mask.sum() + 1)))
    return sum(values) / len(values)


def running(model: nn.Module, loader: Loader) -> float:
    value = 0.0
    for x, y in loader:
        value = 0.9 * value + 0.1 * F.mse_loss(model(x), y).item()
    return value


def only_positives(model: nn.Module, loader: Loader) -> float:
    values = []
    for x, y in loader:
        if bool((y > 1.5).any()):
            values.append(F.mse_loss(model(x), y).item())
    return sum(values) / max(1, len(values))


def with_noise(model: nn.Module, loader: Loader) -> float:
    return sum(F.mse_loss(model(x + torch.randn_like(x)), y).item() for x, y in loader) / len(loader.dataset)  # type: ignore[arg-type]


def first_lost_in_noise(model: nn.Module, loader: Loader) -> float:
    total = None
    for x, y in loader:
        value = F.mse_loss(model(x + torch.randn_like(x)), y, reduction="sum").item()
        total = 0.0 if total is None else total + value
    return (total or 0.0) / len(loader.dataset)  # type: ignore[arg-type]


def counted(model: nn.Module, loader: Loader) -> float:
    CALLS.extend(F.mse_loss(model(x), y).item() for x, y in loader)
    return sum(CALLS)


CALLS: list[float] = []


def printed(model: nn.Module, loader: Loader, optimizer: Any) -> None:
    for epoch in range(1):
        model.train()
        running, steps = 0.0, 0
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
            steps += 1
            in_training()
        print(epoch, f"{running / len(loader.dataset):.3f}", running / steps)  # type: ignore[arg-type]
        model.eval()
        with torch.no_grad():
            total = []
            for _number, (x, y) in enumerate(loader):
                total.append(F.l1_loss(model(x), y).item())
            print(sum(total) / len(total))


def in_training() -> None:
    """Where a child would begin."""


def report(model: nn.Module, loader: Loader) -> None:
    size = len(loader.dataset)  # type: ignore[arg-type]
    error, right = 0.0, 0
    with torch.no_grad():
        for x, y in loader:
            error += F.mse_loss(model(x), y).item()
            right += int(((model(x) > 0) == (y > 0)).sum())
    error /= size
    right /= size  # type: ignore[assignment]
    print(error, right)


def by_phase(model: nn.Module, loader: Loader) -> None:
    sizes = {"train": 300, "val": len(loader.dataset)}  # type: ignore[arg-type]
    error = 0.0
    for x, y in loader:
        error += F.mse_loss(model(x), y).item()
    print(error / sizes["val"])


def at_the_first(model: nn.Module, loader: Loader) -> None:
    sums: dict[str, float] = {}
    for x, y in loader:
        value = F.mse_loss(model(x), y).item()
        if "error" in sums:
            sums["error"] += value
        else:
            sums["error"] = 0.0
    print({key: value / len(loader) for key, value in sums.items()})


def tried(function: Callable[..., Any]) -> tuple[list[LoaderFigure], list[Finding]]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    x = torch.randn(40, 3)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True) + 0.3 * torch.randn(40, 1)), 8)
    given = [model, loader]
    if "optimizer" in function.__code__.co_varnames:
        given.append(torch.optim.SGD(model.parameters(), 0.1))  # type: ignore[arg-type]
    recorder = Recorder(torch)
    with recorder.recording(5.0):
        function(*given)
    calls = [one for calls in recorder.calls.values() for one in calls]
    records = list(loader_figures(torch, calls, passes_in_calls(torch, calls)))
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    rule = catalogue()["E829"]
    return records, rule.check(evidence) if rule.applies(evidence) else []  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("function", "variant", "standing", "text"),
    [
        (first_lost, "left-out", Standing.DEMONSTRATED, 'sums["error"] = 0.0'),
        (first_lost_in_noise, "left-out", Standing.DEMONSTRATED, "return (total or 0.0)"),
        (last_alone, "last-alone", Standing.SUSPECTED, "return value"),
        (one_less, "divided-by-one-less", Standing.SUSPECTED, "return total / number"),
    ],
)
def test_batches_that_do_not_count(function: Any, variant: str, standing: Standing, text: str) -> None:
    _, (finding,) = tried(function)
    assert (finding.variant, finding.standing) == (variant, standing)
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip().startswith(text)


FIGURES = [weighted, of_batches, summed, correct, running, only_positives, with_noise, smooth_overlap, divided_by_items]


@pytest.mark.parametrize("function", FIGURES)
def test_figures_of_all_batches(function: Any) -> None:
    records, findings = tried(function)
    assert records
    assert findings == []


@pytest.mark.parametrize("function", [two_batches, counted])
def test_figures_of_which_nothing_can_be_said(function: Any) -> None:
    assert tried(function) == ([], [])


@pytest.mark.parametrize("function", [report, by_phase])
def test_lines_that_divide_are_looked_at(function: Any) -> None:
    records, findings = tried(function)
    assert any(abs(one.doubled - 0.5) < 0.002 for one in records)
    assert findings == []


def test_lines_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[LoaderFigure] = []

    def look() -> None:
        if not found:
            found.extend(loader_figures(torch, [], passes_in_frames(torch, sys._getframe(1))))  # type: ignore[arg-type]

    monkeypatch.setitem(globals(), "in_training", look)
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    loader = DataLoader(TensorDataset(torch.randn(40, 3), torch.randn(40, 1)), 8)
    printed(model, loader, torch.optim.SGD(model.parameters(), 0.1))
    doubled = {one.figure: round(one.doubled, 3) for one in found}
    assert doubled == {"running / len(loader.dataset)": 0.5, "running / steps": 1.0, "sum(total) / len(total)": 1.0}
    assert not any(one.moved for one in found)


def test_a_quotient_in_a_comprehension() -> None:
    records, findings = tried(at_the_first)
    assert [one.variant for one in findings] == ["left-out"] * len(records) * bool(records)


def test_the_optimiser_makes_no_step_meanwhile() -> None:
    (record,), _ = tried(divided_by_items)
    assert record.trains
    assert not record.moved
    assert record.doubled == pytest.approx(0.5, abs=1e-3)
