"""Private names of torch, Lightning and torchmetrics: they are where we look, and they mean what we take them for."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import traindx
from traindx.core import compat

SOURCE = Path(traindx.__file__).parent
HERE = [package for package in compat.TESTED if find_spec(package) is not None]


@pytest.mark.parametrize("package", HERE)
def test_nothing_that_is_used_has_gone(package: str) -> None:
    assert compat.lost(package) == []


def test_what_has_gone_is_said_with_its_use_and_the_tested_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_functions")
    (sentence,) = compat.lost("torch")
    assert f"torch {torch.__version__.split('+')[0]}" in sentence
    assert "torch._C._functions" in sentence
    assert "terms of a loss" in sentence
    assert "to ".join(compat.TESTED["torch"]) in sentence.replace(" to ", "to ")


def test_no_other_file_reaches_into_torch() -> None:
    """Recipes are programs like any other, and may use what they like."""
    private = re.compile(r"^_(?!_|to_sync)")
    torchs = {"torch", "C", "overrides", "autograd", "node", "grad_fn", "scheduler", "scaler", "metric"}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path == SOURCE / "core" / "compat.py" or "recipes" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and private.match(node.attr):
                owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                if owner in torchs:
                    found.append(f"{path.relative_to(SOURCE)}:{node.lineno} {owner}.{node.attr}")
    assert found == []


class Named(TorchFunctionMode):
    def __init__(self, name: str, calls: list[str]) -> None:
        super().__init__()
        self.name, self.calls = name, calls

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls.append(self.name)
        return func(*args, **(kwargs or {}))


def test_function_modes_come_back_in_their_order() -> None:
    calls: list[str] = []
    with Named("outer", calls) as outer, Named("inner", calls) as inner:
        taken = compat.take_function_modes(torch)
        torch.add(torch.ones(1), 1)
        assert calls == []
        assert taken[:2] == [inner, outer]
        compat.put_function_modes(torch, taken)
        torch.ones(1)
    assert calls[:2] == ["inner", "outer"]


def test_the_default_device_is_known_from_other_modes() -> None:
    torch.set_default_device("meta")
    try:
        taken = compat.take_function_modes(torch)
        compat.put_function_modes(torch, taken)
        assert compat.is_default_device(taken[-1])
    finally:
        torch.set_default_device(None)
    assert not compat.is_default_device(Named("", []))


def test_dispatch_modes_come_back() -> None:
    class Counting(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Counting.seen += 1
            return func(*args, **(kwargs or {}))

    with Counting():
        taken = compat.take_dispatch_modes(torch)
        torch.ones(1)
        assert Counting.seen == 0
        compat.put_dispatch_modes(taken)
        torch.ones(1)
    assert Counting.seen == 1


def test_gradients_are_switched_unseen_by_modes() -> None:
    calls: list[str] = []
    with Named("mode", calls), compat.no_function_modes(torch):
        compat.set_grad_enabled(torch, False)
        assert not torch.is_grad_enabled()
        compat.set_grad_enabled(torch, True)
    assert calls == []


def test_tensors_that_dispatch_themselves_are_known() -> None:
    from torch._subclasses import FakeTensorMode

    class Noted(torch.Tensor):
        pass

    with FakeTensorMode():
        fake = torch.ones(1)
    assert compat.dispatches_itself(torch, fake)
    assert not compat.dispatches_itself(torch, torch.ones(1))
    assert not compat.dispatches_itself(torch, torch.ones(1).as_subclass(Noted))


def test_a_transform_is_seen_from_inside_it() -> None:
    asked, answers = compat.transform_asked(), []
    torch.func.vmap(lambda x: (answers.append(asked()), x)[1])(torch.ones(2))
    assert asked() is None
    assert answers[0] is not None


def test_a_profiler_does_not_see_what_runs_while_it_is_paused() -> None:
    assert not compat.pause_profiler(torch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        assert compat.pause_profiler(torch)
        torch.ones(1).cos()
        compat.resume_profiler(torch)
        torch.ones(1).sin()
    names = {event.key for event in seen.key_averages()}
    assert "aten::sin" in names
    assert "aten::cos" not in names


def test_nodes_are_numbered_in_the_order_they_were_made_in() -> None:
    x = torch.ones(2, requires_grad=True)
    expected = compat.next_number(torch)
    first = x * 2
    second = first.sub(x, alpha=3)
    assert compat.number(first.grad_fn) == expected
    assert compat.number(second.grad_fn) == expected + 1
    assert {type(first.grad_fn), type(second.grad_fn)} <= compat.node_types(torch)
    assert compat.saved(second.grad_fn, "alpha") == 3
    assert compat.saved(second.grad_fn, "no such thing", None) is None
    assert tuple(compat.expected_gradients(second.grad_fn)[0].shape) == (2,)


def test_a_node_of_the_scripts_own_is_not_torchs() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    assert type(Double.apply(torch.ones(1, requires_grad=True)).grad_fn) not in compat.node_types(torch)


def test_writing_in_place_is_counted() -> None:
    x = torch.ones(2)
    before = compat.version(x)
    x.add_(1)
    assert compat.version(x) == before + 1
    with torch.inference_mode():
        assert compat.version(torch.ones(1)) == -1


def test_norms_of_several_tensors() -> None:
    tensors = [torch.tensor([3.0, 4.0]), torch.tensor([[1.0]])]
    assert [float(one) for one in compat.norms(torch, tensors)] == [5.0, 1.0]
    assert compat.norms(torch, []) == []


def test_the_hooks_of_a_module_are_all_known() -> None:
    """A hook of every public kind ends in a table that copies leave out, or in one that :mod:`torch.nn.utils` uses."""
    network = torch.nn.Linear(1, 1)
    before = {name: len(value) for name, value in vars(network).items() if name.startswith("_") and "hooks" in name}
    network.register_forward_hook(lambda *_: None, with_kwargs=True, always_call=True)
    network.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    network.register_full_backward_hook(lambda *_: None)
    network.register_full_backward_pre_hook(lambda *_: None)
    grown = {name for name, count in before.items() if len(vars(network)[name]) > count}
    assert grown
    assert grown <= set(compat.HOOKS_OF_MODULES)


def test_hooks_of_all_modules_are_in_their_tables() -> None:
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None, always_call=True)
    try:
        assert sum(handle.id in table for table in compat.hooks_of_all_modules(torch)) == 2
    finally:
        handle.remove()


def test_a_compiled_network_holds_its_original() -> None:
    network = torch.nn.Linear(1, 1)
    compiled = torch.compile(network)
    assert isinstance(compiled, compat.compiled_module_type())
    assert compat.original_of(compiled) is network
    assert compat.original_of(network) is None


def test_functions_are_where_they_are_looked_for() -> None:
    built_in = {name for place in compat.builtin_places(torch) for name in dir(place)}
    assert {"relu", "mse_loss", "linalg_norm", "fft_fft2", "special_expit"} <= built_in
    written = {name for place in compat.python_places(torch) for name in vars(place)}
    assert {"cross_entropy", "einsum", "norm", "kaiming_normal_"} <= written


def test_parts_of_a_schedule() -> None:
    from torch.optim import lr_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    parts = [lr_scheduler.LinearLR(optimizer), lr_scheduler.ConstantLR(optimizer)]
    assert compat.parts_of_schedule(lr_scheduler.SequentialLR(optimizer, parts, milestones=[7])) == (parts, [7])


def test_the_factor_of_a_scaler() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    assert compat.scale_of(scaler) is None
    scaler.scale(torch.ones(1))
    assert float(compat.scale_of(scaler)) == 8.0


def test_the_value_of_one_batch_is_told_from_the_value_of_all() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    asked = []

    class Asking(torchmetrics.MeanMetric):
        def compute(self):
            asked.append(compat.is_batch_value(self))
            return super().compute()

    metric = Asking()
    metric(torch.ones(2))
    metric.compute()
    assert asked == [True, False]


def test_a_region_or_a_scaler_can_be_switched_off() -> None:
    region = torch.autocast("cpu", dtype=torch.bfloat16)
    assert compat.switch_off(region)
    assert not compat.switch_off(region)
    with region:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32
    scaler = torch.amp.GradScaler("cpu")
    assert compat.switch_off(scaler)
    assert not scaler.is_enabled()
