"""Targets of sequences that end in one repeated number where the input is padded: does the loss count them?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_loss import PaddedTargetsSeen
from traindx.watch.collectors.losses_of_calls import ClassLoss, LossesOfCalls
from traindx.watch.collectors.networks import Call
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

LEAST_COUNTED = 64  # targets of a batch


@dataclass
class _Seen:
    """Batches of one loss, as far as their targets could lie beside a sequence that the network was given."""

    argument: str
    batches: int = 0
    rows: int = 0
    counted: int = 0
    padded: int = 0
    ends: set[int] = field(default_factory=set)  # numbers of which the targets' endings consist
    lengths: set[int] = field(default_factory=set)  # of such endings
    inner: set[int] = field(default_factory=set)  # numbers that occur before them
    refuted: bool = False  # the input is no padding where the targets end


class PaddedTargets(Collector):
    """Compares the endings of targets with what the network is given there, in a few batches of each loss."""

    subject = "padding of sequences"

    def __init__(self, watch: Watch, losses: LossesOfCalls) -> None:
        super().__init__(watch)
        self.losses = losses
        self.compared = Bursts(6, 2.0)
        self._seen: dict[CallSite, _Seen] = {}

    def install(self) -> None:
        """Hear of losses."""
        self.losses.on_loss(self, self._loss)

    def _loss(self, call: Call, loss: ClassLoss) -> None:
        if loss.each or loss.site is None or loss.target.numel() < LEAST_COUNTED:
            return
        if self.compared.wanted((call.place.key, loss.site)):
            for name, given, target in self.losses.beside(call, loss):
                self._compare(self._seen.setdefault(loss.site, _Seen(name)), given, target, loss)
                return

    def _compare(self, seen: _Seen, given: Any, target: Any, loss: ClassLoss) -> None:
        torch, (rows, steps) = self.watch.torch, target.shape
        last = target[:, -1:]
        ending = (target == last).flip(1).long().cumprod(1).flip(1).bool()  # from the last position that differs on
        lengths = ending.sum(1)
        number = int(last.flatten().mode().values)
        of_it = (lengths > 1) & (last.flatten() == number)
        seen.batches += 1
        seen.rows += rows
        if number == loss.ignored or not bool(of_it.any()):
            seen.counted += int((target != loss.ignored).sum())
            return
        if loss.weight is not None and number < len(loss.weight) and float(loss.weight[number]) == 0:
            seen.refuted = True
            return
        padded = ending & of_it[:, None]
        padded[torch.arange(rows), steps - lengths] = False  # the first may be the token that ends a sequence
        content = torch.where(ending & (last == number), torch.full_like(target, -1), target)
        seen.refuted = seen.refuted or not self._is_padding(given, padded)
        seen.counted += int((target != loss.ignored).sum())
        seen.padded += int(padded.sum())
        seen.ends.add(number)
        seen.lengths |= set(lengths[of_it].tolist())
        seen.inner |= set(content.unique().tolist())

    def _is_padding(self, given: Any, padded: Any) -> bool:
        """One token, or one row of features, at all positions of the endings."""
        values = given[:, : padded.shape[1]][padded]
        if not len(values):
            return True
        return bool((values == values[:1]).all())

    def records(self) -> Iterable[Record]:
        """One a loss."""
        for site, seen in self._seen.items():
            yield PaddedTargetsSeen(
                argument=seen.argument,
                batches=seen.batches,
                rows=seen.rows,
                counted=seen.counted,
                padded=0 if seen.refuted or len(seen.ends) != 1 or seen.ends & seen.inner else seen.padded,
                number=min(seen.ends, default=-1),
                lengths=len(seen.lengths),
                classes=len(seen.inner - {-1}),
                where=site.location(),
                step=self.watch.iteration,
            )
