"""Who draws random numbers in evaluation, and whether its source asks for the mode: read from the user's files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.watch.probes.tracing import Operation
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.structure import named_modules, named_parameters
from traindx.watch.runtime.syntax import walk

MODES = {"training", "is_training", "is_train", "train", "eval", "evaluating", "deterministic", "inference", "testing"}
DRAWING = {"random", "rand", "uniform", "binomial", "randint", "choice", "bernoulli", "randn", "randrange", "normal"}


def drawn_by(torch: Any, network: Any, place: CallSite | None, module: Any) -> dict[str, Any]:
    """Fields of :class:`~traindx.evidence.probed.RandomnessProbed` on what draws.

    Args:
        torch: The script's torch.
        network: The network that was called.
        place: The user's line that draws.
        module: The innermost module that was being called.
    """
    found: dict[str, Any] = {}
    kind = type(module)
    if module is not None and not users(str(_file_of(kind))):
        held = any(one is module for _, one in named_modules(network))
        found["unregistered"] = bool(module.training) and not held
        module = None
    if place is None:
        return found
    function = enclosing(place)
    if function is None:
        return found
    read = list(_modes_read(function))
    arguments = [one.arg for one in function.args.args if one.arg not in ("self", "cls")]
    numbers = any(isinstance(one, int | float) and not isinstance(one, bool) for one in _plain(module).values())
    found |= {
        "owner": place.symbol,
        "reads_mode": any(how != "method" for how in read),
        "reads_method": "method" in read,
        "alone": module is not None
        and not any(True for _ in named_parameters(module))
        and sum(1 for _ in named_modules(module)) == 1,
        "arguments": len(arguments),
        "rate": numbers or len(arguments) > 1,
    }
    return found


def _file_of(kind: type) -> str:
    import sys

    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def _plain(module: Any) -> dict[str, Any]:
    """What a module keeps beside its tensors and layers."""
    return {k: v for k, v in vars(module).items() if not k.startswith("_")} if module is not None else {}


def enclosing(site: CallSite) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The innermost function that holds a line."""
    tree = parsed(site.file)
    around = [
        node
        for node in (walk(tree) if tree is not None else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= site.line <= (node.end_lineno or node.lineno)
    ]
    return max(around, key=lambda node: node.lineno, default=None)


def _modes_read(function: ast.AST) -> Iterator[str]:
    """How a function reads a mode: ``method`` for ``self.train`` that is not called."""
    called = {id(node.func) for node in walk(function) if isinstance(node, ast.Call)}
    for node in walk(function):
        if isinstance(node, ast.Attribute) and node.attr in MODES:
            own = isinstance(node.value, ast.Name) and node.value.id == "self"
            yield "method" if own and node.attr in ("train", "eval") and id(node) not in called else "name"
        elif (isinstance(node, ast.Name) and node.id in MODES) or (isinstance(node, ast.arg) and node.arg in MODES):
            yield "name"


def parted_at(one: list[Operation], other: list[Operation]) -> tuple[str, CallSite | None]:
    """The condition on a random number by which two runs of one network went different ways: its draw, its line."""
    for first, second in zip(one, other, strict=False):
        if first.name == second.name and first.site == second.site:
            continue
        for site in (first.site, second.site):
            function = enclosing(site) if site is not None else None
            for node in walk(function) if function is not None else ():
                if not isinstance(node, ast.If | ast.IfExp | ast.While):
                    continue
                for call in walk(node.test):
                    name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
                    if name.split(".")[-1] in DRAWING and site is not None:
                        return name, site._replace(line=node.lineno)
        break
    return "", None
