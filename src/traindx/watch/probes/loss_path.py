"""The way from the networks' outputs to the loss, as a function that can be evaluated again with other outputs.

In iterations that are watched in full, every call of torch outside the networks that takes something which came from
an output is noted with its arguments. At ``backward`` the calls that lead to the loss are a small program: given other
outputs, it gives the loss that the script would have computed from them. It is believed only where it gives the
script's own loss, and the script's own gradient at the output, for the script's own output.
"""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.loss_terms import LossTerms
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.probes.isolation import Moment, isolated
from traindx.watch.probes.tracing import tensors_of
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.structure import items
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

MOST_STEPS = 4000
SAME_VALUE = 1e-4  # relative; sums in another order
SAME_GRADIENT = 1e-2


class Ref(NamedTuple):
    """Stands for a value that depends on an output."""

    number: int


class Step(NamedTuple):
    """One call: its function, its arguments with references in them, and the numbers of what it gave."""

    function: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    gives: tuple[int, ...]
    in_place: bool
    site: CallSite | None


@dataclass
class Source:
    """An output of a network that the loss depends on.

    Attributes:
        number: Its number in the path.
        call: The call it came from, without its output.
        value: The output, without its graph.
        inputs: Arguments of the call that have the output's shape.
        gradient: What the script's own backward pass brought there; None until it ran.
    """

    number: int
    call: Call
    value: Any
    inputs: list[Any] = field(default_factory=list)
    gradient: Any = None


@dataclass
class Path:
    """From outputs to one loss."""

    torch: Any
    grad: Callable[..., Any]
    steps: list[Step]
    root: int
    sources: list[Source]
    value: float
    scale: float
    site: CallSite
    then: Moment
    verified: bool = False
    _needed: list[Step] = field(default_factory=list)

    def loss(self, outputs: dict[int, Any]) -> float:
        """The loss, with some outputs replaced (by the number of their source)."""
        with isolated(self.torch, self.then), self.torch.no_grad():
            return float(self._run(outputs).float().mean()) / self.scale

    def gradient(self, source: Source, output: Any) -> Any:
        """Gradient of the loss at another output of one source."""
        torch = self.torch
        with isolated(torch, self.then), torch.enable_grad():
            leaf = output.detach().clone().requires_grad_(True)
            loss = self._run({source.number: leaf})
            if not loss.requires_grad:
                return torch.zeros_like(leaf)
            (gradient,) = self.grad(loss.float().mean(), leaf, allow_unused=True)
        return torch.zeros_like(leaf) if gradient is None else gradient / self.scale

    def operands(self) -> Iterator[tuple[Step, int, Any]]:
        """Every constant tensor on the path: the step, its position there and the tensor."""
        for step in self.needed():
            for position, value in enumerate((*step.args, *step.kwargs.values())):
                for tensor in tensors_of(self.torch, value):
                    yield step, position, tensor

    def needed(self) -> list[Step]:
        """The steps that lead to the loss, in order."""
        if not self._needed:
            wanted = {self.root}
            for step in reversed(self.steps):
                if wanted.intersection(step.gives):
                    self._needed.append(step)
                    wanted.update(ref.number for ref in references(step))
            self._needed.reverse()
        return self._needed

    def values(self, outputs: dict[int, Any] | None = None) -> dict[int, Any]:
        """Everything on the path, for the script's own outputs, some of them replaced."""
        values: dict[int, Any] = {}
        with isolated(self.torch, self.then), self.torch.no_grad():
            self._run(outputs or {}, values)
        return values

    def _run(self, outputs: dict[int, Any], values: dict[int, Any] | None = None) -> Any:
        values = {} if values is None else values
        values.update({source.number: source.value for source in self.sources})
        values.update(outputs)
        if self.root in values:
            return values[self.root]
        for step in self.needed():
            args, kwargs = (_filled(part, values) for part in (step.args, step.kwargs))
            if step.in_place:
                target = args[0].clone()
                step.function(target, *args[1:], **kwargs)
                given: list[Any] = [target]
            else:
                given = list(tensors_of(self.torch, step.function(*args, **kwargs)))
            values.update(zip(step.gives, given, strict=False))
        return values[self.root]


