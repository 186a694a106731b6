"""Activations and clamps that are taken out of the way."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.source import (
    Edits,
    Node,
    Source,
    called,
    in_place_of,
    keyword,
    knows_torch,
    name_of,
    number,
    positional,
    receiver,
)

FUNCTIONS = ("sigmoid", "softmax", "log_softmax", "logsigmoid", "tanh", "hardsigmoid", "softplus")
MODULES = ("Sigmoid", "Softmax", "Softmax2d", "LogSoftmax", "LogSigmoid", "Tanh", "Hardsigmoid", "Softplus")
CLAMPS = ("clamp", "clamp_", "clip", "clip_", "hardtanh", "clamp_min", "clamp_max")
LIBRARIES = ("torch", "F", "functional", "nn", "special", "linalg", "np")


def operand(call: Node) -> Node | None:
    """What is acted on: ``x`` of ``torch.sigmoid(x)``, ``F.sigmoid(x)``, ``x.sigmoid()`` and ``self.sigmoid(x)``."""
    owner = receiver(call)
    last = owner.attr if isinstance(owner, cst.Attribute) else owner
    if owner is None or (isinstance(last, cst.Name) and last.value in LIBRARIES):
        given = keyword(call, "input")
        return given.value if given is not None else positional(call, 0)
    own = owner
    while isinstance(own, cst.Attribute):
        own = own.value
    if name_of(call) in FUNCTIONS and isinstance(own, cst.Name) and own.value == "self" and positional(call, 0):
        return positional(call, 0) if number(positional(call, 0)) is None else owner  # a module kept under that name
    return owner


def drop_activation(source: Source, finding: Finding, line: int) -> Edits | None:
    """Take the activation out."""
    if finding.variant == "axis-of-length-one":
        return None
    calls = [call for call in source.find(called(*FUNCTIONS), line) if operand(call) is not None]
    if len(calls) == 1:
        return {calls[0]: in_place_of(calls[0], operand(calls[0]))}
    return None if calls else replaced_module(source, MODULES, line)


def replaced_module(source: Source, names: tuple[str, ...], line: int) -> Edits | None:
    """The module of one of these names that is made on a line, replaced by one that does nothing."""
    made = source.only(called(*names), line)
    if made is None or (isinstance(made.func, cst.Name) and not knows_torch(source)):
        return None
    return {made: identity(made)}


def identity(made: Node) -> Node:
    """``nn.Identity()`` under the name by which the module was called: ``torch.nn.Sigmoid()`` or ``Sigmoid()``."""
    name = cst.Name("Identity")
    function = made.func.with_changes(attr=name) if isinstance(made.func, cst.Attribute) else name
    if not isinstance(made.func, cst.Attribute):
        function = cst.parse_expression("torch.nn.Identity")
    return made.with_changes(func=function, args=())


def drop_flag(source: Source, finding: Finding, line: int) -> Edits | None:
    """Tell the loss that the activation is in the network already."""
    flags = [
        arg
        for call in source.find(m.Call(), line)
        for arg in (keyword(call, "sigmoid"), keyword(call, "softmax"))
        if arg is not None and m.matches(arg.value, m.Name("True"))
    ]
    return {flags[0]: flags[0].with_changes(value=cst.Name("False"))} if len(flags) == 1 else None


def log_probabilities(source: Source, finding: Finding, line: int) -> Edits | None:
    """Give nll_loss logarithms of probabilities."""
    if finding.variant != "not-log-probabilities":
        return None
    call = source.only(called("softmax"), line)
    if call is None:
        return None
    name = cst.Name("log_softmax")
    return {call.func: call.func.with_changes(attr=name) if isinstance(call.func, cst.Attribute) else name}


def drop_clamp(source: Source, finding: Finding, line: int) -> Edits | None:
    """Take the clamp out."""
    calls = [call for call in source.find(called(*CLAMPS), line) if operand(call) is not None]
    if len(calls) == 1:
        call = calls[0]
        around = source.parent(call)
        if isinstance(around, cst.Expr):  # ``x.clamp_(0, 1)`` on a line of its own
            statement = source.statement_of(call)
            alone = len(statement.body) == 1 and len(source.block(statement)) > 1
            return {statement: None} if alone and name_of(call).endswith("_") else None
        return {call: in_place_of(call, operand(call))}
    return None if calls else replaced_module(source, ("Hardtanh",), line)
