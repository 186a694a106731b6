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
        self._seen: dict[CallSite, SpectralNormSeen] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_module(self, self._called)

    def _called(self, module: Any, args: Any, output: Any) -> None:
        if module in self._trained or module in self._looked or not _estimates(module):
            return
        if module.training:
            self._trained[module] = True
            return
        self._looked[module] = True
        weight = module.weight.detach()
        if weight.numel() > MOST_VALUES:
            return
        largest = float(self.watch.torch.linalg.matrix_norm(weight.float().flatten(1), ord=2))
        sites = stack()
        if not sites:
            return
        site = sites[min(1, len(sites) - 1)]  # what matters is when it is called, not in which helper
        known = self._seen.get(site)
        self._seen[site] = SpectralNormSeen(
            layers=1 + (known.layers if known is not None else 0),
            largest=max(largest, known.largest if known is not None else 0.0),
            where=site.location(),
            step=self.watch.iteration,
        )

    def records(self) -> Iterable[Record]:
        """One record a line."""
        yield from self._seen.values()


def _estimates(module: Any) -> bool:
    """True for a layer with ``torch.nn.utils.spectral_norm``, which begins with random vectors."""
    fields: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return "weight_u" in fields.get("_buffers", {}) and "weight_orig" in fields.get("_parameters", {})
