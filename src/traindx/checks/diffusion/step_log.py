"""What happens between two calls of the network: every line's value at a few voxels, fresh noise, and clamps.

A :class:`~torch.overrides.TorchFunctionMode` sees every torch operation of a sampling loop, the user's and the
libraries'. It changes nothing, draws nothing and keeps only a few values.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from traindx.core.frames import is_user_file, user_frame

Place = tuple[CodeType, int]

_RANDOM = frozenset({"randn", "randn_like", "normal", "normal_"})
_CLAMPS = frozenset(
    {"clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "hardtanh", "hardtanh_"}
)
EVENT_VOXELS = 96
"""Voxels whose value is kept for every operation: enough to tell the coefficients of x, the output and two noises."""


@dataclass(frozen=True)
class Event:
    """The result of one operation on an image-sized tensor.

    Attributes:
        place: The user's line that it happened at, or inside a library call on.
        library: True if it happened inside a library.
        values: At the first :data:`EVENT_VOXELS` judged voxels.
    """

    place: Place
    library: bool
    values: Tensor


@dataclass(frozen=True)
class ClampEvent:
    """A clamp of an image-sized tensor: bounds, and values before and after at all judged voxels."""

    place: Place
    library: bool
    low: float
    high: float
    before: Tensor
    after: Tensor


@dataclass
class Segment:
    """Everything between one call of the network and the next."""

    events: list[Event] = field(default_factory=list)
    clamps: list[ClampEvent] = field(default_factory=list)
    noises: list[Tensor] = field(default_factory=list)

    def last_by_line(self) -> dict[Place, Event]:
        """The last value that each of the user's own lines computed, in the order in which the lines finished."""
        last: dict[Place, Event] = {}
        for event in self.events:
            last.pop(event.place, None)
            last[event.place] = event
        return last


class StepLog(TorchFunctionMode):
    """Logs image-sized results between network calls.

    Args:
        voxels: Flat indices of the judged voxels.

    Attributes:
        segments: One before the first network call, then one after each.
        size: Number of elements of x; nothing is logged before it is set.
        paused: True while the network (or its stand-in) runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.segments: list[Segment] = [Segment()]
        self.size = 0
        self.voxels: Tensor | None = None
        self.paused = False

    def watch(self, size: int, voxels: Tensor) -> None:
        """From now on log tensors of this many elements, at these voxels."""
        self.size, self.voxels = size, voxels

    def next_segment(self) -> None:
        """The network was called: what follows belongs to the next step."""
        self.segments.append(Segment())

    def __torch_function__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused or self.voxels is None:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        is_clamp = name in _CLAMPS and bool(args) and self._is_image(args[0])
        before = self._pick(args[0]) if is_clamp else None
        result = func(*args, **kwargs)
        if self._is_image(result):
            self._note(name, result, before, args, kwargs, sys._getframe(1))
        return result

    def _is_image(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.numel() == self.size and value.is_floating_point()

    def _pick(self, value: Tensor, count: int | None = None) -> Tensor:
        assert self.voxels is not None
        voxels = self.voxels if count is None else self.voxels[:count]
        picked: Tensor = value.detach().reshape(-1)[voxels.to(value.device)].double().cpu()
        return picked

    def _note(
        self,
        name: str,
        result: Tensor,
        before: Tensor | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        frame: FrameType,
    ) -> None:
        segment = self.segments[-1]
        if name in _RANDOM:
            segment.noises.append(self._pick(result))
        user = user_frame(frame)
        if user is None:
            return
        place = (user.f_code, user.f_lineno)
        library = _inside_library(frame, user)
        segment.events.append(Event(place, library, self._pick(result, EVENT_VOXELS)))
        if before is not None:
            low, high = clamp_bounds(name, args, kwargs)
            segment.clamps.append(ClampEvent(place, library, low, high, before, self._pick(result)))


def _inside_library(frame: FrameType, user: FrameType) -> bool:
    """True if a library other than torch lies between the operation and the user's line."""
    current: FrameType | None = frame
    while current is not None and current is not user:
        name = current.f_code.co_filename
        if not is_user_file(name) and f"{'/'}torch{'/'}" not in name.replace("\\", "/"):
            return True
        current = current.f_back
    return False


def clamp_bounds(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[float, float]:
    """Bounds of a clamp call; tensors of bounds give their widest values; infinite where there is none."""
    values = list(args[1:])
    if "clamp_min" in name:
        low, high = kwargs.get("min", values[0] if values else None), None
    elif "clamp_max" in name:
        low, high = None, kwargs.get("max", values[0] if values else None)
    else:
        defaults = (-1.0, 1.0) if "hardtanh" in name else (None, None)
        low = kwargs.get("min", kwargs.get("min_val", values[0] if values else defaults[0]))
        high = kwargs.get("max", kwargs.get("max_val", values[1] if len(values) > 1 else defaults[1]))
    return _number(low, -math.inf, smallest=True), _number(high, math.inf, smallest=False)


def _number(value: Any, missing: float, *, smallest: bool) -> float:
    if value is None:
        return missing
    if isinstance(value, Tensor):
        return float(value.detach().min() if smallest else value.detach().max())
    return float(value)


def pick_voxels(size: int, count: int, seed: int = 8_820_341) -> Tensor:
    """Flat indices of ``count`` different voxels out of ``size``, in random order."""
    generator = torch.Generator().manual_seed(seed)
    if size <= 2**22:
        return torch.randperm(size, generator=generator)[:count]
    drawn: Tensor = torch.unique(torch.randint(0, size, (2 * count,), generator=generator))
    return drawn[torch.randperm(len(drawn), generator=generator)][:count]
