"""Passes over a loader that stand in a script's own lines, as functions of the loader that give their figures.

``for x, y in loader: total += ...`` and ``print(total / len(loader.dataset))`` need no function around them to be an
average over a loader. What leads to the loop, the loop, and every quotient of what the loop added up are compiled into
a function that is given the loader and returns the quotients. Only ever used in a child process.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from traindx.watch.probes.live_calls import definition_of, scope_of
from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.syntax import walk

WRAPPERS = {"enumerate", "tqdm", "iter", "track", "trange"}
GROWS = {"append", "extend"}
MEANS = {"mean", "nanmean", "average", "fmean"}
MODES = {"eval", "train"}
LOADER, NOTE = "_traindx_loader", "_traindx_note"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass
class InlinePass:
    """A loop over a loader, and what is made of it.

    Attributes:
        file: Where it stands.
        symbol: The function, or ``<module>``.
        loader: What it goes through.
        lines: The line of every figure, by its source.
        begins: The line in the loop that begins anew what the loop adds to; 0 where there is none.
        names: What the names hold.
        call: The pass, as a function of names; it returns the figures by their source.
    """

    file: str
    symbol: str
    loader: Any
    lines: dict[str, int]
    begins: int
    names: dict[str, Any]
    call: Callable[[dict[str, Any]], dict[str, Any]] = field(repr=False)


def passes_in_calls(torch: Any, calls: list[RecordedCall]) -> Iterator[InlinePass]:
    """Loops over a loader in functions that were called, with what they were given."""
    for call in calls:
        node = definition_of(call.code)
        names = {**call.function.__globals__, **call.args}
        if node is not None:
            yield from _passes(torch, call.code.co_filename, call.code.co_qualname, node.body, names, whole=True)


def passes_in_frames(torch: Any, frame: FrameType | None) -> Iterator[InlinePass]:
    """Loops over a loader in what runs right now."""
    while frame is not None:
        code = frame.f_code
        if users(code.co_filename):
            body, names = scope_of(code), {**frame.f_globals, **frame.f_locals}
            if body is not None:
                yield from _passes(torch, code.co_filename, code.co_qualname, body, names, whole=False)
        frame = frame.f_back


def _passes(
    torch: Any, file: str, symbol: str, body: list[ast.stmt], names: dict[str, Any], *, whole: bool
) -> Iterator[InlinePass]:
    for block in _blocks(body):
        for index, statement in enumerate(block):
            loop = _loop(torch, statement, names)
            if loop is None:
                continue
            made = _pass(torch, file, symbol, block, index, loop, names, whole=whole and block is body)
            if made is not None:
                yield made


def _blocks(statements: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Blocks that a loop may stand in: not those of ``with``, which belong to the one around them."""
    yield statements
    for one in statements:
        if isinstance(one, (*_SCOPES, ast.With)):
            continue
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(one, name, None)
            if inner:
                yield from _blocks(inner)


def _loop(torch: Any, statement: ast.stmt, names: dict[str, Any]) -> ast.For | None:
    """The loop over a loader that a statement is, or holds in a ``with``."""
    while isinstance(statement, ast.With):
        loops = [one for one in statement.body if isinstance(one, ast.For | ast.With)]
        if len(loops) != 1:
            return None
        statement = loops[0]
    if not isinstance(statement, ast.For) or statement.orelse:
        return None
    return statement if isinstance(_value(_iterated(statement.iter), names), torch.utils.data.DataLoader) else None


def _after_inside(statement: ast.stmt, loop: ast.For) -> list[ast.stmt]:
    """What follows the loop in the ``with`` that it stands in."""
    found: list[ast.stmt] = []
    while isinstance(statement, ast.With):
        place = next(i for i, one in enumerate(statement.body) if one is loop or isinstance(one, ast.With))
        found = [*statement.body[place + 1 :], *found]
        statement = statement.body[place]
    return found


