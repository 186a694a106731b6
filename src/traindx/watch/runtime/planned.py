"""How many steps a training is planned to take: read from the loops around the step that runs, with the names bound.

``for epoch in range(args.epochs): for batch in loader:`` says it before the run has ended. Nothing of the script's is
called: numbers come from names, attributes of plain objects and arithmetic, lengths from containers and loaders.
"""

from __future__ import annotations

import ast
import inspect
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

from traindx.core.frames import locals_of
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.lengths import length_of
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk

MOST_FRAMES = 64
_WRAPPERS = ("tqdm", "enumerate", "list", "iter", "track", "progress_bar", "trange", "tqdm_notebook", "prefetch")
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
}
_NUMBERS: dict[str, Callable[..., Any]] = {
    "int": int, "round": round, "min": min, "max": max, "ceil": math.ceil, "floor": math.floor, "abs": abs,
}  # fmt: skip


class Plan(NamedTuple):
    """What the loops around a step say.

    Attributes:
        steps: Steps in all, 0 where that is not known.
        passes: Rounds of the outer loop, 1 where there is one loop only.
        exact: These loops are all there are around it, so no other one multiplies the number.
    """

    steps: int = 0
    passes: int = 0
    exact: bool = False


NO_PLAN = Plan()


@dataclass
class _Loop:
    """One loop around the step: its length, and whether it counts (``range``) or goes through something."""

    length: int | None
    counts: bool


class _UnknownError(Exception):
    """An expression that is not worked out."""


def planned(frame: FrameType | None, per_pass: int = 0) -> Plan:
    """The plan behind the step that the frames from here outwards make.

    Args:
        frame: The innermost frame.
        per_pass: Steps of one pass over the data, for a loop whose length cannot be read.
    """
    loops: list[_Loop] = []
    for _ in range(MOST_FRAMES):
        if frame is None:
            break
        if users(frame.f_code.co_filename):
            loops += _loops_around(frame)
        else:
            known = _of_library(frame)
            if known is not None:
                return known
        frame = frame.f_back
    if not loops:
        return NO_PLAN
    inner = loops[0]
    length = inner.length or (per_pass if not inner.counts else 0)
    if len(loops) == 1:
        return Plan(length, 1, exact=inner.counts) if length else NO_PLAN
    outer = next((loop for loop in loops[1:] if loop.counts), None)
    if outer is None or not outer.length or not length:
        return NO_PLAN
    if inner.counts and per_pass > length:  # several steps on one batch, and the loop over batches lies between
        return NO_PLAN
    return Plan(length * outer.length, outer.length, exact=len(loops) == 2)


def _loops_around(frame: FrameType) -> Iterator[_Loop]:
    """Loops of a frame's function that its present line lies in, innermost first."""
    tree = parsed(frame.f_code.co_filename)
    names: dict[str, Any] | None = None
    found: list[ast.For | ast.AsyncFor | ast.While] = []
    line = frame.f_lineno
    first = frame.f_code.co_firstlineno if frame.f_code.co_name != "<module>" else 0
    for node in walk(tree) if tree is not None else ():
        if not isinstance(node, ast.For | ast.AsyncFor | ast.While) or node.lineno < first:
            continue
        if node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0):
            found.append(node)
    for node in sorted(found, key=lambda one: -one.lineno):
        names = names if names is not None else {**frame.f_globals, **locals_of(frame)}
        if isinstance(node, ast.While):
            yield _Loop(_bound(node.test, names), counts=True)
        else:
            yield _loop(node.iter, names)


def _loop(node: ast.expr, names: dict[str, Any]) -> _Loop:
    name = _name(node.func) if isinstance(node, ast.Call) else ""
    if isinstance(node, ast.Call) and name in ("range", "trange", "tqdm_range"):
        try:
            return _Loop(len(range(*(int(value_of(one, names)) for one in node.args))), counts=True)
        except (_UnknownError, TypeError, ValueError):
            return _Loop(None, counts=True)
    if isinstance(node, ast.Call) and name in _WRAPPERS and node.args:
        return _loop(node.args[0], names)
    return _Loop(_length(node, names), counts=False)


