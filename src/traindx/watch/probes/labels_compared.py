"""Numbers that label maps are compared with, in the making of items and in the user's functions, and what occurs there.

Only ever used in a child process: items of data sets are made once more, and the user's functions are called again,
while every comparison of an array of few whole numbers with a number is noted. Arrays of numpy are handed over as a
class of ours that notes comparisons; those of torch are seen by a function mode.
"""

from __future__ import annotations

import ast
import copy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from traindx.core import compat
from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.probed_labels import LabelsCompared
from traindx.finding import Location
from traindx.watch.probes.file_readers import reading_changed
from traindx.watch.probes.functions.common import as_tensor, number, words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.making import seed
from traindx.watch.probes.recorded import RecordedCall, copied
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import walk

EQUAL = frozenset({"eq", "__eq__", "equal"})
UNEQUAL = frozenset({"ne", "__ne__", "not_equal"})
MEMBERS = frozenset({"isin", "in1d"})
ORDERS: dict[str, Callable[[float, float], bool]] = {
    **dict.fromkeys(("gt", "__gt__", "greater"), lambda one, other: one > other),
    **dict.fromkeys(("ge", "__ge__", "greater_equal"), lambda one, other: one >= other),
    **dict.fromkeys(("lt", "__lt__", "less"), lambda one, other: one < other),
    **dict.fromkeys(("le", "__le__", "less_equal"), lambda one, other: one <= other),
}
LABELS = {
    "label", "labels", "mask", "masks", "seg", "segs", "segmentation", "target", "targets", "gt", "truth", "annotation",
    "annotations", "y", "lbl", "classes", "data", "map", "regions", "region",
}  # fmt: skip
LEAST_NUMBERS = 64  # in a map of labels
MOST_VALUES = 24  # of one, which is no picture then
MOST_NUMBERS = 8_000_000
SECONDS = 0.7  # of processor time a data set
CALL_SECONDS = 0.5  # for all calls of functions
MOST_MEMBERS = 512  # of a container whose arrays are handed over in our class


@dataclass
class _Compared:
    """All comparisons in one function, or in one transform of a library."""

    function: str
    file: str
    named: dict[float, int] = field(default_factory=dict)  # numbers that are looked for, with the first line of each
    covered: set[float] = field(default_factory=set)  # values that other comparisons tell apart
    values: set[float] = field(default_factory=set)
    maps: int = 0
    items: int = 0
    of: int = 0


