"""Functions whose names say that they only read: does a reading change what is read, or what is read after it?

A mean of stored scores, a summary, the ``compute`` of a metric give a figure and leave everything as it is, so that a
second reading gives the same. What is told apart: what resets itself or counts on by design, a function that returns
the array that it changes, and arrays that nobody reads again.
"""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import math
import sys
from collections import deque
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import ReadingTried
from traindx.watch.probes.functions.common import words
from traindx.watch.probes.functions.kept_by_callers import read_again
from traindx.watch.probes.functions.readings import (
    PLAIN,
    Figures,
    alike,
    arrays_in,
    difference,
    figures_in,
    first_apart,
    is_plain,
)
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, arguments_for, copied, own_copy, returned_at
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.syntax import walk

READS = frozenset({
    "aggregate", "aggregated", "compute", "computes", "calc", "calculate", "result", "results", "summary", "summarize",
    "summarise", "average", "avg", "mean", "median", "value", "score", "scores", "report", "metric", "metrics",
    "evaluate", "statistics", "stats", "percentile", "quantile", "macro", "micro", "weighted", "accuracy", "acc", "auc",
    "auroc", "f1", "dice", "iou", "miou", "precision", "recall", "sensitivity", "specificity", "kappa", "psnr", "ssim",
    "mae", "rmse", "mse", "ece", "brier", "hausdorff", "hd95", "confidence", "interval", "ci",
})  # fmt: skip
CHANGES = frozenset({
    "update", "add", "step", "accumulate", "append", "push", "next", "pop", "drain", "flush", "reset", "clear", "set",
    "running", "moving", "ema", "smooth", "smoothed", "exponential", "inplace", "augment", "preprocess", "transform",
    "apply", "clip", "fill", "replace", "impute", "sort", "clean", "mask", "threshold", "binarize", "binarise", "sync",
    "merge", "train", "fit", "load", "batch", "item", "lr", "init", "normalize", "normalise", "draw", "sample",
    "random", "schedule", "scheduler", "anneal", "annealing", "warmup", "decay", "beta", "temperature", "ramp",
    "iterator", "sampler", "buffer", "queue", "pool", "timer", "momentum", "early", "stopping", "stopper", "finish",
    "finalize", "finalise", "loss", "losses", "criterion", "gradient", "grad", "optimizer", "backward", "register",
    "is", "check",
})  # fmt: skip
ANEW = ("reset", "clear", "flush", "drain", "begin_anew", "zero_")
WRITES = frozenset({
    "sort", "append", "extend", "insert", "pop", "remove", "reverse", "fill", "put", "shuffle", "partition", "resize",
    "itemset", "nan_to_num", "clip", "copyto", "update", "setdefault", "put_along_axis", "fill_diagonal", "putmask",
    "place",
})  # fmt: skip
LIBRARIES = ("torchmetrics", "ignite", "monai", "pytorch_lightning", "lightning", "sklearn", "keras")
LEAST_READ = 2  # numbers in an array that is read
MOST_CALLS, MOST_READERS = 3, 6


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function reads by its name, and writes into what it is given by its source."""
    if not _only_reads(node.name):
        return False
    given = {one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    return any(_root(target) in given for target in _written(node))


def _only_reads(name: str, *others: str) -> bool:
    said = set(words(name))
    return name in others or (bool(READS & said) and not CHANGES & said and not name.endswith("_"))


def _written(node: ast.AST) -> Iterator[ast.expr]:
    """Whatever a function writes into, changes in place, or hands to what does."""
    for one in walk(node):
        if isinstance(one, ast.AugAssign):
            yield one.target
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            parts = [part for target in targets for part in walk(target)]
            yield from (
                p for p in parts if isinstance(p, ast.Subscript | ast.Attribute) and isinstance(p.ctx, ast.Store)
            )
        elif isinstance(one, ast.Call):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
            into = any(keyword.arg in ("out", "inplace", "copy") for keyword in one.keywords)
            if name in WRITES or into or (name.endswith("_") and not name.endswith("__")):
                yield from ([one.func.value] if isinstance(one.func, ast.Attribute) else [])
                yield from one.args[:1]


def _root(target: ast.AST) -> str:
    """The name that an expression begins with."""
    while isinstance(target, ast.Subscript | ast.Attribute | ast.Call):
        target = target.func if isinstance(target, ast.Call) else target.value
    return target.id if isinstance(target, ast.Name) else ""


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that only reads by its name, gives figures, and writes into something by its source."""
    looked: dict[Any, int] = {}
    found: dict[Any, ReadingTried] = {}
    for call in calls:
        before = found.get(call.code)
        if looked.get(call.code, 0) >= MOST_CALLS or (before is not None and before.changes):
            continue
        node = definition_of(call.code)
        if node is None or not _only_reads(call.name, "__call__") or not any(_written(node)) or _means_to(call, node):
            continue
        looked[call.code] = looked.get(call.code, 0) + 1
        try:
            record = _of_state(torch, call) if _is_asked(torch, call) else _of_arguments(torch, call, calls)
        except Exception:  # whatever the script's functions raise when they are called once more
            continue
        if record is not None:
            found[call.code] = record
    yield from found.values()