def _length(node: ast.expr, names: dict[str, Any]) -> int | None:
    """Items of a container, batches of a loader, parts of a shuffled index; None where it is not known."""
    if isinstance(node, ast.Call) and _name(node.func) == "split" and isinstance(node.func, ast.Attribute):
        made = node.func.value
        if isinstance(made, ast.Call) and _name(made.func) in ("randperm", "arange") and made.args and node.args:
            try:
                return math.ceil(int(value_of(made.args[0], names)) / int(value_of(node.args[0], names)))
            except (_UnknownError, TypeError, ValueError, ZeroDivisionError):
                return None
    if isinstance(node, ast.Call) and _name(node.func) == "zip":
        known = [one for part in node.args if (one := _length(part, names)) is not None]
        return min(known) if known and len(known) == len(node.args) else None
    if isinstance(node, ast.List | ast.Tuple):
        return len(node.elts)
    try:
        return length_of(value_of(node, names))
    except _UnknownError:
        return None


def _bound(test: ast.expr, names: dict[str, Any]) -> int | None:
    """``while step < steps``: where it ends."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Lt | ast.LtE):
        try:
            return int(value_of(test.comparators[0], names))
        except (_UnknownError, TypeError, ValueError, OverflowError):
            return None
    return None


def value_of(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of a name, an attribute, an item, a length, or arithmetic of such.

    Raises:
        _UnknownError: It would need code of the script's to run, or there is no such thing.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.Attribute):
        return attribute_of(value_of(node.value, names), node.attr)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return _item(value_of(node.value, names), node.slice.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _number(value_of(node.left, names)), _number(value_of(node.right, names))
        try:
            return _ARITHMETIC[type(node.op)](left, right)
        except ArithmeticError as error:
            raise _UnknownError from error
    if isinstance(node, ast.Call) and not node.keywords:
        return _called(node, names)
    raise _UnknownError


def _item(owner: Any, key: Any) -> Any:
    if type(owner) not in (dict, list, tuple):
        raise _UnknownError
    try:
        return owner[key]
    except (KeyError, IndexError, TypeError) as error:
        raise _UnknownError from error


def _called(node: ast.Call, names: dict[str, Any]) -> Any:
    """``len``, and functions of numbers that are Python's own."""
    name = _name(node.func)
    if name == "len" and len(node.args) == 1:
        length = length_of(value_of(node.args[0], names))
        if length is not None:
            return length
    elif name in _NUMBERS and node.args:
        return _NUMBERS[name](*(_number(value_of(one, names)) for one in node.args))
    raise _UnknownError


def attribute_of(owner: Any, name: str) -> Any:
    """A field of an object that lies in it or its class; a property is not run.

    Raises:
        _UnknownError: There is none.
    """
    missing = object()
    value = inspect.getattr_static(owner, name, missing)
    if value is missing or isinstance(value, property) or inspect.isroutine(value) or hasattr(type(value), "__get__"):
        raise _UnknownError
    return value


def _number(value: Any) -> int | float:
    if type(value) not in (int, float, bool):
        raise _UnknownError
    return value  # type: ignore[no-any-return]


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# -- training loops of libraries -------------------------------------------------------------------------------------


def _of_library(frame: FrameType) -> Plan | None:
    """The plan of a trainer of Lightning's, transformers' or ignite's, whose frame this is."""
    package = str(frame.f_globals.get("__name__", "")).split(".")[0]
    if package not in ("lightning", "pytorch_lightning", "transformers", "ignite"):
        return None
    names = locals_of(frame)
    owner = names.get("self")
    try:
        if package == "transformers":
            most = names.get("max_steps")
            return Plan(most, 1, exact=True) if type(most) is int and most > 0 else None
        if package == "ignite":
            state = getattr(owner, "state", None)
            rounds, length = getattr(state, "max_epochs", None), getattr(state, "epoch_length", None)
            if type(rounds) is int and type(length) is int:
                return Plan(rounds * length, rounds, exact=True)
            return None
        return _of_lightning(getattr(owner, "trainer", None))
    except Exception:  # properties of a library that are not there yet
        return None


def _of_lightning(trainer: Any) -> Plan | None:
    if trainer is None:
        return None
    rounds, batches, most = trainer.max_epochs, trainer.num_training_batches, trainer.max_steps
    accumulated = trainer.accumulate_grad_batches
    steps = 0
    if type(rounds) is int and rounds > 0 and type(batches) is int and batches > 0:
        steps = rounds * math.ceil(batches / max(1, int(accumulated)))
    if type(most) is int and most > 0:
        steps = min(steps, most) if steps else most
    return Plan(steps, rounds if type(rounds) is int and rounds > 0 else 1, exact=True) if steps else None
