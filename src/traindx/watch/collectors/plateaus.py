"""Schedules that wait for a plateau: what they are told, and when they act."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from itertools import pairwise
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_optim import PlateauSeen
from traindx.watch.runtime.call_sites import CallSite, constructor_site, here
from traindx.watch.runtime.source_text import statement_at
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch


@dataclass
class _Plateau:
    made: CallSite | None
    mode: str
    first_rate: float
    given: str = ""
    stepped: CallSite | None = None
    values: list[float] = field(default_factory=list)
    reductions: int = 0
    at_best: int = 0
    last_rate: float = 0.0


class Plateaus(Collector):
    """Wraps construction and ``step`` of ``ReduceLROnPlateau``."""

    subject = "schedules that wait for a plateau"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._known: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._order: list[_Plateau] = []

    def install(self) -> None:
        """Patch."""
        kind, watch = import_module("torch.optim.lr_scheduler").ReduceLROnPlateau, self.watch

        def make_init(original: Any) -> Any:
            def init(scheduler: Any, *args: Any, **kwargs: Any) -> None:
                original(scheduler, *args, **kwargs)
                if watch.here_and_now and scheduler not in self._known:
                    with watch.ours(self):
                        made = constructor_site(scheduler)
                        self._known[scheduler] = _Plateau(made, str(scheduler.mode), _rate(scheduler))
                        self._order.append(self._known[scheduler])

            return init

        def make_step(original: Any) -> Any:
            def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
                known = self._known.get(scheduler) if watch.here_and_now else None
                if known is None:
                    return original(scheduler, *args, **kwargs)
                with watch.ours(self):
                    before, site = _rate(scheduler), here()
                result = original(scheduler, *args, **kwargs)
                with watch.ours(self):
                    self._stepped(known, args[0] if args else kwargs.get("metrics"), before, _rate(scheduler), site)
                return result

            return step

        watch.patches.wrap(kind, "__init__", make_init)
        watch.patches.wrap(kind, "step", make_step)

    def _stepped(self, known: _Plateau, value: Any, before: float, after: float, site: CallSite | None) -> None:
        number = float(value)
        best = not known.values or (number < min(known.values) if known.mode == "max" else number > max(known.values))
        known.values.append(number)
        known.last_rate = after
        known.stepped = known.stepped or site
        known.given = known.given or (given_at(site, "step") if site is not None else "")
        if after < before:
            known.reductions += 1
            known.at_best += best

    def records(self) -> Iterable[Record]:
        """One record a schedule."""
        for known in self._order:
            if known.values:
                yield PlateauSeen(
                    scheduler="ReduceLROnPlateau",
                    mode=known.mode,
                    given=known.given,
                    steps=len(known.values),
                    reductions=known.reductions,
                    at_best=known.at_best,
                    first_rate=known.first_rate,
                    last_rate=known.last_rate,
                    counts=all(after == before + 1 for before, after in pairwise(known.values)),
                    stepped=known.stepped.location() if known.stepped is not None else None,
                    where=known.made.location() if known.made is not None else None,
                    step=self.watch.iteration,
                )


def _rate(scheduler: Any) -> float:
    return float(scheduler.optimizer.param_groups[0]["lr"])


def given_at(site: CallSite, method: str) -> str:
    """The first argument of the call of a method at a line, as it is written."""
    statement = statement_at(site.file, site.line)
    for node in walk(statement) if statement is not None else ():
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
        if named and isinstance(node, ast.Call) and (node.args or node.keywords):
            return ast.unparse(node.args[0] if node.args else node.keywords[0].value)[:80]
    return ""
