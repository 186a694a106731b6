"""Calls of a network that differ in one argument alone, one after the other: does their output differ?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_calls import ArgumentTried
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import items, members
from traindx.watch.runtime.watch import Collector, Watch

MOST_CALLS = 200  # of a network that are looked at
PROBED = 512  # values of an argument
WHOLE = 1 << 18  # values of an output: a condition may act in one place


@dataclass
class _Argument:
    network: str
    name: str
    site: CallSite
    values: tuple[str, str]
    pairs: int = 0
    same: int = 0


class RepeatedCalls(Collector):
    """Compares calls without gradients with the call of the same network before."""

    subject = "calls that differ in one argument"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._last: dict[int, tuple[dict[str, Any], bytes, CallSite]] = {}
        self._count: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._seen: dict[tuple[str, str], _Argument] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)

    def begin(self) -> None:
        """Weights may have changed in between."""
        self._last.clear()

    def _called(self, call: Call) -> None:
        if call.grad or self._count.get(call.network, 0) >= MOST_CALLS:
            return
        self._count[call.network] = self._count.get(call.network, 0) + 1
        if any(self.watch.would_wait(one) for one in self._tensors((call.args, call.kwargs, call.output))):
            return
        given = {f"argument {number + 1}": value for number, value in enumerate(members(call.args))}
        given |= dict(items(call.kwargs))
        told = {name: self._print(value) for name, value in given.items()}
        output = b"".join(self._bytes(one, WHOLE) for one in self._tensors(call.output))
        before, self._last[id(call.network)] = self._last.get(id(call.network)), (told, output, call.site)
        if before is None or not output or len(told) < 2 or set(before[0]) != set(told):
            return
        other = [name for name in told if told[name] != before[0][name]]
        if len(other) != 1:
            return
        old, new = before[0][other[0]], told[other[0]]
        if old is None or new is None or type(old) is not type(new):  # what could not be read, or is no choice
            return
        name = type(call.network).__name__
        shown = (str(old), str(new)) if isinstance(old, float) else ("", "")
        entry = self._seen.setdefault((name, other[0]), _Argument(name, other[0], before[2], shown))
        entry.pairs += 1
        entry.same += output == before[1]

    def _print(self, value: Any) -> Any:
        """A number as it is, a tensor as its bytes; masks and what is no value of either kind as nothing to vary."""
        if isinstance(value, self.watch.torch.Tensor):
            two = value.dtype is self.watch.torch.bool or bool(((sample(value, PROBED) * 2 - 1).abs() == 1).all())
            return ("mask", self._bytes(value)) if two else self._bytes(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ("other", repr(value)[:200]) if isinstance(value, str | bool) else None
        return float(value)

    def _bytes(self, tensor: Any, count: int = PROBED) -> bytes:
        data: bytes = sample(tensor, count).contiguous().numpy().tobytes()
        return repr(tuple(tensor.shape)).encode() + data

    def _tensors(self, value: Any, depth: int = 0) -> Iterator[Any]:
        if isinstance(value, self.watch.torch.Tensor):
            yield value
        elif depth < 3 and isinstance(value, list | tuple):
            for one in members(value):
                yield from self._tensors(one, depth + 1)
        elif depth < 3 and isinstance(value, dict):
            for _, one in items(value):
                yield from self._tensors(one, depth + 1)

    def records(self) -> Iterable[Record]:
        """One record an argument of a network."""
        for one in self._seen.values():
            yield ArgumentTried(
                network=one.network,
                argument=one.name,
                values=one.values,
                pairs=one.pairs,
                same=one.same,
                where=self.watch.shown(one.site),
                step=self.watch.iteration,
            )
