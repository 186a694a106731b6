"""Functions that cut an image into windows and put windows together: is a spot where it was, with no network between?

The two are known by what passes: what one returns has the shape of what another one, called by the same function, is
given, and that gives back the size of the image. Names do not matter. Each is called again as it was, the first with a
picture of one spot, the second with what the first one made of it; what a function between the two does to values
does not matter, where they lie afterwards does. A constant image tells whether overlaps are averaged and nothing is
left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import WindowsTried
from traindx.watch.probes.functions.common import as_tensor, like, words
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import (
    RecordedCall,
    arguments_for,
    copied,
    line_by_line,
    own_copy,
    returned_at,
)
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

LEAST = 16  # pixels of a side that is cut
SPOTS = ((0.18, 0.3), (0.3, 0.72), (0.42, 0.45), (0.5, 0.2), (0.55, 0.85), (0.63, 0.55), (0.72, 0.33), (0.82, 0.66))
UNLIKE = 0.02  # of a constant value
SPEAKING = {
    "window", "windows", "patch", "patches", "patchify", "unpatchify", "tile", "tiles", "tiling", "crop", "crops",
    "block", "blocks", "chunk", "chunks", "stitch", "assemble", "blend", "fold", "unfold", "mosaic", "grid", "slide",
    "sliding", "overlap", "aggregate", "reconstruct", "reassemble", "split", "cut", "merge", "combine",
}  # fmt: skip


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every two functions between which windows pass."""
    done: set[tuple[Any, Any]] = set()
    for cut in calls:
        for put in calls:
            if put.code is cut.code or (cut.code, put.code) in done or not _in_one_function(cut, put):
                continue
            try:
                record = _tried(torch, cut, put)
            except Exception:  # whatever the script's functions raise when they are given something else
                continue
            if record is not None:
                done.add((cut.code, put.code))
                yield record


def _in_one_function(cut: RecordedCall, put: RecordedCall) -> bool:
    one, other = cut.caller, put.caller
    return one is not None and other is not None and (one.file, one.symbol) == (other.file, other.symbol)


def _tried(torch: Any, cut: RecordedCall, put: RecordedCall) -> WindowsTried | None:  # noqa: PLR0911  (one a doubt)
    name, given = _data(torch, cut)
    data, windows = _data(torch, put)
    x, w, y = as_tensor(torch, given), as_tensor(torch, windows), as_tensor(torch, put.result)
    made = _windows(torch, cut.result)
    if x is None or w is None or y is None or made is None or _learns(torch, cut) or _learns(torch, put):
        return None
    axes = _cut_axes(x, made, y)
    if axes is None or not x.is_floating_point() or not _like_but_for_channels(made.shape, w.shape):
        return None
    if _count(x, made, axes) < 2:
        return None
    values = _bound(torch, cut, put, data)
    if values is None or not _is_settled(torch, cut):
        return None

    low, high = float(x.min()), float(x.max())
    high = high if high > low else low + 1.0

    def through(image: Any, level: float) -> Any:
        """An image cut and put together; axes of the result that were cut come last."""
        result = _again(torch, cut, 0, **{name: like(torch, image, given)})
        parts = _windows(torch, result)
        changes = {key: _component(result, at) for key, at in values.items()}
        shown = like(torch, _with_channels(torch, parts, w.shape, level), windows)
        shown = list(shown) if type(put.args[data]) is list else shown
        back = as_tensor(torch, _again(torch, put, 0, **changes, **{data: shown}))
        return back.double() if back is not None and back.shape == y.shape else None

    flat = through(torch.full(x.shape, high, dtype=x.dtype), high)
    if flat is None or not bool(flat.isfinite().all()):
        return None
    usual = float(flat.median())
    uneven = float(((flat - usual).abs() > UNLIKE * max(abs(usual), 1e-9)).double().mean())
    ground = through(torch.full(x.shape, low, dtype=x.dtype), (low + high) / 2)
    misplaced = found = 0
    farthest = 0.0
    for shares in SPOTS:
        place = _place(x, axes, shares)
        image = torch.full(x.shape, low, dtype=x.dtype)
        image[_around(x, axes, place)] = high
        back = through(image, (low + high) / 2)
        if back is None:
            return None
        distance = _distance(torch, back - ground, _axes_of(y, x, axes), place)
        if distance is None:
            misplaced += 1
            continue
        found += 1
        misplaced += distance > 2.5
        farthest = max(farthest, distance)
    if not found:
        return None  # what is done to the values hides them
    differs = _differing(torch, cut, put) if misplaced or uneven else None
    return WindowsTried(
        first=cut.shown,
        second=put.shown,
        size=tuple(x.shape[axis] for axis in axes),
        spoken=bool(SPEAKING & ({*words(cut.code.co_name)} | {*words(put.code.co_name)})),
        spots=len(SPOTS),
        misplaced=misplaced,
        distance=farthest,
        uneven=uneven,
        differs=differs[0] if differs else "",
        values=differs[1] if differs else "",
        where=(differs[2] if differs else returned_at(put.code)).location(),
    )


