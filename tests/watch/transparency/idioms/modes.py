"""Modes and tensors of the user's own: what they see, count and return."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from kit import batch, describe, main, net, show
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Calls(TorchFunctionMode):
    """Counts calls of torch functions."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    """Counts operations of the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def train(model: nn.Module, steps: int = 6, **options: Any) -> None:
    (x, y), optimizer = batch(), torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        out = model(x).clamp(-4, 4)
        loss = F.cross_entropy(out, y) + 0.1 * out.sigmoid().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def function_mode_counts() -> None:
    """a `TorchFunctionMode` of the script's counts every call, in order"""
    model = net()
    with Calls() as calls:
        train(model)
    show(model, names=calls.names)


def dispatch_mode_counts() -> None:
    """a `TorchDispatchMode` of the script's counts every operation, in order"""
    model = net()
    with Operations() as operations:
        train(model)
    show(model, names=operations.names)


def dispatch_mode_around_a_step() -> None:
    """a `TorchDispatchMode` that is entered and left in every iteration"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    counts = []
    for _ in range(6):
        with Operations() as operations:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        counts.append(len(operations.names))
    show(model, counts=counts)


def flop_counter() -> None:
    """`FlopCounterMode` around training"""
    from torch.utils.flop_counter import FlopCounterMode

    model = net()
    with FlopCounterMode(display=False) as flops:
        train(model)
    show(model, total=flops.get_total_flops(), counts=flops.get_flop_counts())


def profiler_counts() -> None:
    """the profiler's table of operations and how often each ran"""
    from torch.profiler import ProfilerActivity, profile, record_function

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where it tells the time
    model = net()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler, record_function("training"):
        train(model)
    show(model, rows=sorted((row.key, row.count) for row in profiler.key_averages() if not row.key.startswith("Opt")))


