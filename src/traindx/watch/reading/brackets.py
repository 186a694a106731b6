"""Brackets that are missing: what a formula says by the order of its operations is not what it is written for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading.program import Program, Slip, name_of, names_in, shown, terms_of, words
from traindx.watch.runtime.syntax import inside, walk

SPREADS = frozenset({"std", "sigma", "stddev", "sd"})
SMALL = frozenset({"smooth", "eps", "epsilon", "smoothing"})
OVERLAPS = frozenset({"inter", "intersection", "intersect", "overlap", "tp"})
ENDS = tuple(  # of one span, by the word that tells them apart
    frozenset(pair.split())
    for pair in ("min max", "start end", "left right", "top bottom", "lower upper", "low high", "lo hi", "first last")
)


def counters(loop: ast.For | ast.AsyncFor) -> dict[str, int]:
    """Names that count the rounds of a loop, with the number that they begin with."""
    call, target = loop.iter, loop.target
    while isinstance(call, ast.Call) and name_of(call.func) == "tqdm" and call.args:
        call = call.args[0]
    if not isinstance(call, ast.Call):
        return {}
    called = name_of(call.func)
    if called == "enumerate" and isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name):
        given = [*call.args[1:], *(one.value for one in call.keywords if one.arg == "start")]
        first: ast.expr = given[0] if given else ast.Constant(0)
    elif called in ("range", "trange") and isinstance(target, ast.Name) and len(call.args) in (1, 2):
        first = call.args[0] if len(call.args) == 2 else ast.Constant(0)
        return {target.id: first.value} if isinstance(first, ast.Constant) and isinstance(first.value, int) else {}
    else:
        return {}
    return {target.elts[0].id: first.value} if isinstance(first, ast.Constant) and isinstance(first.value, int) else {}


def added_up(loop: ast.AST) -> set[str]:
    """Names that a loop adds to, as they are written: ``total``, ``self.total``, ``sums[key]``."""
    found: set[str] = set()
    for one in inside(loop):
        if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add):
            found.add(ast.unparse(one.target))
        elif isinstance(one, ast.Assign) and isinstance(one.value, ast.BinOp) and isinstance(one.value.op, ast.Add):
            terms = {ast.unparse(one.value.left), ast.unparse(one.value.right)}
            found |= {ast.unparse(target) for target in one.targets} & terms
    return found


def running_mean(program: Program) -> Iterator[Slip]:
    """``total / i + 1`` in or behind the loop that adds to ``total`` and counts with ``i``."""
    for file, symbol, scope in program.scopes():
        loops = [one for one in inside(scope) if isinstance(one, ast.For)]
        for node in inside(scope):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add) or not _is(node.right, 1):
                continue
            part = node.left
            if (
                not isinstance(part, ast.BinOp)
                or not isinstance(part.op, ast.Div)
                or not isinstance(part.right, ast.Name)
            ):
                continue
            total = _without_reading(part.left)
            for loop in loops:
                if loop.lineno < node.lineno and counters(loop).get(part.right.id) == 0 and total in added_up(loop):
                    better = f"{shown(part.left)} / ({part.right.id} + 1)"
                    text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                    yield Slip("running-mean", shown(node), text, file, node.lineno, symbol, loop.lineno, better=better)
                    break


def _without_reading(node: ast.expr) -> str:
    """``total`` of ``total.item()`` and of ``float(total)``."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and not node.args:
            node = node.func.value
        elif name_of(node.func) in ("float", "int", "sum") and len(node.args) == 1:
            node = node.args[0]
        else:
            break
    return ast.unparse(node)


def _is(node: ast.AST, value: float) -> bool:
    """A constant of that value."""
    known = node.value if isinstance(node, ast.Constant) else None
    return isinstance(known, int | float) and not isinstance(known, bool) and known == value


def standardised(program: Program) -> Iterator[Slip]:
    """``x - mean / std``, ``x - x.min() / (x.max() - x.min())`` and ``(x - x.min()) / x.max() - x.min()``."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub):
                continue
            better = _of_a_quotient(node) or _of_a_divisor(node)
            if better:
                yield Slip("standardised", shown(node), "", file, node.lineno, symbol, better=better)


def _of_a_quotient(node: ast.BinOp) -> str:
    """What ``x - mean / std`` was meant to be."""
    part = node.right
    if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Div) or isinstance(node.left, ast.Constant):
        return ""
    mean, spread = _said(part.left), _said(part.right)
    centred = bool(mean & {"mean", "mu", "avg"}) and bool(spread & SPREADS)
    least = "min" in mean and "max" in spread and not isinstance(part.left, ast.BinOp)
    # a mean in units of the spread, of something else that is in such units: (x / std) - mean / std
    scaled = any(ast.dump(one) == ast.dump(part.right) for one in walk(node.left))
    if scaled or not (centred or least):
        return ""
    return f"({ast.unparse(node.left)} - {ast.unparse(part.left)}) / {_bracketed(part.right)}"


def _of_a_divisor(node: ast.BinOp) -> str:
    """What ``(x - min) / max - min`` was meant to be."""
    part = node.left
    if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Div):
        return ""
    above = part.left
    if not isinstance(above, ast.BinOp) or not isinstance(above.op, ast.Sub):
        return ""
    same = ast.dump(above.right) == ast.dump(node.right)
    if not same or "min" not in _said(node.right) or "max" not in _said(part.right):
        return ""
    return f"({ast.unparse(above)}) / ({ast.unparse(part.right)} - {ast.unparse(node.right)})"


def _said(node: ast.expr) -> set[str]:
    """Words of the names in an expression."""
    named = (name_of(one) for one in walk(node) if isinstance(one, ast.Name | ast.Attribute))
    return {word for name in named for word in words(name)}


def _bracketed(node: ast.expr) -> str:
    text = ast.unparse(node)
    return f"({text})" if isinstance(node, ast.BinOp) else text


def overlap_over_a_sum(program: Program) -> Iterator[Slip]:
    """``2 * inter / a.sum() + b.sum()`` and ``(inter + smooth) / union + smooth``."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
                continue
            part = node.left
            if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Div):
                continue
            small = isinstance(node.right, ast.Name) and bool(set(words(node.right.id)) & SMALL)
            if small:
                wrong = _has_term(part.left, node.right) and ast.dump(node.right) not in ast.dump(part.right)
            else:
                wrong = _sums(part.right) and _sums(node.right) and bool(_said(part.left) & OVERLAPS)
            if wrong:
                better = f"{ast.unparse(part.left)} / ({ast.unparse(part.right)} + {ast.unparse(node.right)})"
                if isinstance(part.left, ast.BinOp) and isinstance(part.left.op, ast.Add):
                    better = f"({ast.unparse(part.left)}) / ({ast.unparse(part.right)} + {ast.unparse(node.right)})"
                yield Slip("quotient", shown(node), "", file, node.lineno, symbol, better=better)


