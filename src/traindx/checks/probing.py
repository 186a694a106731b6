"""What the exams of models share: a quiet room, a model with awake zero-initialised parts, one sample, one call."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.errors import CaseError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case
    from traindx.checks.base import ExamRoom


@contextmanager
def undisturbed(seed: int = 0) -> Iterator[None]:
    """Seed torch, numpy and ``random``, and leave all three as they were found."""
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a model in training or evaluation mode and give every submodule its own mode back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def awake_model(room: ExamRoom) -> nn.Module:
    """A fresh model in evaluation mode whose zero-initialised layers and gates are drawn again; shared by all exams.

    Heads, adaptive-norm gates, residual branches and learned skips often start at zero, on purpose. What such a model
    *can* pass on is only seen when they are awake. Never trained, never the model that a trial uses.
    """

    def make() -> nn.Module:
        model = room.fresh_model()
        with undisturbed(room.seed):
            wake(model)
        return model.eval()

    return room.once("awake model", make)


def other_awake_model(room: ExamRoom) -> nn.Module:
    """The same drawn from another seed: where its answers differ is what the learned part of the network says."""

    def make() -> nn.Module:
        with undisturbed(room.seed + 1):
            model = room.case.model().to(room.case.device)
            wake(model)
        return model.eval()

    return room.once("other awake model", make)


def wake(model: nn.Module) -> int:
    """Draw again, in place, every parameter that starts at (almost) zero on purpose; returns how many there were.

    Ordinary zero biases stay. Weights get the usual variance 1/fan-in; gates and learned gains are of order one half.
    "Almost" is a root mean square below 2 % of 1/sqrt(fan-in), which covers the gains of 1e-5 that some codebases use
    instead of zero.
    """
    import torch

    woken = 0
    with torch.no_grad():
        for module in model.modules():
            is_norm = "norm" in type(module).__name__.lower()
            own = dict(module.named_parameters(recurse=False))
            for name, parameter in own.items():
                if not parameter.is_floating_point() or parameter.numel() == 0:
                    continue
                sizes = [size for size in parameter.shape if size > 1]
                level = float(parameter.float().square().mean().sqrt())
                if len(sizes) >= 2:
                    fan_in = max(1, parameter[0].numel())
                    if level < 0.02 * fan_in**-0.5:
                        parameter.normal_(0, fan_in**-0.5)
                        woken += 1
                elif "bias" in name.lower():
                    continue
                elif is_norm:
                    if level == 0:  # zero-gamma of a residual branch
                        parameter.fill_(1.0)
                        woken += 1
                elif level < 0.02:  # ReZero, LayerScale, learned gains of a skip
                    parameter.copy_(0.5 + 0.25 * torch.rand_like(parameter))
                    woken += 1
    return woken


def rows_of(value: Any, rows: slice | list[int], size: int) -> Any:
    """The chosen samples of a batch: every tensor, list and tuple of ``size`` entries is cut, the rest is kept."""
    import torch

    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim and value.shape[0] == size else value
    if isinstance(value, Mapping):
        return {key: rows_of(item, rows, size) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == size and not any(isinstance(item, torch.Tensor) for item in value):
            return value[rows] if isinstance(rows, slice) else type(value)(value[row] for row in rows)
        parts = [rows_of(item, rows, size) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """All floating-point tensors in a nested structure, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def part_of(batch: Any, key: str) -> Any:
    """A part of a batch by its key; numbers name parts of tuples and lists. None where there is no such part."""
    if isinstance(batch, Mapping):
        return batch.get(key)
    if isinstance(batch, list | tuple) and str(key).isdigit() and int(key) < len(batch):
        return batch[int(key)]
    return getattr(batch, str(key), None)


def with_part(batch: Any, key: str, value: Any) -> Any:
    """A shallow copy of a batch with one part replaced."""
    if isinstance(batch, Mapping):
        return {**batch, key: value}
    if isinstance(batch, list | tuple):
        parts = [value if str(i) == str(key) else item for i, item in enumerate(batch)]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    changed = copy.copy(batch)
    setattr(changed, str(key), value)
    return changed


def flat(tensors: list[Tensor]) -> Tensor:
    """All values of some tensors in one vector of 32-bit floats."""
    import torch

    return torch.cat([tensor.detach().float().flatten() for tensor in tensors])


@contextmanager
def listening(network: nn.Module) -> Iterator[list[Any]]:
    """The outputs of every call of a network, in order of the calls."""
    heard: list[Any] = []
    handle = network.register_forward_hook(lambda module, args, output: heard.append(output))
    try:
        yield heard
    finally:
        handle.remove()


def network_of(case: Case, model: nn.Module) -> nn.Module:
    """The module whose output the loss judges: the denoiser of a diffusion case, else the model itself."""
    return case.diffusion.network(model) if case.diffusion is not None else model


ENOUGH = 100_000  # numbers in a batch; more samples than that holds add time and no insight


