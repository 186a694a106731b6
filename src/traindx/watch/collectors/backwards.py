"""Backward passes: from which line, of what value, and who wants to look at the graph before it is freed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed import LossSeries
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.stats import has_values, thin
from traindx.watch.runtime.structure import members
from traindx.watch.runtime.unread import Unread
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

MOST_POINTS = 512


@dataclass
class Backward:
    """One call of ``backward``.

    Attributes:
        root: The tensor it was called on.
        site: The user's line.
        value: The loss, where reading it costs no synchronisation (or the iteration is watched); None otherwise.
        scale: Factor of a gradient scaler that the root was multiplied by.
        seeded: It was given a gradient of its own to begin with.
    """

    root: Any
    site: CallSite
    value: float | None
    scale: float = 1.0
    seeded: bool = False


@dataclass
class _Series:
    site: CallSite
    iterations: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    unread: Unread | None = None
    first_nonfinite: int = -1
    calls: int = 0
    scaled: bool = False


class Backwards(Collector):
    """Wraps ``torch.autograd.backward`` (which ``Tensor.backward`` calls) and ``torch.autograd.grad``.

    Attributes:
        on_foreign: Tells that a backward pass is made in a thread, or forked process, that is not watched.
        scaled: Factor that a loss was multiplied by for the sake of half precision, of those that were.
    """

    subject = "backward passes"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self.scaled: Any = watch.weak_table()
        self.last_site: CallSite | None = None
        self.in_iteration = 0
        self._before: list[tuple[Collector, Callable[[Backward], None]]] = []
        self._after: list[tuple[Collector, Callable[[Backward], None]]] = []
        self._series: dict[CallSite, _Series] = {}
        self.on_foreign: Signal[[]] = Signal(watch)
        self.on_gradients: Signal[[Any, Any, bool, CallSite | None]] = Signal(watch)

    def on_backward(
        self,
        collector: Collector,
        before: Callable[[Backward], None] | None = None,
        after: Callable[[Backward], None] | None = None,
    ) -> None:
        """Call ``before`` and ``after`` around every backward pass."""
        if before is not None:
            self._before.append((collector, before))
        if after is not None:
            self._after.append((collector, after))

    def install(self) -> None:
        """Patch."""
        torch, watch = self.watch.torch, self.watch

        def make_backward(original: Any) -> Any:
            def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
                if not watch.here_and_now and not watch.in_backward and not watch.busy and not watch.over:
                    self.on_foreign.tell()
                if watch.in_backward or not watch.here_and_now:
                    original(tensors, *args, **kwargs)
                    return
                call = self._begins(tensors, (args[0] if args else kwargs.get("grad_tensors")) is not None)
                watch.in_backward = True
                try:
                    original(tensors, *args, **kwargs)
                finally:
                    watch.in_backward = False
                self._ended(call)

            return backward

        def make_grad(original: Any) -> Any:
            def grad(*args: Any, **kwargs: Any) -> Any:
                if watch.in_backward or not watch.here_and_now:
                    return original(*args, **kwargs)
                watch.in_backward = True
                try:
                    gradients = original(*args, **kwargs)
                finally:
                    watch.in_backward = False
                outputs = args[0] if args else kwargs.get("outputs")
                graph = kwargs.get("create_graph", args[4] if len(args) > 4 else False)
                self.on_gradients.tell(outputs, gradients, bool(graph), here())
                return gradients

            return grad

        watch.patches.wrap(torch.autograd, "backward", make_backward)
        watch.patches.wrap(torch.autograd, "grad", make_grad)

    def _begins(self, tensors: Any, seeded: bool = False) -> Backward | None:
        watch = self.watch
        root, site = tensors, here()
        if isinstance(tensors, list | tuple):  # anything else could be iterated once only
            root = next(iter(members(tensors)), None)
        if not isinstance(root, watch.torch.Tensor) or site is None or not has_values(root):
            return None
        call = Backward(root, site, None, seeded=seeded)
        with watch.ours(self):
            self.last_site = site
            call.scale = float(self.scaled.get(root, 1.0)) or 1.0
            series = self._series.setdefault(site, _Series(site))
            series.calls += 1
            series.scaled = series.scaled or call.scale != 1.0
            if root.numel() == 1:
                call.value = self._note(series, root, call.scale)
        for collector, before in self._before:
            with watch.ours(collector):
                before(call)
        return call

    def _note(self, series: _Series, root: Any, scale: float) -> float | None:
        """Remember the loss; on a device it is read later, with others, so that nothing waits for it."""
        watch = self.watch
        if root.device.type == "cpu":
            value = float(root.detach()) / scale
            self._add(series, watch.iteration, value)
            return value
        series.unread = series.unread or Unread(watch.torch)
        series.unread.add(root.detach() / scale)
        series.pending.append(watch.iteration)
        if watch.would_wait(root):
            return None
        self._read(series)
        return series.values[-1] if series.values else None

    def _read(self, series: _Series) -> None:
        if series.unread is not None and series.pending:
            iterations, series.pending = series.pending, []
            for iteration, value in zip(iterations, series.unread.read(), strict=True):
                self._add(series, iteration, value)

    def _add(self, series: _Series, iteration: int, value: float) -> None:
        if not math.isfinite(value) and series.first_nonfinite < 0:
            series.first_nonfinite = iteration
        series.iterations.append(iteration)
        series.values.append(value)
        if len(series.values) > 4 * MOST_POINTS:
            series.iterations = thin(series.iterations, 2 * MOST_POINTS)
            series.values = thin(series.values, 2 * MOST_POINTS)

    def _ended(self, call: Backward | None) -> None:
        watch = self.watch
        watch.start()
        self.in_iteration += 1
        if call is not None:
            for collector, after in self._after:
                with watch.ours(collector):
                    after(call)
        watch.backward_done()

    def begin(self) -> None:
        """A new iteration."""
        self.in_iteration = 0

    def first_nonfinite(self) -> int:
        """First iteration with a loss that was not finite, or -1."""
        found = [series.first_nonfinite for series in self._series.values() if series.first_nonfinite >= 0]
        return min(found, default=-1)

    def records(self) -> Iterable[Record]:
        """One series a line."""
        for series in self._series.values():
            if self.watch.may_wait:
                self._read(series)
            if series.values:
                yield LossSeries(
                    where=series.site.location(),
                    iterations=tuple(thin(series.iterations, MOST_POINTS)),
                    values=tuple(thin(series.values, MOST_POINTS)),
                    first_nonfinite=series.first_nonfinite,
                    calls=series.calls,
                    scaled=series.scaled,
                    step=series.iterations[-1],
                )
