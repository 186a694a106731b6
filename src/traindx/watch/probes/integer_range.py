"""Does arithmetic on small integers leave their range while an item is made, or do integers take in what is none?

Items are made once more in a child process under a line trace. Before a line runs, every sum, difference and product in
it whose operands are plain names, attributes and subscripts is computed twice: as written, and in double precision. So
is what is written into a part of an array of integers.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import IntegerRange
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.probes.making import ENOUGH_SECONDS, as_array, in_child, seed, traced
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.source_text import statement_at
from traindx.watch.runtime.syntax import children, walk
from traindx.watch.runtime.watch import Collector, Watch

ITEMS = 3
LEAST_VALUES = 64
LEAST_DIFFERENT = 32  # real numbers: probabilities or intensities, no codes
MOST_FRACTIONS = 0.5  # of them between 0 and 1; of z-scores a third is
SMALL = ("uint8", "int8", "uint16", "int16")


class IntegerRanges(Collector):
    """Looks at the data set of every loader that trains, once."""

    subject = "arithmetic on integers in data sets"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._done: set[Any] = set()
        self._records: list[IntegerRange] = []

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_read(self, self._read)

    def _read(self, loader: Loader, batch: Any) -> None:
        if loader.made in self._done or len(self._done) >= 4:
            return
        self._done.add(loader.made)
        dataset = getattr(self.loaders.reading, "_dataset", None)
        code = getattr(getattr(type(dataset), "__getitem__", None), "__code__", None)
        if code is None or not users(code.co_filename):
            return
        torch = self.watch.torch

        def look() -> list[Any] | None:
            begun = time.process_time()
            for index in range(ITEMS):
                if time.process_time() - begun > ENOUGH_SECONDS:
                    break
                seed(torch, index)
                trace = RangeTrace()
                traced(trace, dataset, index)
                if trace.found is not None:
                    return trace.found
            return ["", 0, "", "", "", "", 0.0]

        found = in_child(torch, look)
        if found is None:
            return
        file, line, symbol, expression, dtype, how, share = found
        where = CallSite(file, line, symbol).location() if file else None
        self._records.append(
            IntegerRange(
                items=ITEMS,
                expression=expression,
                dtype=dtype,
                how=how,
                share=share,
                where=where,
                step=self.watch.iteration,
            )
        )

    def records(self) -> Iterable[Record]:
        """One record a loader."""
        yield from self._records


class RangeTrace:
    """A trace function that computes the arithmetic of every line of the user's before it runs.

    Attributes:
        found: File, line, symbol, expression, type, how, share of the first one out of range.
    """

    def __init__(self) -> None:
        self.found: list[Any] | None = None
        self._known: dict[tuple[CodeType, int], list[tuple[str, ast.expr]]] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        return self.line if self.found is None and users(frame.f_code.co_filename) else None

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A line is about to run."""
        if event == "line" and self.found is None:
            key = (frame.f_code, frame.f_lineno)
            if key not in self._known:
                self._known[key] = list(expressions(frame.f_code.co_filename, frame.f_lineno))
            for how, node in self._known[key]:
                self._look(frame, how, node)
        return self.line

    def _look(self, frame: FrameType, how: str, node: ast.expr) -> None:
        try:
            share, dtype = MEASURES[how](frame, node)
        except Exception:  # an expression that cannot be computed alone
            return
        if share > 0 and self.found is None:
            code = frame.f_code
            text = ast.unparse(node.elts[1] if isinstance(node, ast.Tuple) else node)[:100]
            self.found = [code.co_filename, frame.f_lineno, code.co_qualname, text, dtype, how, share]


