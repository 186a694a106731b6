"""Arrays in what a function was given, however deep in containers and objects, and others in their place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

DEPTH = 4  # a loader, its data set, the list that it keeps, the pairs in that
MOST_ENTRIES = 64
LEAST_SIDE = 8  # voxels: a shorter axis holds channels
FEW_VALUES = 16  # of an array that is a map of labels
PART = 0.9  # of the whole, that a piece has at most
LIBRARIES = ("torch.nn", "torch.optim", "numpy", "builtins", "collections")


class Arrays:
    """All arrays with two axes or more among some arguments.

    Attributes:
        shapes: Their shapes.
    """

    def __init__(self, torch: Any, args: dict[str, Any]) -> None:
        self.shapes: list[tuple[int, ...]] = []

        def note(array: Any) -> Any:
            self.shapes.append(tuple(array.shape))
            return array

        for value in args.values():
            _mapped(torch, value, note, 0, set())


def layout_of(
    given: list[tuple[int, ...]], made: list[tuple[int, ...]], piece: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Sides that an array which was given and one that was made share, and of which a piece is a part.

    Whole slices are no pieces here: what is given for one may be meant for the next, as a forecast is.
    """
    count = len(piece)
    for sides in (run for one in made for run in _runs(one, count)):
        smaller = np.prod(piece) < PART * np.prod(sides)
        if smaller and any(sides in _runs(other, count) for other in given):
            return sides
    return None


def _runs(shape: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    """Neighbouring axes of a shape that may be sides, the last ones first."""
    runs = [shape[first : first + count] for first in range(len(shape) - count, -1, -1)]
    return [run for run in runs if min(run) >= LEAST_SIDE]


def with_arrays(torch: Any, args: dict[str, Any], sides: tuple[int, ...], code: Any, others: bool) -> dict[str, Any]:
    """The same arguments with a code in place of every image of these sides.

    Args:
        torch: The script's torch.
        args: Arguments by name.
        sides: Sides of the code.
        code: Where it is high.
        others: Maps of labels and masks of the same sides are filled with their largest value.
    """
    images: list[Any] = []

    def look(array: Any) -> Any:
        if _first(tuple(array.shape), sides) is not None and not _is_map(torch, array):
            images.append(array)
        return array

    for value in args.values():
        _mapped(torch, value, look, 0, set())
    known = {id(one) for one in images}

    def made(array: Any) -> Any:
        first = _first(tuple(array.shape), sides)
        if first is None:
            return array
        if id(array) in known or not known:
            return _coded(torch, array, code, first)
        return _level(torch, array) if others else array

    return {name: _mapped(torch, value, made, 0, set()) for name, value in args.items()}


def _first(shape: tuple[int, ...], sides: tuple[int, ...]) -> int | None:
    count = len(sides)
    return next((at for at in range(len(shape) - count, -1, -1) if tuple(shape[at : at + count]) == sides), None)


def _is_map(torch: Any, array: Any) -> bool:
    """Few whole numbers: labels or a mask."""
    values = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array
    if values.dtype.kind == "b":
        return True
    some = values.reshape(-1)[:: max(1, values.size // 20_000)]
    return values.dtype.kind in "iu" and len(np.unique(some)) <= FEW_VALUES


def _coded(torch: Any, array: Any, code: Any, first: int) -> Any:
    low, high = float(array.min()), float(array.max())
    high = high if high > low else low + 1.0
    shape = [1] * first + list(code.shape) + [1] * (len(array.shape) - first - code.ndim)
    whole = np.broadcast_to(code.reshape(shape), array.shape)
    values = np.where(whole, high, low)
    if isinstance(array, torch.Tensor):
        return torch.from_numpy(values).to(array.dtype)
    return values.astype(array.dtype)


def _level(torch: Any, array: Any) -> Any:
    if isinstance(array, torch.Tensor):
        return torch.full_like(array, array.max())
    return np.full_like(array, array.max())


def _mapped(torch: Any, value: Any, made: Callable[[Any], Any], depth: int, seen: set[int]) -> Any:  # noqa: PLR0911
    """A value with its arrays replaced; containers and objects that hold some are copied."""
    if isinstance(value, torch.Tensor | np.ndarray):
        numbers = (
            value.dtype in (torch.bool,) or not value.is_complex()
            if isinstance(value, torch.Tensor)
            else (value.dtype.kind in "buif")
        )
        small = value.ndim < 2 or isinstance(value, torch.nn.Parameter) or not numbers
        return value if small else made(value)
    if depth >= DEPTH or value is None or isinstance(value, str | int | float | type | torch.nn.Module):
        return value
    if isinstance(value, FunctionType | MethodType | CodeType) or id(value) in seen:
        return value
    seen = seen | {id(value)}
    if type(value) in (list, tuple):
        parts = [_mapped(torch, one, made, depth + 1, seen) for one in value[:MOST_ENTRIES]]
        changed = any(a is not b for a, b in zip(parts, value, strict=False))
        return type(value)([*parts, *value[MOST_ENTRIES:]]) if changed else value
    if isinstance(value, dict):
        entries = {key: _mapped(torch, one, made, depth + 1, seen) for key, one in list(value.items())[:MOST_ENTRIES]}
        if all(entries[key] is value[key] for key in entries):
            return value
        new = copy.copy(value)
        new.update(entries)
        return new
    fields = getattr(value, "__dict__", None)
    if not isinstance(fields, dict) or type(value).__module__.startswith(LIBRARIES):
        return value
    changes = {key: _mapped(torch, one, made, depth + 1, seen) for key, one in list(fields.items())[:MOST_ENTRIES]}
    if all(changes[key] is fields[key] for key in changes):
        return value
    made_object = copy.copy(value)
    vars(made_object).update(changes)
    return made_object


def at_hand(torch: Any, value: Any, values: dict[str, Any]) -> bool:
    """A network is among some values, in one of them, or among the global names that a function uses."""
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    names = getattr(getattr(value, "__func__", value), "__globals__", {})
    used = [names[name] for name in code.co_names if name in names] if code is not None else []
    return any(_holds(torch, one) for one in [*values.values(), *used])


def _holds(torch: Any, value: Any) -> bool:
    if isinstance(value, torch.nn.Module):
        return any(True for _ in value.parameters())
    inner = list(value.values()) if type(value) is dict else list(value) if type(value) in (list, tuple) else None
    inner = list(getattr(value, "__dict__", {}).values()) if inner is None else inner
    return not isinstance(value, type) and any(isinstance(one, torch.nn.Module) for one in inner[:MOST_ENTRIES])
