"""How much the dropout layers of a network that is trained remove."""

from __future__ import annotations

import re
from collections.abc import Iterable

from traindx.evidence.base import Record
from traindx.evidence.observed_state import DropoutSeen
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_text import line_text
from traindx.watch.runtime.structure import named_modules
from traindx.watch.runtime.watch import Collector, Watch

MOST_LAYERS = 4096
KEPT = re.compile(r"keep|retain", re.IGNORECASE)
SUBTRACTED = re.compile(r"\b1(\.0?)?\s*-")


class Dropouts(Collector):
    """Looks, at the first call with gradients of each network, at the rates of its layers that are in training mode."""

    subject = "rates of dropout"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._looked = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._seen: dict[tuple[CallSite | None, float], DropoutSeen] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)

    def _called(self, call: Call) -> None:
        if not call.grad or call.network in self._looked or len(self._looked) >= MOST_LAYERS:
            return
        self._looked[call.network] = True
        kind = self.watch.torch.nn.modules.dropout._DropoutNd
        for _, module in named_modules(call.network):
            if not isinstance(module, kind) or not module.training or not isinstance(module.p, int | float):
                continue
            site = self.networks.made.get(module)
            known = self._seen.get((site, float(module.p)))
            text = line_text(site) if site is not None else ""
            self._seen[site, float(module.p)] = DropoutSeen(
                layer=type(module).__name__,
                rate=float(module.p),
                layers=1 + (known.layers if known is not None else 0),
                keeps=bool(KEPT.search(text)) and not SUBTRACTED.search(text),
                where=site.location() if site is not None else None,
                step=self.watch.iteration,
            )

    def records(self) -> Iterable[Record]:
        """One record a line and rate."""
        return tuple(self._seen.values())
