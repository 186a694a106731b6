"""Weight decay that an optimiser adds to the gradients, as Adam and SGD do: how large is it beside them?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import WeightDecaySeen
from traindx.watch.collectors.optimisers import Optimisers, Tracked, is_dense
from traindx.watch.runtime.watch import Collector, Watch

MOST_LOOKS = 256


@dataclass
class _Group:
    decay: float
    shares: list[float] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0


class WeightDecays(Collector):
    """Compares norms of decayed weights with those of their gradients, right before a watched step."""

    subject = "weight decay"

    def __init__(self, watch: Watch, optimisers: Optimisers) -> None:
        super().__init__(watch)
        self.optimisers = optimisers
        self._groups: dict[tuple[int, int], tuple[Tracked, _Group]] = {}

    def install(self) -> None:
        """Subscribe."""
        self.optimisers.on_measure(self, self._measure)

    def _measure(self, optimizer: Any) -> None:
        torch, tracked = self.watch.torch, self.optimisers.tracked.get(optimizer)
        if tracked is None or not _adds_to_gradients(type(optimizer), torch):
            return
        for index, group in enumerate(optimizer.param_groups):
            decay = group.get("weight_decay", 0.0)
            if not isinstance(decay, int | float) or not decay > 0 or group.get("decoupled_weight_decay"):
                continue
            _, seen = self._groups.get((id(tracked), index), (None, None))
            if seen is not None and (float(decay) != seen.decay or len(seen.shares) >= MOST_LOOKS):
                continue
            held = [one.detach() for one in group["params"] if one.grad is not None and is_dense(one.grad)]
            if not held or self.watch.would_wait(held[0]):
                continue
            gradients = tracked.groups[index].norms[-1]  # of the same tensors, just measured
            weights = float(sum(float(one) ** 2 for one in compat.norms(torch, held)) ** 0.5)
            if not 0 < gradients < float("inf") or not weights < float("inf"):
                continue
            if seen is None:
                seen = _Group(float(decay), first=weights)
                self._groups[id(tracked), index] = tracked, seen
            seen.shares.append(seen.decay * weights / gradients)
            seen.last = weights

    def records(self) -> Iterable[Record]:
        """A record a group that is decayed."""
        for (_, index), (tracked, seen) in self._groups.items():
            yield WeightDecaySeen(
                optimizer=tracked.name,
                group=index,
                decay=seen.decay,
                shares=tuple(seen.shares),
                first_norm=seen.first,
                last_norm=seen.last,
                where=tracked.made.location() if tracked.made is not None else None,
                step=self.watch.iteration,
            )


def _adds_to_gradients(kind: type, torch: Any) -> bool:
    """True for the optimisers of torch whose decay is part of the gradient; what others do is not known."""
    return kind in {
        torch.optim.SGD, torch.optim.Adam, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam,
        torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.ASGD,
    }  # fmt: skip
