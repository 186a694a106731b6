"""Learning-rate schedules in their right place."""

from __future__ import annotations

from traindx.finding import Finding
from traindx.fix.optimisers import steps
from traindx.fix.source import Edits, Source


def after_the_optimiser(source: Source, finding: Finding, line: int) -> Edits | None:
    """Step the schedule after the optimiser."""
    if finding.variant != "before-the-optimiser":
        return None
    statement = source.statement(line)
    if statement is None or len(statement.body) != 1:
        return None
    block = list(source.block(statement))
    later = [step for step, _ in steps(source, source.function(statement)) if step in block]
    later = [step for step in later if block.index(step) > block.index(statement)]
    return {statement: None, later[0]: [later[0], statement]} if len(later) == 1 else None