class LossPaths(Collector):
    """Notes the way from outputs to losses.

    Attributes:
        on_path: Tells a path right after the backward pass from its end, if it was verified.
        on_output: Tells an output from which a path may begin, the tensor itself, and its call.
        on_gradient: Tells every gradient that a backward pass brings to such an output.
        paths: The paths of this iteration.
    """

    subject = "the way from outputs to the loss"

    def __init__(
        self, watch: Watch, calls: TorchCalls, networks: Networks, backwards: Backwards, terms: LossTerms
    ) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.backwards = backwards
        self.terms = terms
        self.on_path: Signal[[Path]] = Signal(watch)
        self.on_output: Signal[[Source, Any, Call]] = Signal(watch)
        self.on_gradient: Signal[[Source, Any]] = Signal(watch)
        self.paths: list[Path] = []
        self._recording = False
        self._steps: list[Step] = []
        self._sources: list[Source] = []
        self._known: dict[int, tuple[Any, int]] = {}
        self._count = 0
        self._pending: Path | None = None

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)
        self.calls.on_all(self, self._note)
        self.backwards.on_backward(self, before=self._before, after=self._after)

    def begin(self) -> None:
        """A new iteration."""
        self._forget()
        self._recording = self.watch.level is ObservationLevel.FULL
        self.calls.follow_all(self._recording)

    def end(self) -> None:
        """Nothing is kept alive between iterations."""
        self._forget()
        self._recording = False
        self.calls.follow_all(False)

    def _forget(self) -> None:
        self._steps, self._sources, self.paths = [], [], []
        self._known.clear()
        self._count = 0
        self._pending = None

    # -- noting --------------------------------------------------------------------------------------------------

    def _called(self, call: Call) -> None:
        if not self._recording or not call.grad:
            return
        for output in tensors_of(self.watch.torch, call.output):
            if output.requires_grad and output.is_floating_point() and len(self._sources) < 16:
                given = [one.detach() for one in tensors_of(self.watch.torch, (call.args, call.kwargs))]
                alike = [one for one in given if one.shape == output.shape and one.is_floating_point()]
                bare = Call(call.network, call.site, call.place, True)
                source = Source(self._number(output), bare, output.detach(), alike)
                self._sources.append(source)
                self._listen(output, source)
                self.on_output.tell(source, output, call)

    def _listen(self, output: Any, source: Source) -> None:
        watch, terms, reference = self.watch, self.terms, weakref.ref(source)

        def arrived(gradient: Any) -> None:  # stays as long as the script keeps the output, and keeps nothing itself
            source = reference()  # the gradient is None where only another output of the same operation was asked for
            if source is None or gradient is None or not watch.in_backward or terms.taking_apart or watch.over:
                return
            with watch.ours(self):
                source.gradient = gradient.detach().clone() if source.gradient is None else source.gradient
            self.on_gradient.tell(source, gradient)

        inspect.unwrap(watch.torch.Tensor.register_hook)(output, arrived)

    def _number(self, tensor: Any) -> int:
        self._count += 1
        self._known[id(tensor)] = (self.watch.torch.utils.weak.TensorWeakRef(tensor), self._count)
        return self._count

    def _ref(self, tensor: Any) -> Ref | None:
        known = self._known.get(id(tensor))
        return Ref(known[1]) if known is not None and known[0]() is tensor else None

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not self._recording or self.networks.depth or not self._sources:
            return
        noted_args, noted_kwargs = self._noted(args), self._noted(kwargs)
        name = str(getattr(func, "__name__", ""))
        in_place = name == "__setitem__" or (args and out is args[0] and changes_in_place(name))
        if not in_place and not any(True for _ in self.watch_tensors(out)):
            return
        if not any(True for _ in references_in((noted_args, noted_kwargs))):
            return
        if len(self._steps) >= MOST_STEPS:
            self._recording = False
            self._forget()
            return
        given = [args[0]] if in_place else list(self.watch_tensors(out))
        gives = tuple(self._number(one) for one in given)
        self._steps.append(Step(func, name, noted_args, noted_kwargs, gives, bool(in_place), here(3)))

    def watch_tensors(self, value: Any) -> Iterator[Any]:
        """Tensors in a result."""
        return tensors_of(self.watch.torch, value)

    def _noted(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, self.watch.torch.Tensor):
            return self._ref(value) or value.detach()
        if depth < 3 and type(value) in (list, tuple):
            return type(value)(self._noted(one, depth + 1) for one in value)
        if depth < 3 and isinstance(value, dict):
            return {key: self._noted(one, depth + 1) for key, one in value.items()}
        return value

    # -- at backward ---------------------------------------------------------------------------------------------

    def _before(self, call: Backward) -> None:
        self._pending = None
        ref = self._ref(call.root) if self._recording else None
        if ref is None or call.value is None or not math.isfinite(call.value):
            return
        then = Moment.now(self.watch.torch)
        watch, steps = self.watch, self._steps[:]
        path = Path(watch.torch, watch.grad, steps, ref.number, [], call.value, call.scale, call.site, then)
        used = {one.number for step in path.needed() for one in references(step)} | {ref.number}
        path.sources = [source for source in self._sources if source.number in used]
        self._pending = path if path.sources else None

    def _after(self, call: Backward) -> None:
        path, self._pending = self._pending, None
        if path is None:
            return
        path.verified = self._verify(path)
        if not path.verified:
            self.watch.not_examined(self.subject, "the loss could not be computed again outside the script", call.site)
            return
        self.paths.append(path)
        self.on_path.tell(path)

    def _verify(self, path: Path) -> bool:
        try:
            if abs(path.loss({}) - path.value) > SAME_VALUE * abs(path.value) + 1e-7:
                return False
            for source in path.sources:
                if source.gradient is None:
                    return False
                expected = source.gradient / path.scale
                difference = float((path.gradient(source, source.value) - expected).float().norm())
                if difference > SAME_GRADIENT * float(expected.float().norm()) + 1e-12:
                    return False
        except Exception:  # a path that cannot be run is one that is not believed
            return False
        return True


def changes_in_place(name: str) -> bool:
    """``add_``, ``__iadd__``."""
    dunder = name.startswith("__")
    return (name.endswith("_") and not dunder) or (
        dunder and name.startswith("__i") and name not in ("__index__", "__int__", "__invert__")
    )


def references(step: Step) -> Iterator[Ref]:
    """What a step takes that depends on an output."""
    yield from references_in((step.args, step.kwargs))


def references_in(value: Any) -> Iterator[Ref]:
    """References in nested arguments."""
    if isinstance(value, Ref):
        yield value
    elif type(value) in (list, tuple):
        for one in value:
            yield from references_in(one)
    elif isinstance(value, dict):
        for _, one in items(value):
            yield from references_in(one)


def _filled(value: Any, values: dict[int, Any]) -> Any:
    if isinstance(value, Ref):
        return values[value.number]
    if type(value) in (list, tuple):
        return type(value)(_filled(one, values) for one in value)
    if isinstance(value, dict):
        return {key: _filled(one, values) for key, one in items(value)}
    return value
