"""What a training step takes, without taking it: memory, arithmetic and bytes moved, by tensors that have no memory.

A whole optimisation step (forward, backward, optimiser) runs on tensors that have shapes and types and nothing in them.
Every operation below autograd is seen; a storage counts from the operation that makes it until nobody holds it any
more, autograd included. So recomputed activations (checkpointing), casts of mixed precision and the temporaries of the
backward pass count where they are alive. What a device adds is not in it: its context, the workspaces of convolution
libraries, and what its allocator rounds up.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from traindx.core import compat
from traindx.errors import UsageError

PRECISIONS: Mapping[str, torch.dtype | None] = {
    "32": None,
    "32-true": None,
    "bf16-mixed": torch.bfloat16,
    "16-mixed": torch.float16,
}
"""Lightning's names of precisions, and the type that autocast computes in."""

_ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"  # torch counts the kernels of graphics processors only


@dataclass(frozen=True)
class Workload:
    """A training whose cost is asked for.

    Attributes:
        name: What it is, such as the stage of a cascade.
        shape: What goes in, in words.
        module: Makes what lies on the device: the network that learns, its frozen helpers, averaged weights.
        loss: ``module -> scalar`` of one batch of the full size, made of tensors of the right shapes.
        optimizer: ``parameters -> optimizer``.
        steps: Optimiser steps of an epoch.
        precision: As Lightning calls it.
    """

    name: str
    shape: str
    module: Callable[[], nn.Module]
    loss: Callable[[nn.Module], Tensor]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    steps: int
    precision: str = "32-true"

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass.

        Raises:
            UsageError: Nothing is known of the precision.
        """
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"what a step in precision {self.precision} takes is not known", expected=", ".join(PRECISIONS)
            )
        kind = PRECISIONS[self.precision]
        return nullcontext() if kind is None else torch.autocast("cpu", kind)


@dataclass(frozen=True)
class Operation:
    """One operation of a step.

    Attributes:
        flops: Floating-point operations of matrix products and convolutions; 0 for all others.
        moved: Bytes read and written.
        half: Whether it computes in 16 bits.
    """

    flops: int
    moved: int
    half: bool


@dataclass(frozen=True)
class Footprint:
    """What a step takes; sizes in bytes.

    Attributes:
        trained: Number of parameters that learn.
        weights: Parameters and buffers, those of frozen and averaged parts too.
        gradients: Of the parameters that learn.
        optimizer: State of the optimiser.
        activations: What the forward pass leaves for the backward pass, with the batch.
        peak: Largest sum of everything alive at one time in a step after the first.
        operations: Of such a step.
    """

    trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    peak: int
    operations: tuple[Operation, ...]

    @property
    def flops(self) -> int:
        """Floating-point operations of matrix products and convolutions in a step, backward pass included."""
        return sum(one.flops for one in self.operations)


def footprint(workload: Workload, *, memory: bool = False) -> Footprint:
    """What a step of a workload takes.

    Args:
        workload: The workload.
        memory: Really take the steps, in memory and on the processor; for tests at small sizes.
    """
    with _as_laid_out(), torch.random.fork_rng(devices=[]), _tensors_of(memory), ledger() as seen:
        module = workload.module()
        weights = _bytes_of([*module.parameters(), *module.buffers()])
        learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = workload.optimizer(learning)
        _step(workload, module, optimizer, seen)
        state = [
            value for one in optimizer.state.values() for value in one.values() if isinstance(value, Tensor)
        ]  # fmt: skip
        gradients = _bytes_of([one.grad for one in learning if one.grad is not None])
        optimizer.zero_grad()
        seen.begin()
        before, after = _step(workload, module, optimizer, seen)
        return Footprint(
            trained=sum(parameter.numel() for parameter in learning),
            weights=weights,
            gradients=gradients,
            optimizer=_bytes_of(state),
            activations=after - before,
            peak=seen.peak,
            operations=tuple(seen.operations),
        )


def _tensors_of(memory: bool) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = nullcontext() if memory else compat.without_memory()
    return made


@contextmanager
def _as_laid_out() -> Iterator[None]:
    """Let ``module.to(memory_format=...)`` do nothing: it fails on parameters without memory, and takes none."""
    to = nn.Module.to

    def moved(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        return module if not args and set(kwargs) == {"memory_format"} else to(module, *args, **kwargs)

    nn.Module.to = moved  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nn.Module.to = to  # type: ignore[method-assign]


def _step(workload: Workload, module: nn.Module, optimizer: torch.optim.Optimizer, seen: Any) -> tuple[int, int]:
    """A step; returns the bytes alive before and after its forward pass."""
    before = seen.alive
    with workload.autocast():
        loss = workload.loss(module)
    after = seen.alive
    torch.autograd.backward(loss)
    del loss
    optimizer.step()
    return before, after


def ledger() -> Any:
    """A mode that keeps count of what is alive (``alive``, ``peak``) and of ``operations``, since ``begin()``."""

    class Ledger(compat.dispatch_mode()):  # type: ignore[misc]
        """See :func:`ledger`."""

        def __init__(self) -> None:
            super().__init__()
            self.alive = self.peak = 0
            self.operations: list[Operation] = []
            self._held: dict[int, weakref.ref[Any]] = {}

        def begin(self) -> None:
            self.peak, self.operations = self.alive, []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            given, made = list(_tensors((args, kwargs or {}))), list(_tensors(out))
            old = {id(one.untyped_storage()) for one in given}
            fresh = any(id(one.untyped_storage()) not in old for one in made)
            if fresh or func._schema.is_mutable:
                moved = sum(map(_extent, given)) + sum(map(_extent, made))
                half = any(one.dtype in (torch.bfloat16, torch.float16) for one in given)
                self.operations.append(Operation(_flops(func, args, kwargs or {}, out), moved, half))
            for one in made:
                self._hold(one.untyped_storage())
            return out

        def _hold(self, storage: Any) -> None:
            key = id(storage)
            if key in self._held:
                return
            size = storage.nbytes()

            def gone(_: Any) -> None:
                del self._held[key]
                self.alive -= size

            self._held[key] = weakref.ref(storage, gone)
            self.alive += size
            self.peak = max(self.peak, self.alive)

    return Ledger()


def _tensors(values: Any) -> Iterator[Tensor]:
    """Tensors in nested sequences and mappings."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _extent(tensor: Tensor) -> int:
    """Bytes that a tensor covers; an expanded one covers its storage once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum({id(one.untyped_storage()): one.untyped_storage().nbytes() for one in tensors}.values())


def _flops(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Floating-point operations, two a multiplication and addition, by torch's own table."""
    if func.name().startswith(_ATTENTION):
        query, key = (args[1], args[2]) if "backward" in func.name() else (args[0], args[1])
        batch, heads, rows, width = query.shape
        once = 4 * batch * heads * rows * key.shape[2] * width  # two products
        return int(once * 5 // 2 if "backward" in func.name() else once)  # five, the first of them again
    formula = flop_registry.get(func.overloadpacket)
    return int(formula(*args, **kwargs, out_val=out)) if formula is not None else 0
