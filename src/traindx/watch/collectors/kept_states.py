"""States of networks that are kept in memory and loaded again: do they still hold what they held when taken?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from traindx.evidence.observed_state import StateReused
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import thin, thinned
from traindx.watch.runtime.structure import items, named_parameters
from traindx.watch.runtime.watch import Collector, Watch

SAMPLED = 8  # parameters whose values are sampled when a state is taken
VALUES = 24
MOST_RECORDS = 32


@dataclass
class _Taken:
    """A call of ``state_dict()``: its line, how many steps had been taken, and a few values of a few parameters."""

    site: CallSite | None
    steps: int
    values: dict[str, Any]


class KeptStates(Collector):
    """Wraps ``state_dict`` and ``load_state_dict`` of modules.

    Nothing of a state is kept alive: its tensors are known by weak references, and what they held by a few copied
    values. A state that is taken in every iteration (an average of weights) is soon noted only now and then.
    """

    subject = "kept states of networks"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._taken: Any = watch.weak_table()
        self._bursts = Bursts(dense=200, ratio=1.3)
        self._seen: dict[tuple[Any, ...], StateReused] = {}
        self._depth = 0

    def install(self) -> None:
        """Patch."""
        module, watch = self.watch.torch.nn.Module, self.watch

        def make_state_dict(original: Any) -> Any:
            def state_dict(network: Any, *args: Any, **kwargs: Any) -> Any:
                if self._depth or not watch.here_and_now:  # a part of a network that is being asked as a whole
                    return original(network, *args, **kwargs)
                self._depth += 1
                try:
                    result = original(network, *args, **kwargs)
                finally:
                    self._depth -= 1
                with watch.ours(self):
                    self._note(network, result)
                return result

            return state_dict

        def make_load(original: Any) -> Any:
            def load_state_dict(network: Any, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
                if watch.here_and_now:
                    with watch.ours(self):
                        self._loads(network, state_dict)
                return original(network, state_dict, *args, **kwargs)

            return load_state_dict

        watch.patches.wrap(module, "state_dict", make_state_dict)
        watch.patches.wrap(module, "load_state_dict", make_load)

    def _note(self, network: Any, state: Any) -> None:
        site = here()
        if not isinstance(state, dict) or not self._bursts.wanted(site):
            return
        trained = {name for name, parameter in named_parameters(network) if parameter.requires_grad}
        names = thin([name for name, value in items(state) if name in trained and self._plain(value)], SAMPLED)
        taken = _Taken(
            site, self.watch.steps, {name: thinned(dict.__getitem__(state, name), VALUES).clone() for name in names}
        )
        for name in names:
            self._taken[dict.__getitem__(state, name)] = taken

    def _plain(self, value: Any) -> bool:
        """A tensor in memory of its own: not a fake one, not one that is spread over processes."""
        torch = self.watch.torch
        kinds = (torch.Tensor, torch.nn.Parameter)
        return type(value) in kinds and value.layout is torch.strided and value.numel() > 0 and value.data_ptr() != 0

    def _loads(self, network: Any, state: Any) -> None:
        if not isinstance(state, dict):
            return
        offered = {name: value for name, value in items(state) if self._plain(value)}
        taken: _Taken | None = next((self._taken[one] for one in offered.values() if one in self._taken), None)
        if taken is None:
            return
        own = {name: value for name, value in named_parameters(network) if self._plain(value)}
        pairs = [(value, own[name]) for name, value in offered.items() if name in own]
        if not pairs:
            return
        shared = sum(one.data_ptr() == other.data_ptr() and one.shape == other.shape for one, other in pairs)
        site, steps = here(), self.watch.steps - taken.steps
        now = {name: thinned(offered[name], VALUES).clone() for name in taken.values if name in offered}

        def compare() -> None:
            differ = any(not self.watch.torch.equal(taken.values[name].cpu(), one.cpu()) for name, one in now.items())
            self._loaded(type(network).__name__, site, taken, len(pairs), shared, differ, steps)

        if any(self.watch.would_wait(one) for one in now.values()):
            self.watch.read_later(self, compare)
        else:
            compare()

    def _loaded(
        self,
        network: str,
        site: CallSite | None,
        taken: _Taken,
        parameters: int,
        shared: int,
        changed: bool,
        steps: int,
    ) -> None:
        key = (site, taken.site, network, shared == parameters, changed)
        known = self._seen.get(key)
        if known is not None:
            self._seen[key] = known.model_copy(update={"loads": known.loads + 1, "step": self.watch.iteration})
        elif len(self._seen) < MOST_RECORDS:
            self._seen[key] = StateReused(
                network=network,
                where=site.location() if site is not None else None,
                taken=taken.site.location() if taken.site is not None else None,
                parameters=parameters,
                shared=shared,
                changed=changed,
                steps=steps,
                step=self.watch.iteration,
            )

    def records(self) -> Iterable[StateReused]:
        """One record for every pair of lines."""
        return tuple(self._seen.values())
