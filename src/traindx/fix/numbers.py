"""Numbers: learning rates and clipping limits, changed where they are written."""

from __future__ import annotations

import math
import re

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.source import Edits, Node, Source, number

RATE = re.compile(r"(^|[^a-z])(lr|learning[-_]?rate|rate)", re.IGNORECASE)
LIMIT = re.compile(r"clip|max[-_]?norm|grad", re.IGNORECASE)
USUAL_RATIO = (
    1e-3  # update over weight of a healthy step: Stanford CS231n notes, "Learning", ratio of updates to weights
)


def other_rate(source: Source, finding: Finding, line: int) -> Edits | None:
    """Change the learning rate where it is written."""
    rate = finding.numbers.get("learning_rate")
    if not isinstance(rate, int | float) or not rate > 0:
        return None
    fastest, ratio = finding.numbers.get("fastest"), finding.numbers.get("update_over_weight")
    if isinstance(fastest, int | float) and fastest > 0:
        new = fastest / 10
    elif isinstance(ratio, int | float) and 0 < ratio < math.inf:
        new = rate * 10.0 ** round(math.log10(USUAL_RATIO / ratio))
    else:
        return None
    return _replaced(_written(source, float(rate), RATE), new) if new != rate else None


def higher_limit(source: Source, finding: Finding, line: int) -> Edits | None:
    """Clip at a limit that usual gradients do not reach."""
    limit, median = finding.numbers.get("limit"), finding.numbers.get("median_norm")
    if not isinstance(limit, int | float) or not isinstance(median, int | float) or not 0 < limit < median < math.inf:
        return None
    return _replaced(_written(source, float(limit), LIMIT), 2 * median)


def _written(source: Source, value: float, pattern: re.Pattern[str]) -> Node | None:
    """The one place in a file where a number of this meaning is written."""
    literals = [
        node
        for node in source.find(m.OneOf(m.Float(), m.Integer()))
        if math.isclose(number(node) or 0.0, value, rel_tol=1e-6)
    ]
    named = [node for node in literals if pattern.search(_meaning(source, node))]
    return named[0] if len(named) == 1 else None


def _meaning(source: Source, node: Node) -> str:
    """What a number is called: the keyword, the variable, the key, the flag of an argument parser, the parameter."""
    for outer in source.around(node):
        name = _name_given_by(source, outer)
        if name is not None:
            return name
    return ""


def _name_given_by(source: Source, outer: Node) -> str | None:  # noqa: PLR0911  (one return a kind of node)
    """What a node around a number calls it; None if it is only part of an expression."""
    if isinstance(outer, cst.Arg) and outer.keyword is not None:
        if outer.keyword.value != "default":
            return str(outer.keyword.value)
        flags = [source.text(arg) for arg in source.parent(outer).args if arg.keyword is None]
        return " ".join(flags)  # parser.add_argument("--lr", default=...)
    if m.matches(outer, _OPTIMISER_CALL):
        return "lr"  # the second argument of an optimiser, the only number given by position
    if isinstance(outer, cst.DictElement):
        return source.text(outer.key)
    if isinstance(outer, cst.Param):
        return str(outer.name.value)
    if isinstance(outer, cst.Assign):
        return " ".join(source.text(target.target) for target in outer.targets)
    if isinstance(outer, cst.AnnAssign):
        return source.text(outer.target)
    return "" if isinstance(outer, cst.BaseStatement | cst.BaseSmallStatement) else None


_OPTIMISERS = m.Name(m.MatchRegex(r"(SGD|Adam\w*|RMSprop|Adagrad|Adadelta|NAdam|RAdam|Lion|Rprop|ASGD)"))
_OPTIMISER_CALL = m.Call(func=m.OneOf(_OPTIMISERS, m.Attribute(attr=_OPTIMISERS)))


def _replaced(node: Node | None, value: float) -> Edits | None:
    if node is None:
        return None
    text = f"{value:.2g}"
    if not any(mark in text for mark in ".en"):
        text += ".0"
    return {node: cst.Float(re.sub(r"e([+-])0+(\d)", r"e\1\2", text).replace("e+", "e"))}
