"""Gradient clipping and scaling in their right order."""

from __future__ import annotations

import libcst as cst

from traindx.finding import Finding
from traindx.fix.optimisers import steps
from traindx.fix.source import Edits, Node, Source, called, positional, receiver

CLIPS = ("clip_grad_norm_", "clip_grad_value_")


def unscale_first(source: Source, finding: Finding, line: int) -> Edits | None:
    """Take the scale out of the gradients before they are clipped."""
    clip = source.only(called(*CLIPS), line)
    if clip is None:
        return None
    found = _scaled_step(source, source.function(clip))
    if found is None:
        return None
    scaler, optimiser, _ = found
    return source.beside(source.statement_of(clip), before=[f"{scaler}.unscale_({optimiser})"])


def update_the_scaler(source: Source, finding: Finding, line: int) -> Edits | None:
    """Let the scaler adapt its factor after every step."""
    if finding.variant != "never-updated":
        return None
    statement = source.statement(line)
    found = None if statement is None else _scaled_step(source, source.function(statement))
    return None if found is None else source.beside(found[2], after=[f"{found[0]}.update()"])


def _scaled_step(source: Source, scope: Node) -> tuple[str, str, Node] | None:
    """Scaler, optimiser and statement of the only ``scaler.step(optimiser)`` in a function."""
    scaling = {source.text(receiver(call)) for call in source.inside(scope, called("scale")) if receiver(call)}
    found = [
        (source.text(receiver(call)), source.text(positional(call, 0)), source.statement_of(call))
        for call in source.inside(scope, called("step"))
        if receiver(call) is not None and positional(call, 0) is not None and source.text(receiver(call)) in scaling
    ]
    return found[0] if len(found) == 1 else None


def clip_before_the_step(source: Source, finding: Finding, line: int) -> Edits | None:
    """Clip before the optimiser uses the gradients."""
    clip = source.only(called(*CLIPS), line)
    if clip is None:
        return None
    statement = source.statement_of(clip)
    block = list(source.block(statement))
    earlier = [step for step, _ in steps(source, source.function(clip)) if step in block]
    earlier = [step for step in earlier if block.index(step) < block.index(statement)]
    if len(earlier) != 1 or not isinstance(source.parent(clip), cst.Expr) or len(statement.body) != 1:
        return None
    step = earlier[0]
    moved = statement.with_changes(leading_lines=step.leading_lines)
    return {statement: None, step: [moved, step.with_changes(leading_lines=statement.leading_lines)]}
