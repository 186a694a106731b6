"""C1110: a state that is loaded again restores what it held, or is the network's own memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.evidence.observed_state import StateReused
from traindx.finding import Finding, Standing
from watch.inside import found, watched

Keep = Callable[[nn.Module], dict[str, torch.Tensor]]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def train(model: nn.Module, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for step in range(steps):
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), x[:, :1]).backward()
        optimizer.step()


def test_kept_by_reference(tmp_path: Path) -> None:
    """Found at the line that takes the state; the weights after loading are in truth the last ones."""
    outcome = {}

    def script() -> None:
        model = network()
        train(model, 4)
        wanted = copy.deepcopy(model.state_dict())
        best = model.state_dict()
        train(model, 6)
        model.load_state_dict(best)
        outcome["restored"] = torch.equal(model.state_dict()["0.weight"], wanted["0.weight"])

    findings = found("C1110", watched(script, tmp_path))
    assert outcome == {"restored": False}
    (finding,) = findings
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["steps"] == 6
    assert finding.numbers["shared"] == 6  # two layers and a norm, weight and bias each
    taken = next(n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if "best = model.state" in line)
    assert finding.location is not None
    assert finding.location.line == taken


def kept(keep: Keep, folder: Path, *, steps: int = 6) -> tuple[list[Finding], list[StateReused]]:
    """A network trains, its state is kept in some way, it trains on, and the state is loaded."""

    def script() -> None:
        model = network()
        train(model, 4)
        state = keep(model)
        if steps:
            train(model, steps)
        model.load_state_dict(state)

    evidence = watched(script, folder)
    return found("C1110", evidence), list(evidence.of(StateReused))


@pytest.mark.parametrize("keep", [lambda m: copy.copy(m.state_dict()), lambda m: dict(m.state_dict())])
def test_shallow_copy(keep: Keep, tmp_path: Path) -> None:
    """A new mapping with the old tensors is no copy."""
    assert len(kept(keep, tmp_path)[0]) == 1


def cloned(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("keep", [lambda m: copy.deepcopy(m.state_dict()), cloned])
def test_healthy(keep: Keep, tmp_path: Path) -> None:
    """A deep copy and a clone hold what they held."""
    assert kept(keep, tmp_path)[0] == []


def test_near_miss_loaded_at_once(tmp_path: Path) -> None:
    """By reference, and nothing has changed: there was nothing to restore."""
    findings, records = kept(lambda model: model.state_dict(), tmp_path, steps=0)
    assert findings == []
    assert [(r.shared, r.changed) for r in records] == [(6, False)]


def test_near_miss_other_network(tmp_path: Path) -> None:
    """A copy of a network is brought up to date with a reference that was taken once."""

    def script() -> None:
        model = network()
        target, state = copy.deepcopy(model), model.state_dict()
        for _ in range(3):
            train(model, 4)
            target.load_state_dict(state)

    evidence = watched(script, tmp_path)
    assert found("C1110", evidence) == []
    assert [(r.shared, r.changed, r.loads) for r in evidence.of(StateReused)] == [(0, True, 3)]


def test_near_miss_filled_up(tmp_path: Path) -> None:
    """The network's own mapping, filled up with tensors from elsewhere, does change something."""

    def script() -> None:
        model, other = network(), network()
        state = model.state_dict()
        train(model, 4)
        state.update({name: value for name, value in other.state_dict().items() if name.startswith("0.")})
        model.load_state_dict(state)

    assert found("C1110", watched(script, tmp_path)) == []


def test_nothing_is_kept_alive(tmp_path: Path) -> None:
    """A state that the script drops is gone: its memory is not held by the watching."""
    import gc
    import weakref

    alive = {}

    def script() -> None:
        model = network()
        state = model.state_dict()
        reference = weakref.ref(state["0.weight"])
        del state
        gc.collect()
        alive["state"] = reference() is not None

    watched(script, tmp_path)
    assert alive == {"state": False}
