"""Listening to the calls of a network, and standing in for it.

The checks of diffusion cases replace the ``forward`` of one module instance for the time of a run. Whatever calls that
module, through hooks, wrappers or directly, gets the stand-in; weights, hooks and modes stay as they are.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import TYPE_CHECKING, Any

from traindx.core.frames import location, user_places

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Diffusion
    from traindx.finding import Location

Key = int | str

_TIME_NAMES = ("t", "time", "times", "timestep", "timesteps", "time_steps", "sigma", "noise_level", "log_snr")


class UnexaminedError(Exception):
    """Something cannot be examined, and why. Becomes a ``NotExamined`` record, never a finding."""

    def __init__(self, reason: str, where: Location | None = None) -> None:
        self.where = where
        super().__init__(reason)


@contextmanager
def stand_in(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace ``module.forward`` on this instance for the time of the block."""
    own = vars(module)
    before = own.get("forward", None)
    object.__setattr__(module, "forward", forward)
    try:
        yield
    finally:
        if before is None:
            own.pop("forward", None)
        else:
            object.__setattr__(module, "forward", before)


@dataclass(frozen=True)
class Layout:
    """Which arguments of the network are the noisy image and the time.

    Attributes:
        image: Position or keyword.
        channels: Part of that argument's axis 1 which is the noisy image (conditions may be concatenated to it).
        time: Position or keyword; None where nothing looks like a time.
        read: The case's own reader, which wins over the rest.
    """

    image: Key = 0
    channels: tuple[int, int] | None = None
    time: Key | None = 1
    read: Callable[[tuple[Any, ...], dict[str, Any]], tuple[Tensor, Any]] | None = None

    def x_t(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The noisy image of a call."""
        if self.read is not None:
            return self.read(args, kwargs)[0]
        value: Tensor = _get(args, kwargs, self.image)
        return value if self.channels is None else value[:, self.channels[0] : self.channels[1]]

    def time_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The time argument of a call, as it was passed."""
        if self.read is not None:
            return self.read(args, kwargs)[1]
        return None if self.time is None else _get(args, kwargs, self.time)


@dataclass
class RecordedCall:
    """What is remembered of a call: enough to tell the noisy image and the time from the conditions."""

    prints: dict[Key, Tensor] = field(default_factory=dict)
    times: dict[Key, Tensor] = field(default_factory=dict)
    shapes: dict[Key, tuple[int, ...]] = field(default_factory=dict)
    batch: int = 1
    stack: tuple[tuple[CodeType, int], ...] = ()


def survey(calls: Sequence[RecordedCall], shape: Sequence[int] | None, diffusion: Diffusion) -> Layout:
    """Tell the noisy image and the time from the conditions by shape, name and what changes between calls.

    Args:
        calls: Calls in order, from a run in which the noisy image and the time change.
        shape: Shape of a target batch; None if unknown.
        diffusion: For its ``read_call``.

    Raises:
        UnexaminedError: Nothing looks like a noisy image.
    """
    if diffusion.read_call is not None:
        return Layout(read=diffusion.read_call)
    if not calls:
        raise UnexaminedError("the network was never called")
    first = calls[0]
    where = location(*first.stack[0]) if first.stack else None
    images = _image_candidates(first, shape)
    if not images:
        seen = ", ".join(f"{key}: {size}" for key, size in first.shapes.items()) or "no tensor"
        raise UnexaminedError(
            f"none of the network's arguments has the shape of the target ({seen}); give Diffusion.read_call", where
        )
    # The noisy image changes at every step; a condition does not, or alternates (guidance). max() keeps the first of
    # equals.
    image, channels = max(images, key=lambda item: _distinct(calls, *item))
    times = [key for key in first.times if key != image]
    named = [key for key in times if isinstance(key, str) and key.lower() in _TIME_NAMES]
    moving = [key for key in times if len({tuple(call.times[key].tolist()) for call in calls if key in call.times}) > 1]
    chosen = [key for key in named if key in moving] or moving or named or times
    return Layout(image, channels, chosen[0] if chosen else None)


def _image_candidates(call: RecordedCall, shape: Sequence[int] | None) -> list[tuple[Key, tuple[int, int] | None]]:
    """Arguments that may hold the noisy image, best first, with the channels that may be it."""
    tensors = [(key, size) for key, size in call.shapes.items() if len(size) >= 3]
    if shape is None:
        return [(key, None) for key, _ in tensors]
    exact: list[tuple[Key, tuple[int, int] | None]] = [
        (key, None) for key, size in tensors if tuple(size[1:]) == tuple(shape[1:])
    ]
    wide: list[tuple[Key, tuple[int, int] | None]] = []
    for key, size in tensors:
        if len(size) == len(shape) and tuple(size[2:]) == tuple(shape[2:]) and size[1] > shape[1]:
            wide += [(key, (0, shape[1])), (key, (size[1] - shape[1], size[1]))]
    return exact + wide


def _distinct(calls: Sequence[RecordedCall], key: Key, channels: tuple[int, int] | None) -> int:
    """How many different values the (part of the) argument had over the calls."""
    seen = set()
    for call in calls:
        if key in call.prints:
            values = call.prints[key]
            part = values if channels is None else values[channels[0] : channels[1]]
            seen.add(part.numpy().tobytes())
    return len(seen)


def remember(args: tuple[Any, ...], kwargs: dict[str, Any]) -> RecordedCall:
    """Remember the shapes, a few values of each channel, and everything that may be a time."""
    import torch

    items: dict[Key, Any] = dict(enumerate(args))
    items.update(kwargs)
    call = RecordedCall(stack=user_places(sys._getframe(1)))
    images = [value for value in items.values() if isinstance(value, torch.Tensor) and value.ndim >= 3]
    call.batch = int(images[0].shape[0]) if images else 1
    for key, value in items.items():
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            call.times[key] = torch.tensor([float(value)], dtype=torch.float64)
        elif isinstance(value, torch.Tensor):
            call.shapes[key] = tuple(value.shape)
            if value.ndim >= 3 and value.is_floating_point():
                call.prints[key] = value.detach()[0].flatten(1)[:, :16].double().cpu().clone()
            if value.numel() in (1, call.batch) and value.dtype != torch.bool and not value.is_complex():
                call.times[key] = time_values(value)
    return call


def time_values(value: Any) -> Tensor:
    """A time argument as a vector of 64-bit floats on the CPU, one value a sample or one for all."""
    import torch

    tensor = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(value)
    return tensor.reshape(-1).double().cpu().clone()  # a loop may count down in place


def _get(args: tuple[Any, ...], kwargs: dict[str, Any], key: Key) -> Any:
    if isinstance(key, int):
        if key < len(args):
            return args[key]
        raise UnexaminedError(
            f"the network is called with {len(args)} positional arguments here and with more elsewhere"
        )
    if key in kwargs:
        return kwargs[key]
    raise UnexaminedError(f"the network is called without {key!r} here and with it elsewhere")


@dataclass(frozen=True)
class OutputForm:
    """The structure that a network returns, so that a stand-in returns the same.

    Attributes:
        example: One real output; None for a plain tensor.
        key: Where in it the prediction is; None for a plain tensor.
        extra_channels: Channels behind the prediction, for example a learned variance.
    """

    example: Any = None
    key: Key | None = None
    extra_channels: int = 0

    def dress(self, prediction: Tensor) -> Any:
        """Put a prediction where the network would have put it."""
        import torch

        if self.extra_channels:
            zeros = prediction.new_zeros((prediction.shape[0], self.extra_channels, *prediction.shape[2:]))
            prediction = torch.cat((prediction, zeros), dim=1)
        if self.key is None:
            return prediction
        if isinstance(self.example, tuple):
            values = [prediction if index == self.key else value for index, value in enumerate(self.example)]
            return type(self.example)(*values) if hasattr(self.example, "_fields") else tuple(values)
        if isinstance(self.example, list):
            return [prediction if index == self.key else value for index, value in enumerate(self.example)]
        if hasattr(self.example, "__dataclass_fields__"):  # outputs of diffusers and transformers
            return replace(self.example, **{str(self.key): prediction})
        dressed = copy.copy(self.example)
        if isinstance(dressed, Mapping):
            dressed[self.key] = prediction  # type: ignore[index]
        else:
            setattr(dressed, str(self.key), prediction)
        return dressed


def prediction_in(output: Any, shape: Sequence[int]) -> Tensor:
    """The prediction itself, of the target's channels, out of whatever a network returns."""
    form = output_form(output, shape)
    value = output
    if form.key is not None:
        key: Any = form.key
        value = output[key] if isinstance(output, tuple | list | Mapping) else getattr(output, key)
    found: Tensor = value[:, : shape[1]]
    return found


def output_form(output: Any, shape: Sequence[int]) -> OutputForm:
    """Find the prediction in a network's output: a tensor of the target's shape, or with more channels."""
    import torch

    def extra(value: Any) -> int | None:
        same = (
            isinstance(value, torch.Tensor) and value.ndim == len(shape) and tuple(value.shape[2:]) == tuple(shape[2:])
        )
        return value.shape[1] - shape[1] if same and value.shape[1] >= shape[1] else None

    if isinstance(output, torch.Tensor):
        # More channels than twice are no learned variance; what a sampler does with them is its own affair.
        return OutputForm(extra_channels=extra(output) or 0)
    if isinstance(output, tuple | list):
        items: list[tuple[Key, Any]] = list(enumerate(output))
    elif isinstance(output, Mapping):
        items = list(output.items())
    else:
        items = list(vars(output).items()) if hasattr(output, "__dict__") else []
    for key, value in items:
        found = extra(value)
        if found is not None:
            return OutputForm(output, key, found)
    return OutputForm()


def blank(args: tuple[Any, ...], kwargs: dict[str, Any], shape: Sequence[int] | None) -> Tensor:
    """Zeros in the form of a prediction for a call whose layout is not known yet.

    Raises:
        UnexaminedError: The call has no image-like tensor.
    """
    import torch

    images = [
        value
        for value in (*args, *kwargs.values())
        if isinstance(value, torch.Tensor) and value.ndim >= 3 and value.is_floating_point()
    ]
    if not images:
        raise UnexaminedError("the network is called without an image-like tensor")
    if shape is None:
        return torch.zeros_like(images[0])
    fitting = [value for value in images if tuple(value.shape[2:]) == tuple(shape[2:])] or images
    return fitting[0].new_zeros((fitting[0].shape[0], *shape[1:]))


def dtype_name(value: Any) -> str:
    """``float32`` for tensors, the Python type for numbers."""
    import torch

    return str(value.dtype).removeprefix("torch.") if isinstance(value, torch.Tensor) else type(value).__name__


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of a tensor; empty for a number."""
    import torch

    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
