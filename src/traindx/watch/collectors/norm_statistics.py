"""Copies of a network (teachers, averages) whose weights move while their running statistics stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import StatisticsSeen
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.torch_calls import TorchCalls, call_site
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import probe
from traindx.watch.runtime.structure import named_modules, named_parameters
from traindx.watch.runtime.watch import Collector, Watch

MOST_TENSORS = 8
WRITES = ("mul_", "add_", "sub_", "lerp_", "copy_", "addcmul_")


@dataclass
class _Copy:
    """A network that was called without gradients in evaluation mode.

    Attributes:
        network: Weak reference to it.
        place: Where it was called.
        layers: Its normalisation layers with running statistics, by weak reference.
        weights: First values of some of its parameters.
        statistics: First values of some of its statistics.
        initial: All of its statistics have the values that they are constructed with.
        moved: Relative change of the weights since.
        changed: A statistic changed since.
        looks: Calls looked at.
        written: Where its weights are written to.
    """

    network: Callable[[], Any]
    place: CallPlace
    weights: list[Any]
    statistics: list[Any]
    initial: bool
    moved: float = 0.0
    changed: bool = False
    looks: int = 0
    written: CallSite | None = None


class NormStatistics(Collector):
    """Compares weights and running statistics of networks that are called in evaluation mode, over the run."""

    subject = "running statistics"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks, optimisers: Optimisers) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.optimisers = optimisers
        self.bursts = Bursts(dense=6, ratio=1.5)
        self._copies: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._order: list[_Copy] = []
        self._pointers: dict[int, _Copy] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)
        tensor = self.watch.torch.Tensor
        self.calls.on(self, {getattr(tensor, name): name for name in WRITES}, self._write)

    def _called(self, call: Call) -> None:
        network = call.network
        if call.grad or network.training or not self.bursts.wanted(call.place.key):
            return
        known: _Copy | None = self._copies.get(network)
        if known is None:
            self._begin(network, call.place)
            return
        known.looks += 1
        weights, statistics = tensors_of(network)
        for old, new in zip(known.weights, weights, strict=False):
            size = float(old.norm())
            change = float((probe(new) - old).norm()) / size if size > 0 else 0.0
            known.moved = max(known.moved, change)
        torch = self.watch.torch
        pairs = zip(known.statistics, statistics, strict=False)
        known.changed = known.changed or not all(torch.equal(old, probe(new)) for old, new in pairs)

    def _begin(self, network: Any, place: CallPlace) -> None:
        weights, statistics = tensors_of(network)
        if not statistics or not weights or any(self._steps(weight) for weight in weights):
            return
        initial = all(bool((one == (1.0 if index % 2 else 0.0)).all()) for index, one in enumerate(statistics))
        reference = self.watch.torch.utils.weak.WeakIdRef(network)
        entry = _Copy(reference, place, [probe(one) for one in weights], [probe(one) for one in statistics], initial)
        self._copies[network] = entry
        self._order.append(entry)
        for _, parameter in named_parameters(network):
            self._pointers[parameter.data_ptr()] = entry

    def _steps(self, parameter: Any) -> bool:
        """An optimiser moves it: then it is the network that trains, whose statistics the training mode updates."""
        for tracked in self.optimisers.order:
            optimizer = tracked.reference()
            for group in optimizer.param_groups if optimizer is not None else ():
                if any(one is parameter for one in group["params"]):
                    return True
        return False

    def _write(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._pointers or not args or args[0].is_sparse:
            return
        entry = self._pointers.get(args[0].data_ptr())
        if entry is not None and entry.written is None:
            entry.written = call_site()

    def records(self) -> Iterable[Record]:
        """One record a copy."""
        for entry in self._order:
            network = entry.network()
            yield StatisticsSeen(
                network=entry.place.network if network is None else type(network).__name__,
                where=entry.place.site.location() if entry.place.site.file else None,
                written=entry.written.location() if entry.written is not None else None,
                looks=entry.looks,
                weights_moved=entry.moved,
                statistics_moved=entry.changed,
                at_start_values=entry.initial and not entry.changed,
                step=entry.place.last,
            )


def tensors_of(network: Any) -> tuple[list[Any], list[Any]]:
    """Some parameters, and mean and variance of some normalisation layers, in turn."""
    weights = [one for _, one in named_parameters(network) if one.dim() > 1][:MOST_TENSORS]
    statistics: list[Any] = []
    for _, module in named_modules(network):
        mean, variance = (module._buffers.get(name) for name in ("running_mean", "running_var"))
        if mean is not None and variance is not None and len(statistics) < 2 * MOST_TENSORS:
            statistics += [mean, variance]
    return weights, statistics
