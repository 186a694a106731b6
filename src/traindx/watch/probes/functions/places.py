"""Functions from coordinates to maps and back: which coordinate moves a spot along which axis?

A point is moved along one coordinate, and the spot in the map that the function draws moves down or to the right; a
spot is moved in a map, and one of the coordinates that a function reads off it changes. Two functions of a script that
do not agree transpose every place; the names inside of them say which of the two is meant to be what.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import PlacesTried
from traindx.watch.probes.functions.common import as_tensor, number
from traindx.watch.probes.functions.pictures import Place, array_of, is_picture, size_of, spot_in, spot_like
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, arguments_for, copied, line_by_line, returned_at
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

ACROSS = {
    "x",
    "xx",
    "u",
    "uu",
    "cx",
    "px",
    "xs",
    "us",
    "col",
    "cols",
    "column",
    "columns",
    "xc",
    "mux",
    "gx",
    "w",
    "width",
}
DOWN = {"y", "yy", "v", "vv", "cy", "py", "ys", "vs", "row", "rows", "yc", "muy", "gy"}
XY, YX = "xy", "yx"


@dataclass
class _Found:
    """One function, and what its first coordinate means."""

    call: RecordedCall
    order: str
    named: str
    size: tuple[int, int]


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that draws a map from coordinates, beside one that reads coordinates off such a map."""
    drawing: list[_Found] = []
    reading: list[_Found] = []
    done: set[Any] = set()
    for call in calls:
        if call.code in done:
            continue
        for made, family in ((_drawn, drawing), (_read, reading)):
            try:
                found = made(torch, call)
            except Exception:  # whatever the script's functions raise when they are given something else
                continue
            if found is not None:
                done.add(call.code)
                family.append(found)
    for one in drawing:
        partner = next((other for other in reading if other.size == one.size), None)
        wrong = one
        if partner is not None and partner.order != one.order:
            blamed = partner.named and partner.named != partner.order and one.named in ("", one.order)
            wrong = partner if blamed else one
        yield PlacesTried(
            function=one.call.name,
            order=one.order,
            named=one.named,
            partner=partner.call.name if partner is not None else "",
            partner_order=partner.order if partner is not None else "",
            blamed=wrong.call.name,
            where=_grid_at(torch, wrong.call).location(),
        )


# -- from coordinates to a map ---------------------------------------------------------------------------------------


def _drawn(torch: Any, call: RecordedCall) -> _Found | None:
    if not is_picture(torch, call.result) or any(is_picture(torch, value) for value in call.args.values()):
        return None
    size = size_of(torch, call.result)
    for make, named in _points(torch, call, size):
        try:
            places = [_spot_of(torch, call, make(*shift), size) for shift in ((0, 0), (1, 0), (0, 1))]
        except Exception:  # what was changed is no place, but a size
            continue
        start, first, second = places
        if start is None or first is None or second is None:
            continue
        axes = (_axis(start, first), _axis(start, second))
        if axes in (("column", "row"), ("row", "column")):
            return _Found(call, XY if axes[0] == "column" else YX, named, size)
    return None


