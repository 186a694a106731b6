"""Two runs of a network compared operation by operation: where a difference begins, where it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import items, members

MOST_OPERATIONS = 20_000
VALUES = 256  # of every tensor, with a regular stride


class Operation(NamedTuple):
    """A call of a function of torch.

    Attributes:
        name: Its name.
        site: The user's line.
        taken: Samples of the tensors it took.
        given: Samples of the tensors it gave.
    """

    name: str
    site: CallSite | None
    taken: list[Any]
    given: list[Any]


@contextmanager
def traced(torch: Any) -> Iterator[list[Operation]]:
    """The operations of the block, in order. Nested calls inside a function of torch are one operation."""
    found: list[Operation] = []

    class Tracing(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if len(found) >= MOST_OPERATIONS:
                return func(*args, **kwargs)
            taken = [sample(one, VALUES) for one in tensors_of(torch, (args, kwargs))]
            out = func(*args, **kwargs)
            given = [sample(one, VALUES) for one in tensors_of(torch, out)]
            if given:
                name = str(getattr(func, "__name__", func))
                found.append(Operation(name, here(2), taken, given))
            return out

    with Tracing():
        yield found


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
    """All tensors in nested lists, tuples and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 4 and isinstance(value, dict):
        for _, one in items(value):
            yield from tensors_of(torch, one, depth + 1)
    elif depth < 4 and isinstance(value, list | tuple):
        for one in members(value):
            yield from tensors_of(torch, one, depth + 1)
