"""Items of validation and training by content: does one and the same item come from both?"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_items import SharedItems
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.source_text import assigned_at, assigned_name, parsed, statement_at
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

VALUES = 512  # of every item
LEAST_DIFFERENT = 32  # of these; an item of fewer values (a mask, a code) may well repeat
MOST_CONTENTS = 16384


@dataclass
class _Contents:
    loader: Loader
    seen: set[bytes] = field(default_factory=set)
    beside: list[_Contents] = field(default_factory=list)  # the training contents that were read before


class SharedItemsSeen(Collector):
    """Looks at batches as they leave a loader; the first ones one by one, later ones more rarely."""

    subject = "items shared between loaders"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self.bursts = Bursts(48, 1.2)
        self._contents: dict[tuple[Any, ...], _Contents] = {}
        self._last: _Contents | None = None

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_read(self, self._read)

    def _read(self, loader: Loader, batch: Any) -> None:
        key = (loader.made, id(getattr(self.loaders.reading, "_dataset", None)))
        contents = self._contents.setdefault(key, _Contents(loader))
        before = self._last
        trained = before is not None and before is not contents and before.loader.trains
        if before is not None and trained and not any(one is before for one in contents.beside):
            contents.beside.append(before)
        if loader.trains or not trained:
            self._last = contents
        if not self.bursts.wanted(key) or len(contents.seen) >= MOST_CONTENTS:
            return
        contents.seen.update(self._digests(batch))

    def _digests(self, batch: Any) -> Iterator[bytes]:
        torch = self.watch.torch
        found = [
            one.detach().as_subclass(torch.Tensor)
            for _, one in tensors_in(batch, torch)
            if one.dim() >= 2 and one.shape[0] and one[0].numel() >= LEAST_DIFFERENT and one.layout is torch.strided
        ]
        chosen = max(found, key=lambda one: (one.is_floating_point(), one.numel()), default=None)
        for item in chosen[:64] if chosen is not None else ():
            values = sample(item, VALUES)
            if len(torch.unique(values)) >= LEAST_DIFFERENT and bool(values.isfinite().all()):
                yield hashlib.blake2b(values.numpy().tobytes(), digest_size=12).digest()

    def records(self) -> Iterable[Record]:
        """One record a loader that does not train; without contents where nothing tells the items of either apart."""
        for contents in self._contents.values():
            if contents.loader.trains or not contents.beside:
                continue
            training = contents.beside[-1]
            made, other = contents.loader.made, training.loader.made
            yield SharedItems(
                dataset=contents.loader.dataset,
                contents=len(contents.seen) if training.seen else 0,
                shared=len(contents.seen & training.seen),
                training=len(training.seen),
                name=assigned_name(made) if made is not None else "",
                dataset_at=dataset_at(made) if made is not None else None,
                divided_at=divided_at(made, other) if made is not None and other is not None else None,
                where=made.location() if made is not None else None,
                step=self.watch.iteration,
            )


def dataset_at(made: CallSite) -> Location | None:
    """The last line above a loader, in its function, that assigns the name which the loader is given first."""
    statement = statement_at(made.file, made.line)
    calls = [node for node in walk(statement) if isinstance(node, ast.Call) and node.args] if statement else []
    name = next((call.args[0].id for call in calls if isinstance(call.args[0], ast.Name)), "")
    site = assigned_at(made, name) if name else None
    return site.location() if site is not None else None


def divided_at(one: CallSite, other: CallSite) -> Location | None:
    """The last statement before two lines that assigns a name which the first uses and one which the second uses.

    One that gives each a name of its own goes before one that gives both the same, such as the size of a batch.
    """
    tree = parsed(one.file) if one.file == other.file else None
    if tree is None:
        return None
    first, second = (_names(tree, site.line, ast.Load) for site in (one, other))
    found: list[tuple[bool, int]] = []
    for node in walk(tree):
        if isinstance(node, ast.Assign) and node.lineno < min(one.line, other.line):
            given = {name.id for target in node.targets for name in walk(target) if isinstance(name, ast.Name)}
            if given & first and given & second:
                found.append((bool(given & first - second and given & second - first), node.lineno))
    return Location(file=shown_path(one.file), line=max(found)[1], symbol=one.symbol) if found else None


def _names(tree: ast.AST, line: int, context: type[ast.expr_context]) -> set[str]:
    """Names that the simple statement at a line reads, but not those it calls: a maker of both divides nothing."""
    for node in walk(tree):
        if isinstance(node, ast.Assign | ast.Expr | ast.Return) and node.lineno <= line <= (node.end_lineno or 0):
            called = {id(one.func) for one in walk(node) if isinstance(one, ast.Call)}
            names = (one for one in walk(node) if isinstance(one, ast.Name) and id(one) not in called)
            return {one.id for one in names if isinstance(one.ctx, context)}
    return set()
