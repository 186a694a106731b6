"""Loaders that are read in random order by a line that collects outputs and drops the labels."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import ReadingOrder
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

COLLECTS = ("cat", "concatenate", "stack", "vstack", "hstack", "append", "extend")


class ReadingOrders(Collector):
    """Notes from which line a shuffled loader is read."""

    subject = "order of what is read"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._read_at: dict[tuple[Any, CallSite], tuple[Loader, int]] = {}

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_read(self, self._read)

    def _read(self, loader: Loader, batch: Any) -> None:
        if not loader.shuffled or loader.in_pass > 2:
            return
        site = here()
        if site is not None:
            known = self._read_at.get((loader.made, site), (loader, 0))
            self._read_at[loader.made, site] = (loader, known[1] + 1)

    def records(self) -> Iterable[Record]:
        """One record a line and loader."""
        for (made, site), (loader, times) in self._read_at.items():
            dropped, collected = drops_labels(site)
            yield ReadingOrder(
                dataset=loader.dataset,
                trains=loader.trains,
                read=times,
                drops_labels=dropped,
                collects=collected,
                read_at=site.location(),
                where=made.location() if made is not None else None,
                step=self.watch.iteration,
            )


def drops_labels(site: CallSite) -> tuple[bool, bool]:
    """Whether the loop at a line names a part of the batch ``_``, and whether it collects what it computes."""
    tree = parsed(site.file)
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.For) and node.lineno == site.line:
            return _drops(node.target), _collects(node)
        if isinstance(node, ast.Assign | ast.Expr | ast.Return) and node.lineno <= site.line <= (node.end_lineno or 0):
            loops = [one for one in walk(node) if isinstance(one, ast.comprehension)]
            if loops:
                return any(_drops(loop.target) for loop in loops), _collects(node)
    return False, False


def _drops(target: ast.expr) -> bool:
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else []
    return len(parts) > 1 and all(isinstance(one, ast.Name) and one.id.startswith("_") for one in parts[1:])


def _collects(node: ast.AST) -> bool:
    calls = (one.func for one in walk(node) if isinstance(one, ast.Call))
    names = (one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in calls)
    return any(name in COLLECTS for name in names)