class _Notes:
    """What was compared with what."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.found: dict[tuple[str, str], _Compared] = {}
        self.outermost: Any = None  # code of the function below which frames are the tried ones
        self.item = (0, 0)
        self._last: tuple[Any, int, frozenset[float] | None] = (None, -1, None)

    def note(self, name: str, first: Any, second: Any) -> None:
        """A comparison of two things by name."""
        values = self._values(first)
        wanted = _numbers(self.torch, second, 1 if name not in MEMBERS else MOST_VALUES)
        if values is None and name not in MEMBERS:
            first, second, values = second, first, self._values(second)
            wanted = _numbers(self.torch, second, 1)
        if not values or not wanted:
            return
        place = self._place()
        if place is None:
            return
        file, function, line = place
        known = self.found.setdefault((file, function), _Compared(function, file))
        known.maps += not values <= known.values or known.maps < MOST_VALUES
        known.values |= values
        known.items, known.of = max(known.items, self.item[0]), max(known.of, self.item[1])
        for one in wanted:
            if name in EQUAL or name in MEMBERS:
                known.named.setdefault(one, line)
            elif name in UNEQUAL:
                known.covered |= values - {one}
            else:
                known.covered |= {value for value in values if ORDERS[name](value, one)}

    def _values(self, value: Any) -> frozenset[float] | None:
        """The values of a map of labels; None for anything else."""
        tensor = as_tensor(self.torch, value)
        if tensor is None or tensor.dtype == self.torch.bool or tensor.is_complex():
            return None
        if not LEAST_NUMBERS <= tensor.numel() <= MOST_NUMBERS:
            return None
        kept, version, values = self._last
        same = kept is not None and kept.data_ptr() == tensor.data_ptr() and kept.shape == tensor.shape
        if same and version == _sum(tensor):
            return values
        values = None
        if float(tensor.min()) >= 0 and float(tensor.max()) < 4096 and bool((tensor == tensor.round()).all()):
            counts = self.torch.bincount(tensor.reshape(-1).long())
            present = counts.nonzero().flatten().tolist()
            values = frozenset(map(float, present)) if 2 <= len(present) <= MOST_VALUES else None
        self._last = (tensor, _sum(tensor), values)
        return values

    def _place(self) -> tuple[str, str, int] | None:
        """File, function and line of the user's; or the class of a library's transform that compares."""
        frame: FrameType | None = sys._getframe(2)
        owner = ""
        while frame is not None and frame.f_code is not self.outermost:
            if users(frame.f_code.co_filename):
                parts = [part for part in frame.f_code.co_qualname.split(".") if not part.startswith("<")]
                return frame.f_code.co_filename, ".".join(parts), frame.f_lineno
            instance = frame.f_locals.get("self")
            if not owner and type(instance).__module__.startswith("monai.transforms"):
                owner = type(instance).__name__
            frame = frame.f_back
        return ("", owner, 0) if owner and frame is not None else None


def _sum(tensor: Any) -> int:
    return int(tensor.sum().item())


def _numbers(torch: Any, value: Any, most: int) -> list[float]:
    """What a map of labels is compared with: one number, or a few."""
    one = number(torch, value)
    if one is not None:
        return [one] if one == round(one) else []
    if most < 2:
        return []
    tensor = as_tensor(torch, value)
    if tensor is not None:
        value = tensor.reshape(-1).tolist() if tensor.numel() <= most else []
    if not isinstance(value, list | tuple | set | frozenset | range) or len(value) > most:
        return []
    return [float(one) for one in value if isinstance(one, int | float) and one == round(one)]


def labels_compared(torch: Any, datasets: list[Any], calls: list[RecordedCall]) -> Iterator[Record]:
    """What every function compares label maps with, as far as items and calls show it."""
    notes = _Notes(torch)
    with _noting(torch, notes) as view:
        for dataset in datasets:
            try:
                _make_items(torch, notes, dataset, view)
            except Exception:  # one without a length
                continue
        _call_again(torch, notes, calls, view)
    for one in notes.found.values():
        if one.named:
            yield _record(one)


def _record(one: _Compared) -> LabelsCompared:
    never = sorted(set(one.named) - one.values)
    unnamed = sorted(one.values - set(one.named) - one.covered - {min(one.values)})
    line = min((one.named[value] for value in never), default=min(one.named.values()))
    where = Location(file=shown_path(one.file), line=line, symbol=one.function) if one.file else made_at(one.function)
    return LabelsCompared(
        function=one.function,
        named=tuple(sorted(one.named)),
        never=tuple(never),
        unnamed=tuple(unnamed),
        values=tuple(sorted(one.values)),
        maps=one.maps,
        items=one.items,
        of=one.of,
        where=where,
    )


def made_at(name: str) -> Location | None:
    """The first line of the script's that makes something of a class, by its name."""
    for file, tree in own_sources().items():
        for node in walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            known = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if known and known in (name, f"{name}d", f"{name}D", f"{name}Dict"):
                return Location(file=shown_path(file), line=node.lineno, symbol=name)  # type: ignore[attr-defined]
    return None


def _make_items(torch: Any, notes: _Notes, dataset: Any, view: Callable[[Any], Any]) -> None:
    """Items from all over a data set, made from what it keeps."""
    fields = getattr(dataset, "__dict__", {})
    data, transform = fields.get("data"), fields.get("transform")
    if isinstance(data, list | tuple) and callable(transform):
        count = len(data)

        def make(index: int) -> Any:
            return transform(view(copied(torch, data[index])))

    else:
        count, seen = len(dataset), _with_views(torch, dataset, view)

        def make(index: int) -> Any:
            return seen[index]

    notes.outermost = _make_items.__code__
    until, step = time.process_time() + SECONDS, max(1, round(0.382 * count))
    while step > 1 and _common(step, count):
        step -= 1
    for turn in range(count):
        if time.process_time() > until:
            return
        seed(torch, turn)
        notes.item = (turn + 1, count)
        try:
            make(turn * step % count)
        except Exception:  # whatever a data set of the script's raises
            if not turn:
                return


