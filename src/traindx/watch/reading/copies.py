"""A line that was copied, and adapted in all places but one.

After Li, Lu, Myagmar and Zhou, "CP-Miner: Finding copy-paste and related bugs in large-scale software code", 2006: in
two statements of one shape a word that was replaced in most places and stands unchanged in one was probably forgotten.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from traindx.watch.reading.program import Program, Slip, shown, terms_of, words
from traindx.watch.runtime.syntax import children, inside

NEAR = 4  # statements between a line and its copy
_Names = list[tuple[str, bool, int]]  # each with whether it is given a value, and its line
_Tokens = tuple[str, _Names]  # shape and names


def copies_not_adapted(program: Program) -> Iterator[Slip]:
    """Two statements near each other, alike but for one word, which one place of the second still has."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            shapes = [tokens(one) for one in block]
            for number, statement in enumerate(block):
                for earlier in range(max(0, number - NEAR), number):
                    found = forgotten(program, shapes[earlier], shapes[number])
                    if found is None:
                        continue
                    was, should, line = found
                    detail = shown(block[earlier])
                    source = shown(_head(statement))
                    yield Slip("copy", source, detail, file, line, symbol, block[earlier].lineno, was, should)
                    break


def terms_not_adapted(program: Program) -> Iterator[Slip]:
    """``w_a * (a1 + a2) + w_b * (c1 + c2) + w_c * (c1 + c2)``: one weight is given to another one's term."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.Assign | ast.Return) or not isinstance(node.value, ast.BinOp):
                continue
            terms = [one for one in terms_of(node.value) if isinstance(one, ast.BinOp)]
            shapes = [tokens(one) for one in terms]
            for first, (kind, names) in zip(terms, shapes, strict=True):
                for second, (other, others) in zip(terms, shapes, strict=True):
                    found = _given_to_another(program, names, others) if first is not second and kind == other else None
                    if found is not None:
                        yield Slip(
                            "term", shown(second), shown(first), file, second.lineno, symbol, first.lineno, *found
                        )


def _given_to_another(program: Program, first: _Names, second: _Names) -> tuple[str, str] | None:
    """Two terms that differ in one name by one word, where all else says the first one's word."""
    apart = [(a, b) for (a, _, _), (b, _, _) in zip(first, second, strict=True) if a != b]
    if len(apart) != 1 or len(first) < 3:
        return None
    mine, its = words(apart[0][0]), words(apart[0][1])
    changes = [(one, other) for one, other in zip(mine, its, strict=False) if one != other]
    if len(mine) != len(its) or len(changes) != 1:
        return None
    old, new = changes[0]
    left = [name for name, _, _ in second if old in words(name)]
    should = [_with(name, old, new) for name in left]
    if not left or not all(one and program.names[one] for one in should):
        return None
    return left[0], should[0]


def _head(statement: ast.stmt) -> ast.AST:
    return statement.test if isinstance(statement, ast.If | ast.While) else statement


def tokens(statement: ast.stmt | ast.expr) -> _Tokens:
    """Shape of a statement, and its names in order: each with whether it is given a value, and its line."""
    shape: list[str] = []
    found: _Names = []
    line = statement.lineno
    stack: list[tuple[ast.AST, bool]] = [(statement, False)]
    while stack:
        node, sized = stack.pop()
        line = getattr(node, "lineno", line)
        kind = type(node).__name__
        sized = sized or _asks_for_a_size(node)
        if sized and isinstance(node, ast.Name | ast.Attribute):
            kind += "sized"  # two things of one size have it of either: no name, and another shape than without
        elif isinstance(node, ast.Name):
            found.append((node.id, isinstance(node.ctx, ast.Store), line))
        elif isinstance(node, ast.Attribute):
            found.append((node.attr, isinstance(node.ctx, ast.Store), line))
        elif isinstance(node, ast.keyword) and node.arg:
            kind += node.arg
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and node.value.isidentifier():
                found.append((node.value, False, line))
                kind += "identifier"
            else:
                kind += type(node.value).__name__
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            return "", []
        shape.append(kind)
        stack.extend((child, sized) for child in reversed(list(children(node))))
    return " ".join(shape), found


def _asks_for_a_size(node: ast.AST) -> bool:
    """``len(x)``."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def forgotten(program: Program, first: _Tokens, second: _Tokens) -> tuple[str, str, int] | None:
    """Name that was left as it was in a copy, what it would be if it were adapted, and its line."""
    if not first[0] or first[0] != second[0] or len(first[1]) < 4:
        return None
    replaced: Counter[tuple[str, str]] = Counter()
    kept: list[tuple[str, str, int]] = []  # word, name, line
    for (a, _, _), (b, _, line) in zip(first[1], second[1], strict=True):
        pairs = list(zip(words(a), words(b), strict=False))
        changes = [(one, other) for one, other in pairs if one != other]
        if len(words(a)) != len(words(b)) or len(changes) > 1 or (a != b and not changes):
            return None
        replaced.update(changes)
        kept += [(one, b, line) for one, other in pairs if one == other]
    if len(replaced) != 1:
        return None
    (old, new), count = next(iter(replaced.items()))
    left = [(name, line) for word, name, line in kept if word == old]
    if len(left) != 1 or count < 2:
        return None
    name, line = left[0]
    should = _with(name, old, new)
    elsewhere = should != new and any(one == should for one, _, _ in second[1])
    elsewhere |= any(one == should for one, _, _ in first[1])  # the line that was copied is made of both: max(min(..))
    return (name, should, line) if should and program.names[should] and not elsewhere else None


def _with(name: str, old: str, new: str) -> str:
    """A name with one word for another, as it is written in that name; "" where that cannot be told."""
    for form in (str, str.capitalize, str.upper):
        if form(old) in name:
            return name.replace(form(old), form(new), 1)
    return ""


READERS = (copies_not_adapted, terms_not_adapted)
