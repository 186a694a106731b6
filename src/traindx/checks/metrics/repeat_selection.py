"""The figure that chooses the best checkpoint, asked of one fixed model several times."""

from __future__ import annotations

from traindx.checks.base import ExamRoom, exam
from traindx.checks.probing import awake_model, in_mode, other_awake_model, undisturbed
from traindx.core.frames import defined_at
from traindx.evidence.deployment import RepeatedSelection

PASSES = 6


@exam(
    "repeat-selection",
    "does the figure that selects give a fixed model the same value each time",
    needs=("practice.validate", "practice.selects"),
)
def repeat_selection(room: ExamRoom) -> None:
    """Validate a fresh model by the case's own function, each time with another random state; then two other models."""
    practice = room.case.practice
    assert practice is not None
    assert practice.validate is not None
    model = room.fresh_model()
    values = []
    for number in range(PASSES):
        with in_mode(model, training=False), undisturbed(room.seed + number):
            figures = practice.validate(model)
        if practice.selects in figures:
            values.append(float(figures[practice.selects]))
    if len(values) < PASSES:
        return
    models = []
    for other in (awake_model(room), other_awake_model(room)):
        with in_mode(other, training=False), undisturbed(room.seed):
            models.append(float(practice.validate(other)[practice.selects]))
    room.record(
        RepeatedSelection(
            where=defined_at(practice.validate), figure=practice.selects, values=tuple(values), models=tuple(models)
        )
    )
