"""Two names that stand for each other's thing: arguments, results, items of tuples, and words in a text."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator, Sequence

from traindx.watch.reading.program import (
    HELD_OUT,
    Function,
    Program,
    Slip,
    name_of,
    names_in,
    read_in,
    says,
    shown,
    words,
)
from traindx.watch.runtime.syntax import inside, walk

TURNS_ROUND = frozenset(
    {"swap", "swapped", "reverse", "reversed", "inverse", "inv", "transpose", "symmetric", "flip", "exchange"}
)
PERCENT = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[sdifgeEGr]")
SEPARATOR = re.compile(r"[,;|\n\t(]+")
SHORTEST = 2  # letters of the names that are compared: x and y are exchanged on purpose all the time


def crossed(labels: Sequence[str], meant: Sequence[str]) -> tuple[int, int] | None:
    """First two places at which each name says that it is what the other place asks for, and not its own."""
    for first in range(min(len(labels), len(meant))):
        for second in range(first + 1, min(len(labels), len(meant))):
            a, b, p, q = labels[first], labels[second], meant[first], meant[second]
            if min(len(a), len(b), len(p), len(q)) < SHORTEST or a == b:
                continue
            if says(a, q) and says(b, p) and not says(a, p) and not says(b, q):
                return first, second
    return None


def calls_crossed(program: Program) -> Iterator[Slip]:
    """``f(mask, image)`` where ``f`` is defined as ``f(image, mask)``, by position or by keyword."""
    for file, symbol, scope in program.scopes():
        calls = [one for one in inside(scope) if isinstance(one, ast.Call)]
        for call in calls:
            found = _found(program, call)
            if found is None or _on_purpose(symbol, call) or _both_ways(calls, call):
                continue
            detail = f"{name_of(call.func)}({', '.join(found[1])})"
            yield Slip(
                "arguments", shown(call), detail, file, call.lineno, symbol, _line(program, call), *_pair(*found)
            )


def _found(program: Program, call: ast.Call) -> tuple[list[str], list[str]] | None:
    keywords = [one for one in call.keywords if one.arg]
    labels, meant = [name_of(one.value) for one in keywords], [str(one.arg) for one in keywords]
    if name_of(call.func) not in ("dict", "update") and crossed(labels, meant) is not None:
        return labels, meant
    function = program.called(call)
    if function is None or any(isinstance(one, ast.Starred) for one in call.args):
        return None
    labels, meant = [name_of(one) for one in call.args], program.parameters(function)
    return (labels, meant) if crossed(labels, meant) is not None else None


def _pair(labels: Sequence[str], meant: Sequence[str]) -> tuple[str, str]:
    """The two names that are crossed."""
    places = crossed(labels, meant)
    return (labels[places[0]], labels[places[1]]) if places is not None else ("", "")


def _line(program: Program, call: ast.Call) -> int:
    function = program.called(call)
    return function.lineno if function is not None else 0


def _on_purpose(symbol: str, call: ast.Call) -> bool:
    """A function that calls itself with its arguments exchanged, or one whose name says that it turns things round."""
    named = set(words(symbol)) | set(words(name_of(call.func)))
    return name_of(call.func) == symbol.rpartition(".")[2] or bool(named & TURNS_ROUND)


def _both_ways(calls: list[ast.Call], call: ast.Call) -> bool:
    """The same function is called with the same things the other way round as well: ``kl(p, q) + kl(q, p)``."""
    mine = [ast.dump(one) for one in call.args]
    for other in calls:
        if other is not call and ast.dump(other.func) == ast.dump(call.func):
            its = [ast.dump(one) for one in other.args]
            if its != mine and sorted(its) == sorted(mine):
                return True
    return False


# -- results -----------------------------------------------------------------------------------------------------


def results_crossed(program: Program) -> Iterator[Slip]:
    """``mask, image = load()`` where ``load`` returns ``image, mask``; ``for mask, image in zip(images, masks)``."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            target, value = _unpacked(node)
            if target is None or value is None:
                continue
            labels = [name_of(one) for one in target.elts]
            line = getattr(node, "lineno", target.lineno)
            meant, source, other = _given(program, value)
            if meant and crossed(labels, meant) is not None and not set(words(symbol)) & TURNS_ROUND:
                text = shown(node if isinstance(node, ast.Assign) else target)
                yield Slip("results", text, source, file, line, symbol, other, *_pair(labels, meant))


def _unpacked(node: ast.AST) -> tuple[ast.Tuple | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple):
        return node.targets[0], node.value
    if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Tuple):
        return node.target, node.iter
    return None, None


