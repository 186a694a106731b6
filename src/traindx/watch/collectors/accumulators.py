"""Sums and lists that a loop over batches adds to, that every pass makes a figure of, and that no pass begins anew."""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import FrameType
from typing import Any

from traindx.core.frames import shown_path
from traindx.core.metric_names import words
from traindx.evidence.base import Record
from traindx.evidence.observed_evaluation import Accumulated
from traindx.finding import Location
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import children, walk
from traindx.watch.runtime.watch import Collector, Watch

JOINS = {"cat", "concat", "concatenate", "stack", "vstack", "hstack"}
GROWS = ("append", "extend")
COUNTERS = {"step", "steps", "iter", "iters", "iteration", "iterations", "it", "tick", "ticks", "update", "updates"}
MOST_FRAMES = 40
MOST_PASSES = 64
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True)
class Sum:
    """A name that is added to in a loop inside a loop, and begins outside of both.

    Attributes:
        name: The name.
        begins: Line that gives it 0 or an empty list.
        added: Line that adds to it.
        used: Line that makes a figure of it.
        outer: First and last line of the outer loop.
        inner: First and last line of the inner one.
        counts: Names that the outer loop gives a value in every pass.
        several: It is a list.
    """

    name: str
    begins: int
    added: int
    used: int
    outer: tuple[int, int]
    inner: tuple[int, int]
    counts: tuple[str, ...]
    several: bool


@dataclass
class _Seen:
    file: str
    symbol: str
    passes: dict[str, list[float]] = field(default_factory=dict)  # first and last value looked at in each


class Accumulators(Collector):
    """Looks at such names in the live frames whenever a network is called inside the inner loop."""

    subject = "sums over batches"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._seen: dict[tuple[str, Sum], _Seen] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)

    def _called(self, call: Call) -> None:
        frame: FrameType | None = sys._getframe(1)
        for _ in range(MOST_FRAMES):
            if frame is None:
                return
            code = frame.f_code
            if users(code.co_filename):
                for one in sums_of(code.co_filename):
                    if one.inner[0] <= frame.f_lineno <= one.inner[1] and one.name in frame.f_locals:
                        self._look(one, frame)
            frame = frame.f_back

    def _look(self, one: Sum, frame: FrameType) -> None:
        names = frame.f_locals
        value = self._number(names[one.name])
        turn = ",".join(repr(names[name]) for name in one.counts if isinstance(names.get(name), int))
        if value is None or not turn:
            return
        code = frame.f_code
        seen = self._seen.setdefault((code.co_filename, one), _Seen(code.co_filename, code.co_qualname))
        if turn in seen.passes:
            seen.passes[turn][1] = value
        elif len(seen.passes) < MOST_PASSES:
            seen.passes[turn] = [value, value]

    def _number(self, value: Any) -> float | None:
        if isinstance(value, list):
            return float(len(value))
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, self.watch.torch.Tensor) and value.dim() == 0 and value.device.type == "cpu":
            return float(value.detach())
        return None

    def records(self) -> Iterable[Record]:
        """One record a name."""
        for (file, one), seen in self._seen.items():
            values = list(seen.passes.values())
            yield Accumulated(
                name=one.name,
                several=one.several,
                passes=len(values),
                kept=sum(later[0] >= before[1] > 0 for before, later in itertools.pairwise(values)),
                first=values[0][0],
                last=values[-1][0],
                used=Location(file=shown_path(file), line=one.used, symbol=seen.symbol),
                added=Location(file=shown_path(file), line=one.added, symbol=seen.symbol),
                where=Location(file=shown_path(file), line=one.begins, symbol=seen.symbol),
                step=self.watch.iteration,
            )


@lru_cache(maxsize=64)
def sums_of(file: str) -> tuple[Sum, ...]:
    """Every such name of a file."""
    tree = parsed(file)
    scopes = [tree, *(node for node in walk(tree) if isinstance(node, _SCOPES[:2]))] if tree is not None else []
    return tuple(one for scope in scopes for one in _in_scope(scope.body))


def _in_scope(statements: list[ast.stmt]) -> Iterator[Sum]:
    nodes = list(_within(statements))
    begins = {name: node.lineno for node in nodes if isinstance(node, ast.Assign) for name in _empty(node)}
    for outer in (node for node in nodes if isinstance(node, ast.For)):
        inside = list(_within(outer.body))
        for inner in (node for node in inside if isinstance(node, _LOOPS)):
            for node in _within(inner.body):
                name, several = _added(node)
                begun = begins.get(name, sys.maxsize)
                if not name or begun >= outer.lineno or _counts_steps(node) or _begins_anew(inside, name):
                    continue
                used = next(_figures(inside, name, several), 0)
                counts = tuple(one.id for one in walk(outer.target) if isinstance(one, ast.Name))
                if used:
                    lines = [(one.lineno, one.end_lineno or one.lineno) for one in (outer, inner)]
                    yield Sum(name, begun, node.lineno, used, lines[0], lines[1], counts, several)


def _counts_steps(node: ast.AST) -> bool:
    """A count of all steps, which schedules and ramps divide by their number."""
    one = isinstance(node, ast.AugAssign) and isinstance(node.value, ast.Constant) and node.value.value == 1
    return one and bool(COUNTERS & set(words(getattr(getattr(node, "target", None), "id", ""))))


def _within(statements: list[ast.stmt]) -> Iterator[Any]:
    """All nodes of a scope, in order; not those of functions inside it."""
    for statement in statements:
        stack: list[ast.AST] = [statement]
        while stack:
            node = stack.pop(0)
            if isinstance(node, _SCOPES):
                continue
            yield node
            stack = [*children(node), *stack]


def _empty(node: ast.Assign) -> Iterator[str]:
    """Names that an assignment gives zero or an empty list."""
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        for one, value in pairs:
            zero = isinstance(value, ast.Constant) and type(value.value) in (int, float) and value.value == 0
            if isinstance(one, ast.Name) and (zero or (isinstance(value, ast.List) and not value.elts)):
                yield one.id


def _added(node: ast.AST) -> tuple[str, bool]:
    """The name that a statement adds to, and whether it is a list; "" where it is none of these."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name):
        return node.target.id, isinstance(node.value, ast.List)
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.attr in GROWS:
        return function.value.id, True
    return "", False


def _begins_anew(inside: list[Any], name: str) -> bool:
    """The outer loop gives the name another value, empties it, or hands it to something that may."""
    sums = [one for one in inside if isinstance(one, ast.AugAssign) and getattr(one.target, "id", "") == name]
    if any(not isinstance(one.op, ast.Add) for one in sums):
        return True
    for node in inside:
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load | ast.Del):
            if all(one.target is not node for one in sums):
                return True
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == name:
            if node.attr not in (*GROWS, "item"):
                return True
        elif isinstance(node, ast.Delete) and any(name in ast.unparse(one) for one in node.targets):
            return True
    return False


def _figures(inside: list[Any], name: str, several: bool) -> Iterator[int]:
    """Lines that divide the sum by what does not grow with it, or join the list."""
    growing = {one for node in inside if (one := _added(node)[0]) and not _begins_anew(inside, one)}
    for node in inside:
        if several and isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in JOINS and any(isinstance(one, ast.Name) and one.id == name for one in node.args):
                yield node.lineno
        if not several and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            names = {one.id for one in walk(node.right) if isinstance(one, ast.Name)}
            if any(isinstance(one, ast.Name) and one.id == name for one in walk(node.left)) and not names & growing:
                yield node.lineno
