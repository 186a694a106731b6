"""Arrays that are given two axes: in the order in which their numbers lie?"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import ReshapeTried
from traindx.watch.probes.functions.common import as_tensor, spread
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall, called, copied
from traindx.watch.runtime.syntax import walk

LEAST_AXIS = 4
LEAST_NEIGHBOURS = 200


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every ``x.reshape(a, b)`` of a name in a recorded function whose two axes are of different length."""
    done: set[tuple[Any, int]] = set()
    for call in calls:
        lines = {node.lineno: node for node in _reshapes(call) if (call.code, node.lineno) not in done}
        if not lines:
            continue
        try:
            seen = _values(torch, call, lines)
        except Exception:  # whatever the script's functions raise
            continue
        for line, (before, after) in seen.items():
            record = _record(torch, call, lines[line], before, after)
            if record is not None:
                done.add((call.code, line))
                yield record


def _reshapes(call: RecordedCall) -> Iterator[ast.Call]:
    node = definition_of(call.code)
    if node is not None:
        yield from _calls_of_reshape(node)


def _calls_of_reshape(node: ast.AST) -> Iterator[ast.Call]:
    """Calls with a length for every axis."""
    for one in walk(node):
        if not isinstance(one, ast.Call) or not isinstance(one.func, ast.Attribute) or len(one.args) < 2:
            continue
        lengths = [ast.unparse(length) for length in one.args]
        named = one.func.attr in ("reshape", "view") and isinstance(one.func.value, ast.Name) and not one.keywords
        if named and "-1" not in lengths:
            yield one


def _values(torch: Any, call: RecordedCall, lines: dict[int, ast.Call]) -> dict[int, tuple[Any, Any]]:
    """What was reshaped at each line, and what it became."""
    seen: dict[int, tuple[Any, Any]] = {}

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        node = lines.get(frame.f_lineno)
        if event == "line" and node is not None and frame.f_lineno not in seen:
            names = {**frame.f_globals, **frame.f_locals}
            expression = compile(ast.Expression(body=node), call.code.co_filename, "eval")
            assert isinstance(node.func, ast.Attribute)
            assert isinstance(node.func.value, ast.Name)
            try:
                before, after = names[node.func.value.id], eval(expression, names)
            except Exception:
                return local
            one, other = as_tensor(torch, before), as_tensor(torch, after)
            if one is not None and other is not None:
                seen[frame.f_lineno] = one, other
        return local

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code is call.code else None

    sys.settrace(enter)
    try:
        called(torch, call.function, {name: copied(torch, value) for name, value in call.args.items()})
    finally:
        sys.settrace(None)
    return seen


def _record(torch: Any, call: RecordedCall, node: ast.Call, before: Any, after: Any) -> Record | None:
    """Steps between neighbours as it was made, and with its two last axes read the other way round."""
    if after.dim() < 2 or after.is_complex() or after.dtype == torch.bool:
        return None
    rows, columns = after.shape[-2:]
    if rows == columns or min(rows, columns) < LEAST_AXIS or after.numel() < LEAST_NEIGHBOURS:
        return None
    swapped = (
        before.dim() == after.dim() and before.shape[-2:] == (columns, rows) and before.shape[:-2] == after.shape[:-2]
    )
    if not swapped and before.dim() != after.dim() - 1:
        return None
    values = after.double()
    scale = spread(values)
    if scale <= 0:
        return None
    other = values.reshape(*after.shape[:-2], columns, rows)
    return ReshapeTried(
        function=call.shown,
        expression=ast.unparse(node)[:80],
        shape=tuple(after.shape),
        rough=_step(values) / scale,
        other=_step(other) / scale,
        swapped=swapped,
        where=call.at(node.lineno).location(),
    )


def _step(values: Any) -> float:
    """Mean step between neighbours, along whichever of the two last axes it is smaller."""
    return min(float(values.diff(dim=axis).abs().mean()) for axis in (-1, -2))


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return node.name != "forward" and any(True for _ in _calls_of_reshape(node))
