"""Outputs of a network in evaluation, followed until they are gone: who takes them, with which labels, which part.

Followed are tensors, by weak reference, through every torch call while a burst is looked at; an output that is still
alive when the looking ends says nothing. A tensor that comes from a batch carries the batch, an output the batches
that its network was given, and a part of an image the share of it that is left.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, NamedTuple

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_evaluation import EvaluationOutputs, EvaluationPairs, FigureRegion, OutputThreshold
from traindx.watch.collectors.destinations import operands
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.source_text import statement_at
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import named_modules
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

ABOUT = frozenset({  # what is asked about a tensor without a look at its values
    "size", "dim", "numel", "nelement", "stride", "__len__", "is_floating_point", "is_complex", "is_contiguous",
    "element_size", "get_device", "type", "requires_grad_", "__get__", "__hash__", "data_ptr",
})  # fmt: skip
SAME_VALUES = frozenset({
    "detach", "detach_", "cpu", "cuda", "to", "clone", "contiguous", "float", "double", "half", "squeeze", "unsqueeze",
    "view", "reshape", "permute", "transpose", "movedim", "flatten", "requires_grad_", "type", "expand", "unflatten",
})  # fmt: skip
NUMBERS = frozenset({"item", "__float__", "tolist", "add", "add_", "__add__", "__radd__", "__iadd__"})
PARTS_OF = frozenset({"__getitem__", "__get__", "select", "narrow", "index_select", "split", "chunk", "unbind"})
THRESHOLDS = frozenset({"gt", "__gt__", "ge", "__ge__", "lt", "__lt__", "le", "__le__"})
JOINS = frozenset({"cat", "stack", "concat", "concatenate", "hstack", "vstack"})
LEAST_SIDE = 16  # of an image whose parts are measured
MOST_TENSORS = 8192


class Batch(NamedTuple):
    """Which batch a tensor comes from."""

    loader: int
    number: tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """What a tensor carries.

    Attributes:
        outputs: Numbers of the calls that it was computed from.
        given: Batches that those calls were given.
        batches: Batches that it comes from itself.
        share: Part of the output's area that is left.
        cut: Where it was cut out.
        contrast: Spread of what was cut out over that of the whole.
        raw: It holds numbers of the outputs as the network gave them.
    """

    outputs: frozenset[int] = frozenset()
    given: frozenset[Batch] = frozenset()
    batches: frozenset[Batch] = frozenset()
    share: float = 1.0
    cut: CallSite | None = None
    contrast: float = 1.0
    raw: bool = False


@dataclass
class _Output:
    """One call whose output is followed."""

    place: CallPlace
    iteration: int
    used: bool = False


@dataclass
class _Place:
    """All calls from one line."""

    place: CallPlace
    assigned: str
    hooked: bool
    ends: list[tuple[int, int, bool]] = field(default_factory=list)  # number, iteration, used
    stale: int = 0
    stale_at: CallSite | None = None
    numbers: int = 0
    number_at: CallSite | None = None
    whole: int = 0
    parts: dict[CallSite, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass
class _Pairs:
    network: str
    function: str
    same: int = 0
    other: int = 0
    loader: Loader | None = None


@dataclass
class _Threshold:
    network: str
    calls: int = 0
    low: float = math.inf
    high: float = -math.inf


class EvaluationFlow(Collector):
    """Follows outputs of networks in evaluation mode, or without gradients, once training has begun."""

    subject = "outputs in evaluation"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks, loaders: Loaders) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.loaders = loaders
        self._flows: dict[int, tuple[Any, Flow]] = {}
        self._limit = MOST_TENSORS
        self._open: dict[int, _Output] = {}
        self._count = 0
        self._places: dict[tuple[object, ...], _Place] = {}
        self._pairs: dict[CallSite, _Pairs] = {}
        self._thresholds: dict[tuple[CallSite, float], _Threshold] = {}
        self._loader_of: dict[int, Loader] = {}
        self._training_batch: list[tuple[Any, Batch]] = []

    def install(self) -> None:
        """Subscribe."""
        self.watch.weak_tables.append(self)
        self.calls.on_any(self, self._any)
        self.networks.on_call(self, self._called)
        self.loaders.on_read(self, self._read)
        self.watch.attach_hooks.append(self._forget)
        self.watch.detach_hooks.append(self._forget)

    # -- what is followed ----------------------------------------------------------------------------------------

    def _of(self, value: Any) -> Flow | None:
        entry = self._flows.get(id(value))
        return entry[1] if entry is not None and entry[0]() is value else None

    def _put(self, tensor: Any, flow: Flow) -> None:
        if len(self._flows) >= self._limit:
            self._flows = {key: entry for key, entry in self._flows.items() if entry[0]() is not None}
            self._limit = 2 * len(self._flows) + MOST_TENSORS
        self._flows[id(tensor)] = (self.watch.torch.utils.weak.TensorWeakRef(tensor), flow)

    def clear(self) -> None:
        """Hold no weak reference to any tensor any more."""
        self._flows.clear()
        self._training_batch.clear()

    def pop(self, tensor: Any, default: Any = None) -> None:
        """Hold no weak reference to a tensor any more."""
        self._flows.pop(id(tensor), None)
        self._training_batch = [one for one in self._training_batch if one[0]() is not tensor]

    def _forget(self) -> None:
        """The looking begins or ends: of what is still alive nobody knows what becomes of it."""
        self._settle()
        for number in [number for number, output in self._open.items() if output.used]:
            self._end(number)
        self._open.clear()
        self._flows.clear()

    def _read(self, loader: Loader, batch: Any) -> None:
        if not (self.watch.looking or loader.trains):
            return
        dataset = getattr(self.loaders.reading, "_dataset", loader)
        number = hash((id(dataset), loader.batch_size))  # two loaders that read one set in order give the same
        self._loader_of[number] = loader
        key = Batch(number, (loader.in_pass,) if loader.in_order else (id(loader), loader.passes, loader.in_pass))
        tensors = [value for _, value in tensors_in(batch, self.watch.torch) if value.dim()]
        if loader.trains:
            weak = self.watch.torch.utils.weak
            self._training_batch = [(weak.TensorWeakRef(value), key) for value in tensors]
        if self.watch.looking:
            for value in tensors:
                self._put(value, Flow(batches=frozenset({key})))

    def _called(self, call: Call) -> None:
        watch = self.watch
        evaluates = not call.grad or not call.network.training
        if not evaluates or not watch.iteration or not watch.attached:
            return
        key = call.place.key
        seen = self._places.get(key)
        if seen is None:
            hooked = any(module._forward_hooks for _, module in named_modules(call.network))
            seen = self._places[key] = _Place(call.place, assigned_to(call.site), hooked)
        self._settle()
        every = [value for _, value in tensors_in(call.output, watch.torch)]
        outputs = [value for value in every if value.dim() and value.numel() > 1]
        if not outputs or len(outputs) < len(every):
            return  # a single number beside a map may be all that is wanted, and is not followed
        given: frozenset[Batch] = frozenset()
        for _, value in (*tensors_in(call.args, watch.torch), *tensors_in(call.kwargs, watch.torch)):
            flow = self._of(value)
            given |= flow.batches | flow.given if flow is not None else frozenset()
        self._count += 1
        self._open[self._count] = _Output(call.place, watch.iteration)
        for value in outputs:
            self._put(value, Flow(frozenset({self._count}), given, raw=True))
        for reference, batch in self._training_batch:
            value = reference()
            if value is not None and self._of(value) is None:
                self._put(value, Flow(batches=frozenset({batch})))

    def _settle(self) -> None:
        """Outputs of which nothing is left have come to their end."""
        self._flows = {key: entry for key, entry in self._flows.items() if entry[0]() is not None}
        alive = {number for _, flow in self._flows.values() for number in flow.outputs}
        for number in [one for one in self._open if one not in alive]:
            self._end(number)

    def _end(self, number: int) -> None:
        output = self._open.pop(number)
        self._places[output.place.key].ends.append((number, output.iteration, output.used))

    # -- operations ----------------------------------------------------------------------------------------------

    def _any(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not self._open or self.watch.busy:
            return
        name = getattr(func, "__name__", "")
        tensor = self.watch.torch.Tensor
        if name in ABOUT and not (name == "__get__" and isinstance(out, tensor)):  # ``x.shape``, and not ``x.data``
            return
        found: list[tuple[Any, Flow]] = []
        for value in operands(args, kwargs, tensor):
            flow = self._of(value)
            if flow is not None:
                found.append((value, flow))
            elif not self.networks.depth:
                self._stale(name, value)
        if not found:
            return
        keeps = name in SAME_VALUES or name == "__get__"
        outputs = [flow for _, flow in found if flow.outputs]
        if not keeps and name not in JOINS and name != "__getitem__":
            for flow in outputs:
                self._use(flow)
        if self.networks.depth:
            return
        if outputs and not keeps and name not in JOINS:
            self._meet(name, found)
        if name in THRESHOLDS and len(found) == 1 and found[0][1].raw and len(args) > 1:
            self._cut_off(found[0], args[1])
        self._pass_on(name, args, found, out)

    def _use(self, flow: Flow) -> None:
        for number in flow.outputs:
            output = self._open.get(number)
            if output is not None:
                output.used = True

    def _stale(self, name: str, value: Any) -> None:
        """Something with a graph, where none is made: it was computed before, in a training step."""
        torch = self.watch.torch
        if torch.is_grad_enabled() or not value.requires_grad or isinstance(value, torch.nn.Parameter):
            return
        number = value.numel() < 2
        if (number and name not in NUMBERS) or compat.node_of(value) is None:
            return
        site = here()
        for output in list(self._open.values())[-1:]:
            seen = self._places[output.place.key]
            if number:
                seen.numbers += 1
                seen.number_at = seen.number_at or site
            else:
                seen.stale += 1
                seen.stale_at = seen.stale_at or site

    def _cut_off(self, found: tuple[Any, Flow], threshold: Any) -> None:
        """Outputs as they are, compared with a number between 0 and 1."""
        value, flow = found
        site = here()
        if type(threshold) is not float or not 0 < threshold < 1 or site is None or self.watch.would_wait(value):
            return
        if not value.is_floating_point() or not value.numel():
            return
        output = self._open.get(max(flow.outputs))
        seen = self._thresholds.setdefault(
            (site, threshold), _Threshold(output.place.network if output is not None else "")
        )
        seen.calls += 1
        part = sample(value, 65536)
        seen.low, seen.high = min(seen.low, float(part.min())), max(seen.high, float(part.max()))

    def _meet(self, name: str, found: list[tuple[Any, Flow]]) -> None:
        """Values of as many samples from both sides: of which batches?"""
        outputs = [(value, flow) for value, flow in found if flow.outputs and value.dim()]
        labels = [(value, flow) for value, flow in found if not flow.outputs and value.dim()]
        lengths = {len(value) for value, _ in outputs} & {len(value) for value, _ in labels} - {1}
        given = frozenset[Batch]().union(*(flow.given for _, flow in outputs))
        batches = frozenset[Batch]().union(*(flow.batches for _, flow in labels))
        site = here() if given and batches and lengths else None
        if site is None:
            return
        output = self._open.get(max(number for _, flow in outputs for number in flow.outputs))
        pairs = self._pairs.setdefault(site, _Pairs(output.place.network if output is not None else "", name))
        if given & batches:
            pairs.same += 1
        else:
            pairs.other += 1
            pairs.loader = self._loader_of.get(next(iter(batches)).loader)

    def _pass_on(self, name: str, args: tuple[Any, ...], found: list[tuple[Any, Flow]], out: Any) -> None:
        tensor = self.watch.torch.Tensor
        flows = [flow for _, flow in found]
        smallest = min(flows, key=lambda flow: flow.share if flow.outputs else 2.0)
        made = Flow(
            frozenset().union(*(flow.outputs for flow in flows)),
            frozenset().union(*(flow.given for flow in flows)),
            frozenset().union(*(flow.batches for flow in flows)),
            smallest.share,
            smallest.cut,
            smallest.contrast,
            all(flow.raw for flow in flows) and (name in SAME_VALUES or name in JOINS or name in PARTS_OF),
        )
        if made.outputs:
            made = replace(made, batches=frozenset())
        for one in out if isinstance(out, tuple | list) else (out,):
            if not isinstance(one, tensor):
                continue
            flow = made
            if name == "__getitem__" and made.outputs and one.dim() == args[0].dim() >= 3:
                flow = self._cut(args[0], one, made)
            if one.dim() == 0 and made.outputs and one.is_floating_point():
                self._number(made)
            self._put(one, flow)

    def _cut(self, whole: Any, part: Any, flow: Flow) -> Flow:
        sides, left = tuple(whole.shape[-2:]), tuple(part.shape[-2:])
        if min(sides) < LEAST_SIDE or not all(a > b for a, b in zip(sides, left, strict=True)) or not part.numel():
            return flow
        spread = float(sample(whole, 4096).float().std())
        inside = float(sample(part, 4096).float().std()) if part.numel() > 1 else 0.0
        share = flow.share * left[0] * left[1] / (sides[0] * sides[1])
        return replace(flow, share=share, cut=here(), contrast=inside / max(spread, 1e-12))

    def _number(self, flow: Flow) -> None:
        for number in flow.outputs:
            output = self._open.get(number)
            if output is None:
                continue
            seen = self._places[output.place.key]
            if flow.cut is None:
                seen.whole += 1
            elif len(known := seen.parts.setdefault(flow.cut, [])) < 256:
                known.append((flow.share, flow.contrast))

    # -- what is said --------------------------------------------------------------------------------------------

    def records(self) -> Iterable[Record]:
        """A record a line that calls, one that compares and one that cuts."""
        self._settle()
        yield from self._outputs()
        yield from self._cut_offs()
        step = self.watch.iteration
        for site, pairs in self._pairs.items():
            loader = pairs.loader
            yield EvaluationPairs(
                network=pairs.network,
                function=pairs.function,
                same=pairs.same,
                other=pairs.other,
                training=loader is not None and loader.trains,
                shuffled=loader is not None and loader.shuffled,
                loader=loader.made.location() if loader is not None and loader.made is not None else None,
                where=site.location(),
                step=step,
            )

    def _cut_offs(self) -> Iterator[Record]:
        for (site, threshold), seen in self._thresholds.items():
            yield OutputThreshold(
                network=seen.network,
                threshold=threshold,
                calls=seen.calls,
                low=seen.low,
                high=seen.high,
                where=site.location(),
                step=self.watch.iteration,
            )

    def _outputs(self) -> Iterator[Record]:
        for seen in self._places.values():
            ends = [(iteration, used) for _, iteration, used in sorted(seen.ends)]
            last = [index + 1 == len(ends) or ends[index + 1][0] != one for index, (one, _) in enumerate(ends)]
            yield EvaluationOutputs(
                network=seen.place.network,
                phase=self.networks.phase(seen.place),
                assigned=seen.assigned,
                hooked=seen.hooked,
                calls=len(ends),
                evaluations=sum(last),
                unused=sum(not used for _, used in ends),
                last_used=all(is_last for (_, used), is_last in zip(ends, last, strict=True) if used),
                stale=seen.stale,
                stale_at=seen.stale_at.location() if seen.stale_at is not None else None,
                numbers=seen.numbers,
                number_at=seen.number_at.location() if seen.number_at is not None else None,
                where=seen.place.site.location() if seen.place.site.file else None,
                step=self.watch.iteration,
            )
            for site, parts in seen.parts.items():
                yield FigureRegion(
                    network=seen.place.network,
                    share=median(share for share, _ in parts),
                    contrast=median(contrast for _, contrast in parts),
                    calls=len(parts),
                    whole=seen.whole,
                    where=site.location(),
                    step=self.watch.iteration,
                )


def assigned_to(site: CallSite) -> str:
    """What the statement at a line gives names to, as it is written; empty where it is no assignment."""
    statement = statement_at(site.file, site.line) if site.file else None
    if not isinstance(statement, ast.Assign):
        return ""
    names = {one.id for target in statement.targets for one in walk(target) if isinstance(one, ast.Name)}
    return (
        "" if all(name.startswith("_") for name in names) else ", ".join(ast.unparse(one) for one in statement.targets)
    )