def _points(
    torch: Any, call: RecordedCall, size: tuple[int, int]
) -> Iterator[tuple[Callable[[int, int], dict[str, Any]], str]]:
    """Ways to give the function one place, moved along its first or second coordinate; what the names say these are."""
    step = max(3.0, 0.2 * min(size))
    for name, value in call.args.items():
        rows = as_tensor(torch, value)
        plain = type(value) in (list, tuple) and len(value) in (2, 4) and all(type(v) in (int, float) for v in value)
        rows = torch.tensor([float(v) for v in value]) if plain else rows
        if name == "self" or rows is None or rows.is_complex() or rows.dtype == torch.bool or not 1 <= rows.dim() <= 3:
            continue
        if rows.shape[-1] not in (2, 4) or not rows.numel() or (rows.dim() == 1 and rows.numel() not in (2, 4)):
            continue
        first = rows.reshape(-1, rows.shape[-1])[0].double()
        small = float(rows.double().abs().max()) <= 1.5
        by = 0.25 if small else step
        signs = [1 if float(part) < (0.5 if small else max(size) / 2) else -1 for part in first[:2]]

        def make(
            one: int,
            other: int,
            name: str = name,
            value: Any = value,
            rows: Any = rows,
            by: float = by,
            signs: Any = signs,
        ) -> Any:
            moved = rows.reshape(-1, rows.shape[-1])[0].double().clone()
            for axis, count in ((0, one), (1, other)):
                moved[axis] += count * signs[axis] * by
                if moved.numel() == 4:
                    moved[axis + 2] += count * signs[axis] * by
            full = moved.expand(rows.shape).clone()
            if type(value) in (list, tuple):
                return {name: type(value)(type(value[0])(part) for part in full.tolist())}
            array = full.to(rows.dtype)
            return {name: array if isinstance(value, torch.Tensor) else array.numpy().astype(value.dtype)}

        yield make, _named(call, rows.shape[-1])
    pair = _scalars(torch, call)
    if pair is not None:
        across, down = pair
        base = {one: number(torch, call.args[one]) or 0.0 for one in pair}
        by = 0.25 if max(abs(part) for part in base.values()) <= 1.5 else step
        half = 0.5 if by == 0.25 else max(size) / 2

        def give(one: int, other: int) -> dict[str, Any]:
            counts = {across: one, down: other}
            return {
                name: _like(call.args[name], base[name] + count * by * (1 if base[name] < half else -1))
                for name, count in counts.items()
            }

        yield give, XY


def _like(given: Any, value: float) -> Any:
    if type(given) is int:
        return round(value)
    if type(given) is float:
        return value
    return given * 0 + value  # a tensor or a number of numpy


def _scalars(torch: Any, call: RecordedCall) -> tuple[str, str] | None:
    """Names of two numbers that are called for the columns and the rows."""
    numbers = [name for name, value in call.args.items() if name != "self" and number(torch, value) is not None]
    across = [name for name in numbers if side_of(name) == "column"]
    down = [name for name in numbers if side_of(name) == "row"]
    return (across[0], down[0]) if len(across) == 1 and len(down) == 1 else None


def _spot_of(torch: Any, call: RecordedCall, changes: dict[str, Any], size: tuple[int, int]) -> Place | None:
    values = {**{name: copied(torch, value) for name, value in call.args.items()}, **changes}
    seed(torch, 0)
    positional, named = arguments_for(call.function, values)
    result = call.function(*positional, **named)
    array = array_of(torch, result)
    if size_of(torch, result) != size:
        return None
    if array is not None and array.ndim > 2:  # a channel a point: they all lie at one place here
        array = array.reshape(-1, *array.shape[-2:]).max(0) if array.shape[-1] > 4 else array
    return spot_in(torch, array)


def _axis(start: Place, moved: Place) -> str:
    down, across = abs(moved.row - start.row), abs(moved.column - start.column)
    if across >= 1 and across > 3 * down:
        return "column"
    return "row" if down >= 1 and down > 3 * across else ""


# -- from a map to coordinates ---------------------------------------------------------------------------------------


def _read(torch: Any, call: RecordedCall) -> _Found | None:
    maps = [(name, value) for name, value in call.args.items() if name != "self" and is_picture(torch, value)]
    if len(maps) != 1 or _pair_of(torch, call.result) is None or _learns(torch, call.args.get("self")):
        return None
    name, value = maps[0]
    height, width = size_of(torch, value)
    found = []
    for row, column in ((0.3, 0.3), (0.3, 0.6), (0.6, 0.3)):
        spot = spot_like(torch, value, Place(round(row * height), round(column * width)))
        values = {**{key: copied(torch, one) for key, one in call.args.items()}, name: spot}
        seed(torch, 0)
        positional, named = arguments_for(call.function, values)
        found.append(_pair_of(torch, call.function(*positional, **named)))
    start, across, down = found
    if start is None or across is None or down is None:
        return None
    changes = [[abs(one - zero) for one, zero in zip(moved, start, strict=True)] for moved in (across, down)]
    if changes[0][0] > 3 * changes[0][1] and changes[1][1] > 3 * changes[1][0]:
        return _Found(call, XY, "", (height, width))
    if changes[0][1] > 3 * changes[0][0] and changes[1][0] > 3 * changes[1][1]:
        return _Found(call, YX, "", (height, width))
    return None


