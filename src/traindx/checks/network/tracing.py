"""How many numbers get through: follows each source from the input of a network to its output, operation by operation.

Every tensor carries, for every source it depends on, the set of *cuts* that the source has passed: a cut is an
operation whose output holds fewer numbers than came in. The numbers that can reach a tensor are at most the sum over
its cuts (two different cuts of one source, such as the halves of ``chunk``, add up; the same cut reached twice counts
once), and never more than the tensor holds. That bound can only be too generous, so a bottleneck it reports is real:
whatever the weights, the output then moves on a set with no more dimensions than the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from traindx.core.frames import location, user_place
from traindx.finding import Location

if TYPE_CHECKING:
    from torch import Tensor, nn

METADATA_ONLY = frozenset(
    {
        "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like",
        "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor", "size", "dim", "numel", "stride", "__get__",
        "_set_grad_enabled", "is_floating_point", "register_hook", "requires_grad_", "element_size", "data_ptr",
    }
)  # fmt: skip
CHANNELS = "channels of "  # every source is followed a second time, with a cut at every reduction of channels
MIXING = ("conv", "linear", "matmul", "bmm", "baddbmm", "addmm", "einsum", "multi_head", "scaled_dot", "__matmul__")


@dataclass(eq=False)
class Cut:
    """An operation whose output holds fewer numbers than reached it.

    Attributes:
        numbers: Numbers in its output.
        shape: Shape of its output.
        operation: Name of the torch operation.
        module: Path of the innermost module that was running.
        line: The user's line.
        widened: The operation that first brought what came from here back to the size of the output.
        learned_after: True if a learned mixing of channels or neighbours follows.
        came_from: The cuts that had been passed before.
        call: Which torch call it was, counted from the start of the trace.
        position: Which of that call's tensors.
        value: What it gave (kept only where it holds fewer numbers than the output of the network).
    """

    numbers: int
    shape: tuple[int, ...]
    operation: str
    module: str
    line: Location | None
    widened: Widening | None = None
    learned_after: bool = False
    came_from: frozenset[Cut] = frozenset()
    call: int = -1
    position: int = 0
    value: Tensor | None = None

    def behind(self, other: Cut) -> bool:
        """True if everything that reaches this cut has passed the other one."""
        return self is other or (bool(self.came_from) and all(part.behind(other) for part in self.came_from))


@dataclass(frozen=True)
class Widening:
    """Where a cut source comes back to full size: the operation, its module, the user's line, and its settings."""

    operation: str
    module: str
    line: Location | None
    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


Cuts = frozenset[Cut]


@dataclass
class ChannelStep:
    """A convolution or linear layer that reduces channels: where, and how many it takes and gives."""

    module: str
    line: Location | None
    channels_in: int
    channels_out: int
    rank_in: float
    cuts: Mapping[str, Cut]

    def only_way_of(self, traced: PathTrace) -> tuple[str, ...]:
        """Sources that reach the output through this layer alone, or else as a vector without a place."""
        found = []
        for source, cut in self.cuts.items():
            reached = traced.reached(source)
            if not source.startswith(CHANNELS) or not reached:
                continue
            spatial = [part for part in reached if len(part.shape) > 2] if len(cut.shape) > 2 else list(reached)
            if spatial and all(part.behind(cut) for part in spatial):
                found.append(source.removeprefix(CHANNELS))
        return tuple(found)

    @property
    def is_head(self) -> bool:
        """True if no learned mixing follows."""
        return not any(cut.learned_after for cut in self.cuts.values())