def _common(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one != 1


def _with_views(torch: Any, dataset: Any, view: Callable[[Any], Any], depth: int = 0) -> Any:
    """A shallow copy of a data set, whose arrays note what they are compared with."""
    try:
        other = copy.copy(dataset)
        for name, value in list(vars(other).items()):
            inner = isinstance(value, torch.utils.data.Dataset) and depth < 3
            other.__dict__[name] = _with_views(torch, value, view, depth + 1) if inner else view(value)
    except Exception:  # whatever a class of the script's does about copies
        return dataset
    return other


def _call_again(torch: Any, notes: _Notes, calls: list[RecordedCall], view: Callable[[Any], Any]) -> None:
    notes.outermost = _call_again.__code__
    notes.item = (0, 0)
    until, done = time.process_time() + CALL_SECONDS, {key[1] for key in notes.found}
    for call in calls:
        name = call.code.co_qualname
        definition = definition_of(call.code)
        if time.process_time() > until or definition is None or not compares(definition):
            continue
        if any(one == name or one.startswith(f"{name}.") for one in done):
            continue
        try:
            call.again(torch, **{key: view(copied(torch, one)) for key, one in call.args.items() if key != "self"})
        except Exception:  # whatever the script's functions raise
            continue


# -- noting ----------------------------------------------------------------------------------------------------------


@contextmanager
def _noting(torch: Any, notes: _Notes) -> Iterator[Callable[[Any], Any]]:
    """A block in which comparisons are noted; gives a function that turns arrays into those that note."""

    class Noting(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(func, "__name__", "")
            if len(args) > 1 and (name in EQUAL or name in UNEQUAL or name in MEMBERS or name in ORDERS):
                notes.note(name, args[0], args[1])
            return func(*args, **(kwargs or {}))

    numpy = sys.modules.get("numpy")
    kind = _array_class(numpy, notes) if numpy is not None else None

    def view(value: Any, depth: int = 0) -> Any:
        if kind is not None and type(value) is numpy.ndarray and value.dtype.kind in "iuf":  # type: ignore[union-attr]
            return value.view(kind)
        if depth < 3 and type(value) in (list, tuple) and len(value) <= MOST_MEMBERS:
            return type(value)(view(one, depth + 1) for one in value)
        if depth < 3 and type(value) is dict and len(value) <= MOST_MEMBERS:
            return {key: view(one, depth + 1) for key, one in value.items()}
        return value

    def noting(original: Any) -> Any:
        def read(*args: Any, **kwargs: Any) -> Any:
            out = original(*args, **kwargs)
            return view(out) if users(sys._getframe(1).f_code.co_filename) else out

        return read

    def asked(given: Any) -> Any:
        return view(given) if users(sys._getframe(2).f_code.co_filename) else given

    kept = []
    for module, owner, name in (
        ("numpy", "", "array"), ("numpy", "", "asarray"),
        ("nibabel.dataobj_images", "DataobjImage", "get_fdata"),
    ):  # fmt: skip
        place: Any = sys.modules.get(module)
        place = getattr(place, owner, None) if owner and place is not None else place
        if place is not None and kind is not None:
            kept.append((place, name, getattr(place, name)))
            setattr(place, name, noting(getattr(place, name)))
    try:
        with (
            compat.function_modes(torch),
            reading_changed(asked, images=False),
            Noting(),
        ):  # where nothing of the script's is asked, neither are they
            yield view
    finally:
        for place, name, original in kept:
            setattr(place, name, original)


def _array_class(numpy: Any, notes: _Notes) -> Any:
    """A class of arrays that behaves like numpy's and notes what it is compared with."""

    class Noting(numpy.ndarray):  # type: ignore[misc]
        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
            name = ufunc.__name__
            if method == "__call__" and (name in EQUAL or name in UNEQUAL or name in ORDERS):
                notes.note(name, plain(inputs[0]), plain(inputs[1]))
            out = kwargs.get("out")
            if out is not None:
                kwargs["out"] = tuple(plain(one) for one in out)
            result = getattr(ufunc, method)(*(plain(one) for one in inputs), **kwargs)
            return out[0] if out is not None and len(out) == 1 else ours(result)

        def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
            if func.__name__ in MEMBERS and len(args) > 1:
                notes.note(func.__name__, plain(args[0]), plain(args[1]))
            return ours(func(*plain(args), **plain(kwargs)))

    def plain(value: Any, depth: int = 0) -> Any:
        if isinstance(value, Noting):
            return value.view(numpy.ndarray)
        if depth < 3 and type(value) in (list, tuple):
            return type(value)(plain(one, depth + 1) for one in value)
        if depth < 3 and type(value) is dict:
            return {key: plain(one, depth + 1) for key, one in value.items()}
        return value

    def ours(value: Any) -> Any:
        return value.view(Noting) if type(value) is numpy.ndarray and value.dtype.kind in "iuf" else value

    return Noting


# -- what is worth a look --------------------------------------------------------------------------------------------


def compares(node: ast.AST) -> bool:
    """True if a function looks for numbers in something that is named for labels."""
    for one in walk(node):
        if isinstance(one, ast.Call):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
            if name in MEMBERS:
                return True
        if isinstance(one, ast.Compare) and len(one.ops) == 1 and isinstance(one.ops[0], ast.Eq):
            sides = (one.left, one.comparators[0])
            if any(isinstance(side, ast.Constant) and type(side.value) is not int for side in sides):
                continue
            if any(LABELS & set(words(ast.unparse(side))) for side in sides):
                return True
    return False


def any_comparison(trees: Iterable[ast.Module]) -> bool:
    """True if some source compares labels with numbers."""
    return any(compares(tree) for tree in trees)
