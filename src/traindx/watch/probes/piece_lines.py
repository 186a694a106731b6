"""The lines that cut pieces and put them back: seen while a function runs with two codes, in what then differs."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from traindx.watch.probes.place_codes import Judged
from traindx.watch.probes.recorded import returned_at
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk

IN_PLACE = ("copy_", "add_", "maximum_", "put_", "index_add_", "index_put_", "scatter_", "scatter_add_")


@dataclass(frozen=True)
class Place:
    """Where a fault is, and the line that writes into the map (0 where it is not known)."""

    where: CallSite
    written: int = 0


class Lines:
    """A trace function that notes which arrays the lines of the user's write into."""

    def __init__(self, torch: Any, least: int) -> None:
        self.torch = torch
        self.least = least
        self.runs: list[dict[CallSite, Any]] = []
        self._files: dict[str, dict[int, ast.expr]] = {}

    def begin(self) -> None:
        """Another run."""
        self.runs.append({})

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        return self._line if users(frame.f_code.co_filename) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            code = frame.f_code
            if code.co_filename not in self._files:
                self._files[code.co_filename] = _writes(code.co_filename)
            target = self._files[code.co_filename].get(frame.f_lineno)
            if target is not None:
                array = _value(target, frame)
                if getattr(array, "shape", None) is not None and _size(array) >= self.least:
                    self.runs[-1].setdefault(CallSite(code.co_filename, frame.f_lineno, code.co_qualname), array)
        return self._line

    def written(self) -> CallSite | None:
        """The first line that writes into an array which holds something else with another code."""
        first, second = self.runs[0], self.runs[1]
        for site, array in first.items():
            other = second.get(site)
            if other is not None and array.shape == other.shape and bool((array != other).any()):
                return site
        return None


def _size(array: Any) -> int:
    count = 1
    for side in array.shape:
        count *= int(side)
    return count


def _writes(file: str) -> dict[int, ast.expr]:
    """By line: the array that a statement writes a part of."""
    found: dict[int, ast.expr] = {}
    tree = parsed(file)
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.Assign | ast.AugAssign) and not isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Subscript):
                    found.setdefault(node.lineno, _root(target))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Attribute) and function.attr in IN_PLACE:
                found.setdefault(node.lineno, _root(function.value))
    return found


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def _value(node: ast.expr, frame: FrameType) -> Any:
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), "__dict__", {}).get(node.attr)
    return None


def place_of(code: CodeType, lines: Lines | None, found: Judged) -> Place:
    """The line to look at: where pieces are cut out of or put back for one that was moved, the loop for what is left.

    Args:
        code: The function as a whole.
        lines: What was seen of it; None where nothing is wrong.
        found: What was wrong.
    """
    site = lines.written() if lines is not None else None
    if site is None:
        return Place(returned_at(code))
    if found.moved >= max(found.uncovered, found.uneven):
        line = _cut_before(site)
    elif found.uncovered >= found.uneven:
        line = _loop_around(site)
    else:
        line = site.line
    return Place(CallSite(site.file, line or site.line, site.symbol), site.line)


def _function_around(site: CallSite) -> ast.AST | None:
    tree = parsed(site.file)
    around = [
        node
        for node in (walk(tree) if tree is not None else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module)
        and getattr(node, "lineno", 0) <= site.line <= (getattr(node, "end_lineno", None) or 10**9)
    ]
    return around[-1] if around else None


def _cut_before(site: CallSite) -> int:
    """The statement that cuts out what the line writes, where that has a name; 0 where there is none."""
    function = _function_around(site)
    nodes = list(walk(function)) if function is not None else []
    named: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AugAssign) and node.lineno == site.line:
            named = {one.id for one in walk(node.value) if isinstance(one, ast.Name)}
    before = [
        node.lineno
        for node in nodes
        if isinstance(node, ast.Assign)
        and node.lineno < site.line
        and isinstance(node.value, ast.Subscript)
        and not isinstance(node.value.slice, ast.Constant | ast.Name)
        and any(isinstance(target, ast.Name) and target.id in named for target in node.targets)
    ]
    return max(before, default=0)


def _loop_around(site: CallSite) -> int:
    """The loop over places: the outermost around the line that counts in steps, else the innermost."""
    function = _function_around(site)
    loops = [
        node
        for node in (walk(function) if function is not None else ())
        if isinstance(node, ast.For) and node.lineno <= site.line <= (node.end_lineno or 0)
    ]
    counting = [
        node for node in loops if any(isinstance(one, ast.Name) and one.id == "range" for one in walk(node.iter))
    ]
    return (counting or loops[-1:])[0].lineno if loops else 0
