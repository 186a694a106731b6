"""Scales of normalisation layers at the first call of a training: drawn around zero instead of set to one?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import NormScaleSeen
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.parameters import Parameters
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.structure import own_parameters
from traindx.watch.runtime.watch import Collector, Watch

SCALES = re.compile(r"^(weight|gamma|scale|g|a_2|alpha)$")
DRAWN = ("normal_", "uniform_", "trunc_normal_")
MOST_LAYERS = 256


class NormScales(Collector):
    """Notes who draws parameters at random, and looks at normalisation layers as they are called for the first time."""

    subject = "scales of normalisation layers"

    def __init__(self, watch: Watch, networks: Networks, parameters: Parameters) -> None:
        super().__init__(watch)
        self.networks = networks
        self.parameters = parameters
        # by number and memory: a weak reference to a parameter would keep torch from swapping it
        self._drawn: dict[tuple[int, int], CallSite | None] = {}
        self._looked: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._seen: list[NormScaleSeen] = []

    def install(self) -> None:
        """Wrap the random functions of ``torch.nn.init``, and subscribe."""
        torch, watch = self.watch.torch, self.watch

        def make(original: Any) -> Any:
            def drawn(tensor: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(tensor, *args, **kwargs)
                if isinstance(tensor, torch.nn.Parameter) and tensor.dim() == 1 and watch.here_and_now:
                    with watch.ours(self):
                        self._drawn[id(tensor), tensor.data_ptr()] = here()
                return result

            return drawn

        for name in DRAWN:
            watch.patches.wrap(torch.nn.init, name, make)
        self.networks.on_module(self, self._called)

    def _called(self, module: Any, args: Any, output: Any) -> None:
        if module in self._looked or len(self._looked) >= MOST_LAYERS:
            return
        if "norm" not in type(module).__name__.lower():
            return
        self._looked[module] = True
        torch = self.watch.torch
        if self.watch.iteration or not isinstance(output, torch.Tensor) or self.watch.would_wait(output):
            return
        for name, scale in own_parameters(module):
            if scale.dim() != 1 or scale.numel() < 4 or not SCALES.match(name) or scale in self.parameters.loaded:
                continue
            values = scale.detach().float()
            site = self._drawn.get((id(scale), scale.data_ptr()))
            self._seen.append(
                NormScaleSeen(
                    layer=type(module).__name__,
                    name=name,
                    mean=float(values.mean()),
                    spread=float(values.std(unbiased=False)),
                    output_spread=float(output.detach().float().std(unbiased=False)),
                    where=site.location() if site is not None else None,
                    step=self.watch.iteration,
                )
            )

    def records(self) -> Iterable[Record]:
        """One record a layer."""
        yield from self._seen
