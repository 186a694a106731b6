"""Parts of networks that are frozen and in training mode: do their running statistics go on?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import FrozenSeen
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.source_trees import freezing_lines
from traindx.watch.runtime.stats import probe
from traindx.watch.runtime.structure import children, named_modules, named_parameters
from traindx.watch.runtime.watch import Collector, Watch

MOST_PARTS = 8


@dataclass
class _Part:
    """A frozen part of a network.

    Attributes:
        part: Weak reference to it.
        network: Class of the network.
        name: Its name in the network, or its class.
        site: Where the network was called.
        weights: First values of one of its weights.
        statistics: First values of one of its running means.
        used: Its statistics were not those that it is constructed with: it was trained or loaded.
        begun: Iteration of the first look.
        last: Of the last one.
        looks: Looks in training mode.
        moved: Largest change of the running mean since, in its own standard deviations.
        thawed: Its weights changed or took gradients again.
        parameters: Numbers in it.
        frozen_at: The line that froze it, where known.
    """

    part: Callable[[], Any]
    network: str
    name: str
    site: CallSite
    weights: Any
    statistics: Any
    used: bool
    begun: int
    last: int
    looks: int = 0
    moved: float = 0.0
    thawed: bool = False
    parameters: int = 0
    frozen_at: CallSite | None = None


class FrozenStatistics(Collector):
    """Looks at frozen parts when a network is called, and notes who froze them."""

    subject = "frozen parts"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self.bursts = Bursts(dense=24, ratio=1.2)  # of calls in iterations that are watched, which are few
        self._parts: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._order: list[_Part] = []
        self._frozen_at: Any = watch.torch.utils.weak.WeakIdKeyDictionary()

    def install(self) -> None:
        """Subscribe, and follow ``requires_grad_``."""
        watch = self.watch

        def make(original: Any) -> Any:
            def requires_grad_(module: Any, requires_grad: bool = True) -> Any:
                result = original(module, requires_grad)
                if not requires_grad and watch.here_and_now:
                    with watch.ours(self):
                        site = here()
                        if site is not None:
                            self._frozen_at[module] = site
                return result

            return requires_grad_

        watch.patches.wrap(watch.torch.nn.Module, "requires_grad_", make)
        self.networks.on_begin(self, self._begins)

    def _begins(self, call: Call, args: tuple[Any, ...]) -> None:
        """A network is about to be called: what do its frozen parts hold now?"""
        network = call.network
        if not network.training or not self.bursts.wanted((id(network), call.site)):
            return
        iteration = self.watch.iteration
        for name, part in self._frozen(network, ""):
            known: _Part | None = self._parts.get(part)
            weights, means, spread = _tensors(part)
            if weights is None or means is None or self.watch.would_wait(weights):
                continue
            if known is None:
                if len(self._order) >= MOST_PARTS:
                    continue
                used = not bool((means == 0).all())
                reference = self.watch.torch.utils.weak.WeakIdRef(part)
                title = name or type(part).__name__
                known = _Part(
                    reference, type(network).__name__, title, call.site, probe(weights), probe(means), used, iteration,
                    iteration,
                )  # fmt: skip
                known.parameters = sum(one.numel() for _, one in named_parameters(part))
                known.frozen_at = self._freezer(part)
                self._parts[part] = known
                self._order.append(known)
                continue
            known.looks += 1
            known.last = iteration
            known.thawed |= not self.watch.torch.equal(probe(weights), known.weights)
            known.moved = max(known.moved, float((probe(means) - known.statistics).abs().max()) / max(spread, 1e-12))
        for known in self._order:  # what takes gradients at times (the other side of a GAN) is not frozen
            part = known.part()
            known.thawed |= part is not None and any(one.requires_grad for _, one in named_parameters(part))

    def _frozen(self, module: Any, name: str) -> Iterable[tuple[str, Any]]:
        """Largest parts without a weight that takes gradients, in training mode, with running statistics."""
        weights = [one for _, one in named_parameters(module)]
        if all(one.requires_grad for one in weights):  # there are none, or nothing below is frozen
            return
        if not any(one.requires_grad for one in weights):
            if any(
                part.training and part._buffers.get("running_mean") is not None for _, part in named_modules(module)
            ):
                yield name, module
            return
        fields = object.__getattribute__(module, "__dict__").get("_modules") or {}
        for key, child in fields.items():
            if child is not None and any(child is one for one in children(module)):
                yield from self._frozen(child, f"{name}.{key}" if name else key)

    def records(self) -> Iterable[Record]:
        """One record a part."""
        for known in self._order:
            yield FrozenSeen(
                network=known.network,
                part=known.name,
                where=self.watch.shown(known.frozen_at or known.site),
                parameters=known.parameters,
                looks=known.looks,
                iterations=known.last - known.begun,
                statistics_moved=known.moved,
                used_before=known.used,
                thawed=known.thawed,
                step=known.last,
            )

    def _freezer(self, part: Any) -> CallSite | None:
        """The line that froze a part: it, something in it, or something that it is in."""
        inside = [one for _, one in named_modules(part)]
        for module, site in list(self._frozen_at.items()):
            if any(one is module for one in inside) or any(one is part for _, one in named_modules(module)):
                found: CallSite = site
                return found
        lines = freezing_lines()
        return lines[0] if len(lines) == 1 else None


def _tensors(part: Any) -> tuple[Any, Any, float]:
    """A weight of several dimensions, the last running mean, and the standard deviation that belongs to it."""
    weights = next((one for _, one in named_parameters(part) if one.dim() > 1), None)
    means, spread = None, 1.0
    for _, module in named_modules(part):
        mean, variance = (module._buffers.get(name) for name in ("running_mean", "running_var"))
        if module.training and mean is not None and variance is not None:
            means, spread = mean, float(variance.float().mean().clamp(min=0)) ** 0.5
    return weights, means, spread
