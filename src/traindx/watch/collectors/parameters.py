"""Parameters of the networks that were trained: named, owned, optimised, moved or dead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_optim import ParameterSeen
from traindx.watch.collectors.destinations import Destinations
from traindx.watch.collectors.networks import Networks, is_users_module, place_of
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.stats import has_values, probe
from traindx.watch.runtime.structure import children, named_modules, own_parameters
from traindx.watch.runtime.watch import Collector, Watch

MOST_RECORDS = 400
LEAST_ROWS = 4  # of a weight, before their being equal says something


class Parameters(Collector):
    """Walks the networks when a summary is written; costs nothing in between.

    Attributes:
        loaded: Identities of parameters whose values came from a file; filled by the checkpoint collector.
    """

    subject = "parameters"

    def __init__(self, watch: Watch, networks: Networks, optimisers: Optimisers, destinations: Destinations) -> None:
        super().__init__(watch)
        self.destinations = destinations
        self.networks = networks
        self.optimisers = optimisers
        self.loaded: Any = watch.weak_table()
        self._elsewhere: Any = watch.weak_table()
        self._first: Any = watch.weak_table()
        self._by_hand: Any = watch.weak_table()
        self._rows_before: list[ParameterSeen] = []

    def outermost(self) -> list[tuple[Any, bool]]:
        """Networks that were called in training, and modules called inside them that they do not own.

        Returns:
            Modules that no other living module owns, with True if the script called them (or what they own) itself.
        """
        alive = [module for module in self.networks.made if self.networks.has_parameters(module)]
        owned = {id(child) for module in alive for child in children(module)}
        called = self.networks.called
        roots = self.networks.roots
        found = []
        for module in alive:
            if id(module) in owned:
                continue
            inside = [part for _, part in named_modules(module)]
            if any(child in called for child in inside):
                found.append((module, any(child in roots for child in inside)))
        return found

    def end(self) -> None:
        """Networks may be gone when the last summary is written (a function returned): keep what is known."""
        if self.watch.level is ObservationLevel.FULL:
            self._rows_before = list(self._rows()) or self._rows_before

    def records(self) -> Iterable[Record]:
        """One record a parameter, those that matter first if there are very many."""
        rows = self._rows_before = list(self._rows()) or self._rows_before
        if len(rows) > MOST_RECORDS:
            odd = [row for row in rows if not row.in_optimizer or not row.gradient_seen or row.gradient_missing]
            rest = [row for row in rows if row.in_optimizer and row.gradient_seen and not row.gradient_missing]
            keep = max(1, MOST_RECORDS - len(odd[: MOST_RECORDS // 2]))
            rows = odd[: MOST_RECORDS // 2] + rest[:: max(1, len(rest) // keep)]
        yield from rows

    def _rows(self) -> Iterator[ParameterSeen]:
        held = {id(parameter) for parameter in self.optimisers.first_probe}  # of optimisers that are gone, too
        seen: set[int] = set()
        for network, registered in self.outermost():
            title = type(network).__name__
            for module_name, module in named_modules(network):
                for own_name, parameter in own_parameters(module):
                    if id(parameter) in seen:
                        continue
                    seen.add(id(parameter))
                    name = ".".join(part for part in (title, module_name, own_name) if part)
                    self.networks.names[parameter] = name
                    yield self._row(name, title, network, module, parameter, id(parameter) in held, registered)

    def _look_at(self, parameter: Any) -> None:
        """Gradient and first values of a parameter of no optimiser; not while a device would be waited for."""
        if self.watch.would_wait(parameter):
            return
        if parameter.grad is not None and bool(parameter.grad.any()):
            self._elsewhere[parameter] = float(parameter.grad.float().norm()) / max(1, parameter.numel()) ** 0.5
        if not self.watch.torch.equal(self._first.setdefault(parameter, probe(parameter)), probe(parameter)):
            self._by_hand[parameter] = True

    def _row(
        self, name: str, title: str, network: Any, module: Any, parameter: Any, held: bool, registered: bool
    ) -> ParameterSeen:
        history = self.optimisers.gradients.get(parameter) or []
        present = [value for value in history if value > 0]
        made = self.networks.made.get(module) or self.networks.made.get(network)
        if not held:  # no optimiser's step looks at its gradient, so it is looked at here
            self._look_at(parameter)
            present = history = [self._elsewhere[parameter]] if parameter in self._elsewhere else []
            by_hand = parameter in self._by_hand
        else:
            by_hand = False
        return ParameterSeen(
            name=name,
            network=title,
            module=type(module).__name__,
            network_made=place_of(self.networks.made.get(network)),
            where=place_of(made),
            shape=tuple(parameter.shape),
            trainable=bool(parameter.requires_grad),
            in_optimizer=held,
            called=module in self.networks.called,
            registered=registered,
            gradient_seen=len(present),
            gradient_missing=len(history) - len(present),
            gradient_zero=parameter in self.optimisers.zeros,
            gradient_rms=median(present) if present else 0.0,
            moved=self.optimisers.moved(parameter),
            by_hand=by_hand,
            loaded=parameter in self.loaded or from_pretrained(network),
            output_used=self.destinations.output_used(module),
            cut=place_of(self.destinations.cuts.get(module)),
            depth=int(self.networks.called.get(module, -1)),
            written_out=is_users_module(type(module).__module__),
            alike=self._alike(parameter),
            step=self.watch.iteration,
        )

    def _alike(self, parameter: Any) -> bool:
        """Whether all rows are equal, the first ones before all others; not while a device would be waited for."""
        if parameter.dim() < 2 or len(parameter) < LEAST_ROWS or parameter[0].numel() < 2:
            return False
        if not has_values(parameter) or self.watch.would_wait(parameter):
            return False
        if not self.watch.torch.equal(parameter[0], parameter[1]):
            return False
        return bool((parameter == parameter[:1]).all())


def from_pretrained(network: Any) -> bool:
    """A network of a library that puts the tensors of a file in place of the parameters, and remembers which file."""
    named = getattr(getattr(network, "config", None), "_name_or_path", "")
    return isinstance(named, str) and bool(named)
