"""Calls whose arguments are accepted and may mean something else: grids, integer indices, norms of gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_calls import GradientNormSeen, GridSeen, IntegerIndexSeen
from traindx.watch.collectors.backwards import Backwards
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site, named_functions
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

FOLLOWS = 0.95  # correlation of a component with the axis it follows; a deformed identity is above, a rotation below
SMALLEST = 4  # grid points an axis, and elements of an index
POINTS = 24  # grid points an axis that are looked at
LONGEST = 1_000_000  # elements of an index that is looked at


@dataclass
class _Grid:
    axes: int
    orders: set[tuple[int, ...]] = field(default_factory=set)
    calls: int = 0
    outside: float = 1.0
    low: float = math.inf
    high: float = -math.inf
    least_high: float = math.inf


@dataclass
class _Index:
    calls: int = 0
    binary: int = 0
    length: int = 0
    other: int = 0


@dataclass(frozen=True)
class _Gradient:
    """Where a gradient was taken, and of what."""

    site: CallSite | None
    per_sample: bool
    graph: bool


@dataclass
class _Norm:
    gradient: _Gradient
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    left: int
    calls: int = 0


class CallMeanings(Collector):
    """Grids of ``grid_sample``, integer vectors used as indices, norms of input gradients."""

    subject = "calls and their arguments"

    def __init__(self, watch: Watch, calls: TorchCalls, backwards: Backwards) -> None:
        super().__init__(watch)
        self.calls = calls
        self.backwards = backwards
        self.bursts = Bursts(dense=6, ratio=1.6)
        self._grids: dict[CallSite, _Grid] = {}
        self._indices: dict[CallSite, _Index] = {}
        self._norms: dict[CallSite, _Norm] = {}
        self._gradients: Any = None

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self._gradients = self.watch.weak_table()
        self.calls.on(self, {torch.nn.functional.grid_sample: "grid_sample"}, self._grid)
        self.calls.on(self, {torch.Tensor.__getitem__: "__getitem__"}, self._index)
        self.calls.on(self, named_functions(torch, ("norm",)), self._norm)
        self.calls.on(self, {torch.linalg.norm: "norm", torch.linalg.vector_norm: "norm"}, self._norm)
        self.backwards.on_gradients(self, self._differentiated)

    def begin(self) -> None:
        """Gradients of an earlier iteration mean nothing any more."""
        self._gradients.clear()

    # -- grids -----------------------------------------------------------------------------------------------------

    def _grid(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grid, site = argument(args, kwargs, 1, "grid"), call_site()
        if site is None or not isinstance(grid, self.watch.torch.Tensor) or grid.dim() not in (4, 5):
            return
        if min(grid.shape[1:-1]) < SMALLEST or not grid.shape[0] or not self.bursts.wanted((name, site)):
            return
        entry = self._grids.setdefault(site, _Grid(grid.dim() - 2))
        steps = [slice(None, None, max(1, size // POINTS)) for size in grid.shape[1:-1]]
        points = grid.detach()[(0, *steps)].double().cpu()
        entry.calls += 1
        entry.orders.add(order_of(self.watch.torch, points))
        entry.outside = min(entry.outside, float((points.abs() > 1.05).double().mean()))
        entry.low = min(entry.low, float(points.min()))
        highest = [float(points[..., component].max()) for component in range(points.shape[-1])]
        entry.high, entry.least_high = max(entry.high, *highest), min(entry.least_high, *highest)

    # -- indices ---------------------------------------------------------------------------------------------------

    def _index(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        torch = self.watch.torch
        tensor, index = args[0], args[1]
        parts = index if isinstance(index, tuple) else (index,)
        for axis, part in enumerate(parts):
            if part is None or part is Ellipsis or isinstance(part, bool):
                return  # axes can no longer be counted
            if not isinstance(part, torch.Tensor) or part.dtype not in (torch.int64, torch.int32) or part.dim() != 1:
                continue
            site = call_site()
            if site is None or axis >= tensor.dim() or not 0 < part.numel() <= LONGEST:
                return
            same = part.numel() == tensor.shape[axis] >= SMALLEST
            if not same and site not in self._indices:
                return
            if not self.bursts.wanted((name, site)):
                return
            entry = self._indices.setdefault(site, _Index())
            entry.calls += 1
            few = same and bool(((part == 0) | (part == 1)).all())
            if few and bool((part == 0).any()) and bool((part == 1).any()):
                entry.binary += 1
                entry.length = int(part.numel())
            elif not few:  # a batch of one kind alone says nothing
                entry.other += 1
            return

    # -- gradients with respect to inputs ----------------------------------------------------------------------------

    def _differentiated(self, outputs: Any, gradients: Any, graph: bool, site: CallSite | None) -> None:
        tensor = self.watch.torch.Tensor
        output = outputs[0] if isinstance(outputs, list | tuple) and outputs else outputs
        if not isinstance(output, tensor) or not isinstance(gradients, list | tuple):
            return
        for gradient in gradients:
            if isinstance(gradient, tensor) and gradient.dim() > 2 and output.dim():
                single = output.numel() == output.shape[0] == gradient.shape[0]
                self._gradients[gradient] = _Gradient(site, single, graph)

    def _norm(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        gradient = argument(args, kwargs, 0, "input", kwargs.get("x"))
        known = self._gradients.get(gradient) if isinstance(gradient, self.watch.torch.Tensor) else None
        site = call_site()
        if known is None or site is None:
            return
        axes = kwargs.get("dim", kwargs.get("axis", args[2] if len(args) > 2 else None))
        if axes is None:
            return
        over = tuple(sorted(axis % gradient.dim() for axis in ((axes,) if isinstance(axes, int) else axes)))
        left = math.prod(size for axis, size in enumerate(gradient.shape) if axis and axis not in over)
        entry = self._norms.setdefault(site, _Norm(known, tuple(gradient.shape), over, left))
        entry.calls += 1

    # -- summaries -----------------------------------------------------------------------------------------------------

    def records(self) -> Iterable[Record]:
        """Everything, a record a line."""
        shown, step = self.watch.shown, self.watch.iteration
        for site, grid in self._grids.items():
            order = next(iter(grid.orders)) if len(grid.orders) == 1 else ()
            yield GridSeen(
                where=shown(site),
                calls=grid.calls,
                axes=grid.axes,
                order=order,
                outside=grid.outside,
                low=grid.low,
                high=grid.high,
                least_high=grid.least_high,
                step=step,
            )
        for site, index in self._indices.items():
            yield IntegerIndexSeen(
                where=shown(site),
                calls=index.calls,
                binary=index.binary,
                length=index.length,
                other=index.other,
                step=step,
            )
        for site, norm in self._norms.items():
            yield GradientNormSeen(
                where=shown(site),
                taken=norm.gradient.site.location() if norm.gradient.site is not None else None,
                calls=norm.calls,
                shape=norm.shape,
                axes=norm.axes,
                left=norm.left,
                per_sample=norm.gradient.per_sample,
                graph=norm.gradient.graph,
                step=step,
            )


def order_of(torch: Any, points: Any) -> tuple[int, ...]:
    """The axis that each component of a grid follows upwards; empty where one follows none.

    Args:
        torch: The script's torch.
        points: Float64 on the CPU, shape ``[*axes, components]``.
    """
    axes = points.dim() - 1
    along = [
        torch.linspace(-1, 1, points.shape[axis], dtype=points.dtype)
        .reshape([-1 if other == axis else 1 for other in range(axes)])
        .expand(points.shape[:-1])
        for axis in range(axes)
    ]
    for order in itertools.permutations(range(axes)):
        pairs = [(points[..., component], along[axis]) for component, axis in enumerate(order)]
        if all(_correlation(values, axis) >= FOLLOWS for values, axis in pairs):
            return tuple(order)
    return ()


def _correlation(a: Any, b: Any) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float((a * b).sum()) / scale if scale > 0 and math.isfinite(scale) else 0.0
