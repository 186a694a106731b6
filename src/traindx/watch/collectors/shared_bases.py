"""Two subsets of one data set object, and a field that the script sets through one of them: the other has it, too."""

from __future__ import annotations

import ast
import sys
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_items import SharedBase
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import children
from traindx.watch.runtime.watch import Collector, Watch

SIDES = ("val", "test", "eval", "dev", "holdout")  # in the name of what a field is set through
MOST = 16  # subsets


@dataclass(frozen=True)
class Assigned:
    """``subset.dataset.field = value``."""

    through: str
    field: str
    value: str
    line: int
    file: str
    function: str
    live: bool


class SharedBases(Collector):
    """Looks at the data sets of loaders as they are read for the first time, and at the sources of the live frames."""

    subject = "subsets of one data set"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._subsets: list[tuple[weakref.ref[Any], weakref.ref[Any]]] = []
        self._done: set[int] = set()
        self._records: list[SharedBase] = []

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_pass_begin(self, self._begins)

    def _begins(self, loader: Loader, iterator: Any) -> None:
        subset: Any = getattr(iterator, "_dataset", None)
        if type(subset) is not self.watch.torch.utils.data.Subset or len(self._subsets) >= MOST:
            return
        if any(known() is subset for known, _ in self._subsets):
            return
        base = subset.dataset
        others = [one for one, known in self._subsets if known() is base and one() is not None]
        try:
            self._subsets.append((weakref.ref(subset), weakref.ref(base)))
        except TypeError:
            return
        if not others or id(base) in self._done:
            return
        self._done.add(id(base))
        fields: dict[str, Any] = getattr(base, "__dict__", {})
        found = [one for one in _assigned(sys._getframe(1)) if one.field in fields]
        for field in {one.field for one in found}:
            self._tell(base, [one for one in found if one.field == field])

    def _tell(self, base: Any, found: list[Assigned]) -> None:
        sides = [one for one in found if any(side in one.through.lower() for side in SIDES)]
        if len({one.value for one in found}) < 2 and not (sides and len(found) == len(sides)):
            return
        last = sides[-1] if sides else found[-1]
        self._records.append(
            SharedBase(
                dataset=type(base).__name__,
                field=last.field,
                through=tuple(dict.fromkeys(one.through for one in found)),
                values=len({one.value for one in found}),
                live=all(one.live for one in found),
                where=Location(file=shown_path(last.file), line=last.line, symbol=last.function),
                step=self.watch.iteration,
            )
        )

    def records(self) -> Iterable[Record]:
        """One record a field."""
        return list(self._records)


def _assigned(frame: FrameType | None) -> Iterator[Assigned]:
    """Statements that set a field of a ``dataset`` once, in the files of the live frames."""
    codes: dict[str, dict[str, int]] = {}
    while frame is not None:
        if users(frame.f_code.co_filename):
            codes.setdefault(frame.f_code.co_filename, {})[frame.f_code.co_name] = frame.f_lineno
        frame = frame.f_back
    for file, names in codes.items():
        tree = parsed(file)
        for function, node in _once(tree) if tree is not None else ():
            target = node.targets[0]
            if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Attribute):
                continue
            if target.value.attr != "dataset" or len(node.targets) != 1:
                continue
            live = function in names and node.lineno < names[function]
            value = ast.unparse(node.value)
            yield Assigned(ast.unparse(target.value.value), target.attr, value, node.lineno, file, function, live)


def _once(tree: ast.AST, function: str = "<module>") -> Iterator[tuple[str, ast.Assign]]:
    """Assignments outside of loops, with the function that they are in."""
    for node in children(tree):
        if isinstance(node, ast.Assign):
            yield function, node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _once(node, node.name)
        elif not isinstance(node, ast.For | ast.While | ast.AsyncFor | ast.Lambda):
            yield from _once(node, function)
