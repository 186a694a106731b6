"""Outputs, and channels of outputs, of trained networks that the loss never looks at; whether an evaluation does."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_outputs import OutputAsked
from traindx.watch.collectors.destinations import operands
from traindx.watch.collectors.evaluation_flow import ABOUT, JOINS, PARTS_OF, SAME_VALUES
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.collectors.nonfinite import graph_nodes
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.parameters import Parameters
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.probes.captured import CapturedCalls
from traindx.watch.probes.loss_path import LossPaths, Path, Source, Step, references
from traindx.watch.probes.path_probe import PathProbe
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.source_text import parsed, statement_at
from traindx.watch.runtime.structure import named_modules
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Watch

LEAST_LOOKS = 2  # iterations in which nothing came, before more is asked about a part
MOST_CHANNELS = 512
FIXED = frozenset({"__getitem__", "select", "narrow", "chunk", "split", "unbind", "tensor_split"})
ELEMENTWISE = frozenset({"sigmoid", "tanh", "relu", "exp", "clamp", "softplus", "abs"})


@dataclass(eq=False)
class _Part:
    """One output of the calls from one line."""

    place: CallPlace
    name: str
    outputs: int
    axis: int = -1
    looks: int = 0
    reached: int = 0
    asked: Any = None  # by channel
    varies: Any = None
    told: Any = None
    dropped: bool = False
    dropped_at: CallSite | None = None
    own: int = 0
    read: bool = False
    read_at: CallSite | None = None
    again: CallSite | None = None

    def silent(self) -> list[int]:
        """Channels that vary and got nothing so far."""
        if self.asked is None or not self.reached:
            return []
        return [int(one) for one in (~self.asked & self.varies).nonzero().flatten()]


@dataclass
class _Now:
    """One output in this iteration."""

    part: _Part
    source: Source
    came: bool = False
    asked: Any = None
    batch: list[Any] = field(default_factory=list)


class UnaskedOutputs(PathProbe):
    """Notes where gradients arrive at outputs, and follows what none arrived at into the evaluation."""

    subject = "what a loss asks of outputs"

    def __init__(
        self,
        watch: Watch,
        captured: CapturedCalls,
        paths: LossPaths,
        networks: Networks,
        calls: TorchCalls,
        optimisers: Optimisers,
        parameters: Parameters,
        loaders: Loaders,
    ) -> None:
        super().__init__(watch, captured, paths)
        self.networks = networks
        self.calls = calls
        self.optimisers = optimisers
        self.parameters = parameters
        self.loaders = loaders
        self._parts: dict[tuple[Any, ...], _Part] = {}
        self._now: list[_Now] = []
        self._batch: list[Any] = []
        self._followed: dict[int, tuple[Any, _Part, Any]] = {}  # tensor, part, number of the channel at each place

    def install(self) -> None:
        """Subscribe."""
        super().install()
        self.paths.on_output(self, self._output)
        self.paths.on_gradient(self, self._arrived)
        self.networks.on_call(self, self._called)
        self.calls.on_any(self, self._any)
        self.loaders.on_read(self, self._read)
        self.watch.weak_tables.append(self)
        self.watch.detach_hooks.append(self.clear)

    def clear(self) -> None:
        """Hold no weak reference to any tensor any more."""
        self._followed.clear()

    def pop(self, tensor: Any, default: Any = None) -> None:
        """Hold no weak reference to a tensor any more."""
        self._followed.pop(id(tensor), None)

    # -- in training ---------------------------------------------------------------------------------------------

    def _read(self, loader: Loader, batch: Any) -> None:
        if self.watch.level is ObservationLevel.FULL:
            self._batch = [one for _, one in tensors_in(batch, self.watch.torch) if one.dim()][:12]

    def _output(self, source: Source, output: Any, call: Call) -> None:
        if not call.network.training:
            return
        named = list(tensors_in(call.output, self.watch.torch, ""))
        name = next((name for name, one in named if one is output), "")
        key = (*call.place.key, name)
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Part(call.place, name, len(named), channel_axis(output, call.network))
        now = _Now(part, source, batch=self._batch)
        self._now.append(now)
        if part.looks >= LEAST_LOOKS and not part.reached and not part.own:
            part.own = self._own(output)

    def _own(self, output: Any) -> int:
        """Numbers in parameters of the optimisers that lead to an output and got no gradient so far."""
        node = compat.node_of(output)
        held = self.optimisers.first_probe
        count = 0
        for one in graph_nodes(node) if node is not None else ():
            for child, _ in one.next_functions:
                parameter = getattr(child, "variable", None)
                if parameter is None or parameter not in held or parameter in self.parameters.loaded:
                    continue
                known = self.optimisers.gradients.get(parameter) or ()
                count += parameter.numel() if len(known) >= LEAST_LOOKS and not any(known) else 0
        return count

    def _arrived(self, source: Source, gradient: Any) -> None:
        now = next((one for one in self._now if one.source is source), None)
        if now is None:
            return
        now.came = True
        if now.part.axis >= 0 and gradient.dim() > now.part.axis:
            others = [axis for axis in range(gradient.dim()) if axis != now.part.axis]
            asked = ((gradient.detach() != 0).sum(others) > 0).cpu()
            now.asked = asked if now.asked is None else now.asked | asked

    def end(self) -> None:
        """Put together what came in this iteration, call by call."""
        places = {now.part.place.key for now in self._now if now.came}
        for now in self._now:
            part = now.part
            if part.place.key not in places:
                continue
            part.looks += 1
            part.reached += now.came
            if now.asked is not None:
                part.asked = self._together(part.asked, now.asked)
                part.varies = self._together(part.varies, _varies(now.source.value, part.axis))
                for one in now.batch:
                    if one.shape == now.source.value.shape and part.asked is not None:
                        part.told = self._together(part.told, _varies(one, part.axis))
        self._now, self._batch = [], []

    def _together(self, before: Any, now: Any) -> Any:
        return now if before is None or before.shape != now.shape else before | now

    def look(self, path: Path) -> None:
        """Which lines read the outputs, and do the silent channels reach the loss at all?"""
        parts = {now.source.number: now.part for now in self._now}
        for source in path.sources:
            part = parts.get(source.number)
            if part is None:
                continue
            again = self._again(path, source)
            if again is not None:
                for now in self._now:
                    other = now.part
                    if other.place is part.place and not other.reached and now.source.value.shape == source.value.shape:
                        other.again = again
            silent = part.silent() if part.looks >= LEAST_LOOKS else []
            if silent and self.captured.affordable(0.0) and self.bursts.wanted((path.site, part.name)):
                with self.captured.spending(self):
                    part.dropped, part.dropped_at = self._dropped(path, source, part.axis, silent)

    def _again(self, path: Path, source: Source) -> CallSite | None:
        """The second line that hands an output to an operation which the first one made of it, too."""
        readers: dict[str, list[CallSite]] = {}
        for step in path.needed():
            if step.site is not None and any(one.number == source.number for one in references(step)):
                lines = readers.setdefault(step.name, [])
                if step.site not in lines:
                    lines.append(step.site)
        several = [lines for lines in readers.values() if len(lines) > 1]
        return several[0][1] if len(several) == 1 else None

    def _dropped(self, path: Path, source: Source, axis: int, silent: list[int]) -> tuple[bool, CallSite | None]:
        """Whether fixed indices alone keep these channels from the loss: what is put there is followed as NaN."""
        torch = self.watch.torch
        marked = source.value.clone()
        marked.index_fill_(axis, torch.tensor(silent, device=marked.device), float("nan"))
        values = path.values({source.number: marked})

        def is_marked(number: int) -> bool:
            value = values.get(number)
            return value is not None and value.is_floating_point() and bool(value.isnan().any())

        if is_marked(path.root):
            return False, None
        used = {one.number for step in path.needed() for one in references(step)}
        ends: list[Step] = []
        for step in path.needed():
            if any(is_marked(one.number) for one in references(step)):
                given = [number for number in step.gives if is_marked(number)]
                if not given or any(number not in used for number in given):
                    ends.append(step)
        fixed = bool(ends) and all(step.name in FIXED and not _by_tensor(torch, step) for step in ends)
        return fixed, ends[0].site if fixed else None

    # -- in evaluation -------------------------------------------------------------------------------------------

    def _called(self, call: Call) -> None:
        if (call.grad and call.network.training) or not self.watch.attached:
            return
        parts = {
            part.name: part
            for part in self._parts.values()
            if part.place.network == call.place.network and part.looks >= LEAST_LOOKS and not part.read
        }
        torch = self.watch.torch
        for name, output in tensors_in(call.output, torch, "") if parts else ():
            part = parts.get(name)
            if part is None or not (not part.reached or part.silent()):
                continue
            channels = None
            if part.reached:
                axis = part.axis
                if output.dim() <= axis or len(part.asked) != output.shape[axis]:
                    continue
                shape = [output.shape[axis] if one == axis else 1 for one in range(output.dim())]
                channels = torch.arange(output.shape[axis], device=output.device).view(shape).expand(output.shape)
            self._follow(output, part, channels)

    def _follow(self, tensor: Any, part: _Part, channels: Any) -> None:
        self._followed[id(tensor)] = (self.watch.torch.utils.weak.TensorWeakRef(tensor), part, channels)

    def _known(self, value: Any) -> tuple[Any, _Part, Any] | None:
        entry = self._followed.get(id(value))
        return entry if entry is not None and entry[0]() is value else None

    def _any(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not self._followed or self.watch.busy:
            return
        tensor = self.watch.torch.Tensor
        known = [entry for value in operands(args, kwargs, tensor) if (entry := self._known(value)) is not None]
        if not known:
            return
        name = getattr(func, "__name__", "")
        if name in ABOUT and not (name == "__get__" and isinstance(out, tensor)):
            return
        with self.watch.ours(self):
            part, channels = known[0][1], known[0][2]
            if name in ("numpy", "__array__", "tolist"):  # what becomes of it is not seen
                return
            if name in SAME_VALUES or name in JOINS or name in PARTS_OF or name in ELEMENTWISE or name == "__get__":
                made = None if channels is None else self._channels(name, func, args, kwargs, channels)
                given = list(out) if isinstance(out, tuple | list) else [out]
                for index, one in enumerate(given):
                    if isinstance(one, tensor):
                        self._follow(one, part, made[index] if isinstance(made, tuple | list) else made)
                return
            for _, other, theirs in known:
                self._taken(other, theirs)

    def _channels(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], channels: Any) -> Any:
        """The same done to the numbers of the channels."""
        if name in ELEMENTWISE or name in ("float", "double", "half", "type", "to", "cpu", "cuda", "detach", "clone"):
            return channels

        def put(value: Any) -> Any:
            entry = self._known(value)
            if entry is not None:
                return entry[2]
            if type(value) in (list, tuple) and name in JOINS:
                return type(value)(put(one) for one in value)
            return value

        try:
            return func(*(put(one) for one in args), **{key: put(one) for key, one in kwargs.items()})
        except Exception:  # an operation that numbers have not
            return channels

    def _taken(self, part: _Part, channels: Any) -> None:
        if part.read:
            return
        if channels is not None and part.asked is not None:
            silent = part.silent()
            # memory of places plus channels, not of places times channels: a vocabulary has ten thousand of these
            if not silent or not bool(self.watch.torch.isin(channels.new_tensor(silent), channels).any()):
                return
        part.read, part.read_at = True, here(3)

    # -- what is said --------------------------------------------------------------------------------------------

    def records(self) -> Iterable[Record]:
        """One record an output."""
        for part in self._parts.values():
            if not part.looks:
                continue
            silent = part.silent()[:MOST_CHANNELS]
            name, named = names_at(part.place.site, part.name)
            yield OutputAsked(
                network=part.place.network,
                output=name,
                outputs=part.outputs,
                looks=part.looks,
                reached=part.reached,
                channels=len(part.asked) if part.asked is not None else 0,
                silent=tuple(silent),
                dropped=bool(silent) and part.dropped,
                dropped_at=part.dropped_at.location() if part.dropped_at is not None else None,
                told=part.told is not None and any(bool(part.told[one]) for one in silent),
                own=part.own if not part.reached else 0,
                read=part.read,
                read_at=part.read_at.location() if part.read_at is not None else None,
                named=named,
                again=part.again.location() if part.again is not None and not part.reached else None,
                where=part.place.site.location() if part.place.site.file else None,
                step=self.watch.iteration,
            )


def channel_axis(output: Any, network: Any) -> int:
    """The axis of channels of a network's output, as far as the widths of its layers tell; -1 where they do not."""
    widths: dict[str, set[int]] = {}
    for _, module in named_modules(network):
        kind = type(module).__name__
        width = getattr(module, "out_channels", None) or getattr(module, "out_features", None)
        if isinstance(width, int):
            widths.setdefault(kind, set()).add(width)

    def made(axis: int, *kinds: str) -> bool:
        return output.shape[axis] > 1 and any(output.shape[axis] in widths.get(kind, ()) for kind in kinds)

    dims = output.dim()
    if dims == 2:
        return 1 if made(1, "Linear", "Conv1d", "Conv2d", "Conv3d", "Bilinear") else -1
    if dims == 3:
        first, last = made(1, "Conv1d", "ConvTranspose1d"), made(2, "Linear")
        return -1 if first == last else 1 if first else 2
    if dims in (4, 5):
        return 1 if made(1, f"Conv{dims - 2}d", f"ConvTranspose{dims - 2}d") else -1
    return -1


