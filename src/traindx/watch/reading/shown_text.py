"""What a line shows, as its source says it: expressions, and the text that stands before each and names it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from traindx.watch.reading.program import name_of

_DIRECTIVE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]|%%")
_FIELD = re.compile(r"\{[^{}]*\}")


def phrase_of(text: str) -> str:
    """The name that stands right before a number: ``val dice`` of ``Epoch 3 | val dice: ``."""
    text = re.sub(r"(?:tensor\(|\[)\s*$", "", text)
    text = re.sub(r"\s*\([^()]*\)\s*(?=[:=]?\s*$)", " ", text)
    text = re.sub(r"['\"]?\s*[:=]?\s*$", "", text)
    tail = re.split(r"[,;|()\[\]{}<>#*•→\t\n:=]|\s-\s|\s\s+|\.\s|['\"]", text)[-1]
    return " ".join(tail.split()[-4:])


def pieces(shown: Sequence[ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    """Every expression that a call of ``print`` and its like shows, with the text before it, in their order."""
    before = ""
    for one in shown:
        for piece in (*_flat(one), " "):
            if isinstance(piece, str):
                before += piece
            else:
                yield before, piece
                before = ""


def _flat(node: ast.expr) -> Iterator[str | ast.expr]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.Constant):
                yield str(part.value)
            elif isinstance(part, ast.FormattedValue):
                yield part.value
                if part.format_spec is not None and "%" in ast.unparse(part.format_spec):
                    yield "%"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        given = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        yield from _filled(str(node.left.value).replace("%%", "\0"), _DIRECTIVE, given)
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
        and not node.keywords
    ):
        yield from _filled(str(node.func.value.value), _FIELD, node.args)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _flat(node.left)
        yield from _flat(node.right)
    elif isinstance(node, ast.Call) and name_of(node.func) == "str" and len(node.args) == 1:
        yield node.args[0]
    else:
        yield node


def _filled(text: str, pattern: re.Pattern[str], given: list[ast.expr]) -> Iterator[str | ast.expr]:
    last = 0
    for match, one in zip(pattern.finditer(text), given, strict=False):
        yield text[last : match.start()].replace("\0", "%")
        yield one
        if match.group().endswith("%}"):
            yield "%"
        last = match.end()
    yield text[last:].replace("\0", "%")
