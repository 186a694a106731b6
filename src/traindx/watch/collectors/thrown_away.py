"""Statements whose result nobody takes: calls and sums that change nothing in place."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_calls import DiscardedResult
from traindx.watch.collectors.torch_calls import TorchCalls, named_functions
from traindx.watch.runtime.call_sites import CallSite, directly
from traindx.watch.runtime.source_text import OPERATOR_NAMES, of_something_computed, parsed, thrown_away
from traindx.watch.runtime.source_trees import source_files
from traindx.watch.runtime.syntax import children, walk
from traindx.watch.runtime.watch import Collector, Watch

PURE = (  # give a new tensor and change nothing; no layout, which is called too often to be looked at
    "to",
    "float",
    "half",
    "double",
    "long",
    "cuda",
    "cpu",
    "detach",
    "squeeze",
    "unsqueeze",
    "flip",
    "roll",
    "clamp",
    "clip",
    "masked_fill",
    "scatter",
    "scatter_add",
    "index_fill",
    "index_copy",
    "nan_to_num",
)
OF_NUMPY = (
    "clip",
    "flip",
    "fliplr",
    "flipud",
    "rot90",
    "transpose",
    "concatenate",
    "append",
    "delete",
    "reshape",
    "squeeze",
    "expand_dims",
    "sort",
    "nan_to_num",
    "pad",
    "roll",
    "swapaxes",
    "moveaxis",
)
OF_TABLES = ("sort_values", "dropna", "fillna", "drop_duplicates", "reset_index")  # change a table only if told to
BUILT_IN = {"sorted": "list", "reversed": "iterator"}
BEGINS = r"(?m)(?:^[ \t]+|[;:][ \t]*)"  # of a statement inside a function
CALLED = re.compile(rf"{BEGINS}(?:{'|'.join(BUILT_IN)})\(|\.(?:{'|'.join(OF_TABLES)})\(")
IMPORTED = re.compile(r"\bimport\b[^\n]*\bnumpy(?:[ \t]+as[ \t]+(\w+))?")


class ThrownAway(Collector):
    """Torch calls that ran as a statement of their own, and from the sources the like of Python, numpy and pandas."""

    subject = "results that nobody takes"

    def __init__(self, watch: Watch, calls: TorchCalls) -> None:
        super().__init__(watch)
        self.calls = calls
        self._seen: dict[CallSite, list[Any]] = {}

    def install(self) -> None:
        """Subscribe."""
        functions = named_functions(self.watch.torch, (*PURE, *OPERATOR_NAMES))
        self.calls.on(self, {one: name for one, name in functions.items() if not in_place(one)}, self._pure)

    def _pure(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        if kwargs.get("out") is not None:
            return None
        site = directly(4)
        source = thrown_away(site, name) if site is not None else ""
        if site is None or not source:
            return None

        computed = of_something_computed(site)

        def done(out: Any) -> None:
            # ``x.float()`` of a float tensor is the tensor itself, and was not needed
            if computed or out is not args[0]:
                self._seen.setdefault(site, [source, 0])[1] += 1

        return done

    def records(self) -> Iterable[Record]:
        """A record a statement."""
        step = self.watch.iteration
        for site, (source, count) in self._seen.items():
            yield DiscardedResult(where=self.watch.shown(site), function=source, calls=count, step=step)
        for file in source_files():
            for line, symbol, source, result in statements_of(file):
                where = self.watch.shown(CallSite(file, line, symbol))
                yield DiscardedResult(where=where, function=source, result=result, step=step)


def in_place(function: Any) -> bool:
    """True for ``add_`` and its like."""
    name = str(getattr(function, "__name__", ""))
    return name.endswith("_") and not name.endswith("__")


@lru_cache(maxsize=4096)
def statements_of(file: str) -> tuple[tuple[int, str, str, str], ...]:
    """Line, function, source and type of result of every such statement inside a function of a file.

    A program may have hundreds of files, and a tree takes a hundred times as long as a look at the text: only files in
    whose text such a call begins a statement are parsed.
    """
    if not may_have_some("".join(linecache.getlines(file))):
        return ()
    tree = parsed(file)
    return tuple(_inside(tree, "", numpy_names(tree))) if tree is not None else ()


def may_have_some(text: str) -> bool:
    """False where no statement of a source can be such a call."""
    names = {match or "numpy" for match in IMPORTED.findall(text)}
    of_numpy = rf"{BEGINS}(?:{'|'.join(names)})\s*\.\s*(?:{'|'.join(OF_NUMPY)})\("
    return bool(CALLED.search(text) or (names and re.search(of_numpy, text)))


def _inside(node: ast.AST, symbol: str, numpy: frozenset[str]) -> Iterator[tuple[int, str, str, str]]:
    for child in children(node):
        inner = symbol
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{symbol}.{child.name}".lstrip(".")
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Call) and symbol:
            result = _result(child.value, numpy)
            if result:
                yield child.lineno, symbol, ast.unparse(child.value), result
        yield from _inside(child, inner, numpy)


def _result(call: ast.Call, numpy: frozenset[str]) -> str:
    """Type of what a call gives that changes nothing, or "" for every other call."""
    function, keywords = call.func, {one.arg for one in call.keywords}
    if isinstance(function, ast.Name):
        return BUILT_IN.get(function.id, "")
    if not isinstance(function, ast.Attribute) or keywords & {"out", "inplace", None}:
        return ""
    if isinstance(function.value, ast.Name) and function.value.id in numpy:
        return "array" if function.attr in OF_NUMPY and len(call.args) < 4 else ""
    return "table" if function.attr in OF_TABLES else ""


def numpy_names(tree: ast.Module) -> frozenset[str]:
    """What a file calls numpy."""
    imported = (alias for node in walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    return frozenset(alias.asname or alias.name for alias in imported if alias.name == "numpy")