class PathTrace(TorchFunctionMode):
    """Watch one call of a network; see the module's description.

    Args:
        sources: Tensors whose ways are followed, by name.
        full: Numbers in the output of the network: what "full size" means.
        names: Module paths by module.
        joint: Name under which all sources together are followed too; none if empty.
    """

    def __init__(
        self, sources: Mapping[str, Tensor], full: int, names: Mapping[nn.Module, str], joint: str = ""
    ) -> None:
        super().__init__()
        self._call = -1
        self.full = full
        self.complete = True
        self.channel_steps: list[ChannelStep] = []
        self.outputs: list[Tensor] = []
        self._names = names
        self._modules: list[str] = []
        self._labels: dict[int, dict[str, Cuts]] = {}
        self._written: dict[int, dict[str, Cuts]] = {}
        self._alive: list[Any] = []
        self._seen: set[int] = set()
        for name, tensor in sources.items():
            start = frozenset({Cut(tensor.numel(), tuple(tensor.shape), "input", "", None)})
            label = self._labels.setdefault(id(tensor), {})
            label[name] = label[CHANNELS + name] = start
            if joint:
                label[joint] = start
            self._alive.append(tensor)

    def cuts(self, tensor: Tensor) -> dict[str, Cuts]:
        """The cuts that each source has passed on its way to a tensor."""
        known = self._labels.get(id(tensor), {})
        written = self._written.get(_storage(tensor), {}) if self._written else {}
        return joined([known, written]) if known and written else known or written

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._call += 1
        call = self._call
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name in METADATA_ONLY and not (name == "__get__" and isinstance(result, torch.Tensor)):
            return result
        inputs = list(_tensors((args, kwargs)))
        if name == "__setitem__":
            self._write(args[0], inputs[1:], name)
            return result
        outputs = list(_tensors(result))
        if outputs:
            self._pass_on(call, name, inputs, outputs, kwargs)
        return result

    def _pass_on(
        self, call: int, name: str, inputs: list[Tensor], outputs: list[Tensor], settings: Mapping[str, Any]
    ) -> None:
        incoming = self._incoming(inputs)
        for tensor in outputs:
            self._seen.add(id(tensor))
            self._alive.append(tensor)
        if not incoming:
            return
        learned = name.startswith(MIXING) and any(isinstance(tensor, torch.nn.Parameter) for tensor in inputs)
        reduction = _channel_reduction(name, inputs) if learned else None
        for position, tensor in enumerate(outputs):
            label: dict[str, Cuts] = {}
            made: dict[str, Cut] = {}
            for source, cuts in incoming.items():
                if learned:
                    for cut in cuts:
                        cut.learned_after = True
                if tensor.numel() < numbers(cuts) or (reduction is not None and source.startswith(CHANNELS)):
                    made[source] = self._cut(call, position, name, tensor, cuts)
                    label[source] = frozenset({made[source]})
                else:
                    label[source] = cuts
                    if tensor.numel() >= self.full > numbers(cuts):
                        self._widen(cuts, name, inputs, tensor, settings)
            self._labels[id(tensor)] = label
            if name.endswith("_") and not name.endswith("__"):
                self._written[_storage(tensor)] = label
            if reduction is not None and made:
                rank = effective_rank(inputs[0], 1 if name.startswith("conv") else -1)
                self.channel_steps.append(ChannelStep(self._module(), _line(), *reduction, rank, made))

    def _cut(self, call: int, position: int, name: str, tensor: Tensor, cuts: Cuts) -> Cut:
        held = min(tensor.numel(), numbers(cuts))
        value = tensor.detach().clone() if held < self.full else None
        return Cut(
            held,
            tuple(tensor.shape),
            name,
            self._module(),
            _line(),
            came_from=cuts,
            call=call,
            position=position,
            value=value,
        )

    def _incoming(self, inputs: list[Tensor]) -> dict[str, Cuts]:
        labels = [self.cuts(tensor) for tensor in inputs]
        for tensor, label in zip(inputs, labels, strict=True):
            if not label and tensor.grad_fn is not None and id(tensor) not in self._seen:
                self.complete = False  # made by something this trace could not see
        return joined(labels)

    def _widen(self, cuts: Cuts, name: str, inputs: list[Tensor], out: Tensor, arguments: Mapping[str, Any]) -> None:
        waiting = [cut for cut in cuts if cut.widened is None]
        if not waiting:
            return
        came_in = next((t for t in inputs if any(set(waiting) & cut for cut in self.cuts(t).values())), inputs[0])
        settings = {key: value for key, value in arguments.items() if isinstance(value, str | bool | int | float)}
        step = Widening(name, self._module(), _line(), tuple(came_in.shape), tuple(out.shape), settings)
        for cut in waiting:
            cut.widened = step

    def _write(self, base: Tensor, values: list[Tensor], name: str) -> None:
        label = joined([self.cuts(base), self._incoming(values)])
        if label:
            self._labels[id(base)] = label
            self._written[_storage(base)] = label
            self._alive.append(base)

    def reached(self, source: str) -> Cuts | None:
        """The cuts a source has passed when it reaches the outputs; None where it does not reach them."""
        return joined([self.cuts(tensor) for tensor in self.outputs]).get(source)

    def _module(self) -> str:
        return self._modules[-1] if self._modules else ""

    @contextmanager
    def following_modules(self) -> Iterator[None]:
        """Know which module is running, by global hooks that are removed again."""
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

        def enter(module: nn.Module, _: Any) -> None:
            self._modules.append(self._names.get(module, ""))

        def leave(module: nn.Module, _: Any, __: Any) -> None:
            if self._modules:
                self._modules.pop()

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def joined(labels: list[dict[str, Cuts]]) -> dict[str, Cuts]:
    """What a tensor made of several others depends on: all their cuts, without those that only repeat another one.

    The mean that a layer subtracts from its own input, for example, carries nothing that the input does not.
    """
    everything: dict[str, Cuts] = {}
    for label in labels:
        for source, cuts in label.items():
            known = everything.get(source)
            everything[source] = cuts if known is None or known == cuts else known | cuts
    return {source: _independent(cuts) if len(cuts) > 1 else cuts for source, cuts in everything.items()}


