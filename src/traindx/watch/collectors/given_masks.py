"""Masks that a network is given beside padded sequences: do they ever hide the padding?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_evaluation import MaskGiven
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.probes.captured import parameter_names
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

MAKES = frozenset({"ones", "ones_like", "full", "full_like", "new_ones", "new_full", "zeros", "zeros_like"})
KEEPS = frozenset({"to", "bool", "int", "long", "float", "cpu", "contiguous", "clone"})
MOST_MADE = 2048
LEAST_RUN = 2  # steps at the end that are alike; one may be the mark of an end


@dataclass
class _Argument:
    site: CallSite
    network: str
    argument: str
    sequence: str = ""
    calls: int = 0
    padded: int = 0
    constant: int = 0
    made: CallSite | None = None


class GivenMasks(Collector):
    """Looks at arguments named for a mask, beside one with sequences of the same number of steps."""

    subject = "masks that networks are given"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.bursts = Bursts(6, 2.0)
        self._made: dict[int, tuple[Any, CallSite]] = {}
        self._seen: dict[tuple[CallSite, str], _Argument] = {}

    def install(self) -> None:
        """Subscribe."""
        self.watch.weak_tables.append(self)
        self.calls.on_any(self, self._any)
        self.networks.on_call(self, self._called)

    def clear(self) -> None:
        """Hold no weak reference to any tensor any more."""
        self._made.clear()

    def pop(self, tensor: Any, default: Any = None) -> None:
        """Hold no weak reference to a tensor any more."""
        self._made.pop(id(tensor), None)

    def _any(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        name = getattr(func, "__name__", "")
        if (name not in MAKES and name not in KEEPS) or self.networks.depth or self.watch.busy:
            return
        if not isinstance(out, self.watch.torch.Tensor) or out.dim() != 2:
            return
        site = here() if name in MAKES else self._made_at(args[0]) if args else None
        if site is None:
            return
        if len(self._made) >= MOST_MADE:
            self._made.clear()
        self._made[id(out)] = (self.watch.torch.utils.weak.TensorWeakRef(out), site)

    def _made_at(self, tensor: Any) -> CallSite | None:
        entry = self._made.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def _called(self, call: Call) -> None:
        tensor = self.watch.torch.Tensor
        if not any("mask" in name.lower() for name in call.kwargs) and len(call.args) < 2:
            return
        names = parameter_names(call.network)
        named = dict(zip(names, call.args, strict=False)) | call.kwargs
        given = {name: value for name, value in named.items() if isinstance(value, tensor) and value.dim() >= 2}
        for name, mask in given.items():
            if "mask" not in name.lower() or mask.dim() != 2 or mask.shape[1] < 3 or self.watch.would_wait(mask):
                continue
            if not self.bursts.wanted((call.site, name)):
                continue
            for other, value in given.items():
                if "mask" in other.lower() or value.shape[:2] != mask.shape or value.dim() > 3:
                    continue
                if "type" in other.lower() or "position" in other.lower() or "label" in other.lower():
                    continue
                self._look(call, name, mask, other, value)
                break

    def _look(self, call: Call, name: str, mask: Any, other: str, value: Any) -> None:
        lengths = ends_of(self.watch.torch, value.detach())
        entry = self._seen.setdefault((call.site, name), _Argument(call.site, type(call.network).__name__, name, other))
        entry.calls += 1
        entry.padded += lengths
        entry.constant += bool((mask == mask.reshape(-1)[0]).all()) and bool(mask.reshape(-1)[0])
        entry.made = entry.made or self._made_at(mask)

    def records(self) -> Iterable[Record]:
        """A record an argument and line."""
        for entry in self._seen.values():
            yield MaskGiven(
                network=entry.network,
                argument=entry.argument,
                sequence=entry.sequence,
                calls=entry.calls,
                padded=entry.padded,
                constant=entry.constant,
                made=entry.made.location() if entry.made else None,
                where=entry.site.location() if entry.site.file else None,
                step=self.watch.iteration,
            )


def ends_of(torch: Any, sequences: Any) -> bool:
    """Sequences end in one and the same value, each in as many steps of it as it is shorter than the longest."""
    steps = sequences.flatten(2) if sequences.dim() > 2 else sequences[..., None]
    last = steps[:, -1:]
    runs = (steps == last).all(-1).flip(1).long().cumprod(1).sum(1)
    padded = runs >= LEAST_RUN
    if int(padded.sum()) < 2 or bool((runs == steps.shape[1]).any()):
        return False
    values = torch.unique(last[padded].reshape(int(padded.sum()), -1), dim=0)
    return len(values) == 1 and len(torch.unique(runs)) >= 2
