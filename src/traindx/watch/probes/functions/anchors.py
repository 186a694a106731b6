"""Boxes made from a list of aspect ratios: have they as many shapes as there are ratios?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import AnchorsTried
from traindx.watch.probes.functions.common import as_tensor, parts_of, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

MAKERS = {"anchor", "anchors", "prior", "priors", "priorbox", "boxes", "default"}


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that is named for anchors, has a list of ratios, and returns rows of four numbers."""
    done: set[Any] = set()
    for call in calls:
        if call.code in done or not MAKERS & {*words(call.name), *words(call.code.co_name)}:
            continue
        ratios = _ratios(call)
        if len(ratios) < 2:
            continue
        found = [as_tensor(torch, one) for _, one in parts_of(call.result)]
        fours = [one for one in found if one is not None and one.dim() > 1 and one.shape[-1] == 4]
        rows = [one.reshape(-1, 4).double() for one in fours]
        shapes = [_shapes(torch, one) for one in rows if len(one) >= len(ratios)]
        if not shapes:
            continue
        done.add(call.code)
        yield AnchorsTried(
            function=call.shown,
            ratios=len(ratios),
            shapes=max(shapes),
            boxes=len(rows[0]),
            where=_made_at(call).location(),
        )


def _ratios(call: RecordedCall) -> set[float]:
    """Different aspect ratios among the arguments, or in a field of one."""
    found: set[float] = set()
    for name, value in call.args.items():
        fields = {name: value}
        if isinstance(value, dict):
            fields.update(value)
        elif hasattr(value, "__dict__"):
            fields.update(vars(value))
        for key, one in fields.items():
            if not {"ratio", "ratios", "aspect", "aspects"} & set(words(str(key))):
                continue
            numbers = list(one) if isinstance(one, list | tuple) else []
            if numbers and all(isinstance(item, int | float) and item > 0 for item in numbers):
                found |= {round(float(item), 6) for item in numbers}
    return found


def _shapes(torch: Any, boxes: Any) -> int:
    """Different ratios of width and height, in whichever of the two ways of writing a box there are more of them."""
    most = 0
    for width, height in ((boxes[:, 2], boxes[:, 3]), (boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])):
        usable = (width > 0) & (height > 0)
        if bool(usable.all()):
            most = max(most, len((width / height).log().mul(100).round().unique()))
    return most


def _made_at(call: RecordedCall) -> CallSite:
    """The line that computes a height (or a width), or the first line of the function."""
    node = definition_of(call.code)
    lines: dict[str, int] = {}
    for one in walk(node) if node is not None else ():
        if isinstance(one, ast.Assign):
            for target in one.targets:
                for name in walk(target):
                    if isinstance(name, ast.Name):
                        lines[name.id] = one.lineno
    line = next((lines[name] for name in ("h", "height", "hs", "heights", "w", "width", "ws") if name in lines), None)
    return call.at(line)


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return bool(MAKERS & set(words(node.name)))
