"""Names for things, read from the user's source: the variable a line assigns, the function a line is in."""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache

from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

OPERATORS = {ast.Add: ("add", "radd"), ast.Sub: ("sub", "rsub"), ast.Mult: ("mul", "rmul"), ast.Div: ("div", "truediv")}
OPERATOR_NAMES = tuple(name for names in OPERATORS.values() for name in names)


@lru_cache(maxsize=64)
def parsed(filename: str) -> ast.Module | None:
    """The syntax tree of a file, or None where it cannot be read."""
    text = "".join(linecache.getlines(filename))
    try:
        return ast.parse(text) if text else None
    except (SyntaxError, ValueError):
        return None


@lru_cache(maxsize=2048)
def statement_at(filename: str, line: int) -> ast.stmt | None:
    """The innermost statement that covers a line."""
    tree = parsed(filename)
    best: ast.stmt | None = None
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            smaller = best is None or (node.end_lineno or 0) - node.lineno <= (best.end_lineno or 0) - best.lineno
            best = node if smaller else best
    return best


def assigned_name(site: CallSite) -> str:
    """The name that the statement at a line assigns to, or "" (``a``, ``self.a``, the key of ``losses["a"]``)."""
    statement = statement_at(site.file, site.line)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        target = statement.target
    else:
        return ""
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return ast.unparse(target) if isinstance(target, ast.Name | ast.Attribute) else ""


def function_name(site: CallSite) -> str:
    """The function or class that a site is in, as a short name: ``DiceLoss.forward`` is ``DiceLoss``."""
    parts = [part for part in site.symbol.split(".") if not part.startswith("<")]
    if parts and parts[-1] in ("forward", "__call__"):
        parts.pop()
    return parts[-1] if parts else ""


@lru_cache(maxsize=4096)
def calls_method(filename: str, name: str, method: str) -> bool:
    """True if a file has a call of ``name.method``, whoever holds it: ``self.name.method`` is one as well."""
    if f"{name}.{method}(" not in "".join(linecache.getlines(filename)):  # a tree takes a hundred times as long
        return False
    tree = parsed(filename)
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            owner = node.func.value
            if name == (owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")):
                return True
    return False


@lru_cache(maxsize=2048)
def lone_expression(site: CallSite) -> ast.expr | None:
    """What a line computes and no name takes, if it is a statement made of nothing else.

    The last statement of a module or of a notebook's cell may be there to be shown, so only functions and loops count.
    """
    statement = statement_at(site.file, site.line)
    if not isinstance(statement, ast.Expr):
        return None
    tree = parsed(site.file)
    shown = tree is not None and any(statement is one for one in tree.body)
    return None if shown else statement.value


@lru_cache(maxsize=2048)
def thrown_away(site: CallSite, name: str) -> str:
    """The source of a call or an operation whose result no name takes, if a line is made of nothing but that."""
    value = lone_expression(site)
    if isinstance(value, ast.BinOp):
        return ast.unparse(value) if name in OPERATORS.get(type(value.op), ()) else ""
    if not isinstance(value, ast.Call) or name in OPERATOR_NAMES:
        return ""
    called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return ast.unparse(value) if called == name else ""


@lru_cache(maxsize=2048)
def of_something_computed(site: CallSite) -> bool:
    """Whether the statement of a line is a method called on the result of arithmetic, as ``(x * std + mean).cpu()``."""
    statement = statement_at(site.file, site.line)
    call = statement.value if isinstance(statement, ast.Expr) else None
    while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        call = call.func.value
    return isinstance(call, ast.BinOp)


def line_text(site: CallSite) -> str:
    """The stripped source line."""
    return linecache.getline(site.file, site.line).strip()


def assigned_at(site: CallSite, name: str) -> CallSite | None:
    """The last line above a site, in the same function, that assigns a name; None where there is none."""
    tree = parsed(site.file)
    scopes = [
        node
        for node in (walk(tree) if tree is not None else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and node.lineno <= site.line <= (node.end_lineno or 0)
    ]
    if not scopes:
        return None
    scope = max(scopes, key=lambda node: node.lineno)
    lines = [
        node.lineno
        for node in walk(scope)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and node.lineno < site.line
        and any(ast.unparse(t) == name for t in (node.targets if isinstance(node, ast.Assign) else [node.target]))
    ]
    return site._replace(line=max(lines)) if lines else None
