"""Losses: gradients that are cut, sums beside means, shapes that are stretched, singular functions."""

from __future__ import annotations

import re

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.activations import LIBRARIES, operand
from traindx.fix.source import Edits, Node, Source, called, grouped, in_place_of, positional, receiver

GUARDS = {"log": "1e-6", "log2": "1e-6", "log10": "1e-6", "sqrt": "1e-12", "div": "1e-6"}
TARGETS = re.compile(r"(^|_)(y|t|target|targets|label|labels|gt|truth|true|ref|reference)($|_|\d)", re.IGNORECASE)
PREDICTIONS = re.compile(r"pred|out|logit|hat|recon|estimate|model|net", re.IGNORECASE)


def keep_the_gradient(source: Source, finding: Finding, line: int) -> Edits | None:
    """Let the gradient through."""
    cuts = [
        call
        for call in source.find(called("item", "detach"), line)
        if receiver(call) is not None and not call.args and not in_a_log(source, call)
    ]
    cuts += [call for call in source.find(m.Call(func=m.Name("float")), line) if len(call.args) == 1]
    if len(cuts) != 1:
        return None
    cut = cuts[0]
    inner = receiver(cut) if receiver(cut) is not None else positional(cut, 0)
    return {cut: in_place_of(cut, inner)} if inner is not None else None


def in_a_log(source: Source, node: Node) -> bool:
    """True inside a call of ``print``, ``append``, ``log`` or ``format``: there the number is wanted."""
    for outer in source.around(node):
        if isinstance(outer, cst.Call) and m.matches(
            outer, called("print", "append", "log", "info", "format", "write", "add_scalar")
        ):
            return True
        if isinstance(outer, cst.SimpleStatementLine):
            return False
    return False


def average_not_sum(source: Source, finding: Finding, line: int) -> Edits | None:
    """Take the mean instead of the sum."""
    if finding.variant != "summed":
        return None
    matcher = m.Arg(keyword=m.Name("reduction"), value=m.SimpleString())
    sums = [arg for arg in source.find(matcher) if arg.value.evaluated_value == "sum"]
    here = [arg for arg in sums if source.covers(arg, line)] or sums
    if len(here) != 1:
        return None
    quote = here[0].value.value[0]
    return {here[0].value: here[0].value.with_changes(value=f"{quote}mean{quote}")}


def same_shape(source: Source, finding: Finding, line: int) -> Edits | None:
    """Take the axis of length one away before the two meet."""
    shapes = [_shape(finding.numbers.get(key, "")) for key in ("prediction_shape", "target_shape")]
    longer = _with_lone_axis(*shapes)
    if longer is None:
        return None
    pair = _operands(source, line)
    if pair is None:
        return None
    node = pair[longer]
    squeezed = cst.Call(
        func=cst.Attribute(value=grouped(node), attr=cst.Name("squeeze")), args=[cst.Arg(cst.parse_expression("-1"))]
    )
    return {node: squeezed}


def _shape(text: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(text)))


def _with_lone_axis(prediction: tuple[int, ...], target: tuple[int, ...]) -> int | None:
    """0 if the prediction is the target with a last axis of length one more, 1 if it is the other way round."""
    if prediction == (*target, 1):
        return 0
    return 1 if target == (*prediction, 1) else None


def _operands(source: Source, line: int) -> tuple[Node, Node] | None:
    """Prediction and target of the comparison on a line."""
    call = source.only(m.Call(func=m.OneOf(m.Name(m.MatchRegex(".*_loss|.*entropy.*|criterion")),
                                           m.Attribute(attr=m.Name(m.MatchRegex(".*_loss|.*entropy.*|criterion"))))),
                       line)  # fmt: skip
    if call is not None and len(call.args) >= 2 and not any(arg.keyword for arg in call.args[:2]):
        return call.args[0].value, call.args[1].value
    difference = source.only(m.BinaryOperation(operator=m.Subtract()), line)
    if difference is None:
        return None
    left, right = difference.left, difference.right
    for first, second, order in ((left, right, (left, right)), (right, left, (right, left))):
        if _is(PREDICTIONS, source.text(first)) and not _is(PREDICTIONS, source.text(second)):
            return order
    for first, second in ((left, right), (right, left)):
        if _is(TARGETS, source.text(second)) and not _is(TARGETS, source.text(first)):
            return first, second
    return None


def _is(pattern: re.Pattern[str], text: str) -> bool:
    return bool(pattern.search(re.split(r"[\[(.]", text, maxsplit=1)[0]))


def guard(source: Source, finding: Finding, line: int) -> Edits | None:
    """Add a small number where the function is singular."""
    function = str(finding.numbers.get("function", ""))
    if function not in GUARDS:
        return None
    small = cst.Float(GUARDS[function])
    if function == "div":
        division = source.only(m.BinaryOperation(operator=m.Divide()), line)
        return None if division is None else {division.right: grouped(_plus(division.right, small))}
    calls = [call for call in source.find(called(function), line) if operand(call) is not None]
    if len(calls) != 1:
        return None
    inner = operand(calls[0])
    owner = receiver(calls[0])
    method = owner is inner and not (isinstance(owner, cst.Name) and owner.value in LIBRARIES)
    guarded = _plus(inner, small)
    return {inner: grouped(guarded) if method else guarded}


def _plus(node: Node, small: Node) -> Node:
    loose = isinstance(node, cst.IfExp | cst.Lambda | cst.Comparison | cst.BooleanOperation)
    return cst.BinaryOperation(left=grouped(node) if loose else node, operator=cst.Add(), right=small)