def _iterated(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Call) and node.args:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in WRAPPERS:
            break
        node = node.args[0]
    return node


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """What a name, or an attribute of one, stands for."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), "__dict__", {}).get(node.attr)
    return None


def _pass(
    torch: Any, file: str, symbol: str, block: list[ast.stmt], index: int, loop: ast.For, names: dict[str, Any], *,
    whole: bool,
) -> InlinePass | None:  # fmt: skip
    loader = _value(_iterated(loop.iter), names)
    grown = _grown(loop)
    lines: dict[str, int] = {}
    before = [one for one in block[:index] if whole or _begins(one)]
    inside = _after_inside(block[index], loop)
    after = [made for one in [*inside, *block[index + 1 :]] for made in _figures(one, grown, lines)]
    if not grown or not lines or any(isinstance(one, ast.Return | ast.Yield) for one in walk(loop)):
        return None
    source = ast.unparse(_iterated(loop.iter))
    tree = ast.Module(body=[*copy.deepcopy(before), copy.deepcopy(block[index]), *after], type_ignores=[])
    instead: Any = _Instead(source).visit(tree)
    code = compile(ast.fix_missing_locations(instead), file, "exec")

    def call(given: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        exec(code, {**given, NOTE: found.__setitem__})
        return found

    return InlinePass(file, symbol, loader, lines, _begins_inside(loop, grown), names, call)


def _grown(loop: ast.For) -> set[str]:
    """Names that a loop adds to: numbers, lists, entries of a dictionary."""
    found = set()
    for node in walk(loop):
        target: ast.expr | None = None
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            target = node.target
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in GROWS:
            target = node.func.value
        while isinstance(target, ast.Subscript):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found


def _begins(statement: ast.stmt) -> bool:
    """An assignment of a number, of something empty, or of a length; a switch of modes."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return getattr(statement.value.func, "attr", "") in MODES
    if not isinstance(statement, ast.Assign):
        return False
    return all(
        isinstance(node, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.expr_context | ast.UnaryOp | ast.unaryop)
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("len", "dict", "list", "float", "int"))
        or isinstance(node, ast.Name | ast.Attribute)
        for node in walk(statement.value)
    ) and not isinstance(statement.value, ast.Name | ast.Attribute)


def _begins_inside(loop: ast.For, grown: set[str]) -> int:
    added = {ast.unparse(node.target) for node in walk(loop) if isinstance(node, ast.AugAssign)}
    for node in walk(loop):
        if isinstance(node, ast.Assign) and any(ast.unparse(target) in added for target in node.targets):
            return node.lineno
    return 0


def _figures(statement: ast.stmt, grown: set[str], lines: dict[str, int]) -> Iterator[ast.stmt]:
    """Statements that note every quotient and mean of what grew; assignments of such are made as well."""
    if isinstance(statement, (*_SCOPES, ast.For, ast.While, ast.With, ast.Try)):
        return
    noted = [node for node in walk(statement) if isinstance(node, ast.expr) and _is_figure(node, grown)]
    for node in noted:
        text = ast.unparse(node)
        lines.setdefault(text, node.lineno)
        yield _note(text, node)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Div):
        if isinstance(statement.target, ast.Name) and statement.target.id in grown:
            text = ast.unparse(statement)
            lines.setdefault(text, statement.lineno)
            yield copy.deepcopy(statement)
            yield _note(text, ast.Name(statement.target.id, ast.Load()))
    elif isinstance(statement, ast.Assign) and noted:
        yield copy.deepcopy(statement)


def _is_figure(node: ast.expr, grown: set[str]) -> bool:
    def reads(one: ast.AST) -> bool:
        return any(isinstance(name, ast.Name) and name.id in grown for name in walk(one))

    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return reads(node.left)
    if isinstance(node, ast.Call) and len(node.args) == 1:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return called in MEANS and reads(node.args[0])
    return False


def _note(text: str, node: ast.expr) -> ast.stmt:
    call = ast.Call(ast.Name(NOTE, ast.Load()), [ast.Constant(text), copy.deepcopy(node)], [])
    return ast.Try(
        body=[ast.Expr(call)],
        handlers=[ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])],
        orelse=[],
        finalbody=[],
    )


class _Instead(ast.NodeTransformer):
    """Puts the batches in the place of the loader, wherever it is named."""

    def __init__(self, source: str) -> None:
        self.source = source

    def visit(self, node: ast.AST) -> ast.AST:
        """Any node."""
        read = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        return ast.Name(LOADER, ast.Load()) if read and ast.unparse(node) == self.source else super().visit(node)


def any_inline_pass(trees: Iterable[ast.Module]) -> bool:
    """True if some loop over what is called a loader adds something up."""
    return any(
        isinstance(node, ast.For) and "loader" in ast.unparse(node.iter).lower() and bool(_grown(node))
        for tree in trees
        for node in walk(tree)
    )
