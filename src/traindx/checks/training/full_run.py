"""Does the author's own training end too early, or is it stuck? A forecast of its curve beyond its last step."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.errors import InputError
from traindx.evidence import Curve, NotExamined
from traindx.evidence.forecast import RunForecast
from traindx.prognosis import LearningCurve, Schedule, prognosis
from traindx.prognosis.curve import MIN_POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from traindx.case import Case

SUBJECT = "whether a longer training would be better"
POINTS = 20  # validations of a training that is repeated
SECONDS = 60.0  # of the processor, for all of them: a busy machine must not change what is found
BATCHES = 4  # of validation


@check("recorded-run", "would more steps have helped", needs=("full_run.history", "metrics"), gives=(RunForecast,))
def recorded_run(ctx: CheckContext) -> None:
    """Forecast the curve that the author recorded."""
    run = ctx.case.full_run
    assert run is not None
    assert run.history is not None
    points = sorted((float(step), float(value)) for step, value in run.history() if math.isfinite(value))
    rates = tuple(float(rate) for rate in run.rates()) if run.rates is not None else ()
    forecast(ctx, dict(points), rates, repeatable=ctx.case.steps == run.steps)


@check(
    "own-run",
    "would more steps help",
    needs=("full_run", "loss", "target", "metrics"),
    phase="after",
    gives=(RunForecast,),
)
def full_run(ctx: CheckContext) -> None:
    """Train as the author does, validate on the way, and forecast; only where a trial trains as long as the author."""
    from traindx.trials.training import train

    run, case = ctx.case.full_run, ctx.case
    assert run is not None
    if run.history is not None:
        return
    if case.steps != run.steps:
        reason = f"a trial trains for {case.steps} steps and the author for {run.steps}: its end is not the end"
        ctx.record(NotExamined(subject=SUBJECT, reason=reason))
        return
    held, watched = _held(case)
    points: dict[float, float] = {}
    rates: list[float] = []
    every = max(1, case.steps // POINTS)
    spent = 0.0

    def on_step(step: int, _: float) -> None:
        nonlocal every, spent
        rates.append(float(held["optimizer"].param_groups[0]["lr"]))
        if step % every and step != case.steps:
            return
        begun = time.process_time()
        points[float(step)] = _validated(ctx, held["model"])
        spent += time.process_time() - begun
        if spent / len(points) * POINTS > SECONDS:  # fewer points, but never fewer than can be fitted
            every = max(every, case.steps // (2 * MIN_POINTS))

    train(watched, ctx.seed, on_step=on_step)
    forecast(ctx, points, tuple(rates), repeatable=True)


def forecast(ctx: CheckContext, points: dict[float, float], rates: Sequence[float], *, repeatable: bool) -> None:
    """Record the forecast of a curve, or why there is none."""
    name, metric = ctx.case.metric()
    run = ctx.case.full_run
    assert run is not None
    schedule = Schedule.recorded(rates)
    curve = LearningCurve(tuple(points), tuple(points.values()), metric.higher_is_better, name, metric.unit, schedule)
    try:
        found = prognosis(curve, worth=metric.negligible or None)
    except InputError as error:
        ctx.record(NotExamined(subject=SUBJECT, reason=error.found))
        return
    there, stop = found.forecast, found.stop
    ctx.record(
        Curve(
            name="own-run",
            caption=f"{name} over the author's own training",
            x=tuple(points),
            series={name: tuple(points.values())},
            x_label="optimiser step",
            y_label=name,
        )
    )
    ctx.record(
        RunForecast(
            figure=name,
            unit=metric.unit,
            validated=True,
            planned=run.steps,
            seen=curve.last,
            at=there.at,
            level=there.level,
            gain=(there.gain.low, there.gain.middle, there.gain.high),
            learned=found.learned,
            stop=(stop.low, stop.middle, stop.high),
            negligible=found.worth,
            higher_is_better=metric.higher_is_better,
            points=there.points,
            repeatable=repeatable,
        )
    )


def _held(case: Case) -> tuple[dict[str, Any], Case]:
    """A copy of the case whose training can be looked at: the model and the optimiser that it makes are kept."""
    from traindx.trials.training import default_optimizer

    held: dict[str, Any] = {}
    make_model, make_optimizer = case.model, case.optimizer or default_optimizer

    def model() -> nn.Module:
        held["model"] = make_model()
        built: nn.Module = held["model"]
        return built

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        held["optimizer"] = make_optimizer(parameters)
        built: torch.optim.Optimizer = held["optimizer"]
        return built

    return held, case.replace(model=model, optimizer=optimizer)


def _validated(ctx: CheckContext, model: nn.Module) -> float:
    """Mean of the metric over the first validation batches."""
    with in_mode(model, training=False), undisturbed(ctx.seed), torch.no_grad():
        scores = [ctx.case.score(ctx.case.prediction(model, batch), batch) for batch in ctx.batches(BATCHES, "val")]
    return sum(scores) / len(scores)
