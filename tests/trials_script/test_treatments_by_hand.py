"""Treatments of scripts told by the test where they are: at their place and elsewhere,
in the script's code and in ours."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

from traindx.trials.treatments.constant_rate.script import ConstantRate
from traindx.trials.treatments.copy_statistics.script import CopyStatistics
from traindx.trials.treatments.drop_activation.script import DropActivation
from traindx.trials.treatments.learning_rate.script import LearningRate
from traindx.trials.treatments.no_clipping.script import NoClipping
from traindx.trials.treatments.no_scaling.script import NoScaling
from traindx.trials.treatments.renormalise.script import Renormalise
from traindx.trials.treatments.seed_workers.script import SeedWorkers
from traindx.trials.treatments.set_mode.script import SetMode
from traindx.trials.treatments.unclamp.script import Unclamp
from traindx.trials.treatments.zero_gradients.script import ZeroGradients

CASES = [(True, True), (True, False), (False, True)]  # in the script's code, at the place


def made(kind: Any, ours: bool = True, here: bool = True, **fields: Any) -> Any:
    """A treatment in an arm of nothing."""
    treatment = kind({"treatment": "x", **fields}, mock.MagicMock(torch=torch, ours=ours, made=[]))
    treatment.place = SimpleNamespace(holds=lambda site: here)
    return treatment


def install(treatment: Any) -> Any:
    """Install without leaving hooks on all optimisers behind."""
    hooks = mock.MagicMock()
    with mock.patch(f"{type(treatment).__module__}.import_module", return_value=hooks):
        treatment.install()
    return treatment


@pytest.mark.parametrize(("ours", "here"), CASES)
def test_clipping_is_left_out_at_its_place(ours: bool, here: bool) -> None:
    treatment, acts = made(NoClipping, ours, here), ours and here
    norm = treatment._make_norm(lambda parameters, max_norm, *args: max_norm)
    value = treatment._make_value(lambda parameters, clip_value, *args: "clipped")
    assert norm([], 1.0) == (float("inf") if acts else 1.0)
    assert value([], 1.0) == (None if acts else "clipped")
    assert treatment.hits == 2 * acts


@pytest.mark.parametrize(("ours", "enabled"), CASES)
def test_scalers_that_are_on_are_switched_off(ours: bool, enabled: bool) -> None:
    treatment = made(NoScaling, ours)
    calls: list[dict[str, Any]] = []
    scaler = SimpleNamespace(is_enabled=lambda: enabled)
    treatment._make(lambda scaler, *args, **kwargs: calls.append(kwargs))(scaler, "cpu", growth_interval=7)
    assert (calls[-1].get("enabled", True) is False) is (ours and enabled)
    treatment.finish()
    assert bool(treatment.refused) is not (ours and enabled)


@pytest.mark.parametrize(
    ("ours", "workers", "given", "acts"),
    [(True, 2, None, 1), (False, 2, None, 0), (True, 0, None, 0), (True, 2, print, 0)],
)
def test_workers_are_seeded_where_nobody_does(ours: bool, workers: int, given: Any, acts: int) -> None:
    treatment = made(SeedWorkers, ours)
    treatment.install()
    make = treatment.arm.patches.wrap.call_args.args[2]
    loader = SimpleNamespace(num_workers=workers, worker_init_fn=given)
    make(lambda loader: None)(loader)
    assert (treatment.hits, (loader.worker_init_fn is not given)) == (acts, bool(acts))


@pytest.mark.parametrize(("ours", "here"), CASES)
def test_steps_are_taken_at_the_first_rate(ours: bool, here: bool) -> None:
    treatment, acts = install(made(ConstantRate, ours, here)), ours and here
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    (group,) = optimizer.param_groups
    treatment._before(optimizer, (), {})
    treatment._after(optimizer, (), {})
    assert treatment.hits == 0  # it is the first one
    group["lr"] = 0.1
    treatment._before(optimizer, (), {})
    assert group["lr"] == (0.4 if acts else 0.1)
    treatment._after(optimizer, (), {})
    assert (group["lr"], treatment.hits) == (0.1, acts)


@pytest.mark.parametrize("group", [None, "1"])
@pytest.mark.parametrize(("ours", "here"), CASES)
def test_rates_of_one_group_or_of_all(ours: bool, here: bool, group: str | None) -> None:
    treatment, acts = install(made(LearningRate, ours, here, factor=0.5, group=group)), ours and here
    parameters = [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.4} for _ in range(2)]
    optimizer = torch.optim.SGD(parameters, lr=0.4)
    treatment._before(optimizer, (), {})
    rates = [one["lr"] for one in optimizer.param_groups]
    assert rates == ([0.4 if group else 0.2, 0.2] if acts else [0.4, 0.4])
    treatment._after(optimizer, (), {})
    assert [one["lr"] for one in optimizer.param_groups] == [0.4, 0.4]


@pytest.mark.parametrize(("ours", "here"), CASES)
def test_gradients_are_zeroed_once_after_every_step(ours: bool, here: bool) -> None:
    treatment = install(made(ZeroGradients, ours, here))
    optimizer: Any = mock.MagicMock()
    for _ in range(2):
        treatment._after_step(optimizer, (), {})
    for _ in range(2):
        treatment._before(None, None)
    assert optimizer.zero_grad.call_count == treatment.hits == (ours and here)


@pytest.mark.parametrize(
    ("phase", "grad", "acts"),
    [("", True, True), ("", False, True), ("training", True, True), ("training", False, False),
     ("evaluation", True, False), ("evaluation", False, True)],
)  # fmt: skip
def test_an_activation_goes_in_its_phase(phase: str, grad: bool, acts: bool) -> None:
    treatment = made(DropActivation, phase=phase)
    x = torch.ones(2)
    with torch.set_grad_enabled(grad):
        assert (treatment._replace("relu", torch.relu, (x,), {}) is x) is acts
        assert treatment._replace("relu", torch.relu, (x.long(),), {}) is NotImplemented
        assert treatment._replace("relu", torch.relu, (1.0,), {}) is NotImplemented
    assert (treatment.hits, treatment.evaluations) == (acts and grad, acts and not grad)
    elsewhere = made(DropActivation, here=False)
    elsewhere.arm.modes.library_maker.return_value = None
    assert elsewhere._replace("relu", torch.relu, (x,), {}) is NotImplemented


@pytest.mark.parametrize(
    ("fields", "args", "acts"),
    [
        ({}, (torch.ones(1, 2, 3, 3),), True),
        ({"network": "Linear"}, (torch.ones(1, 2, 3, 3),), True),
        ({"network": "Conv2d"}, (torch.ones(1, 2, 3, 3),), False),
        ({"argument": 1}, (torch.ones(1, 2, 3, 3),), False),
        ({"argument": 1}, (None, torch.ones(1, 2, 3, 3)), True),
        ({}, (torch.ones(1, 1, 3, 3),), False),
        ({}, (torch.ones(1, 2, 3),), False),
        ({}, (torch.ones(1, 2, 3, 3).long(),), False),
        ({}, ("x",), False),
    ],
)
def test_one_channel_of_an_input_is_scaled(fields: dict[str, Any], args: tuple[Any, ...], acts: bool) -> None:
    treatment = made(Renormalise, channel=1, scale=2.0, offset=1.0, **fields)
    changed = treatment._enter(nn.Linear(1, 1), args)
    assert (changed is not None) is acts
    if changed is not None:
        x = changed[fields.get("argument", 0)]
        assert (float(x[:, 0].mean()), float(x[:, 1].mean())) == (1.0, 3.0)
        assert len(changed) == len(args)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("grad", "training", "here"), [(True, False, True), (False, True, True), (True, True, True),
                                                      (False, False, True), (True, False, False), (False, True,
                                                          False)])  # fmt: skip
def test_a_mode_is_set_for_calls_of_its_kind(mode: str, grad: bool, training: bool, here: bool) -> None:
    treatment = made(SetMode, here=here, mode=mode)
    treatment.install()
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train(training)
    acts = here and grad is (mode == "train") and training is not (mode == "train")
    with torch.set_grad_enabled(grad):
        treatment._enter(network, (torch.ones(2, 2),))
        assert network[1].training is ((mode == "train") if acts else training)
        treatment._leave(network, None)
    assert network[1].training is training
    assert (treatment.hits, treatment.evaluations) == (acts and grad, acts and not grad)


def test_a_network_with_dropout_leaves_the_generator_as_its_own_call_would() -> None:
    treatment = made(SetMode, mode="eval")
    treatment.install()
    network, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), torch.ones(3, 4)
    with torch.no_grad():
        torch.manual_seed(0)
        network(x)
        after = torch.get_rng_state()
        torch.manual_seed(0)
        treatment._enter(network, (x,))
        network(x)
        treatment._leave(network, None)
        assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "value"),
    [
        ("clamp", (0.0, 1.0), {}, 5.0),
        ("clamp", (), {"min": 0.0, "max": 1.0}, 5.0),
        ("clamp", (), {"max": 1.0}, 5.0),
        ("hardtanh", (), {}, 5.0),
        ("clamp_max", (1.0,), {}, 5.0),
    ],
)
@pytest.mark.parametrize("mode", ["identity", "soft"])
def test_a_clamp_passes_what_it_was_given(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], value: float, mode: str
) -> None:
    treatment = made(Unclamp, mode=mode)
    function = getattr(torch, name, None) or getattr(nn.functional, name)
    x = torch.full((2,), value, requires_grad=True)
    y = treatment._replace(name, function, (x, *args), kwargs)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones(2))
    assert float(y.detach()[0]) == (1.0 if mode == "soft" else value)
    with torch.no_grad():
        kept = treatment._replace(name, function, (x, *args), kwargs)
        assert float(kept[0]) == (1.0 if mode == "soft" else value)
    assert treatment.hits == 1
    assert treatment.evaluations == (mode == "identity")
    assert treatment._replace(name, function, (x.long(), *args), kwargs) is NotImplemented


def test_running_statistics_go_to_copies_alone() -> None:
    treatment = made(CopyStatistics)
    treatment.install()
    live, copy, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.BatchNorm1d(3)
    optimizer = torch.optim.SGD(live.parameters(), lr=0.1)
    treatment.arm.made.append(lambda: optimizer)
    live.running_mean.fill_(7.0)
    x = (torch.zeros(1),)
    treatment._enter(copy.train(), x)  # with gradients: held by no optimiser, so no live one
    treatment._enter(live, x)
    with torch.no_grad():
        treatment._enter(live.eval(), x)
        treatment._enter(other.eval(), x)
        treatment._enter(copy.train(), x)
        assert treatment.evaluations == 0
        treatment._enter(copy.eval(), x)
        assert treatment.evaluations == 1
        treatment._enter(copy, x)
    assert treatment.evaluations == 1  # the same already
    assert float(copy.running_mean[0]) == 7.0
    treatment.finish()
    assert not treatment.refused
    nothing = made(CopyStatistics)
    nothing.finish()
    assert nothing.refused
