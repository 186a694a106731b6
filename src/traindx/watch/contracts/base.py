"""One call as a check sees it, what a check says, and the count of it by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.contracts import CONTRACTS
from traindx.evidence.observed_calls import ContractSeen
from traindx.finding import Location
from traindx.watch.reading import readable
from traindx.watch.reading.figure_origin import origin_of_argument
from traindx.watch.reading.program import Program
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.watch import Watch

MOST_PLACES = 600  # lines and contracts that are counted


@dataclass(frozen=True)
class Broken:
    """What is expected did not hold in a call.

    Attributes:
        given: What was given instead; completes "is given …".
        size: Length of the axis in question.
    """

    given: str
    size: int = 0


IN_ORDER = ""
Said = Broken | str | None
"""``Broken``; :data:`IN_ORDER` where the call could have shown it and did not; None where it could not."""


@dataclass
class Given:
    """A call of a library's function, or of a module.

    Attributes:
        torch: The script's torch.
        function: Its name.
        named: Its arguments by name, those with a default that were not given left out.
        module: The module that was called; None for a function.
        out: What it gave; None before the call.
        items: Samples in the loader's batch at hand; 0 where that is not known.
        mixed: What is trained on comes in an order of its own each time, as far as that is known.
        grad: Gradients are enabled.
        depth: Networks that are being called.
        notes: Notes on tensors that other checks made, by tensor.
    """

    torch: Any
    function: str
    named: dict[str, Any]
    module: Any = None
    out: Any = None
    items: int = 0
    mixed: bool = True
    grad: bool = True
    depth: int = 0
    notes: Any = None

    def tensor(self, *names: str) -> Any:
        """The first of these arguments that is a tensor with values, or None."""
        for name in names:
            value = self.named.get(name)
            if isinstance(value, self.torch.Tensor):
                return value
        return None


Look = Callable[[Given], Said]


@dataclass(frozen=True)
class Check:
    """How calls of some functions are held against one contract.

    Attributes:
        contract: Key of the catalogue.
        targets: Dotted names: functions of torch, classes of modules, or functions of other libraries.
        names: Names of positional arguments, in order.
        look: Says what holds.
        after: Look when the call has ended, at what it gave.
        at_construction: The line that made the module is the one to change, not the one that calls it.
    """

    contract: str
    targets: tuple[str, ...]
    names: tuple[str, ...]
    look: Look
    after: bool = False
    at_construction: bool = False


@dataclass
class _Count:
    function: str
    made: CallSite | None
    calls: int = 0
    broken: int = 0
    given: str = ""
    sizes: set[int] = field(default_factory=set)


class Tally:
    """Calls looked at and calls that broke a contract, by contract and line."""

    def __init__(self) -> None:
        self.bursts = Bursts(dense=6, ratio=1.5)
        self._counts: dict[tuple[str, CallSite], _Count] = {}

    def wanted(self, contract: str, site: CallSite) -> bool:
        """Whether this call at this line should be looked at."""
        return self.bursts.wanted((contract, site))

    def add(self, contract: str, function: str, site: CallSite, said: Said, made: CallSite | None = None) -> None:
        """Count one call."""
        if said is None:
            return
        count = self._counts.get((contract, site))
        if count is None:
            if len(self._counts) >= MOST_PLACES:
                return
            count = self._counts[contract, site] = _Count(function, made)
        count.calls += 1
        if isinstance(said, Broken):
            count.broken += 1
            if said.size >= max(count.sizes, default=0):
                count.given = said.given
            if said.size:
                count.sizes.add(said.size)

    def records(self, watch: Watch | None = None) -> Iterable[ContractSeen]:
        """One record a contract and line."""
        for (contract, site), count in self._counts.items():
            made = count.made
            known = CONTRACTS.get(contract)
            computed = known.computed if known is not None and count.broken else ()
            yield ContractSeen(
                contract=contract,
                function=count.function,
                calls=count.calls,
                broken=count.broken,
                given=count.given,
                sizes=len(count.sizes),
                made=made.location() if made is not None and made.file else None,
                where=computed_at(made or site, computed)
                or (watch.shown(site, made) if watch is not None else site.location()),
                step=watch.iteration if watch is not None else -1,
            )


def computed_at(site: CallSite, names: tuple[str, ...]) -> Location | None:
    """The line that computes what a call is given under one of the names, where the sources tell."""
    trees = own_sources() if names else {}
    if not trees or not readable(trees):
        return None
    found = origin_of_argument(Program(trees), site.file, site.line, names)
    return Location(file=shown_path(found.file), line=found.line, symbol=found.symbol) if found is not None else None


def bound(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name."""
    return {**dict(zip(names, args, strict=False)), **kwargs}
