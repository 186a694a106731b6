"""Branches of a network that begin with a detached copy, pass weights, and meet the very thing that was detached.

Followed are, in iterations that are watched in full, results of ``detach`` and ``.data`` inside networks, and what each
tensor is apart from its layout: a reshaped, indexed or joined tensor is the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_branches import DetachedBranch
from traindx.watch.collectors.destinations import operands
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.provenance import LAYOUT
from traindx.watch.collectors.torch_calls import TorchCalls, call_site, named_functions
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch

SAME_THING = frozenset(LAYOUT) | {"unsqueeze", "gather", "take_along_dim", "index", "cat", "concat", "stack", "hstack"}
JOINS = frozenset({"cat", "concat", "stack", "hstack", "vstack"})
MOST_TENSORS = 8192
MOST_SITES = 32


@dataclass
class _Cut:
    """All detached copies that one line makes inside a network."""

    network: str
    how: str
    copies: int = 0
    iterations: int = 0
    last: int = -1
    weighted: bool = False
    met: CallSite | None = None
    function: str = ""


@dataclass(frozen=True)
class _Copy:
    """A detached copy that is followed, or something that was computed from it.

    Attributes:
        site: The line that made it.
        things: What was copied.
        weighted: It has passed a parameter since.
    """

    site: CallSite
    things: frozenset[int]
    weighted: bool


class DetachedBranches(Collector):
    """Follows detached copies to where they meet what they are copies of."""

    subject = "detached branches"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self._cuts: dict[CallSite, _Cut] = {}
        self._copies: dict[int, tuple[Any, tuple[_Copy, ...]]] = {}
        self._things: dict[int, tuple[Any, frozenset[int]]] = {}
        self._count = 0
        self._full = False

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.watch.weak_tables.append(self)
        self.calls.on(self, {**named_functions(torch, ("detach",)), torch.Tensor.data.__get__: "data"}, self._detached)
        self.calls.on_every(self, self._any)

    def clear(self) -> None:
        """Hold no weak reference to any tensor any more."""
        self._copies.clear()
        self._things.clear()

    def pop(self, tensor: Any, default: Any = None) -> None:
        """Hold no weak reference to a tensor any more."""
        self._copies.pop(id(tensor), None)
        self._things.pop(id(tensor), None)

    def begin(self) -> None:
        """Old tensors are gone."""
        self.clear()
        self._full = self.watch.level is ObservationLevel.FULL

    def end(self) -> None:
        """Nothing is followed between iterations."""
        self.clear()
        self._full = False

    def _detached(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        tensor = args[0] if args else kwargs.get("input")
        if not self._full or not self.networks.depth or tensor is None or not tensor.requires_grad:
            return None
        if isinstance(tensor, self.watch.torch.nn.Parameter) or not self.networks.stack[0].training:
            return None
        site = call_site()
        if site is None or (site not in self._cuts and len(self._cuts) >= MOST_SITES):
            return None
        cut = self._cuts.setdefault(site, _Cut(type(self.networks.stack[0]).__name__, name))
        cut.copies += 1
        cut.iterations += cut.last != self.watch.iteration
        cut.last = self.watch.iteration
        things = self._thing(tensor)
        return lambda out: self._put(self._copies, out, (_Copy(site, things, False),))

    def _put(self, table: dict[int, Any], tensor: Any, value: Any) -> None:
        if len(table) >= MOST_TENSORS:
            alive = {key: entry for key, entry in table.items() if entry[0]() is not None}
            table.clear()
            table.update(alive if len(alive) < MOST_TENSORS // 2 else {})
        table[id(tensor)] = (self.watch.torch.utils.weak.TensorWeakRef(tensor), value)

    def _of(self, table: dict[int, Any], tensor: Any) -> Any:
        entry = table.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def _thing(self, tensor: Any) -> frozenset[int]:
        """Numbers of what a tensor is made of without any arithmetic."""
        known = self._of(self._things, tensor)
        if known is None:
            self._count += 1
            known = frozenset({self._count})
            self._put(self._things, tensor, known)
        return frozenset(known)

    def _any(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not self._full or not self._cuts or not self.networks.depth or self.watch.busy:
            return
        name = getattr(func, "__name__", "")
        same = name in SAME_THING
        if not same and not self._copies:
            return
        with self.watch.ours(self):
            self._pass_on(name, same, list(operands(args, kwargs, self.watch.torch.Tensor)), out)

    def _pass_on(self, name: str, same: bool, taken: list[Any], out: Any) -> None:
        if same and out.requires_grad:
            moving = [one for one in taken if one.requires_grad]
            self._put(self._things, out, frozenset().union(*(self._thing(one) for one in moving)))
        copies = {copy for one in taken for copy in self._of(self._copies, one) or ()}
        if not copies:
            return
        parameter = self.watch.torch.nn.Parameter
        weighted = any(isinstance(one, parameter) and one.requires_grad for one in taken)
        going: set[_Copy] = set()
        for copy in copies:
            others = [
                one
                for one in taken
                if one.requires_grad
                and not isinstance(one, parameter)
                and all(its.site != copy.site for its in self._of(self._copies, one) or ())
            ]
            meets = any(self._thing(one) & copy.things for one in others)
            if not meets or name in JOINS:
                going.add(_Copy(copy.site, copy.things, copy.weighted or weighted))
            elif copy.weighted:
                cut = self._cuts[copy.site]
                cut.met = cut.met or here(3)
                cut.function = cut.function or name
        for copy in going:
            self._cuts[copy.site].weighted |= copy.weighted
        if going:
            self._put(self._copies, out, tuple(going))

    def records(self) -> Iterable[Record]:
        """One record a line."""
        for site, cut in self._cuts.items():
            yield DetachedBranch(
                network=cut.network,
                how=cut.how,
                copies=cut.copies,
                looks=cut.iterations,
                weighted=cut.weighted,
                function=cut.function,
                met=cut.met.location() if cut.met is not None else None,
                where=site.location(),
                step=self.watch.iteration,
            )
