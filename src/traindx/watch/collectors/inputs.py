"""What goes into a network: range of every channel, and time-like arguments, by phase."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed import InputSeen, ObservedTime
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import array_range, has_values, sample
from traindx.watch.runtime.structure import items, members
from traindx.watch.runtime.watch import Collector, Watch

MOST_CHANNELS = 16
MOST_DISTINCT = 17


@dataclass
class _Input:
    place: CallPlace
    argument: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    lows: list[list[float]] = field(default_factory=list)
    highs: list[list[float]] = field(default_factory=list)
    distinct: list[int] = field(default_factory=list)
    nonfinite: int = 0
    calls: int = 0


@dataclass
class _Time:
    place: CallPlace
    argument: str
    values: set[float] = field(default_factory=set)
    low: float = math.inf
    high: float = -math.inf
    integer: bool = True
    dtype: str = ""
    last: float | None = None
    changes: int = 0
    within: int = 0  # of these, those between two calls on one batch, as in the loop of a sampler
    batch: tuple[int, int] = (0, 0)
    per_call: int = 0


class Inputs(Collector):
    """Looks at the arguments of outermost networks."""

    subject = "network inputs"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self.bursts = Bursts(dense=3, ratio=1.7)
        self._inputs: dict[tuple[Any, ...], _Input] = {}
        self._times: dict[tuple[Any, ...], _Time] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._look)

    def _look(self, call: Call) -> None:
        tensor = self.watch.torch.Tensor
        looked = self.bursts.wanted(call.place.key)
        for name, value in arguments(call):
            if is_time_like(value, tensor):
                self._time(call, name, value)
            elif looked and isinstance(value, tensor) and is_readable(value):
                self._range(call, name, value)

    def _range(self, call: Call, name: str, value: Any) -> None:
        entry = self._inputs.setdefault((*call.place.key, name), _Input(call.place, name))
        entry.calls += 1
        entry.shape = tuple(value.shape)
        entry.dtype = str(value.dtype).removeprefix("torch.")
        channels = value.shape[1] if value.dim() >= 3 else 1
        if channels > MOST_CHANNELS:
            channels = 1
        lows, highs, distinct = [], [], []
        for index in range(channels):
            part = value.select(1, index) if channels > 1 else value
            data = sample(part, 2048).numpy()
            seen = array_range(data, MOST_DISTINCT - 1)
            lows.append(seen.low)
            highs.append(seen.high)
            distinct.append(len(seen.values) or count_distinct(data))
            entry.nonfinite += seen.nonfinite
        entry.lows.append(lows)
        entry.highs.append(highs)
        entry.distinct = [max(pair) for pair in zip(entry.distinct or distinct, distinct, strict=False)]

    def _time(self, call: Call, name: str, value: Any) -> None:
        if isinstance(value, bool):
            return
        key = (*call.place.key, name)
        loader = self.networks.loaders.last
        batch = (id(loader), loader.read) if loader is not None else (0, 0)
        entry = self._times.setdefault(key, _Time(call.place, name))
        numbers = [float(value)] if isinstance(value, int | float) else value.detach().reshape(-1)[:64].float().tolist()
        entry.dtype = type(value).__name__ if isinstance(value, int | float) else str(value.dtype)
        for number in numbers:
            if len(entry.values) < 64:
                entry.values.add(number)
            entry.low, entry.high = min(entry.low, number), max(entry.high, number)
            entry.integer = entry.integer and float(number).is_integer()
        entry.per_call = max(entry.per_call, len(set(numbers)))
        constant = len(set(numbers)) == 1
        if constant and entry.last is not None and numbers[0] != entry.last:
            entry.changes += 1
            entry.within += batch == entry.batch  # a label changes with the batch, and is no time
            if entry.within >= 2 and not call.grad:
                call.place.time_changes = True
        entry.last, entry.batch = numbers[0], batch

    def records(self) -> Iterable[Record]:
        """Ranges and times."""
        for entry in self._inputs.values():
            width = min(len(row) for row in entry.lows)
            yield InputSeen(
                network=entry.place.network,
                argument=entry.argument,
                where=self.watch.shown(entry.place.site, entry.place.made),
                phase=self.networks.phase(entry.place),
                shape=entry.shape,
                dtype=entry.dtype,
                low=tuple(least(row[i] for row in entry.lows) for i in range(width)),
                high=tuple(-least(-row[i] for row in entry.highs) for i in range(width)),
                distinct=tuple(entry.distinct[:width]),
                nonfinite=entry.nonfinite,
                calls=entry.calls,
                step=self.watch.iteration,
            )
        for time in self._times.values():
            if time.values:
                yield ObservedTime(
                    network=time.place.network,
                    argument=time.argument,
                    where=self.watch.shown(time.place.site, time.place.made),
                    phase=self.networks.phase(time.place),
                    low=time.low,
                    high=time.high,
                    distinct=len(time.values),
                    integer=time.integer,
                    dtype=time.dtype,
                    per_call=time.per_call,
                    in_a_row=time.place.longest_burst,
                    step=self.watch.iteration,
                )


def arguments(call: Call) -> Iterator[tuple[str, Any]]:
    """Arguments of a call by position or name; one level of mappings and lists is opened."""
    for name, value in (*((str(i), v) for i, v in enumerate(call.args)), *call.kwargs.items()):
        if isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", item) for key, item in items(value))
        elif isinstance(value, list | tuple):
            yield from ((f"{name}[{index}]", item) for index, item in enumerate(members(value)[:8]))
        else:
            yield name, value


def is_time_like(value: Any, tensor: type) -> bool:
    """A number, or a tensor with one number a sample."""
    if isinstance(value, int | float):
        return not isinstance(value, bool)
    if not isinstance(value, tensor):
        return False
    if not has_values(value) or value.is_quantized:  # type: ignore[attr-defined]
        return False
    shape = value.shape  # type: ignore[attr-defined]
    return len(shape) == 0 or len(shape) == 1 or all(size == 1 for size in shape[1:])


def is_readable(tensor: Any) -> bool:
    """More than one real number, to be read without running anybody's code."""
    return (
        has_values(tensor)
        and not tensor.is_quantized
        and str(tensor.layout) == "torch.strided"
        and tensor.numel() > 1
        and not tensor.is_complex()
    )


def count_distinct(data: Any) -> int:
    """Distinct values of a sample, at most :data:`MOST_DISTINCT`."""
    import numpy as np

    return min(MOST_DISTINCT, int(np.unique(data[:256]).size))


def least(values: Iterable[float]) -> float:
    """Smallest finite value, NaN of none."""
    return min((value for value in values if math.isfinite(value)), default=math.nan)
