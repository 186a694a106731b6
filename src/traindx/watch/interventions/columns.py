"""Numbers that are printed without a word: ``print(epoch, loss.item(), round(acc, 3))`` names them by its variables."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Sequence
from functools import lru_cache
from types import FrameType

from traindx.watch.runtime.syntax import walk

LARGEST = 20_000  # lines of a file that is read for it
_WRAPPERS = frozenset({"round", "float", "int", "str", "abs"})
_METHODS = frozenset({"item", "detach", "cpu", "numpy", "tolist", "mean", "double", "float", "get_average", "avg"})
_A_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf")


def named(frame: FrameType | None, values: Sequence[object]) -> str:
    """What a print of numbers alone says, with a name before each; empty where there are words, or no names.

    Args:
        frame: That of the line that prints.
        values: What is printed: numbers, tensors of one element, text of numbers only.
    """
    numbers: list[str] = []
    for value in values:
        shown = _numbers(value)
        if shown is None:
            return ""
        numbers += shown
    if frame is None or len(numbers) < 2:
        return ""
    names = _names(frame.f_code.co_filename, frame.f_lineno)
    if len(names) != len(numbers):
        return ""
    return ", ".join(f"{name} {number}" for name, number in zip(names, numbers, strict=True) if name)


def _numbers(value: object) -> list[str] | None:
    """The numbers of one printed value; None where it is, or says, something else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return [repr(float(value))]
    if isinstance(value, str):
        rest = _A_NUMBER.sub("", value)
        return None if any(one.isalpha() for one in rest) else _A_NUMBER.findall(value)
    count = getattr(value, "numel", None)
    size = count() if callable(count) else getattr(value, "size", 0)
    if isinstance(size, int) and size == 1 and hasattr(value, "item"):
        number = value.item()
        return [repr(float(number))] if isinstance(number, int | float) else None
    return None


@lru_cache(maxsize=512)
def _names(file: str, line: int) -> tuple[str, ...]:
    """Names of what the print at a line shows, in their order; "" for what has none, () where they are not known."""
    calls = [one for one in _prints(file) if one.lineno <= line <= (one.end_lineno or one.lineno)]
    if not calls:
        return ()
    call = max(calls, key=lambda one: one.lineno)
    found: list[str] = []
    for one in call.args:
        if isinstance(one, ast.Starred):
            return ()
        if isinstance(one, ast.JoinedStr):
            found += [_name(part.value) for part in one.values if isinstance(part, ast.FormattedValue)]
        elif not (isinstance(one, ast.Constant) and isinstance(one.value, str)):
            found.append(_name(one))
    return tuple(found)


@lru_cache(maxsize=64)
def _prints(file: str) -> tuple[ast.Call, ...]:
    lines = linecache.getlines(file)
    if len(lines) > LARGEST:
        return ()
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return ()
    calls = (one for one in walk(tree) if isinstance(one, ast.Call))
    return tuple(one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "print")


def _name(value: ast.expr) -> str:  # noqa: PLR0911  (one return a kind of expression)
    """The variable or the function that a printed expression is about; empty where there is none, or several."""
    if isinstance(value, ast.Name):
        return value.id
    if isinstance(value, ast.Attribute):
        return value.attr
    if isinstance(value, ast.Subscript):
        key = value.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else _name(value.value)
    if isinstance(value, ast.BinOp):
        sides = [one for one in (value.left, value.right) if not isinstance(one, ast.Constant)]
        if len(sides) == 1 or (sides and isinstance(value.op, ast.Div)):  # a mean: total / count
            return _name(sides[0])
        return ""
    if isinstance(value, ast.Call):
        if isinstance(value.func, ast.Name):
            return _name(value.args[0]) if value.func.id in _WRAPPERS and value.args else value.func.id
        if isinstance(value.func, ast.Attribute):
            return _name(value.func.value) if value.func.attr in _METHODS else value.func.attr
    return ""
