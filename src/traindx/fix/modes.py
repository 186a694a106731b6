"""Training and evaluation mode where they belong."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.source import Edits, Node, Source, called, receiver

BUILTINS = ("len", "range", "enumerate", "zip", "print", "float", "int", "sum", "max", "min", "list", "dict", "tuple", "str", "sorted", "isinstance")  # noqa: E501  # fmt: skip


def switch_back(source: Source, finding: Finding, line: int) -> Edits | None:
    """Switch back to training mode when the evaluation is over."""
    call = source.only(called("eval"), line)
    if call is None or receiver(call) is None or finding.variant != "stayed-in-evaluation":
        return None
    statement = source.statement_of(call)
    block = list(source.block(statement))
    return _at_the_end(source, block, block.index(statement), f"{source.text(receiver(call))}.train()")


def evaluate_in_evaluation_mode(source: Source, finding: Finding, line: int) -> Edits | None:
    """Evaluate in evaluation mode, and train in training mode afterwards."""
    if finding.variant != "validated-in-training":
        return None
    calls = [call for call in source.find(m.Call(), line) if _network(call)]
    names = {source.text(call.func) for call in calls}
    if len(names) > 1:
        names &= _with_parameters(source)
    if len(names) != 1:
        return None
    name = names.pop()
    scope = source.function(calls[0])
    if scope is source.module or source.inside(scope, called("backward")):
        pause = _pause(source, calls[0])
        lines = {"before": [f"{name}.eval()"], "after": [f"{name}.train()"]}
        return None if pause is None else source.beside(pause, **lines)
    return _around(source, list(scope.body.body), name)


def _around(source: Source, block: list[Node], name: str) -> Edits | None:
    """The whole body of a function in evaluation mode."""
    first = 1 if m.matches(block[0], m.SimpleStatementLine(body=[m.Expr(value=m.SimpleString())])) else 0
    end = _at_the_end(source, block, first, f"{name}.train()") if first < len(block) else None
    return None if end is None else _joined(end, source.beside(block[first], before=[f"{name}.eval()"]))


def _network(call: Node) -> bool:
    """A call of a plain name or of ``self.name`` that is not a function everybody knows."""
    function = call.func
    if isinstance(function, cst.Name):
        return function.value not in BUILTINS and not function.value[0].isupper()
    return isinstance(function, cst.Attribute) and m.matches(function.value, m.Name("self"))


def _with_parameters(source: Source) -> set[str]:
    """Names of which the file uses what only a network has."""
    calls = source.find(called("parameters", "state_dict", "load_state_dict", "train", "eval", "zero_grad"))
    return {source.text(receiver(call)) for call in calls if receiver(call) is not None}


def _pause(source: Source, node: Node) -> Node | None:
    """The ``with torch.no_grad():`` around a node."""
    quiet = called("no_grad", "inference_mode")
    for outer in source.around(node):
        if isinstance(outer, cst.With) and any(m.matches(item.item, quiet) for item in outer.items):
            return outer
        if isinstance(outer, cst.FunctionDef):
            return None
    return None


def _at_the_end(source: Source, block: list[Node], start: int, text: str) -> Edits | None:
    """Put a line at the end of a block, before its last ``return``; None if the block may be left earlier."""
    last = block[-1]
    returns = m.matches(last, m.SimpleStatementLine(body=[m.Return()]))
    rest = block[start : len(block) - 1 if returns else len(block)]
    if any(source.inside(one, m.Return()) for one in rest if not isinstance(one, cst.FunctionDef)):
        return None
    return source.beside(last, before=[text]) if returns else source.beside(last, after=[text])


def _joined(first: Edits, second: Edits) -> Edits:
    """Two edits of statements; where both are of the same one, the second's new lines come first."""
    both = dict(first)
    for statement, lines in second.items():
        if statement in both:
            both[statement] = [*lines[:-1], *both[statement]]
        else:
            both[statement] = lines
    return both
