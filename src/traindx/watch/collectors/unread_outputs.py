"""What a method computes with a part of its object, puts into a name, and never reads again."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from traindx.core.frames import shown_path
from traindx.evidence.observed_calls import UnreadOutput
from traindx.finding import Location
from traindx.watch.reading.program import LOOKS_AT_ALL, read_in
from traindx.watch.runtime.syntax import walk


def unread_outputs(file: str, tree: ast.Module) -> Iterator[UnreadOutput]:
    """``aligned = self.align(x)`` in a method in which nothing reads ``aligned``, if ``align`` is used nowhere else."""
    uses = Counter(one.attr for one in walk(tree) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Load))
    for owner in walk(tree):
        if isinstance(owner, ast.ClassDef):
            for method in owner.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.args.args:
                    yield from (one for one in _of_method(file, owner.name, method) if uses[one.part] == 1)


def _of_method(file: str, owner: str, method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[UnreadOutput]:
    read = read_in(method)
    if read & LOOKS_AT_ALL:
        return
    myself = method.args.args[0].arg
    for one in walk(method):
        if not isinstance(one, ast.Assign):
            continue
        target = one.targets[0] if len(one.targets) == 1 else None
        call = one.value
        if not isinstance(target, ast.Name) or target.id.startswith("_") or target.id in read:
            continue
        part = call.func if isinstance(call, ast.Call) else None
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == myself:
            where = Location(file=shown_path(file), line=one.lineno, symbol=f"{owner}.{method.name}")
            yield UnreadOutput(part=part.attr, name=target.id, where=where)
