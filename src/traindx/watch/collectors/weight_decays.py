"""Weight decay that an optimiser adds to the gradients, as Adam and SGD do: how large is it beside them?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import WeightDecaySeen
from traindx.watch.collectors.optimisers import Optimisers, is_dense
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
        self._groups: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._order: list[tuple[str, Any, dict[int, _Group]]] = []

    def install(self) -> None:
        """Subscribe."""
        self.optimisers.on_measure(self, self._measure)

    def _measure(self, optimizer: Any) -> None:
        torch = self.watch.torch
        if not _adds_to_gradients(type(optimizer), torch):
            return
        for index, group in enumerate(optimizer.param_groups):
            decay = group.get("weight_decay", 0.0)
            if not isinstance(decay, int | float) or not decay > 0 or group.get("decoupled_weight_decay"):
                continue
            held = [one for one in group["params"] if one.grad is not None and is_dense(one.grad)]
            if not held or self.watch.would_wait(held[0]):
                continue
            squares = [
                sum(float(one) ** 2 for one in compat.norms(torch, tensors))
                for tensors in ([one.detach() for one in held], [one.grad for one in held])
            ]
            weights, gradients = (square**0.5 for square in squares)
            if not 0 < gradients < float("inf") or not weights < float("inf"):
                continue
            seen = self._of(optimizer).setdefault(index, _Group(float(decay), first=weights))
            if float(decay) == seen.decay and len(seen.shares) < MOST_LOOKS:
                seen.shares.append(seen.decay * weights / gradients)
                seen.last = weights

    def _of(self, optimizer: Any) -> dict[int, _Group]:
        groups: dict[int, _Group] | None = self._groups.get(optimizer)
        if groups is None:
            groups = self._groups[optimizer] = {}
            tracked = self.optimisers.tracked.get(optimizer)
            self._order.append((type(optimizer).__name__, tracked.made if tracked is not None else None, groups))
        return groups

    def records(self) -> Iterable[Record]:
        """A record a group that is decayed."""
        for name, made, groups in self._order:
            for index, seen in groups.items():
                if seen.shares:
                    yield WeightDecaySeen(
                        optimizer=name,
                        group=index,
                        decay=seen.decay,
                        shares=tuple(seen.shares),
                        first_norm=seen.first,
                        last_norm=seen.last,
                        where=made.location() if made is not None else None,
                        step=self.watch.iteration,
                    )


def _adds_to_gradients(kind: type, torch: Any) -> bool:
    """True for the optimisers of torch whose decay is part of the gradient; what others do is not known."""
    return kind in {
        torch.optim.SGD, torch.optim.Adam, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam,
        torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.ASGD,
    }  # fmt: skip