def mode_over_a_replaced_function() -> None:
    """functions of `torch.nn.functional` that the script replaced, with an own mode on"""
    calls: Counter[str] = Counter()
    original = F.relu

    def mine(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        calls["relu"] += 1
        return original(input) * 1.01

    F.relu = mine
    try:
        model = net()
        with Calls() as seen:
            train(model)
    finally:
        F.relu = original
    show(model, calls=dict(calls), seen=Counter(seen.names)["relu"])


def replaced_function() -> None:
    """a function of `torch.nn.functional` that the script replaced: it runs once a call"""
    calls = []
    original = F.relu

    def mine(x: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        calls.append(len(options))
        return original(x) * 1.01

    F.relu = mine
    model = net()
    train(model)
    F.relu = original
    show(model, calls=calls)


def replaced_function_of_other_arguments() -> None:
    """a replacement that does not take the original's keywords"""
    original = F.softmax
    F.softmax = lambda x, dim: original(x * 2, dim=dim)
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        optimizer.zero_grad()
        F.nll_loss(F.softmax(model(x), 1).log(), y).backward()
        optimizer.step()
    F.softmax = original
    show(model)


def replaced_method() -> None:
    """a method of `torch.Tensor` that the script replaced"""
    calls = []
    original = torch.Tensor.clamp

    def clamp(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(len(args))
        return original(self, *args, **kwargs)

    torch.Tensor.clamp = clamp
    model = net()
    train(model)
    torch.Tensor.clamp = original
    show(model, calls=calls, restored=torch.Tensor.clamp is original)


def default_device() -> None:
    """a default device, as a context and for good"""
    with torch.device("cpu"):
        model = net()
        train(model)
    torch.set_default_device("cpu")
    train(model)
    torch.set_default_device(None)
    show(model, device=str(torch.get_default_device()))


def meta_device() -> None:
    """a network on the meta device, for its shapes"""
    with torch.device("meta"):
        big = net()
    shape = big(torch.empty(4, 6, device="meta")).shape
    model = net()
    train(model)
    show(model, shape=tuple(shape), weight=big[0].weight, empty=big.to_empty(device="cpu")[0].weight.shape)


def double_precision() -> None:
    """the default type is `float64`"""
    torch.set_default_dtype(torch.float64)
    model = net()
    train(model)
    show(model)


class Labelled(torch.Tensor):
    """A tensor with a label that it hands on, and that counts what is done to it."""

    calls = 0
    label = ""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Labelled.calls += 1
        out = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(out, Labelled):
            out.label = next((a.label for a in args if isinstance(a, Labelled)), "")
        return out


def subclass_counts() -> None:
    """a subclass of `Tensor` with `__torch_function__` counts what is done to it"""
    model, (x, y) = net(), batch()
    x = x.as_subclass(Labelled)
    x.label = "patient 7"
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        out = model(x).clamp(-4, 4)
        loss = F.cross_entropy(out, y) + 0.1 * out.sigmoid().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(calls=Labelled.calls, kind=type(out).__name__, label=out.label)
    show(model)


class Strict(torch.Tensor):
    """A tensor that refuses what it does not know."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "reshape", "select", "item", "tolist", "detach", "cpu", "float", "numel", "view"):
            raise TypeError(f"{name} is not allowed here")
        return super().__torch_function__(func, types, args, kwargs or {})


def subclass_refuses() -> None:
    """a subclass of `Tensor` that refuses slicing, `detach` and `item`"""
    model, (x, y) = net(), batch()
    strict = x.as_subclass(Strict)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        out = model(strict)
        optimizer.zero_grad()
        F.cross_entropy(out, y).backward()
        optimizer.step()
    show(model)


class Wrapped(torch.Tensor):
    """A wrapper subclass with `__torch_dispatch__`: it holds its data elsewhere."""

    calls = 0
    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapped:
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Wrapped.calls += 1
        unwrap = lambda value: value.inner if isinstance(value, Wrapped) else value  # noqa: E731
        args = torch.utils._pytree.tree_map(unwrap, args)
        kwargs = torch.utils._pytree.tree_map(unwrap, kwargs or {})
        out = func(*args, **kwargs)
        return torch.utils._pytree.tree_map(lambda v: Wrapped(v) if isinstance(v, torch.Tensor) else v, out)


def wrapper_subclass() -> None:
    """a wrapper subclass with `__torch_dispatch__` counts the operations on it"""
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        x = Wrapped(torch.randn(8, 6))
        with torch.no_grad():
            target = model(x).inner
        loss = F.mse_loss(model(torch.randn(8, 6)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model, calls=Wrapped.calls)


class Refusing(TorchFunctionMode):
    """Audits a training: some functions must not be used."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, torch.nonzero, torch.Tensor.detach):
            raise RuntimeError(f"{func} synchronises")
        return func(*args, **(kwargs or {}))


def mode_that_refuses() -> None:
    """a function mode that raises at whatever would wait for a device"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Refusing():
        for _ in range(6):
            optimizer.zero_grad()
            out = model(x).clamp(-4, 4)
            (F.cross_entropy(out, y) + 0.1 * out.sigmoid().mean()).backward()
            optimizer.step()
    show(model)


def modes_entered_in_the_midst() -> None:
    """modes that are entered and left at odd times, nested"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    outer, inner, counts = Calls(), Calls(), []
    for step in range(8):
        if step == 1:
            outer.__enter__()
        if step == 4:
            inner.__enter__()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step == 5:
            inner.__exit__(None, None, None)
        if step == 6:
            outer.__exit__(None, None, None)
        counts.append((len(outer.names), len(inner.names)))
    show(model, counts=counts)


def fake_tensors() -> None:
    """`FakeTensorMode`, to learn shapes without computing"""
    from torch._subclasses.fake_tensor import FakeTensorMode

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    shapes = []
    for _ in range(4):
        with FakeTensorMode(allow_non_fake_inputs=True):
            shapes.append(tuple(nn.Linear(6, 5)(torch.empty(4, 6)).shape))
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    show(model, shapes=shapes)


def mixed_precision() -> None:
    """`autocast` to bfloat16: types of what comes out, nested and disabled"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    kinds = []
    for _ in range(6):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
            kinds.append(str(out.dtype))
            with torch.autocast("cpu", enabled=False):
                kinds.append(str(model[0](x).dtype))
            loss = F.cross_entropy(out.float(), y) + 0.1 * out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model, kinds=kinds)


def gradient_scaler() -> None:
    """a `GradScaler` whose scale overflows and skips steps"""
    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
    scales = []
    for _ in range(12):
        optimizer.zero_grad()
        out = model(x)
        scaler.scale(F.cross_entropy(out, y) * 8 + 0.1 * out.square().mean()).backward()
        scaler.unscale_(optimizer)
        total = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    show(model, scales=scales, total=total, state=scaler.state_dict())


def deterministic_algorithms() -> None:
    """deterministic algorithms are demanded"""
    torch.use_deterministic_algorithms(True)
    model = net()
    train(model)
    torch.use_deterministic_algorithms(False)
    show(model)


def odd_tensors() -> None:
    """tensors of odd kinds go through a network: complex, sparse, empty, expanded, nested, boolean, half"""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor, *others: Any, **named: Any) -> Any:
            return self.layer(x), others, named

    model, (x, y) = Odd(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)
    quantised = torch.quantize_per_tensor(torch.rand(4), 0.1, 0, torch.quint8)
    for _ in range(6):
        out, others, named = model(
            x,
            torch.complex(x, x),
            x.to_sparse(),
            x.to_sparse_csr(),
            torch.empty(0, 6),
            torch.zeros(1).expand(1 << 40),
            nested,
            quantised,
            x > 0,
            mask=x.half(),
            conjugate=torch.complex(x, x).conj(),
            meta=torch.empty(3, device="meta"),
        )
        optimizer.zero_grad()
        F.cross_entropy(out, y).backward()
        optimizer.step()
    show(model, kinds=[str(other.layout) for other in others], named=named)


def parameter_kinds() -> None:
    """exact types of what modules hold: parameters, buffers, subclasses of `Parameter`"""

    class Mine(nn.Parameter):
        pass

    model = net()
    model.register_parameter("mine", Mine(torch.ones(3)))
    model.register_buffer("counter", torch.zeros((), dtype=torch.long))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        x, y = batch()
        model.counter += 1
        optimizer.zero_grad()
        F.cross_entropy(model(x) * model.mine, y).backward()
        optimizer.step()
    show(kinds=[describe(value).split()[0] for value in (*model.parameters(), *model.buffers())])
    show(model, grad=type(model.mine.grad).__name__)


if __name__ == "__main__":
    main()
