"""Views that one encoder sees one by one and that are then averaged: nothing after it knows which was which.

Followed through four operations: images of shape ``(B, V, ...)`` are folded into the batch, encoded, unfolded again and
reduced along V. Each of the last two takes what the one before gave, so nothing can have told the views apart between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from traindx.evidence.base import Record
from traindx.evidence.probed import ViewsMerged
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.torch_calls import TorchCalls, argument, named_functions
from traindx.watch.probes.tracing import tensors_of
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.watch import Collector, Watch

MOST_VIEWS = 4
FOLDS = ("view", "reshape", "flatten", "unflatten", "rearrange")
REDUCTIONS = ("mean", "sum", "amax", "amin", "max")


class _Folded(NamedTuple):
    """How a tensor holds views: as ``(batch, views)`` of images of a shape, and whether it was encoded since."""

    batch: int
    views: int
    image: tuple[int, ...]
    encoded: bool = False
    unfolded: bool = False


class MergedViews(Collector):
    """Follows views through folding, encoding, unfolding and reduction."""

    subject = "views that are merged"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self._held = watch.weak_table()
        self._found: dict[CallSite, ViewsMerged] = {}

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.calls.on(self, named_functions(torch, FOLDS), self._folds)
        self.calls.on(self, named_functions(torch, REDUCTIONS), self._reduces)
        self.networks.on_ended(self, self._encoded)

    def records(self) -> Iterable[Record]:
        """One a line."""
        return tuple(self._found.values())

    def _folds(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        source = args[0] if args else None
        if not isinstance(source, self.watch.torch.Tensor) or not source.is_floating_point() or source.dim() < 2:
            return None
        before, held = tuple(source.shape), self._held.get(source)

        def folded(out: Any) -> None:
            after = tuple(out.shape)
            if held is not None and held.encoded and after[:2] == (held.batch, held.views) and after[2:] == before[1:]:
                self._held[out] = held._replace(unfolded=True)
            elif (
                len(before) >= 4
                and 2 <= before[1] <= MOST_VIEWS
                and after[0] == before[0] * before[1]
                and after[1:] == before[2:]
            ):
                self._held[out] = _Folded(before[0], before[1], before[2:])

        return folded

    def _encoded(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if len(args) != 1 or not isinstance(args[0], self.watch.torch.Tensor):
            return
        held = self._held.get(args[0])
        if held is None or held.unfolded or not self.networks.has_parameters(module):
            return
        for one in tensors_of(self.watch.torch, output):
            if one.dim() and one.shape[0] == held.batch * held.views:
                self._held[one] = held._replace(encoded=True)

    def _reduces(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        source: Any = args[0] if args else None
        held = self._held.get(source) if isinstance(source, self.watch.torch.Tensor) else None
        if held is None or not held.unfolded:
            return
        axis = argument(args, kwargs, 1, "dim", kwargs.get("axis"))
        axis = axis[0] if isinstance(axis, tuple | list) and len(axis) == 1 else axis
        site = here()
        if axis in (1, 1 - source.dim()) and isinstance(axis, int) and site is not None:
            network = type(self.networks.stack[-1]).__name__ if self.networks.stack else ""
            before = self._found.get(site)
            self._found[site] = ViewsMerged(
                network=network,
                views=held.views,
                image=held.image,
                reduction=name,
                training=self.watch.grad_enabled or (before is not None and before.training),
                where=site.location(),
                step=self.watch.iteration,
            )
