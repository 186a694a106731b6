"""C1109 evidence-suppressed: a monitor that cannot speak."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.training_state import MonitorAnswers
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("C1109", "evidence-suppressed", Severity.MAJOR, needs=(MonitorAnswers,))
def monitor_is_blind(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A monitor of gradients that says nothing when a gradient is NaN, infinite, vanished or exploded.

    ``nan < 1e-7`` and ``nan > 100`` are both false. ``demonstrated`` where it is silent on NaN or infinity, or on
    everything it is asked about.
    """
    for record in evidence.of(MonitorAnswers):
        worst = [name for name in record.silent_on if name in ("nan", "inf")]
        if not worst and set(record.silent_on) != set(record.asked):
            continue
        yield Found(
            message=f"The gradient monitor was given norms that are {', '.join(record.asked)} and said nothing about "
            f"{', '.join(record.silent_on)}: a run that has broken down looks healthy.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"silent on": ", ".join(record.silent_on)},
            remedy="Test isfinite first: comparisons with NaN are always false.",
        )
