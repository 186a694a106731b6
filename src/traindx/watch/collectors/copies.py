"""Copies of a network (averages, teachers, targets): how much of the network they take over at a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import CopySeen
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.torch_calls import TorchCalls, call_site
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import probe
from traindx.watch.runtime.structure import children, named_parameters
from traindx.watch.runtime.watch import Collector, Watch

PROBED = 6  # tensors of a pair
DEEP = 3  # levels below a network that was called at which a copy may hang
MOST_PAIRS = 4
ALIKE = 0.5  # cosine of the weights of a copy and its network; of two that were drawn anew it is near 0
WRITES = ("mul_", "add_", "sub_", "lerp_", "copy_", "addcmul_")


@dataclass
class _Pair:
    """A network that an optimiser moves, and one of its kind and shape that none does.

    Attributes:
        copy: Weak reference to the copy.
        source: Weak reference to the network.
        name: Class of both.
        made: Where the copy was made, where that is known.
        begun: Iteration at which they were found.
        first: First values of both, one vector each.
        before: Values of both at the last step that was looked at, if the next one is to be compared with it.
        rates: Iteration and share of the network that the copy took over there, of steps at which the copy moved.
        misfits: What of the copy's movement that does not explain, as a share of it.
        stills: Steps looked at that moved the network and left the copy.
        written: Line that writes into the copy.
        places: Where the copy is called without gradients.
        of_source: Where the network itself is called without gradients.
    """

    copy: Callable[[], Any]
    source: Callable[[], Any]
    name: str
    made: CallSite | None
    begun: int
    first: tuple[Any, Any]
    before: tuple[Any, Any] | None = None
    rates: list[tuple[int, float]] = field(default_factory=list)
    misfits: list[float] = field(default_factory=list)
    stills: int = 0
    written: CallSite | None = None
    places: list[CallPlace] = field(default_factory=list)
    of_source: list[CallPlace] = field(default_factory=list)
    moved: float = 0.0
    share: float = 0.0
    calls: int = 0


class Copies(Collector):
    """Compares copy and network before optimiser steps: two steps in a row tell by how much the copy followed."""

    subject = "copies that follow a network"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks, optimisers: Optimisers) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.optimisers = optimisers
        self.bursts = Bursts(dense=4, ratio=1.35)
        self._pairs: list[_Pair] = []
        self._looked: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._pointers: dict[int, _Pair] = {}
        self._step = -1

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)
        self.optimisers.on_step(self, self._stepping)
        tensor = self.watch.torch.Tensor
        self.calls.on(self, {getattr(tensor, name): name for name in WRITES}, self._write)

    # -- finding pairs -------------------------------------------------------------------------------------------

    def _called(self, call: Call) -> None:
        network, place = call.network, call.place
        if not call.grad:
            for pair in self._pairs:
                if any(part is pair.copy() for part in _parts(network)):
                    pair.calls += 1
                    _add(pair.places, place)
                elif any(part is pair.source() for part in _parts(network)):
                    _add(pair.of_source, place)
        if len(self._pairs) < MOST_PAIRS and self._looked.get(network, 0) < 3 and self.optimisers.order:
            self._looked[network] = self._looked.get(network, 0) + 1
            self._look_for_copies(network)
            for pair in self._pairs:
                if not call.grad and any(part is pair.copy() for part in _parts(network)):
                    _add(pair.places, place)

    def _look_for_copies(self, network: Any) -> None:
        """Among the parts of this network and of every network that was called: same kind, same shapes, not held."""
        held = self._held()
        roots = [network, *(one for one in list(self.networks.roots) if one is not network)]
        parts = [part for root in roots for part in _parts(root)]
        kinds: dict[tuple[object, ...], list[Any]] = {}
        for part in parts:
            shapes = tuple(tuple(one.shape) for _, one in named_parameters(part))
            if shapes and not any(part is one for one in kinds.get((type(part), shapes), ())):
                kinds.setdefault((type(part), shapes), []).append(part)
        known = [one() for pair in self._pairs for one in (pair.copy, pair.source)]
        for members in kinds.values():
            moved = [one for one in members if all(id(p) in held for _, p in named_parameters(one))]
            still = [one for one in members if not any(id(p) in held for _, p in named_parameters(one))]
            if len(moved) != 1 or len(still) != 1 or _inside(known, moved[0]) or _inside(known, still[0]):
                continue
            self._begin(still[0], moved[0])
            known += [still[0], moved[0]]

    def _held(self) -> set[int]:
        held: set[int] = set()
        for tracked in self.optimisers.order:
            optimizer = tracked.reference()
            for group in optimizer.param_groups if optimizer is not None else ():
                held.update(id(one) for one in group["params"])
        return held

    def _begin(self, copy: Any, source: Any) -> None:
        some = _weights(copy)
        if len(self._pairs) >= MOST_PAIRS or not some or self.watch.would_wait(some[0]):
            return
        first = (self._values(copy), self._values(source))
        if float(first[0] @ first[1]) < ALIKE * float(first[0].norm() * first[1].norm()):
            return  # two networks that were drawn, or trained, each by itself
        weak = self.watch.torch.utils.weak.WeakIdRef
        made = self.networks.copied.get(copy)
        pair = _Pair(weak(copy), weak(source), type(copy).__name__, made, self.watch.iteration, first)
        self._pairs.append(pair)
        for _, parameter in named_parameters(copy):
            self._pointers[parameter.data_ptr()] = pair

    def _values(self, network: Any) -> Any:
        """Some values of its weights, one vector."""
        return self.watch.torch.cat([probe(one, 128).double() for one in _weights(network)])

    # -- steps ---------------------------------------------------------------------------------------------------

    def _stepping(self, rate: float) -> None:
        """An optimiser is about to step: what the last one did has reached the copy by now, if it ever does."""
        if not self._pairs:
            return
        follow_up = any(pair.before is not None for pair in self._pairs)
        if not follow_up and not self.bursts.wanted("step"):
            return
        for pair in self._pairs:
            copy, source = pair.copy(), pair.source()
            if copy is None or source is None:
                pair.before = None
                continue
            now = (self._values(copy), self._values(source))
            if pair.before is not None:
                self._compare(pair, pair.before, now)
            pair.before = None if follow_up else now

    def _compare(self, pair: _Pair, before: tuple[Any, Any], now: tuple[Any, Any]) -> None:
        """The copy moved from ``c`` to ``c + r (s - c)``, where ``s`` is the network after the step: what is ``r``?"""
        way, gap = now[0] - before[0], now[1] - before[0]
        size = float(gap.norm())
        self._sum_up(pair, now)
        if float((now[1] - before[1]).abs().max()) == 0.0:  # no step of this network
            return
        if float(way.abs().max()) == 0.0:
            pair.stills += 1
            return
        if size <= 1e-6 * float(now[1].norm()):
            return
        rate = float((way * gap).sum()) / size**2
        pair.rates.append((self.watch.iteration, rate))
        pair.misfits.append(float((way - rate * gap).norm()) / float(way.norm()))

    def _sum_up(self, pair: _Pair, now: tuple[Any, Any]) -> None:
        """How far both have gone since they were found."""
        way = now[1] - pair.first[1]
        size = float(way.norm())
        pair.moved = size / max(float(pair.first[1].norm()), 1e-12)
        pair.share = float(((now[0] - pair.first[0]) * way).sum()) / size**2 if size > 0 else 0.0

    def _write(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._pointers or not args or args[0].is_sparse:
            return
        pair = self._pointers.get(args[0].data_ptr())
        if pair is not None and pair.written is None:
            pair.written = call_site()

    def records(self) -> Iterable[Record]:
        """One record a pair."""
        for pair in self._pairs:
            copy, source = pair.copy(), pair.source()
            if self.watch.ending and copy is not None and source is not None:
                self._sum_up(pair, (self._values(copy), self._values(source)))
            late = [rate for _, rate in pair.rates[len(pair.rates) // 2 :]]
            yield CopySeen(
                network=pair.name,
                where=_place(pair.written) or _place(pair.made) or _place(next((p.site for p in pair.places), None)),
                made=_place(pair.made),
                used=_place(next((p.site for p in pair.places), None)),
                steps=self.watch.iteration - pair.begun,
                looks=len(pair.rates) + pair.stills,
                stills=pair.stills,
                rates=tuple(rate for _, rate in pair.rates[-64:]),
                late=median(late) if late else 0.0,
                misfit=median(pair.misfits) if pair.misfits else 0.0,
                source_moved=pair.moved,
                share=pair.share,
                calls=pair.calls,
                judged=any(self.networks.phase(one) in ("validation", "sampling") for one in pair.places),
                source_judged=any(self.networks.phase(one) in ("validation", "sampling") for one in pair.of_source),
                helps=any(self.networks.phase(one) == "auxiliary" for one in pair.places),
                step=self.watch.iteration,
            )


def _place(site: CallSite | None) -> Any:
    return site.location() if site is not None and site.file else None


def _add(places: list[CallPlace], place: CallPlace) -> None:
    if not any(one is place for one in places):
        places.append(place)


def _inside(members: list[Any], part: Any) -> bool:
    """A part of one that is known already (or the other way round) would tell the same again."""
    return any(
        any(one is part for one in _parts(member)) or any(one is member for one in _parts(part)) for member in members
    )


def _parts(module: Any, depth: int = DEEP) -> Iterator[Any]:
    if module is None:
        return
    yield module
    if depth:
        for child in children(module):
            yield from _parts(child, depth - 1)


def _weights(network: Any) -> list[Any]:
    """The first and the last weights of a network; scales that all networks begin with tell nothing of kinship."""
    every = [one for _, one in named_parameters(network) if one.dim() > 1]
    return every if len(every) <= PROBED else [*every[: PROBED // 2], *every[-(PROBED // 2) :]]
