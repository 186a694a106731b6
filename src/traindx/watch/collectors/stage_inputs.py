"""Intensities of what a network gets, in training and in validation, by line of the call."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_items import StageInputs
from traindx.finding import Location
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

LEAST = 256  # values of a sample: of fewer, mean and deviation are no statistics
MOST_SAMPLES = 256


@dataclass
class _Stage:
    place: CallPlace
    shape: tuple[int, ...]
    means: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    earlier: set[tuple[float, float]] = field(default_factory=set)
    again: int = 0


class StagesSeen(Collector):
    """Looks at the first image-like argument of calls of networks."""

    subject = "what stages are fed"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self.bursts = Bursts(16, 1.4)
        self._stages: dict[tuple[Any, ...], _Stage] = {}
        self._computed: set[tuple[str, int]] = set()

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)

    def _called(self, call: Call) -> None:
        torch = self.watch.torch
        given = next((one for one in (*call.args, *call.kwargs.values()) if isinstance(one, torch.Tensor)), None)
        if given is None or given.dim() < 3 or not given.is_floating_point() or given.layout is not torch.strided:
            return
        if given.requires_grad:  # made by a network, and so it is where the same line runs without gradients
            self._computed.add((call.place.site.file, call.place.site.line))
            return
        if not given.shape[0] or given[0].numel() < LEAST:
            return
        shape = tuple(given.shape[1:])
        if not self.bursts.wanted((call.place.key, shape)):
            return
        stage = self._stages.setdefault((call.place.key, shape), _Stage(call.place, shape))
        if len(stage.means) >= MOST_SAMPLES:
            return
        rows = given.detach().as_subclass(torch.Tensor)[:16].flatten(1).float()
        spread, mean = torch.std_mean(rows, dim=1, unbiased=False)
        stage.means += mean.tolist()
        stage.spreads += spread.tolist()
        pairs = {(float(f"{a:.6g}"), float(f"{b:.6g}")) for a, b in zip(mean.tolist(), spread.tolist(), strict=True)}
        stage.again += len(pairs & stage.earlier)
        stage.earlier |= pairs

    def records(self) -> Iterable[Record]:
        """One record a line and shape."""
        for stage in self._stages.values():
            if (stage.place.site.file, stage.place.site.line) in self._computed:
                continue
            off = [max(abs(a), abs(b - 1)) for a, b in zip(stage.means, stage.spreads, strict=True)]
            site = stage.place.site
            yield StageInputs(
                network=stage.place.network,
                made=stage.place.made.location() if stage.place.made is not None else None,
                phase=self.networks.phase(stage.place),
                shape=stage.shape,
                samples=len(off),
                again=stage.again,
                mean=statistics.median(stage.means),
                spread=statistics.median(stage.spreads),
                least_spread=min(stage.spreads),
                most_spread=max(stage.spreads),
                largest_off=max(off),
                off=sum(one > 0.1 for one in off) / len(off),
                given_at=given_at(site),
                where=site.location() if site.file else None,
                step=self.watch.iteration,
            )


def given_at(site: CallSite) -> Location | None:
    """The last line above a call, in the same function, that assigns the name which the call is given."""
    tree = parsed(site.file) if site.file else None
    scope: ast.AST | None = tree
    for node in walk(tree) if tree is not None else ():
        if not isinstance(node, ast.FunctionDef) or not node.lineno <= site.line <= (node.end_lineno or 0):
            continue
        if node.lineno > getattr(scope, "lineno", 0):
            scope = node
    if scope is None:
        return None
    names = {
        argument.id
        for node in walk(scope)
        if isinstance(node, ast.Call) and node.lineno == site.line
        for argument in node.args[:1]
        if isinstance(argument, ast.Name)
    }
    lines = [
        node.lineno
        for node in walk(scope)
        if isinstance(node, ast.Assign) and node.lineno < site.line
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in names
    ]
    return Location(file=shown_path(site.file), line=max(lines), symbol=site.symbol) if lines else None