def _independent(cuts: Cuts) -> Cuts:
    """The cuts that do not lie wholly behind others of the same set."""
    verdicts: dict[Cut, bool] = {}

    def behind(cut: Cut) -> bool:
        if cut not in verdicts:
            verdicts[cut] = bool(cut.came_from) and all(part in cuts or behind(part) for part in cut.came_from)
        return verdicts[cut]

    return frozenset(cut for cut in cuts if not behind(cut))


def numbers(cuts: Cuts) -> int:
    """Upper bound of the numbers that got through."""
    return sum(cut.numbers for cut in cuts)


def effective_rank(features: Tensor, channel_axis: int) -> float:
    """Effective rank of features over positions: exp of the entropy of the covariance spectrum (Roy and Vetterli 2007).

    Args:
        features: Any layout with channels on ``channel_axis``.
        channel_axis: Axis of the channels.
    """
    matrix = features.detach().float().movedim(channel_axis, -1).flatten(0, -2)[:4096]
    matrix = matrix - matrix.mean(0)
    if len(matrix) < 2:
        return 1.0
    spectrum = torch.linalg.svdvals(matrix).square()
    total = float(spectrum.sum())
    if total <= 0:
        return 0.0
    share = spectrum / total
    return float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum()))


def trace(
    call: Callable[[], list[Tensor]], model: nn.Module, sources: Mapping[str, Tensor], full: int, joint: str = ""
) -> PathTrace:
    """Follow the sources through one call; the outputs' cuts are read by :meth:`PathTrace.reached`.

    Args:
        call: Runs the network once and returns its outputs.
        model: The model, for the names of its modules.
        sources: Tensors by name; ``call`` must use these very objects.
        full: Numbers in the output.
        joint: Name for all sources together.
    """
    names = {module: name for name, module in model.named_modules()}
    tracer = PathTrace(sources, full, names, joint)
    with tracer.following_modules(), tracer:
        outputs = call()
    tracer.outputs = outputs
    return tracer


class Holding(TorchFunctionMode):
    """Repeat a traced call with the value of one cut held at what it was in the trace (activation patching).

    Whatever still changes at the output has found a way around the cut. :attr:`held` is False if the call did not come
    by the same operation at the same count, so that nothing was held.
    """

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self._cut = cut
        self._call = -1
        self.held = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._call += 1
        result = func(*args, **(kwargs or {}))
        cut = self._cut
        if self._call != cut.call or getattr(func, "__name__", "") != cut.operation or cut.value is None:
            return result
        outputs = list(_tensors(result))
        if len(outputs) <= cut.position or outputs[cut.position].shape != cut.value.shape:
            return result
        self.held = True
        with torch.no_grad():
            outputs[cut.position].data.copy_(cut.value)
        return result


def _channel_reduction(name: str, inputs: list[Tensor]) -> tuple[int, int] | None:
    """Channels in and out of a convolution or linear layer that gives a 16th of them or fewer."""
    weight = next((t for t in inputs if isinstance(t, torch.nn.Parameter) and t.ndim >= 2), None)
    if weight is None or not name.startswith(("conv", "linear")) or name.startswith("conv_transpose"):
        return None
    channels_out, channels_in = int(weight.shape[0]), int(weight.shape[1])
    return (channels_in, channels_out) if channels_in >= 16 * channels_out else None


def _line() -> Location | None:
    place = user_place()
    return location(*place) if place is not None else None


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
