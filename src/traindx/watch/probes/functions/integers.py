"""Figures and comparisons of images of small integers: does their arithmetic leave the range of its type?"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import IntegerRange
from traindx.watch.probes.functions.common import words
from traindx.watch.probes.integer_range import SMALL, RangeTrace
from traindx.watch.probes.making import as_array
from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.call_sites import CallSite

NAMES = frozenset({"psnr", "ssim", "mse", "mae", "rmse", "error", "difference", "diff", "distance", "l1", "l2"})
LEAST_PIXELS = 64
MOST_CALLS = 8


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A comparison of two images, by its name."""
    return len(node.args.args) >= 2 and bool(NAMES & set(words(node.name)))


def tried(torch: Any, calls: Iterable[RecordedCall]) -> Iterator[Record]:
    """Make calls again line by line that were given images of small integers."""
    looked = 0
    seen: set[Any] = set()
    for call in calls:
        if call.code in seen or looked >= MOST_CALLS or not any(_small(value) for value in call.args.values()):
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


def _small(value: Any) -> bool:
    array = as_array(value)
    return array is not None and str(array.dtype) in SMALL and array.size >= LEAST_PIXELS and array.ndim >= 2
