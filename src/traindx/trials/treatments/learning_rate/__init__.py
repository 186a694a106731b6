"""Learning by another rate."""

from __future__ import annotations

from traindx.trials.treatments.declared import Declared, Fields, place_of


def title(fields: Fields) -> str:
    """``factor``; ``group`` is the number of a parameter group."""
    group = f" of group {fields['group']}" if fields.get("group") is not None else ""
    return f"learning rate{group} x {float(fields.get('factor', 0)):g}"


def family(fields: Fields) -> str:
    """Rates of one optimiser, or of one of its groups, are alternatives."""
    return f"learning-rate {place_of(fields)} {fields.get('group', '')}".strip()


TREATMENTS = (
    Declared(
        name="learning-rate",
        does="the rate of an optimiser or of one group is scaled in every step; schedules see their own value",
        title=title,
        case="learning_rate.case:learning_rate",
        script="learning_rate.script:LearningRate",
        family=family,
    ),
)