def _means_to(call: RecordedCall, node: ast.AST) -> bool:
    """It says that it begins anew, or belongs to something that counts on by design."""
    text = (ast.get_docstring(node) or "").lower() if isinstance(node, ast.FunctionDef) else ""
    names = {one.attr for one in walk(node) if isinstance(one, ast.Attribute)}
    names |= {one.id for one in walk(node) if isinstance(one, ast.Name)}
    anew = any(part in name for name in names for part in ANEW) or any(part in text for part in (*ANEW, "in place"))
    owner = type(call.args["self"]) if "self" in call.args else None
    library = owner is not None and any(one.__module__.split(".")[0] in LIBRARIES for one in owner.__mro__)
    counts_on = owner is not None and bool(CHANGES & set(words(owner.__name__)))
    return anew or library or counts_on or "in-place" in text


# -- what a function is given --------------------------------------------------------------------------------------


def _of_arguments(torch: Any, call: RecordedCall, calls: list[RecordedCall]) -> ReadingTried | None:
    """Made again with copies of its arguments, which are looked at afterwards."""
    if not all(is_plain(torch, value) for name, value in call.args.items() if name != "self"):
        return None
    values = _copies(torch, call)
    first = figures_in(torch, _made(torch, call, values))
    if first is None or not alike(first, figures_in(torch, _made(torch, call, _copies(torch, call)))):
        return None
    own = {name: arrays_in(torch, value) for name, value in call.args.items() if name != "self"}
    if not any(array.numel() >= LEAST_READ for several in own.values() for array in several):
        return None
    for name, before in own.items():
        after = arrays_in(torch, values[name])
        how = difference(torch, before, after)
        if not how:
            continue
        line = read_again(call, name)
        if line == 0:
            continue
        second = figures_in(torch, _made(torch, call, values))
        where = _line_that_changes(torch, call, name)
        again = second is not None and not alike(first, second)
        if how.startswith("has") and not (again and line < 0):
            continue  # a list that a caller keeps may be meant to grow
        others = [] if again else list(_others(torch, call, calls, name, before, after))
        if others and not any(changed for _, _, _, changed in others):
            continue  # whoever reads it after this gets the same figure
        reader, one, other, _ = next((each for each in others if each[3]), ("", first, second or first, False))
        shown = first_apart(one, other) if again or reader else (0.0, 0.0)
        return ReadingTried(
            function=call.shown, changes=name, how=how, reader=call.shown if again else reader,
            before=shown[0], after=shown[1], read_at=line, where=where.location(),
        )  # fmt: skip
    return ReadingTried(function=call.shown, where=returned_at(call.code).location())


def _others(
    torch: Any, call: RecordedCall, calls: list[RecordedCall], name: str, before: list[Any], after: list[Any]
) -> Iterator[tuple[str, Figures, Figures, bool]]:
    """Other functions that were given the same thing as it was left: what they say of it as it was, and as it is."""
    for other in calls:
        if other.code is call.code or other.caller is None or call.caller is None:
            continue
        if other.caller.file != call.caller.file or other.caller.line < call.caller.line:
            continue
        for given, value in other.args.items():
            held = arrays_in(torch, value) if given != "self" and is_plain(torch, value) else []
            if not held or difference(torch, held, after) or not difference(torch, held, before):
                continue
            now = figures_in(torch, other.again(torch))
            was = figures_in(torch, other.again(torch, **{given: copied(torch, call.args[name])}))
            if now is not None and was is not None:
                yield other.shown, was, now, not alike(was, now)


# -- what an object holds ------------------------------------------------------------------------------------------


def _is_asked(torch: Any, call: RecordedCall) -> bool:
    """A method that is asked for a figure, and given nothing but settings: a number may be what it adds up."""
    if "self" not in call.args:
        return False
    known = inspect.signature(call.function).parameters
    return all(
        isinstance(value, str | bool | None) or (isinstance(value, PLAIN) and value == known[name].default)
        for name, value in call.args.items()
        if name != "self"
    )


def _of_state(torch: Any, call: RecordedCall) -> ReadingTried | None:
    """Asked of copies of its object: twice, and other readers of the object before and after it."""
    owner = call.owner if call.owner is not None else call.args["self"]  # as it was before the call
    if not users(call.code.co_filename) or not _holds_figures(torch, owner):
        return None
    values = {name: value for name, value in call.args.items() if name != "self"}

    def fresh() -> Any:
        made = own_copy(torch, owner)
        if made is owner:
            raise ValueError("no copy of it can be made")
        return made

    def ask(function: FunctionType, one: Any, given: dict[str, Any]) -> Figures | None:
        seed(torch, 0)
        positional, named = arguments_for(function, {"self": one, **given})
        return figures_in(torch, function(*positional, **named))

    state, left = fresh(), fresh()
    before = _numbers_of(torch, state)
    first = ask(call.function, left, values)
    if first is None or not any(map(math.isfinite, first)) or not alike(first, ask(call.function, fresh(), values)):
        return None
    after = _numbers_of(torch, left)
    if _emptied(before, after):
        return None  # it begins anew by design
    for name, function in itertools.islice(_readers(type(owner), call), MOST_READERS):
        given = values if function is call.function else {}
        try:
            was, same = (ask(function, fresh(), given) for _ in range(2))
            now = ask(function, copy.deepcopy(left), given)
        except Exception:  # a reader that needs what is not there
            continue
        if was is None or now is None or not alike(was, same) or alike(was, now) or len(was) != len(now):
            continue
        held = [key for key in before if not _same_numbers(before[key], after.get(key))]
        shown = first_apart(was, now)
        return ReadingTried(
            function=call.shown, changes=f"self.{held[0]}" if held else "self", how="is another one afterwards",
            reader=name, before=shown[0], after=shown[1], where=_line_that_changes(torch, call, "self").location(),
        )  # fmt: skip
    return ReadingTried(function=call.shown, where=returned_at(call.code).location())


