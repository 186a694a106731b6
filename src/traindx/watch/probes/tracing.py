"""Two runs of a network compared operation by operation: where a difference begins, where it is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple

from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import items, members

MOST_OPERATIONS = 20_000
VALUES = 256  # of every tensor, with a regular stride
FRAMES = 24  # looked at for the module that draws
DRAWS = frozenset({
    "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "bernoulli", "multinomial",
    "normal", "uniform_", "normal_", "bernoulli_", "exponential_", "geometric_", "random_", "poisson", "dropout",
    "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "native_dropout", "rrelu",
    "from_numpy", "tensor", "as_tensor",
})  # fmt: skip

REDUCES = frozenset({
    "mean", "var", "std", "var_mean", "std_mean", "sum", "norm", "amax", "amin", "max", "min", "median", "quantile",
    "batch_norm", "native_batch_norm",
})  # fmt: skip


class Operation(NamedTuple):
    """A call of a function of torch.

    Attributes:
        name: Its name.
        site: The user's line.
        taken: Samples of the tensors it took.
        given: Samples of the tensors it gave.
        module: The innermost module that was being called, of operations that may draw or reduce.
    """

    name: str
    site: CallSite | None
    taken: list[Any]
    given: list[Any]
    module: Any = None


@contextmanager
def traced(torch: Any, part: Callable[[Any], Any] = lambda one: one) -> Iterator[list[Operation]]:
    """The operations of the block, in order. Nested calls inside a function of torch are one operation.

    Args:
        torch: The script's torch.
        part: The part of every tensor that is looked at.
    """
    found: list[Operation] = []

    class Tracing(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if len(found) >= MOST_OPERATIONS:
                return func(*args, **kwargs)
            taken = [sample(part(one), VALUES) for one in tensors_of(torch, (args, kwargs))]
            out = func(*args, **kwargs)
            given = [sample(part(one), VALUES) for one in tensors_of(torch, out)]
            if given:
                name = str(getattr(func, "__name__", func))
                module = _module_around(torch, sys._getframe(1)) if name in DRAWS or name in REDUCES else None
                found.append(Operation(name, here(2), taken, given, module))
            return out

    with Tracing():
        yield found


def _module_around(torch: Any, frame: FrameType | None) -> Any:
    """The innermost module in whose ``forward`` something happens."""
    for _ in range(FRAMES):
        if frame is None:
            return None
        owner = frame.f_locals.get("self") if frame.f_code.co_name == "forward" else None
        if isinstance(owner, torch.nn.Module):
            return owner
        frame = frame.f_back
    return None


def in_step(one: list[Operation], other: list[Operation]) -> Iterator[tuple[Operation, Operation]]:
    """The operations of two runs side by side, as long as both do the same."""
    for first, second in zip(one, other, strict=False):
        if first.name != second.name or first.site != second.site:
            return
        yield first, second


def all_same(torch: Any, one: list[Any], other: list[Any]) -> bool:
    """Equal up to round-off, undefined values counted as equal."""
    return len(one) == len(other) and all(
        a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-6, atol=0.0, equal_nan=True))
        for a, b in zip(one, other, strict=True)
    )


def floats_in(torch: Any, value: Any) -> Iterator[Any]:
    """All tensors of real numbers in a network's output."""
    for one in tensors_of(torch, value):
        if one.is_floating_point() and one.numel():
            yield one


def tensors_of(torch: Any, value: Any, depth: int = 0) -> Iterator[Any]:
    """All tensors in nested lists, tuples, mappings, data classes and namespaces."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 4 and isinstance(value, dict):
        for _, one in items(value):
            yield from tensors_of(torch, one, depth + 1)
    elif depth < 4 and isinstance(value, list | tuple):
        for one in members(value):
            yield from tensors_of(torch, one, depth + 1)
    elif depth < 4 and (type(value) is SimpleNamespace or is_dataclass(value)):
        with suppress(AttributeError):  # one with slots
            for one in list(object.__getattribute__(value, "__dict__").values()):
                yield from tensors_of(torch, one, depth + 1)