def _has_term(node: ast.expr, term: ast.expr) -> bool:
    """A sum of which one term is that: ``2 * a + smooth``."""
    terms = terms_of(node)
    return len(terms) > 1 and any(ast.dump(one) == ast.dump(term) for one in terms)


def _sums(node: ast.expr) -> bool:
    """``x.sum()``, ``torch.sum(x)``, ``x_sum``: something that was summed."""
    if isinstance(node, ast.Call):
        return name_of(node.func) == "sum"
    return isinstance(node, ast.Name) and "sum" in words(node.id)


def half_of_one_end(program: Program) -> Iterator[Slip]:
    """``x_min + x_max / 2`` for the middle of a span."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
                continue
            part = node.right
            if (
                isinstance(part, ast.BinOp)
                and isinstance(part.op, ast.Div | ast.FloorDiv)
                and _is(part.right, 2)
                and _two_ends(name_of(node.left), name_of(part.left))
            ):
                sign = "//" if isinstance(part.op, ast.FloorDiv) else "/"
                better = f"({ast.unparse(node.left)} + {ast.unparse(part.left)}) {sign} 2"
                yield Slip("middle", shown(node), "", file, node.lineno, symbol, better=better)


def _two_ends(first: str, second: str) -> bool:
    """Names of the two ends of one span: ``x1`` and ``x2``, ``x_min`` and ``x_max``."""
    mine, its = words(first), words(second)
    if not mine or len(mine) != len(its):
        return False
    apart = [{one, other} for one, other in zip(mine, its, strict=True) if one != other]
    if len(apart) != 1:
        return False
    numbered = apart[0] in ({"1", "2"}, {"0", "1"}) and len(mine) == 2 and mine[0] in ("x", "y", "z")
    return numbered or any(apart[0] == set(ends) for ends in ENDS)


def gaussian(program: Program) -> Iterator[Slip]:
    """``exp(-x ** 2 / 2 * sigma ** 2)``, which multiplies by the variance."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.Call) or name_of(node.func) != "exp" or len(node.args) != 1:
                continue
            product = node.args[0]
            while isinstance(product, ast.UnaryOp):
                product = product.operand
            if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
                continue
            part, square = product.left, product.right
            while isinstance(part, ast.UnaryOp):
                part = part.operand
            squared = isinstance(square, ast.BinOp) and isinstance(square.op, ast.Pow) and _is(square.right, 2)
            if (
                squared
                and bool(_said(square) & {"sigma", "std"})
                and isinstance(part, ast.BinOp)
                and isinstance(part.op, ast.Div)
                and _is(part.right, 2)
            ):
                better = f"{ast.unparse(part.left)} / (2 * {ast.unparse(square)})"
                yield Slip("gaussian", shown(node), "", file, node.lineno, symbol, better=better)


def power_of_one(program: Program) -> Iterator[Slip]:
    """``x ** 1 / 3`` for a root."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
                continue
            power = node.left
            if isinstance(power, ast.BinOp) and isinstance(power.op, ast.Pow) and _is(power.right, 1):
                better = f"{_bracketed(power.left)} ** (1 / {_bracketed(node.right)})"
                yield Slip("power", shown(node), "", file, node.lineno, symbol, better=better)


def bits_first(program: Program) -> Iterator[Slip]:
    """``a > 0 & b > 0``: the ``&`` comes before both comparisons."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.Compare):
                continue
            for one in node.comparators:
                if (
                    isinstance(one, ast.BinOp)
                    and isinstance(one.op, ast.BitAnd | ast.BitOr)
                    and isinstance(one.left, ast.Constant)
                    and bool(names_in(one.right))
                    and not name_of(one.right).isupper()
                ):
                    yield Slip("bits", shown(node), shown(one), file, node.lineno, symbol)
                    break


READERS = (running_mean, standardised, overlap_over_a_sum, half_of_one_end, gaussian, power_of_one, bits_first)
