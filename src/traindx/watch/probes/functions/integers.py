"""Functions that are given images of small integers: does their arithmetic leave the range of its type?

Figures and comparisons, by their names, and functions that fill an array which they made in the likeness of another.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import IntegerRange
from traindx.watch.probes.functions.common import words
from traindx.watch.probes.integer_range import RangeTrace
from traindx.watch.probes.making import as_array
from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

NAMES = frozenset({"psnr", "ssim", "mse", "mae", "rmse", "error", "difference", "diff", "distance", "l1", "l2"})
LIKENESS = frozenset({"zeros_like", "empty_like", "ones_like", "full_like", "copy", "clone"})
LEAST_PIXELS = 64
MOST_CALLS = 8


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A comparison of two images, by its name, or a function that fills an array it has made."""
    return (len(node.args.args) >= 2 and bool(NAMES & set(words(node.name)))) or _fills(node)


def _fills(node: ast.AST) -> bool:
    """Something is written into parts of an array that was made in the likeness of another one, or copied from it."""
    made, filled = set(), set()
    for one in walk(node):
        if not isinstance(one, ast.Assign):
            continue
        for target in one.targets:
            if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                filled.add(target.value.id)
            elif isinstance(target, ast.Name) and isinstance(one.value, ast.Call):
                called = one.value.func
                if getattr(called, "attr", getattr(called, "id", "")) in LIKENESS:
                    made.add(target.id)
    return bool(made & filled)


def tried(torch: Any, calls: Iterable[RecordedCall]) -> Iterator[Record]:
    """Make calls again line by line that were given images of small integers."""
    looked = 0
    seen: set[Any] = set()
    for call in calls:
        if call.code in seen or looked >= MOST_CALLS or not any(_integers(value) for value in call.args.values()):
            continue
        seen.add(call.code)
        looked += 1
        trace, before = RangeTrace(), sys.gettrace()
        with suppress(Exception):
            sys.settrace(trace)
            try:
                call.again(torch)
            finally:
                sys.settrace(before)
        if trace.found is None:
            yield IntegerRange(items=1)
            continue
        file, line, symbol, expression, dtype, how, share = trace.found
        place = CallSite(file, line, symbol).location()
        yield IntegerRange(items=1, expression=expression, dtype=dtype, how=how, share=share, where=place)


def _integers(value: Any) -> bool:
    array = as_array(value)
    return array is not None and array.dtype.kind in "iu" and array.size >= LEAST_PIXELS and array.ndim >= 2