def _pair_of(torch: Any, result: Any) -> tuple[float, float] | None:
    """The first two coordinates that a function returned, averaged over its rows."""
    tensor = as_tensor(torch, result)
    if tensor is not None and 1 <= tensor.dim() <= 3 and tensor.shape[-1] in (2, 3, 4) and not tensor.is_complex():
        rows = tensor.double().reshape(-1, tensor.shape[-1])
        return (float(rows[:, 0].mean()), float(rows[:, 1].mean())) if len(rows) else None
    if type(result) in (list, tuple) and len(result) == 2:
        parts = [as_tensor(torch, one) for one in result]
        numbers = [
            number(torch, one) if part is None or part.dim() == 0 else float(part.double().mean())
            for one, part in zip(result, parts, strict=True)
            if part is None or part.dim() <= 2
        ]
        if len(numbers) == 2 and None not in numbers:
            return numbers[0], numbers[1]  # type: ignore[return-value]
    return None


def _learns(torch: Any, value: Any) -> bool:
    return isinstance(value, torch.nn.Module) and any(True for _ in value.parameters())


# -- what the names say ----------------------------------------------------------------------------------------------


def side_of(name: str) -> str:
    """``column`` for ``x1``, ``cx`` or ``grid_x``, ``row`` for ``y``, ``row0`` or ``v``; "" for anything else."""
    parts = [re.sub(r"\d+$", "", part) for part in name.lower().split("_") if part]
    across = any(part in ACROSS for part in parts)
    down = any(part in DOWN for part in parts)
    return "" if across == down else "column" if across else "row"


def _named(call: RecordedCall, width: int) -> str:
    """Which coordinate comes first, as the function calls what it unpacks: ``for x, y in points``, ``x = point[0]``."""
    node = definition_of(call.code)
    for one in walk(node) if node is not None else ():
        target: ast.expr | None = None
        if isinstance(one, ast.For | ast.comprehension):
            target = one.target
        elif isinstance(one, ast.Assign) and len(one.targets) == 1 and not isinstance(one.value, ast.Call):
            target = one.targets[0]
        if isinstance(target, ast.Tuple) and len(target.elts) == width:
            sides = [side_of(part.id) if isinstance(part, ast.Name) else "" for part in target.elts[:2]]
            if sides in (["column", "row"], ["row", "column"]):
                return XY if sides[0] == "column" else YX
        if isinstance(one, ast.Assign) and isinstance(target, ast.Name) and isinstance(one.value, ast.Subscript):
            place, side = _index_of(one.value.slice), side_of(target.id)
            if side and place in (0, 1):
                return XY if (side == "column") == (place == 0) else YX
    return ""


def _index_of(node: ast.expr) -> int | None:
    if isinstance(node, ast.Tuple) and node.elts:
        node = node.elts[-1]
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _grid_at(torch: Any, call: RecordedCall) -> CallSite:
    """The line at which something is called for the columns and grows down the rows, or the other way round."""
    try:
        made = line_by_line(torch, call)
    except Exception:
        made = []
    for line, name, value in made:
        tensor = as_tensor(torch, value)
        side = side_of(name)
        if tensor is None or tensor.dim() != 2 or not side or tensor.numel() < 8 or tensor.is_complex():
            continue
        grows = _grows(tensor.double())
        if grows and grows != side:
            return call.at(line)
    return returned_at(call.code)


def _grows(tensor: Any) -> str:
    """The one axis along which a grid changes."""
    down = tensor.shape[0] > 1 and bool((tensor[1:] != tensor[:-1]).any())
    across = tensor.shape[1] > 1 and bool((tensor[:, 1:] != tensor[:, :-1]).any())
    return "" if down == across else "row" if down else "column"


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function's name or arguments speak of points, maps or places."""
    spoken = {part for name in (node.name, *(one.arg for one in node.args.args)) for part in name.lower().split("_")}
    return bool(
        spoken
        & {
            "heatmap", "heatmaps", "heat", "keypoint", "keypoints", "landmark", "landmarks", "points", "point", "kpts",
            "gaussian", "coords", "coordinates", "centers", "centres", "center", "centre", "box", "boxes", "bbox",
        }
    )  # fmt: skip