def _given(program: Program, value: ast.expr) -> tuple[list[str], str, int]:
    if not isinstance(value, ast.Call) or any(isinstance(one, ast.Starred) for one in value.args):
        return [], "", 0
    if isinstance(value.func, ast.Name) and value.func.id == "zip":
        return [_single(name_of(one)) for one in value.args], shown(value), 0
    function = program.called(value)
    if function is None or function.name == "__init__":
        return [], "", 0
    returned = [one.value for one in inside(function) if isinstance(one, ast.Return)]
    tuples = [[name_of(part) for part in one.elts] for one in returned if isinstance(one, ast.Tuple)]
    if not tuples or len(tuples) != len(returned) or any(one != tuples[0] for one in tuples):
        return [], "", 0
    return tuples[0], f"{function.name} returns {', '.join(one or '...' for one in tuples[0])}", function.lineno


def _single(name: str) -> str:
    return name[:-1] if name.endswith("s") and len(name) > 3 else name


def items_permuted(program: Program) -> Iterator[Slip]:
    """``for x, y, score, label in found`` where tuples are made, or taken apart, as ``(x, y, label, score)``."""
    made: dict[frozenset[str], dict[tuple[str, ...], int]] = {}
    for tree in program.trees.values():
        for one in (one for part in walk(tree) for one in _put_away(part)):
            labels = tuple(name_of(part) for part in one.elts)
            if len(labels) > 2 and all(labels) and len(set(labels)) == len(labels):
                made.setdefault(frozenset(labels), {}).setdefault(labels, one.lineno)
    taken: dict[tuple[str, frozenset[str]], tuple[tuple[str, ...], int]] = {}
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            target, value = _unpacked(node)
            if target is None or value is None or isinstance(value, ast.Tuple | ast.List | ast.Call):
                continue
            labels = tuple(name_of(one) for one in target.elts)
            if len(labels) < 3 or len(set(labels)) < len(labels) or not all(labels):
                continue
            orders = made.get(frozenset(labels), {})
            order, line = next(iter(orders.items())) if orders else (labels, 0)
            if not orders:  # nobody makes such a tuple by these names: two places that take it apart may disagree
                order, line = taken.setdefault((ast.unparse(value), frozenset(labels)), (labels, target.lineno))
            moved = [one for one, was in zip(labels, order, strict=True) if one != was]
            if moved and labels not in orders and min(len(one) for one in moved) >= SHORTEST:
                yield Slip("items", shown(target), ", ".join(order), file, target.lineno, symbol, line)


def _put_away(node: ast.AST) -> Iterator[ast.Tuple]:
    """Tuples that become items of something: appended, listed, or given out one by one."""
    held: list[ast.expr | None] = []
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("append", "add", "put")
    ):
        held = list(node.args)
    elif isinstance(node, ast.List | ast.Set) and not isinstance(getattr(node, "ctx", None), ast.Store):
        held = list(node.elts)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        held = [node.elt]
    elif isinstance(node, ast.Yield):
        held = [node.value]
    yield from (one for one in held if isinstance(one, ast.Tuple))


def split_crossed(program: Program) -> Iterator[Slip]:
    """``x_train, y_train, x_test, y_test = train_test_split(x, y)``: it gives the parts of one array after another."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            target, value = _unpacked(node)
            if target is None or not isinstance(value, ast.Call) or name_of(value.func) != "train_test_split":
                continue
            sides = [
                "train" if "train" in words(name_of(one)) else "held out" if HELD_OUT & set(words(name_of(one))) else ""
                for one in target.elts
            ]
            wanted = ["train", "held out"] * len(value.args)  # a held-out part is cut again into held-out parts alone
            if sorted(sides) == sorted(wanted) and sides != wanted:
                yield Slip(
                    "split", shown(node), "training and test part of each array in turn", file, target.lineno, symbol
                )


# -- words in a text ---------------------------------------------------------------------------------------------


def texts_crossed(program: Program) -> Iterator[Slip]:
    """``"train {} val {}".format(val, train)`` and its like: what stands before each place names the other one."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            parts = _places(node)
            labels, meant = [label for _, label in parts], [text for text, _ in parts]
            if isinstance(node, ast.expr) and len(parts) > 1 and crossed(labels, meant) is not None:
                detail = ", ".join(f"{text} {{{label}}}" for text, label in parts)
                yield Slip("text", shown(node), detail, file, node.lineno, symbol)
        for node in inside(scope):
            if isinstance(node, ast.Dict) and all(isinstance(one, ast.Constant) for one in node.keys):
                keys = [str(one.value) if isinstance(one, ast.Constant) else "" for one in node.keys]
                if (
                    crossed([_value(one) for one in node.values], keys) is not None
                    and not set(words(symbol)) & TURNS_ROUND
                ):
                    yield Slip("entries", shown(node), "names of the entries", file, node.lineno, symbol)


