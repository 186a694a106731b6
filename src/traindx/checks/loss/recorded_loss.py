"""Watch one computation of a loss: what is compared with what, what bounds lie before it, which values are clamped.

Nothing is changed and nothing is drawn from the random state; only hooks on clamped tensors see the gradient pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from traindx.checks.loss.clamps import CLAMPS, HARD, Clamped, ClampWatch, limits
from traindx.checks.network.tracing import MIXING
from traindx.core.batches import tensors_in
from traindx.core.frames import user_location
from traindx.finding import Location

if TYPE_CHECKING:
    from torch import Tensor, nn

LOSSES = frozenset(
    {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "poisson_nll_loss"}
)  # those that compare value with value; class indices and embeddings are another matter
SQUASHING = frozenset(
    {"abs", "absolute", "square", "pow", "__pow__", "norm", "vector_norm", "abs_", "pow_", "square_", "linalg_norm"}
)
MINUS = frozenset({"sub", "__sub__", "__rsub__", "rsub", "subtract", "sub_"})
BOUNDED: Mapping[str, tuple[float, float]] = {
    "tanh": (-1.0, 1.0), "tanh_": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "sigmoid_": (0.0, 1.0), "softmax": (0.0, 1.0),
    "softsign": (-1.0, 1.0), "hardsigmoid": (0.0, 1.0), "relu": (0.0, math.inf), "relu_": (0.0, math.inf),
    "relu6": (0.0, 6.0), "softplus": (0.0, math.inf), "expit": (0.0, 1.0),
}  # fmt: skip
PASSING = frozenset(
    {
        "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "__getitem__", "cat", "stack", "mul",
        "__mul__", "__rmul__", "div", "__truediv__", "true_divide", "add", "__add__", "__radd__", "sub", "__sub__",
        "__rsub__", "rsub", "neg", "__neg__", "to", "float", "double", "half", "contiguous", "clone", "flatten",
        "chunk", "split", "movedim", "type", "expand", "detach", "squeeze_", "unsqueeze_", "mul_", "add_", "sub_",
        "type_as", "subtract", "multiply", "divide", "swapaxes", "unflatten", "div_",
    }
)  # fmt: skip
RANDOM = frozenset(
    {"randn", "rand", "randn_like", "rand_like", "normal", "randint"}
)  # noise is data to a diffusion loss
STAND_FOR_INFINITE = 1e6


@dataclass(eq=False)
class Bound:
    """A bounded operation: its call number, range, module and line."""

    call: int
    operation: str
    low: float
    high: float
    module: str
    line: Location | None


@dataclass(eq=False)
class Seen:
    """A comparison of prediction and target."""

    call: int
    operation: str
    line: Location | None
    prediction: Tensor
    target: Tensor
    result_shape: tuple[int, ...]
    is_loss: bool
    bounds: tuple[Bound, ...] = ()


@dataclass
class _Kind:
    """What a tensor is made of."""

    said: bool = False  # comes from the network's output
    data: bool = False  # comes from the batch
    learned: bool = False  # comes from learned weights, unbounded
    bounds: frozenset[Bound] = field(default_factory=frozenset)
    clamps: frozenset[Clamped] = field(default_factory=frozenset)


class LossWatch(TorchFunctionMode):
    """See the module's description. After the run: :attr:`comparisons` and :attr:`clamps`.

    Args:
        batch: The batch, whose tensors are data.
        names: Module paths by module.
        forced: Bounded calls to be replaced by their lower (-1) or upper (+1) bound, by call number.
    """

    def __init__(self, batch: Any, names: Mapping[nn.Module, str], forced: Mapping[int, float] | None = None) -> None:
        super().__init__()
        self.comparisons: list[Seen] = []
        self._clamp_watch = ClampWatch()
        self.output_shapes: list[tuple[int, ...]] = []
        self._names = names
        self._forced = forced or {}
        self._modules: list[str] = []
        self._call = -1
        self._kinds: dict[int, _Kind] = {}
        self._alive: list[Any] = []
        self._differences: dict[int, Seen] = {}
        for tensor in _all_tensors(batch):
            self._mark(tensor, _Kind(data=True))

    @contextmanager
    def following(self, network: nn.Module) -> Iterator[None]:
        """Know which module runs and what the network said, by hooks that are removed again."""
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

        def enter(module: nn.Module, _: Any) -> None:
            self._modules.append(self._names.get(module, ""))

        def leave(module: nn.Module, _: Any, output: Any) -> None:
            if self._modules:
                self._modules.pop()
            if module is network:
                for tensor in tensors_in(output):
                    kind = self._kinds.get(id(tensor), _Kind(learned=True))
                    self._mark(tensor, _Kind(True, kind.data, kind.learned, kind.bounds, kind.clamps))
                    self.output_shapes.append(tuple(tensor.shape))

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._call += 1
        call = self._call
        name = getattr(func, "__name__", str(func))
        inputs = _all_tensors((args, kwargs))
        clamp = self._clamp_watch.before(name, args, kwargs)
        kinds = [self._kind(tensor) for tensor in inputs]
        result = func(*args, **kwargs)
        outputs = _all_tensors(result)
        if not outputs:
            return result
        bound = self._bound(call, name, args, kwargs) if name in BOUNDED or name in CLAMPS or name in HARD else None
        if bound is not None and call in self._forced:
            level = bound.low if self._forced[call] < 0 else bound.high
            level = max(-STAND_FOR_INFINITE, min(STAND_FOR_INFINITE, level))
            with torch.no_grad():
                outputs[0].data.fill_(level)
        made = _Kind(data=True) if name in RANDOM else _combined(name, kinds, bound)
        if name.startswith(MIXING) and any(isinstance(tensor, torch.nn.Parameter) for tensor in inputs):
            for kind in kinds:
                for passed in kind.clamps:
                    passed.hidden = True
        for tensor in outputs:
            self._mark(tensor, made)
        if clamp is not None:
            self._clamp_watch.after(clamp, outputs[0])
            made = _Kind(made.said, made.data, made.learned, made.bounds, made.clamps | {clamp.clamped})
            self._mark(outputs[0], made)
        self._clamp_watch.compared(name, inputs, outputs[0])
        self._compare(call, name, inputs, kinds, outputs[0])
        return result

    @property
    def clamps(self) -> list[Clamped]:
        """Clamps seen, without activation functions that learned layers follow."""
        return self._clamp_watch.seen()

    def depends_on_data(self, tensor: Tensor) -> bool:
        """True if a tensor was made from the batch or from noise."""
        return self._kind(tensor).data

    def forget(self, tensor: Tensor) -> None:
        """Take a tensor as given: what it was made from does not count."""
        self._mark(tensor, _Kind())

    def _kind(self, tensor: Tensor) -> _Kind:
        return self._kinds.get(id(tensor)) or _Kind(learned=isinstance(tensor, torch.nn.Parameter))

    def _mark(self, tensor: Tensor, kind: _Kind) -> None:
        self._kinds[id(tensor)] = kind
        self._alive.append(tensor)

    def _compare(self, call: int, name: str, inputs: list[Tensor], kinds: list[_Kind], result: Tensor) -> None:
        self._follow_difference(name, inputs, result)
        if len(inputs) < 2 or (name not in LOSSES and name not in MINUS) or min(t.numel() for t in inputs[:2]) < 2:
            return
        said = [
            kind.said or (name in LOSSES and tensor.requires_grad)
            for kind, tensor in zip(kinds[:2], inputs[:2], strict=True)
        ]
        if said[0] == said[1]:
            return
        one, two = (0, 1) if said[0] else (1, 0)
        if name in MINUS and not kinds[two].data:
            return
        seen = Seen(
            call,
            name,
            user_location(),
            inputs[one].detach(),
            inputs[two].detach(),
            tuple(np.broadcast_shapes(inputs[0].shape, inputs[1].shape)),
            name in LOSSES,
            () if kinds[one].learned else tuple(kinds[one].bounds),
        )
        if seen.is_loss:
            self.comparisons.append(seen)
        else:
            self._differences[id(result)] = seen

    def _follow_difference(self, name: str, inputs: list[Tensor], result: Tensor) -> None:
        """A difference counts as a comparison once its size is taken: squared, absolute, normed, times itself."""
        for tensor in inputs[:2]:
            seen = self._differences.get(id(tensor))
            if seen is None:
                continue
            squared = name in SQUASHING or (name in ("mul", "__mul__") and inputs[0] is inputs[-1] and len(inputs) > 1)
            if squared and seen not in self.comparisons:
                self.comparisons.append(seen)
            elif name in PASSING:
                self._differences[id(result)] = seen

    def _bound(self, call: int, name: str, args: Any, kwargs: Any) -> Bound | None:
        low, high = limits(name, args, kwargs) if name in CLAMPS or name in HARD else BOUNDED[name]
        if math.isinf(low) and math.isinf(high):
            return None
        return Bound(call, name.rstrip("_"), low, high, self._modules[-1] if self._modules else "", user_location())


def _combined(name: str, kinds: list[_Kind], bound: Bound | None) -> _Kind:
    said = any(kind.said for kind in kinds)
    data = any(kind.data for kind in kinds)
    learned = any(kind.learned for kind in kinds)
    bounds = frozenset[Bound]().union(*(kind.bounds for kind in kinds)) if kinds else frozenset[Bound]()
    clamps = frozenset[Clamped]().union(*(kind.clamps for kind in kinds)) if kinds else frozenset[Clamped]()
    if bound is not None:
        return _Kind(said, data, False, frozenset({bound}) if learned or bounds else frozenset(), clamps)
    if name in PASSING and not (learned and bounds):
        return _Kind(said, data, learned, bounds, clamps)
    return _Kind(said, data, learned or bool(bounds), clamps=clamps)


def _all_tensors(value: Any) -> list[Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _all_tensors(item)]
    return []