def expressions(file: str, line: int) -> Iterator[tuple[str, ast.expr]]:
    """Arithmetic and casts in the simple statement at a line whose operands can be computed without any effect."""
    statement = statement_at(file, line)
    computes = (ast.Add, ast.Sub, ast.Mult)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Subscript) and _plain(target.value) and not isinstance(statement.value, ast.Constant):
            yield "written", ast.copy_location(ast.Tuple([_loaded(target.value), statement.value], ast.Load()), target)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, computes) and _plain(statement.target):
        target = _loaded(statement.target)
        if _plain(statement.value):
            yield "arithmetic", ast.copy_location(ast.BinOp(target, statement.op, statement.value), statement.value)
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Return | ast.Expr | ast.AugAssign):
        return
    for node in walk(statement):
        if isinstance(node, ast.BinOp) and isinstance(node.op, computes) and _plain(node.left) and _plain(node.right):
            yield "arithmetic", node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "astype":
            plain = _plain(node.func.value) and all(_plain(one) for one in node.args)
            if plain and not node.keywords:
                yield "cast", node


def _loaded(node: ast.expr) -> ast.expr:
    """The same expression, read instead of assigned to."""
    return ast.parse(ast.unparse(node), mode="eval").body


def _plain(node: ast.AST) -> bool:
    """Names, attributes, subscripts and numbers: nothing is called, as far as arrays go."""
    if isinstance(node, ast.Name | ast.Constant):
        return True
    if isinstance(node, ast.Attribute):
        return _plain(node.value)
    if isinstance(node, ast.Subscript):
        return (
            _plain(node.value)
            and all(_plain(one) for one in children(node.slice))
            and not any(isinstance(one, ast.Call) for one in walk(node.slice))
        )
    if isinstance(node, ast.UnaryOp):
        return _plain(node.operand)
    return isinstance(node, ast.expr_context | ast.operator | ast.unaryop)


def _value(frame: FrameType, node: ast.expr) -> Any:
    code = compile(ast.fix_missing_locations(ast.Expression(node)), "<expression>", "eval")
    return eval(code, frame.f_globals, frame.f_locals)


def _wrapped(frame: FrameType, node: ast.expr) -> tuple[float, str]:
    """Share of an integer result that is not the result in double precision."""
    assert isinstance(node, ast.BinOp)
    numpy = sys.modules["numpy"]
    left, right = _value(frame, node.left), _value(frame, node.right)
    result = as_array(_value(frame, node))
    if result is None or str(result.dtype) not in SMALL or result.size < LEAST_VALUES:
        return 0.0, ""
    one, other = (
        numpy.asarray(value if (array := as_array(value)) is None else array, float) for value in (left, right)
    )
    exact = (
        one + other if isinstance(node.op, ast.Add) else one - other if isinstance(node.op, ast.Sub) else one * other
    )
    return float((exact != result).mean()), str(result.dtype)


def _lost(frame: FrameType, node: ast.expr) -> tuple[float, str]:
    """Share of fractions that a cast to integers loses where it leaves two values of many."""
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Attribute)
    given, result = as_array(_value(frame, node.func.value)), as_array(_value(frame, node))
    if given is None or result is None or result.dtype.kind not in "iu":
        return 0.0, ""
    return _fractions_lost(given), str(result.dtype)


def _written(frame: FrameType, node: ast.expr) -> tuple[float, str]:
    """Share of fractions that an array of integers loses of what is written into it, where two values of many stay."""
    assert isinstance(node, ast.Tuple)
    into = as_array(_value(frame, node.elts[0]))
    if into is None or into.dtype.kind not in "iu":
        return 0.0, ""
    given = as_array(_value(frame, node.elts[1]))
    return (0.0 if given is None else _fractions_lost(given)), str(into.dtype)


def _fractions_lost(given: Any) -> float:
    """Share of many different real numbers that lie between 0 and 1 and become 0, if that is more than half."""
    numpy = sys.modules["numpy"]
    if given.dtype.kind != "f" or given.size < LEAST_VALUES or len(numpy.unique(given)) < LEAST_DIFFERENT:
        return 0.0
    share = float(((given > 0) & (given < 1)).mean())
    few = len(numpy.unique(numpy.trunc(given[numpy.isfinite(given)]))) <= 2
    return share if few and share > MOST_FRACTIONS else 0.0


MEASURES: dict[str, Callable[[FrameType, ast.expr], tuple[float, str]]] = {
    "arithmetic": _wrapped,
    "cast": _lost,
    "written": _written,
}
