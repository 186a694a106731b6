"""Losses that were cut off from the network before ``backward``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from traindx.evidence.base import Record
from traindx.evidence.observed_loss import LossCutOff
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.provenance import Provenance
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.watch import Collector, Watch


@dataclass
class _Cut:
    passes: int = 0
    site: CallSite | None = None
    how: str = ""


class CutLosses(Collector):
    """Looks at the tensor on which ``backward`` is called: a leaf that is no parameter has nothing behind it."""

    subject = "losses that are cut off"

    def __init__(self, watch: Watch, backwards: Backwards, networks: Networks, provenance: Provenance) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.networks = networks
        self.provenance = provenance
        self._cuts: dict[CallSite, _Cut] = {}

    def install(self) -> None:
        """Subscribe."""
        self.backwards.on_backward(self, before=self._look)

    def _look(self, call: Backward) -> None:
        root = call.root
        if root.grad_fn is not None or isinstance(root, self.watch.torch.nn.Parameter) or not self.networks.places:
            return
        entry = self._cuts.setdefault(call.site, _Cut())
        entry.passes += 1
        site, how = self.provenance.last_cut
        if site is not None:
            entry.site, entry.how = site, how

    def records(self) -> Iterable[Record]:
        """One record a line."""
        for site, entry in self._cuts.items():
            yield LossCutOff(
                where=site.location(),
                passes=entry.passes,
                cut=entry.site.location() if entry.site is not None else None,
                how=entry.how,
                step=self.watch.iteration,
            )
