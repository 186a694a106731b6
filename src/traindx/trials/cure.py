"""The fix: the case with every treatment in place that its trials found to help, trained again and compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.finding import Finding, Verdict
from traindx.progress import Listener, Progress, silent
from traindx.trials.clock import Deadline
from traindx.trials.proposals import resolve
from traindx.trials.scoring import score
from traindx.trials.scoring_metric import ScoringMetric
from traindx.trials.training import Trained, train
from traindx.trials.treatment import compose, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from traindx.case import Case
    from traindx.diagnosis import TrialTable

HELPFUL = (Verdict.PROVEN, Verdict.CONTRIBUTORY)


@dataclass(frozen=True)
class Fixed:
    """A case that was treated, trained and measured again.

    Attributes:
        case: The treated case.
        treatments: What is in place, by name.
        trained: Its model after training.
        value: The trial's metric, by the control's scoring metric.
    """

    case: Case
    treatments: tuple[str, ...]
    trained: Trained
    value: float


def helpful(table: TrialTable) -> tuple[str, ...]:
    """Treatments that were proven, or contribute in one context and harm none; best first.

    One that makes things worse where all else is fixed is left out, whatever it does by itself.
    """
    return tuple(
        row.treatment
        for row in table.results
        if row.verdict in HELPFUL and not (row.given_rest is not None and row.given_rest.high < 0)
    )


def treated(case: Case, findings: Sequence[Finding], names: Sequence[str]) -> Case:
    """The case with treatments of these findings in place, by their names in the trial table."""
    proposals = labelled(findings)
    found = [resolve(proposals[name], case) for name in names]
    return compose(case, [treatment for treatment in found if treatment is not None])


def cure(
    case: Case,
    findings: Sequence[Finding],
    table: TrialTable,
    *,
    seed: int = 0,
    steps: int | None = None,
    seconds: float | None = None,
    progress: Listener | None = None,
) -> Fixed | None:
    """Treat a case with everything that helped, and train it again.

    Args:
        case: The case as it was examined.
        findings: Its findings.
        table: Its trials.
        seed: Seed of the training.
        steps: Optimiser steps; the case's own by default.
        seconds: Stop training after this time, with fewer steps.
        progress: Called while training.

    Returns:
        The fix, or None where no treatment helped.
    """
    names = helpful(table)
    if not names:
        return None
    listen = progress or silent
    better = treated(case, findings, names)
    count = steps or better.steps
    begun = time.monotonic()

    def tell(step: int, loss: float) -> None:
        left = (time.monotonic() - begun) / step * (count - step)
        listen(Progress("cure", f"training the fixed model, loss {loss:.3f}", step, count, left))

    deadline = Deadline() if seconds is None else Deadline.after(seconds)
    trained = train(better, seed, count, on_step=tell, deadline=deadline, keep_partial=True)
    values: dict[str, Any] = dict(score(better, trained.model, seed, ScoringMetric.of(case, [better])).values)
    return Fixed(better, names, trained, float(values[table.metric]))
