"""Arrays that the script holds under a name that says what they are: constants of a diffusion, masks, windows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from traindx.watch.probes.functions.common import as_tensor
from traindx.watch.probes.live_calls import assigned_in
from traindx.watch.probes.recorded import RecordedCall, TooLargeError, copied
from traindx.watch.probes.textbook.inline import Scope, made_function
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.syntax import walk

MOST_MODULES = 200
HELD = "held"  # the argument of the function that gives a value back


def named_values(torch: Any, scope: Scope, wanted: Callable[[str], bool]) -> Iterator[RecordedCall]:
    """Arrays that local names hold, or objects of the script's classes under them, as calls of functions of nothing."""
    seen: set[tuple[type, str]] = set()
    for name, value in scope.names.items():
        if wanted(name) and as_tensor(torch, value) is not None:
            line = _given_at(scope, name)
            if line:
                yield from _call(torch, name, value, CallSite(scope.file, line, name))
    for owner in _owners(torch, scope.names):
        for name, value in _fields(torch, owner):
            key = (type(owner), name)
            if key in seen or not wanted(name) or as_tensor(torch, value) is None:
                continue
            seen.add(key)
            site = assigned_in(type(owner), name)
            if site is not None:
                yield from _call(torch, name, value, site)


def _owners(torch: Any, names: dict[str, Any]) -> Iterator[Any]:
    """Objects of the script's own classes, and the modules inside its networks."""
    for value in list(names.values()):
        if isinstance(value, torch.nn.Module):
            for _, module in zip(range(MOST_MODULES), value.modules(), strict=False):
                if _is_users(type(module)):
                    yield module
        elif not isinstance(value, type) and _is_users(type(value)):
            yield value


def _is_users(kind: type) -> bool:
    return any(
        users(code.co_filename)
        for function in vars(kind).values()
        if (code := getattr(function, "__code__", None)) is not None
    )


def _fields(torch: Any, owner: Any) -> Iterator[tuple[str, Any]]:
    fields = dict(getattr(owner, "__dict__", {}))
    if isinstance(owner, torch.nn.Module):
        fields |= owner._buffers
    yield from fields.items()


def _given_at(scope: Scope, name: str) -> int:
    """The last line of a scope that gives a name its value; 0 where there is none."""
    lines = [
        node.lineno
        for statement in scope.statements
        for node in walk(statement)
        if isinstance(node, ast.Assign)
        and any(isinstance(one, ast.Name) and one.id == name for target in node.targets for one in walk(target))
    ]
    return max(lines, default=0)


def _call(torch: Any, name: str, value: Any, site: CallSite) -> Iterator[RecordedCall]:
    try:
        kept = copied(torch, value)
    except TooLargeError:
        return
    body: list[ast.stmt] = [ast.Return(ast.Name(HELD, ast.Load()))]
    function = made_function(name, [], body, site, {HELD: kept})
    yield RecordedCall(function, {}, site, result=kept, done=True)