# -- what passes -------------------------------------------------------------------------------------------------------


def _data(torch: Any, call: RecordedCall) -> tuple[str, Any]:
    for name, value in call.args.items():
        if name not in ("self", "cls"):
            whole = value
            if type(value) is list and value and as_tensor(torch, value[0]) is not None:
                whole = _windows(torch, value)
            return (name, whole) if as_tensor(torch, whole) is not None else ("", None)
    return "", None


def _windows(torch: Any, result: Any) -> Any | None:
    """All windows in one tensor: what is returned, the first part of it, or a list of equal ones."""
    if type(result) is tuple and result:
        result = result[0]
    if type(result) is list and len(result) > 1:
        parts = [as_tensor(torch, one) for one in result]
        whole = [one for one in parts if one is not None]
        if len(whole) < len(parts) or any(one.shape != whole[0].shape for one in whole):
            return None
        return torch.stack(whole)
    return as_tensor(torch, result)


def _cut_axes(x: Any, windows: Any, y: Any) -> tuple[int, ...] | None:
    """Axes of the image along which windows are shorter, and which have their full length again at the end."""
    last = 1 if x.dim() > 2 and x.shape[-1] <= 4 and windows.shape[-1] == x.shape[-1] else 0  # channels come last
    found = []
    for back in range(1 + last, min(3, x.dim(), windows.dim(), y.dim() + last) + last + 1):
        if back > x.dim() or back > windows.dim() or back > y.dim():
            break
        if x.shape[-back] < LEAST or x.shape[-back] != y.shape[-back]:
            break
        if windows.shape[-back] < x.shape[-back]:
            found.append(x.dim() - back)
    return tuple(reversed(found)) or None


def _axes_of(y: Any, x: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(y.dim() - (x.dim() - axis) for axis in axes)


def _like_but_for_channels(one: Any, other: Any) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) <= 1 and one[0] == other[0]


def _count(x: Any, windows: Any, axes: tuple[int, ...]) -> float:
    """How many windows there are of every image."""
    inside, whole = 1, 1
    for axis in axes:
        inside *= windows.shape[axis - x.dim()]
        whole *= x.shape[axis]
    return float(windows.numel() / inside / (x.numel() / whole))


def _with_channels(torch: Any, windows: Any, shape: Any, level: float) -> Any:
    """Windows with as many channels as the network gave; the first one has the picture, the others are level."""
    for axis, (own, wanted) in enumerate(zip(windows.shape, shape, strict=True)):
        if own != wanted and axis:
            first = windows.narrow(axis, 0, 1)
            return torch.cat([first, *[torch.full_like(first, level)] * (wanted - 1)], axis)
    return windows


def _bound(torch: Any, cut: RecordedCall, put: RecordedCall, data: str) -> dict[str, int] | None:
    """Arguments of the second function that are parts of what the first one returned, by position."""
    parts = list(cut.result)[1:] if type(cut.result) is tuple else []
    found: dict[str, int] = {}
    for name, value in put.args.items():
        if name in ("self", "cls", data):
            continue
        for at, part in enumerate(parts, 1):
            if type(part) is type(value) and _equal(torch, part, value) and not isinstance(part, bool | None):
                found[name] = at
        tensor = as_tensor(torch, value)
        if name not in found and tensor is not None and tensor.dim() > 1:
            return None  # it is given something of this image from elsewhere
    if len(parts) > len(set(found.values())) and any(as_tensor(torch, part) is not None for part in parts):
        return None
    return found