def _holds_figures(torch: Any, owner: Any, depth: int = 0) -> bool:
    """An object that holds numbers and nothing that runs on: no network, no loader, no generator."""
    if isinstance(owner, torch.nn.Module) or not hasattr(owner, "__dict__"):
        return False
    return all(
        is_plain(torch, value)
        or isinstance(value, FunctionType)
        or (isinstance(value, dict | set | deque) and is_plain(torch, list(_inside(value))))
        or (depth < 2 and users(_file_of(type(value))) and _holds_figures(torch, value, depth + 1))
        for value in vars(owner).values()
    )


def _inside(held: Any) -> Iterator[Any]:
    yield from held.values() if isinstance(held, dict) else held


def _file_of(kind: type) -> str:
    return str(getattr(sys.modules.get(kind.__module__), "__file__", None) or "<none>")


def _readers(kind: type, call: RecordedCall) -> Iterator[tuple[str, FunctionType]]:
    """The method itself, and others of its class that only read and need nothing."""
    yield call.code.co_name, call.function
    for name in dir(kind):
        value = inspect.getattr_static(kind, name, None)
        if isinstance(value, property):
            value = value.fget
        if not isinstance(value, FunctionType) or value is call.function or not users(value.__code__.co_filename):
            continue
        several = list(inspect.signature(value).parameters.values())[1:]
        needs = any(one.default is one.empty for one in several)
        if needs or not _only_reads(name) or value.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
            continue
        node = definition_of(value.__code__)
        if node is not None and not _means_to(call, node):
            yield name, value


def _numbers_of(torch: Any, owner: Any) -> dict[str, list[Any]]:
    """The numbers that each attribute of an object holds."""
    return {
        name: [torch.tensor([float(value)])] if type(value) in (int, float) else arrays_in(torch, value)
        for name, value in vars(owner).items()
    }


def _same_numbers(one: list[Any], other: list[Any] | None) -> bool:
    if other is None or len(one) != len(other):
        return False
    return all(a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
               if a.is_floating_point() and b.is_floating_point() else a.shape == b.shape and bool((a == b).all())
               for a, b in zip(one, other, strict=True))  # fmt: skip


def _emptied(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> bool:
    for name, held in before.items():
        now = after.get(name, [])
        sizes = [sum(one.numel() for one in several) for several in (held, now)]
        some = [any(bool((one != 0).any()) for one in several) for several in (held, now)]
        if sizes[1] < sizes[0] or (some[0] and not some[1]):
            return True
    return False


# -- in common ------------------------------------------------------------------------------------------------------


def _copies(torch: Any, call: RecordedCall) -> dict[str, Any]:
    values = {name: copied(torch, value) for name, value in call.args.items()}
    if "self" in values:
        values["self"] = own_copy(torch, values["self"] if call.owner is None else call.owner)
    return values


def _made(torch: Any, call: RecordedCall, values: dict[str, Any]) -> Any:
    """What comes of the call with these very objects; None where it gives one of them back."""
    seed(torch, 0)
    positional, named = arguments_for(call.function, values)
    result = call.function(*positional, **named)
    return None if any(result is one for one in values.values()) else result


def _line_that_changes(torch: Any, call: RecordedCall, name: str) -> CallSite:
    """The first line of the function after which an argument (or what an object holds) is not as it was."""
    values = _copies(torch, call)

    def held() -> dict[str, list[Any]]:
        return _numbers_of(torch, values["self"]) if name == "self" else {"": arrays_in(torch, values[name])}

    before, last, found = held(), 0, 0

    def differs() -> bool:
        now = held()
        return any(not _same_numbers(one, now.get(key)) for key, one in before.items())

    def local(frame: Any, event: str, arg: Any) -> Any:
        nonlocal last, found
        if event in ("line", "return") and last and not found and differs():
            found = last
        last = frame.f_lineno
        return local

    def enter(frame: Any, event: str, arg: Any) -> Any:
        return local if frame.f_code is call.code else None

    trace = sys.gettrace()
    sys.settrace(enter)
    try:
        _made(torch, call, values)
    finally:
        sys.settrace(trace)
    return call.at(found) if found else returned_at(call.code)