def _value(node: ast.expr) -> str:
    """Name of a value, also of ``x.item()``, ``float(x)``, ``x / n`` and ``x[i]``."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args:
            node = node.func.value
        elif isinstance(node, ast.Call) and name_of(node.func) in ("float", "int", "round", "str", "len") and node.args:
            node = node.args[0]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mult):
            node = node.left if name_of(node.left) or not isinstance(node.left, ast.Constant) else node.right
        else:
            return name_of(node)


def _places(node: ast.AST) -> list[tuple[str, str]]:
    """Text before each place of a formatted string, and the name of what is put there."""
    if isinstance(node, ast.JoinedStr):
        texts, labels, before = [], [], ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                texts.append(_last(before))
                labels.append(_value(part.value))
                before = ""
        return list(zip(texts, labels, strict=True))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
        and isinstance(node.func.value.value, str)
    ):
        try:
            fields = [
                (text, name) for text, name, _, _ in string.Formatter().parse(node.func.value.value) if name is not None
            ]
        except ValueError:
            return []
        if len(fields) == len(node.args) and all(name == "" or name.isdigit() for _, name in fields):
            return [(_last(text), _value(one)) for (text, _), one in zip(fields, node.args, strict=True)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.right, ast.Tuple):
        text = node.left.value if isinstance(node.left, ast.Constant) else None
        pieces = PERCENT.split(text.replace("%%", "")) if isinstance(text, str) else []
        if len(pieces) == len(node.right.elts) + 1:
            return [(_last(before), _value(one)) for before, one in zip(pieces, node.right.elts, strict=False)]
    return []


def _last(text: str) -> str:
    """The last words before a place, back to the comma, bar or line end that ends what was before."""
    piece = SEPARATOR.split(text.rstrip(" :=_-(\t"))[-1]
    return "_".join(words(piece)[-3:])


def other_is_meant(program: Program) -> Iterator[Slip]:
    """``smoothness(moved)`` where it is defined as ``smoothness(flow)``, and there is a ``flow`` that is not given."""
    for file, symbol, scope in program.scopes():
        known = _unread(scope)
        for call in inside(scope):
            function = program.called(call) if isinstance(call, ast.Call) else None
            if (
                function is None
                or not isinstance(call, ast.Call)
                or any(isinstance(one, ast.Starred) for one in call.args)
            ):
                continue
            meant, labels = program.parameters(function), [name_of(one) for one in call.args]
            given = {*labels, *(name_of(one.value) for one in call.keywords)}
            mentioned = names_in(call)
            for argument, label, parameter in zip(call.args, labels, meant, strict=False):
                if not isinstance(argument, ast.Name) or len(parameter) < 3 or parameter in GENERAL:
                    continue
                idle = parameter in known and known[parameter] < call.lineno and parameter not in given | mentioned
                if idle and not any(says(label, one) for one in meant):
                    detail = f"{name_of(call.func)}({', '.join(meant)})"
                    yield Slip(
                        "other",
                        shown(call),
                        detail,
                        file,
                        call.lineno,
                        symbol,
                        function.lineno,
                        label,
                        parameter,
                    )


def _unread(scope: ast.AST) -> dict[str, int]:
    """Names that get a value in a function and are not read in it, each with the first line that gives it one."""
    found: dict[str, int] = {}
    if not isinstance(scope, Function):
        return found
    read = read_in(scope)
    for one in walk(scope):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id not in read:
            found.setdefault(one.id, one.lineno)
    found |= {one.arg: 0 for one in (*scope.args.args, *scope.args.kwonlyargs) if one.arg not in read}
    return found


GENERAL = frozenset(
    {
        "input",
        "inputs",
        "data",
        "name",
        "value",
        "values",
        "path",
        "model",
        "net",
        "output",
        "index",
        "key",
        "array",
        "tensor",
        "batch",
        "dim",
        "size",
        "shape",
        "axis",
        "device",
        "config",
        "args",
        "file",
        "out",
    }
)
READERS = (calls_crossed, results_crossed, items_permuted, split_crossed, texts_crossed, other_is_meant)