def _equal(torch: Any, one: Any, other: Any) -> bool:
    a, b = as_tensor(torch, one), as_tensor(torch, other)
    if a is not None and b is not None:
        return bool(a.shape == b.shape and torch.equal(a, b))
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):
        return False


def _component(result: Any, at: int) -> Any:
    return result[at]


def _learns(torch: Any, call: RecordedCall) -> bool:
    return any(
        isinstance(value, torch.nn.Module) and any(True for _ in value.parameters()) for value in call.args.values()
    )


def _is_settled(torch: Any, cut: RecordedCall) -> bool:
    """It cuts at the same places whatever is drawn."""
    one, other = (_windows(torch, _again(torch, cut, number)) for number in (1, 2))
    return one is not None and other is not None and one.shape == other.shape and bool(torch.equal(one, other))


def _again(torch: Any, call: RecordedCall, number: int, **changes: Any) -> Any:
    values = {name: copied(torch, value) for name, value in call.args.items()}
    if "self" in values:
        values["self"] = own_copy(torch, values["self"])
    positional, named = arguments_for(call.function, values | changes)
    seed(torch, number)
    return call.function(*positional, **named)


# -- spots -------------------------------------------------------------------------------------------------------------


def _place(x: Any, axes: tuple[int, ...], shares: tuple[float, float]) -> tuple[int, ...]:
    """The middle of a spot along every axis that is cut."""
    given = (shares[1], shares[0], sum(shares) / 2)
    return tuple(round(given[at % 3] * (x.shape[axis] - 1)) for at, axis in enumerate(axes))


def _around(x: Any, axes: tuple[int, ...], place: tuple[int, ...]) -> tuple[slice, ...]:
    where = [slice(None)] * x.dim()
    for axis, middle in zip(axes, place, strict=True):
        where[axis] = slice(max(0, middle - 1), middle + 2)
    return tuple(where)


def _distance(torch: Any, change: Any, axes: tuple[int, ...], place: tuple[int, ...]) -> float | None:
    """How far the middle of what has changed lies from where the spot was; None where nothing has."""
    others = [axis for axis in range(change.dim()) if axis not in axes]
    weight = change.abs()
    if others:
        weight = weight.sum(others)
    top = float(weight.max())
    if not top > 1e-6:
        return None
    places = (weight > 0.3 * top).nonzero().double()
    return float((places.mean(0) - torch.tensor(place).double()).norm())


# -- the line ----------------------------------------------------------------------------------------------------------


def _differing(torch: Any, cut: RecordedCall, put: RecordedCall) -> tuple[str, str, CallSite] | None:
    """A name that both functions give a value, each another one: where the first one does."""
    try:
        one, other = _plain(torch, cut), _plain(torch, put)
    except Exception:
        return None
    for name, (line, value) in one.items():
        if name in other and value != other[name][1] and type(value) is type(other[name][1]):
            return name, f"{_short(value)} and {_short(other[name][1])}", cut.at(line)
    return None


def _plain(torch: Any, call: RecordedCall) -> dict[str, tuple[int, Any]]:
    """Numbers, and tuples of some, that a function gives a name: the first time, and the line."""
    found: dict[str, tuple[int, Any]] = {}
    given = set(call.args)
    for line, name, value in line_by_line(torch, call):
        if name in given or name in found or name == "return":
            continue
        numbers = value if isinstance(value, tuple | list) else [value]
        plain = 0 < len(numbers) <= 4 and all(isinstance(one, int | float) for one in numbers)
        if plain and not isinstance(value, bool):
            found[name] = line, value
    return {name: one for name, one in found.items() if not _loops(call, name)}


def _loops(call: RecordedCall, name: str) -> bool:
    """A variable of a loop."""
    from traindx.watch.probes.live_calls import definition_of

    node = definition_of(call.code)
    loops = [one.target for one in walk(node) if isinstance(one, ast.For | ast.comprehension)] if node else []
    return any(isinstance(part, ast.Name) and part.id == name for target in loops for part in walk(target))


def _short(value: Any) -> str:
    return str(value) if len(str(value)) < 40 else f"{str(value)[:37]}..."


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could cut or put together, as far as its source tells."""
    return bool(SPEAKING & set(words(node.name)))