@dataclass
class NetworkProbe:
    """One sample and a way to call the network on it, with any part replaced.

    Attributes:
        batch: One training sample, as a batch of one where the batch can be cut.
        other: Another sample of the same form, or None where there is only one.
        x_t: Noised target of a diffusion case, at the timestep with alpha bar nearest one half; else None.
        t: That timestep, shape ``(1,)``.
        noise: The noise in ``x_t``.
        call: ``(model, batch, x_t, t) -> outputs``.
    """

    case: Case
    batch: Any
    other: Any | None
    x_t: Tensor | None
    t: Tensor | None
    noise: Tensor | None
    call: Callable[[nn.Module, Any, Tensor | None, Tensor | None], list[Tensor]]

    def outputs(
        self,
        model: nn.Module,
        *,
        batch: Any = None,
        x_t: Tensor | None = None,
        t: Tensor | None = None,
        seed: int = 0,
    ) -> list[Tensor]:
        """Outputs of the network (without gradient, with the same seed each time), parts replaced where given."""
        import torch

        with undisturbed(seed), torch.no_grad():
            return self.call(
                model,
                self.batch if batch is None else batch,
                self.x_t if x_t is None else x_t,
                self.t if t is None else t,
            )


def network_probe(room: ExamRoom) -> NetworkProbe:
    """The probe of a case, made once.

    A diffusion case is probed through ``diffusion.denoise``. Any other case is probed by listening to its model while
    the loss is computed (the path that trains), or through ``predict`` where the loss does not call the model itself.

    Raises:
        CaseError: There is neither a denoiser, nor a loss that calls the model, nor a prediction path.
    """
    return room.once("network probe", lambda: _make_probe(room))


def _make_probe(room: ExamRoom) -> NetworkProbe:
    import torch

    case, model = room.case, awake_model(room)
    batch, other = two_samples(room)
    if case.diffusion is not None and case.target is not None:
        diffusion = case.diffusion
        x0 = room.target(batch)
        alphas = diffusion.alphas_cumprod.detach().to(x0)
        middle = int((alphas - 0.5).abs().argmin())
        with undisturbed(room.seed):
            noise = torch.randn_like(x0)
        x_t = alphas[middle].sqrt() * x0 + (1 - alphas[middle]).sqrt() * noise
        t = torch.full((len(x0),), middle, dtype=torch.long, device=x0.device)

        def call_denoiser(model: nn.Module, batch: Any, x_t: Tensor | None, t: Tensor | None) -> list[Tensor]:
            assert x_t is not None
            assert t is not None
            return tensors_in(diffusion.denoise(model, x_t, t, batch))

        return NetworkProbe(case, batch, other, x_t, t, noise, call_denoiser)

    def call_in_loss(model: nn.Module, batch: Any, x_t: Tensor | None, t: Tensor | None) -> list[Tensor]:
        with listening(model) as heard:
            case.loss_terms(model, batch)
        return tensors_in(heard)

    def call_predict(model: nn.Module, batch: Any, x_t: Tensor | None, t: Tensor | None) -> list[Tensor]:
        return tensors_in(case.prediction(model, batch))

    if case.loss is not None:
        with undisturbed(0), torch.no_grad():
            if call_in_loss(model, batch, None, None):
                return NetworkProbe(case, batch, other, None, None, None, call_in_loss)
    if case.predict is None:
        raise CaseError(
            f"case {case.name!r} shows no call of its network",
            expected="a loss that calls `model(...)`, or predict=",
        )
    return NetworkProbe(case, batch, other, None, None, None, call_predict)


def modest_batch(room: ExamRoom, number: int = 0) -> Any:
    """A training batch with no more samples than an exam needs, and at least two (batch normalisation wants them).

    Args:
        room: The room.
        number: Which batch; wraps around the first two.
    """
    try:
        batches = room.batches(2, "train") if number else [room.batch("train")]
    except CaseError:
        batches = [room.batch("train")]
    batch = batches[number % len(batches)]
    size = batch_size(room.case, batch)
    each = max(1, sum(tensor.numel() for tensor in tensors_in(batch)) // max(1, size))
    rows = max(2, min(size, ENOUGH // each))
    return rows_of(batch, slice(0, rows), size) if rows < size else batch


def two_samples(room: ExamRoom) -> tuple[Any, Any | None]:
    """Two different training samples as batches of one; a batch that cannot be cut is used as it is."""
    first = room.batch("train")
    size = batch_size(room.case, first)
    if size > 1:
        one, two = rows_of(first, slice(0, 1), size), rows_of(first, slice(1, 2), size)
        if batch_size(room.case, one) == 1:
            return one, two
    try:
        batches = room.batches(2, "train")
    except CaseError:
        return first, None
    if len(batches) > 1 and batch_size(room.case, batches[1]) == size:
        return first, batches[1]
    return first, None


def batch_size(case: Case, batch: Any) -> int:
    """Number of samples: first axis of the target, or of the first tensor."""
    if case.target is not None:
        return int(case.target(batch).shape[0])
    tensors = tensors_in(batch)
    return int(tensors[0].shape[0]) if tensors and tensors[0].ndim else 1
