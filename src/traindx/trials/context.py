"""A context in which no treatment spoils what another one gains.

*Given the rest* asks what a treatment is worth where all others are in place. That is a sound question only while the
others do not undo one another: of a finding that is the consequence of another one, the fix may do harm once the cause
is fixed (a term is flipped because its targets were wrong; with the targets right, the flip is the fault). Leaving one
out at a time cannot find two such treatments, so the context is put together anew, the best first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from traindx.trials.arms import Design, TreatmentSet

SPOILED = 0.5
"""Share of the best treatment's gain that must be lost for a context to count as spoiled. Faults that mask one another
lose part of a gain together; half of it and more is another treatment's harm."""


def sound_context(design: Design, value: Callable[[TreatmentSet], float]) -> TreatmentSet:
    """The treatments of the arm *all*, without those that spoil what the best of them gains alone.

    Args:
        design: The design; its arm *all* is returned as it is unless that arm is spoiled.
        value: Figure of an arm, larger is better; NaN where there is none. Arms are asked for one after the other.

    Returns:
        A subset of ``design.everything``.
    """
    nothing: TreatmentSet = frozenset()
    control = value(nothing)
    alone = {label: value(frozenset({label})) for label in design.everything}
    alone = {label: figure for label, figure in alone.items() if figure > control}
    if not alone or not math.isfinite(value(design.everything)):
        return design.everything
    best = max(alone, key=lambda label: alone[label])
    gain = alone[best] - control
    if value(design.everything) >= alone[best] - SPOILED * gain:
        return design.everything
    context, reached = frozenset({best}), alone[best]
    for label in (label for label in design.treatments if label in design.everything and label != best):
        larger = context | {label}
        figure = value(larger)
        if figure >= reached - SPOILED * gain:
            context, reached = larger, max(reached, figure)
    return context
