"""Exceptions inside torch calls that the script swallows, and silenced warnings."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed import SwallowedException
from traindx.evidence.observed_state import IgnoredOption, SuppressedEvidence
from traindx.finding import Location
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.runtime.call_sites import CallSite, here, stack, users
from traindx.watch.runtime.calling import extra_levels
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

SERIOUS = (  # what torch says when the training itself is wrong
    "Using a target size",
    "lr_scheduler.step()",
    "None of the inputs have requires_grad",
    "degrees of freedom is <= 0",
    "Detected call of",
    "Implicit dimension choice",
)


IGNORED = re.compile(r"\bignor(?:ed|ing)\b|\b(?:has|have|had) no effect\b|\b(?:is|are|will) not (?:be )?used\b")
MOST_MESSAGES = 16


@dataclass
class _Error:
    error: str
    function: str
    sites: tuple[CallSite, ...]
    times: int = 0
    iterations: set[int] = field(default_factory=set)


class Exceptions(Collector):
    """Torch calls that raised in an iteration which went on to its end."""

    subject = "exceptions"

    def __init__(self, watch: Watch, calls: TorchCalls) -> None:
        super().__init__(watch)
        self.calls = calls
        self._errors: dict[tuple[Any, ...], _Error] = {}
        self._pending: list[tuple[Any, ...]] = []

    def install(self) -> None:
        """Subscribe."""
        self.calls.on_error(self, self._raised)

    def _raised(self, func: Any, error: BaseException) -> None:
        sites = stack()
        if not sites:
            return
        key = (sites[0], type(error).__name__)
        name = getattr(func, "__name__", str(func))
        text = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        entry = self._errors.setdefault(key, _Error(text, name, sites))
        entry.times += 1
        self._pending.append(key)

    def end(self) -> None:
        """The iteration ended all the same."""
        for key in self._pending:
            self._errors[key].iterations.add(self.watch.iteration)
        self._pending.clear()

    def records(self) -> Iterable[Record]:
        """Errors that never left the script."""
        for entry in self._errors.values():
            handler = handler_of(entry.sites)
            if entry.iterations and handler is not None:
                yield SwallowedException(
                    error=entry.error,
                    function=entry.function,
                    where=entry.sites[0].location(),
                    times=entry.times,
                    iterations=len(entry.iterations),
                    handler=handler,
                    step=self.watch.iteration,
                )


def handler_of(sites: tuple[CallSite, ...]) -> Location | None:
    """The ``except`` that must have caught an exception: that of the innermost ``try`` around any line of its stack."""
    for site in sites:
        tree = parsed(site.file)
        best: ast.Try | None = None
        for node in walk(tree) if tree is not None else ():
            if isinstance(node, ast.Try) and node.handlers:
                inside = node.body[0].lineno <= site.line <= (node.body[-1].end_lineno or node.body[-1].lineno)
                if inside and (best is None or node.lineno >= best.lineno):
                    best = node
        if best is not None:
            return Location(file=shown_path(site.file), line=best.handlers[0].lineno, symbol=site.symbol)
    return None


class WarningFilters:
    """Warnings that the script silences for good; what they would have said is counted while they are hidden."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.places: list[CallSite] = []
        self.hidden: list[str] = []
        self.ignored: dict[tuple[CallSite, str, str], int] = {}
        self.active = True
        self.muted: Callable[[], bool] = lambda: False  # our own code runs

    def install(self) -> None:
        """Patch ``warnings.filterwarnings`` and ``warnings.simplefilter``."""

        def make(original: Any) -> Any:
            def silence(*every: Any, **kwargs: Any) -> None:
                original(*every, **kwargs)
                action, *args = every or (kwargs.get("action"),)
                if not self.active or action != "ignore" or any(args) or kwargs.get("category") or kwargs.get("module"):
                    return
                site = here() if users(sys._getframe(1).f_code.co_filename) else None
                if site is not None and not kwargs.get("message"):
                    self.places.append(site)

            return silence

        self.patches.wrap(warnings, "filterwarnings", make)
        self.patches.wrap(warnings, "simplefilter", make)
        self.patches.wrap(warnings, "warn", self._make_warn, passes=False)

    def _make_warn(self, original: Any) -> Any:
        """Remember what is silenced, and count frames of the stack as if there were none of ours among them."""

        def warn(*args: Any, **kwargs: Any) -> None:
            if self.muted():
                return
            if self.places and args:
                self._note(args[0])
            if args and self.active and not users(sys._getframe(1).f_code.co_filename):
                self._note_ignored(args[0], args[1] if len(args) > 1 else kwargs.get("category"), sys._getframe(1))
            level = args[2] if len(args) > 2 else kwargs.get("stacklevel", 1)
            if isinstance(level, int):
                level += extra_levels(sys._getframe(1), level)
                if len(args) > 2:
                    args = (*args[:2], level, *args[3:])
                else:
                    kwargs["stacklevel"] = level
            original(*args, **kwargs)

        return warn

    def _note(self, message: Any) -> None:
        text = " ".join(str(message).split())[:200]
        serious = any(word in text for word in SERIOUS)
        if serious and self.active and len(self.hidden) < 4 and text not in self.hidden:
            self.hidden.append(text)

    def _note_ignored(self, message: Any, category: Any, caller: FrameType) -> None:
        """A library says that something it was given does not count; deprecations are no such thing."""
        kind = type(message) if isinstance(message, Warning) else category or UserWarning
        if not isinstance(kind, type) or not issubclass(kind, UserWarning):
            return
        text = " ".join(str(message).split())[:200]
        site = here(3) if IGNORED.search(text) else None
        if site is not None:
            key = (site, text, str(caller.f_globals.get("__name__", "")).partition(".")[0])
            if key in self.ignored or len(self.ignored) < MOST_MESSAGES:
                self.ignored[key] = self.ignored.get(key, 0) + 1

    def records(self) -> Iterable[Record]:
        """Places that silence everything, and what libraries took no notice of."""
        for (site, text, library), times in self.ignored.items():
            yield IgnoredOption(message=text, library=library, times=times, where=site.location())
        for site in dict.fromkeys(self.places):
            yield SuppressedEvidence(
                what="warnings", detail="all warnings", where=site.location(), hidden=tuple(self.hidden)
            )
