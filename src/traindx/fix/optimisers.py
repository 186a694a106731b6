"""Optimisers: gradients that are never cleared, parameters that were left out."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from traindx.finding import Finding
from traindx.fix.source import Edits, Node, Source, called, knows_torch, name_of, positional, receiver

NOT_OPTIMISERS = ("sched", "scaler", "prof", "warm", "accelerator", "engine", "trainer", "env", "bar", "run")


def steps(source: Source, scope: Node) -> list[tuple[Node, str]]:
    """Optimiser steps in a function: the statement and the optimiser's name as it is written."""
    found = []
    for call in source.inside(scope, called("step")):
        owner = receiver(call)
        if owner is None:
            continue
        name = source.text(owner)
        if "scaler" in name.lower():
            optimiser = positional(call, 0)
            if optimiser is not None:
                found.append((source.statement_of(call), source.text(optimiser)))
        elif not any(word in name.lower() for word in NOT_OPTIMISERS):
            found.append((source.statement_of(call), name))
    return found


def clear_gradients(source: Source, finding: Finding, line: int) -> Edits | None:
    """Clear the gradients after every step."""
    statement = source.statement(line)
    if statement is None:
        return None
    taken = steps(source, source.function(statement))
    if len(taken) != 1 or len(taken[0][0].body) != 1:
        return None
    step, name = taken[0]
    following = _next(source, step)
    if following is not None and m.findall(following, called("update")):  # scaler.update() belongs to the step
        step = following
    return source.beside(step, after=[f"{name}.zero_grad()"])


def _next(source: Source, statement: Node) -> Node | None:
    block = list(source.block(statement))
    index = block.index(statement)
    return block[index + 1] if index + 1 < len(block) and isinstance(
        block[index + 1], cst.SimpleStatementLine) else None  # fmt: skip


def register_modules(source: Source, finding: Finding, line: int) -> Edits | None:
    """Keep the modules where parameters() finds them."""
    if finding.variant != "unregistered":
        return None
    assignments = source.find(m.Assign(targets=[m.AssignTarget(target=m.Attribute(value=m.Name("self")))]), line)
    if len(assignments) != 1:
        return None
    value = assignments[0].value
    if isinstance(value, cst.Dict | cst.DictComp):
        name = "ModuleDict"
    elif isinstance(value, cst.List | cst.ListComp) or (isinstance(value, cst.Call) and name_of(value) == "list"):
        name = "ModuleList"
    else:
        return None
    if not imports_nn(source) and not knows_torch(source):
        return None
    owner = "nn" if imports_nn(source) else "torch.nn"
    return {value: cst.Call(func=cst.parse_expression(f"{owner}.{name}"), args=[cst.Arg(value)])}


def imports_nn(source: Source) -> bool:
    """True if the file knows ``torch.nn`` as ``nn``."""
    aliases = [
        *source.find(m.ImportFrom(module=m.Name("torch"), names=[m.ZeroOrMore(), m.ImportAlias(name=m.Name("nn"), asname=None), m.ZeroOrMore()])),  # noqa: E501
        *source.find(m.ImportAlias(asname=m.AsName(name=m.Name("nn")))),
    ]  # fmt: skip
    return bool(aliases)


def give_all_parameters(source: Source, finding: Finding, line: int) -> Edits | None:
    """Give the optimiser all parameters of the network."""
    if finding.variant != "in-no-optimiser":
        return None
    part = m.Call(func=m.Attribute(value=m.Attribute(value=m.Name()), attr=m.Name("parameters")), args=[])
    calls = source.find(part, line)
    if len(calls) != 1:
        return None
    parts = calls[0].func.value
    return {parts: parts.value}