def _varies(value: Any, axis: int) -> Any:
    """By channel: do the numbers differ from place to place?"""
    others = [one for one in range(value.dim()) if one != axis]
    return (value.amax(others) != value.amin(others)).cpu()


def _by_tensor(torch: Any, step: Step) -> bool:
    """An index that depends on what the data are."""
    return any(True for _, one in tensors_in(list(step.args[1:]), torch) if isinstance(one, torch.Tensor))


def names_at(site: CallSite, name: str) -> tuple[str, bool]:
    """The name that a call's line gives to an output, and whether the function around it reads that name.

    ``name`` is the place of the output (``[1]``, ``['mask']``); what cannot be told counts as read.
    """
    statement = statement_at(site.file, site.line) if site.file else None
    tree = parsed(site.file) if site.file else None
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1 or tree is None:
        return name, True
    target = statement.targets[0]
    scopes = [
        node
        for node in walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= site.line <= (node.end_lineno or 0)
    ]
    scope: ast.AST = max(scopes, key=lambda node: node.lineno) if scopes else tree
    if isinstance(target, ast.Tuple) and name.startswith("[") and name[1:-1].isdigit():
        index = int(name[1:-1])
        if index >= len(target.elts) or not isinstance(target.elts[index], ast.Name):
            return name, True
        known = ast.unparse(target.elts[index])
        reads = any(
            isinstance(node, ast.Name) and node.id == known and isinstance(node.ctx, ast.Load) for node in walk(scope)
        )
        return known, reads
    if isinstance(target, ast.Name) and name:
        text = target.id + name
        whole = [node for node in walk(scope) if isinstance(node, ast.Name) and node.id == target.id]
        loads = [node for node in whole if isinstance(node.ctx, ast.Load)]
        subscripts = [
            node
            for node in walk(scope)
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == target.id
        ]
        fixed = [ast.unparse(node) for node in subscripts if isinstance(node.slice, ast.Constant)]
        return text, text in fixed or len(fixed) < len(loads)
    return name, True
