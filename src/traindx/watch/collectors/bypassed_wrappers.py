"""Networks that were wrapped for distributed training and are trained without the wrapper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed import WrapperBypassed
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.watch import Collector, Watch


class BypassedWrappers(Collector):
    """Counts calls with gradients of networks that a ``DistributedDataParallel`` holds: through it, and past it."""

    subject = "wrappers for distributed training"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._held: Any = watch.weak_table()  # networks that a wrapper holds
        self._through = 0
        self._past: Counter[CallSite] = Counter()
        self._ranks = 1

    def install(self) -> None:
        """Patch the wrapper's construction, and hear of calls."""
        watch, distributed = self.watch, self.watch.torch.distributed
        if not distributed.is_available():
            return
        self._wrapper: Any = import_module("torch.nn.parallel.distributed").DistributedDataParallel

        def make_init(original: Any) -> Any:
            def init(wrapper: Any, *args: Any, **kwargs: Any) -> None:
                original(wrapper, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        self._held[wrapper.module] = True
                        self._ranks = max(self._ranks, distributed.get_world_size(wrapper.process_group))

            return init

        watch.patches.wrap(self._wrapper, "__init__", make_init)
        self.networks.on_call(self, self._called)

    def _called(self, call: Call) -> None:
        if not call.grad:
            return
        if isinstance(call.network, self._wrapper):
            self._through += 1
        elif call.network in self._held:
            self._past[call.site] += 1

    def records(self) -> Iterable[Record]:
        """One, of the line that calls past the wrapper most often."""
        if self._through or self._past:
            site, past = max(self._past.items(), key=lambda one: one[1], default=(None, 0))
            yield WrapperBypassed(
                through=self._through,
                past=past,
                ranks=self._ranks,
                where=site.location() if site is not None else None,
                step=self.watch.iteration,
            )
