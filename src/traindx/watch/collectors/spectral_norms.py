"""Spectral norm in evaluation: has its power iteration, which only runs in training mode, ever run?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import SpectralNormSeen
from traindx.watch.collectors.networks import Networks
from traindx.watch.runtime.call_sites import CallSite, stack
from traindx.watch.runtime.watch import Collector, Watch

MOST_VALUES = 1 << 20  # of a weight whose singular values are computed


class SpectralNorms(Collector):
    """Looks at the first calls of layers whose weight is divided by an estimate of its largest singular value."""

    subject = "spectral norms"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._trained: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._looked: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._early: list[tuple[tuple[CallSite, ...], float]] = []
        self._first_trained: tuple[CallSite, ...] = ()

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_module(self, self._called)

    def _called(self, module: Any, args: Any, output: Any) -> None:
        if module in self._trained or not _estimates(module):
            return
        if module.training:
            self._trained[module] = True
            if self._early and not self._first_trained:
                self._first_trained = stack()
            return
        if module in self._looked:
            return
        self._looked[module] = True
        weight = module.weight.detach()
        if weight.numel() > MOST_VALUES:
            return
        largest = float(self.watch.torch.linalg.matrix_norm(weight.float().flatten(1), ord=2))
        sites = stack()
        if sites:
            self._early.append((sites, largest))

    def records(self) -> Iterable[Record]:
        """One record a line."""
        seen: dict[CallSite, list[float]] = {}
        for sites, largest in self._early:
            seen.setdefault(_where(sites, self._first_trained), []).append(largest)
        for site, values in seen.items():
            yield SpectralNormSeen(
                layers=len(values), largest=max(values), where=site.location(), step=self.watch.iteration
            )


def _where(early: tuple[CallSite, ...], trained: tuple[CallSite, ...]) -> CallSite:
    """The line that comes too early: in the function that both calls come from, not in the helpers below it.

    Args:
        early: User lines of the early call, from the innermost outwards.
        trained: Those of the first call in training mode; empty where there was none.
    """
    found = early[min(1, len(early) - 1)]
    for one, other in zip(reversed(early), reversed(trained), strict=False):
        if (one.file, one.symbol) != (other.file, other.symbol):
            break
        found = one
    return found


def _estimates(module: Any) -> bool:
    """True for a layer with ``torch.nn.utils.spectral_norm``, which begins with random vectors."""
    fields: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return "weight_u" in fields.get("_buffers", {}) and "weight_orig" in fields.get("_parameters", {})
