"""``traindx prognosis``: under-trained, stuck or converged? From a log, without the model."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindx.errors import UsageError

if TYPE_CHECKING:
    from traindx.prognosis import LearningCurve, Prognosis, Schedule

EXAMPLES = (
    "traindx prognosis runs/log/version_0/metrics.csv --metric val_psnr --at 3000 --schedule cosine",
    "traindx prognosis losses.csv --worth 0.01",
)


class Rate(StrEnum):
    """How the learning rate went."""

    LOGGED = "logged"
    CONSTANT = "constant"
    COSINE = "cosine"


def prognosis(
    log: Annotated[Path, typer.Argument(metavar="LOG.csv", help="Lightning's metrics.csv, or a table with steps")],
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column; NAME:higher or NAME:lower says which is better")
    ] = None,
    at: Annotated[
        float | None, typer.Option(metavar="STEP", help="Forecast to this step (twice the steps seen by default)")
    ] = None,
    worth: Annotated[
        float | None,
        typer.Option(metavar="GAIN", min=0.0, help="The gain that is worth the steps, in the figure's unit"),
    ] = None,
    schedule: Annotated[
        Rate, typer.Option(help="The learning rate: as logged in a column lr..., constant, or one cosine to zero")
    ] = Rate.LOGGED,
    planned: Annotated[
        int | None, typer.Option(metavar="STEPS", min=1, help="Length of the cosine (the last step by default)")
    ] = None,
    warm_up: Annotated[int, typer.Option(metavar="STEPS", min=0, help="Linear warm-up before the cosine")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the forecast as JSON, and nothing else")] = False,
) -> None:
    """Say whether a training was too short, is stuck or has converged, with the gain that is left and its interval.

    A longer run means the same schedule of the learning rate stretched to more steps: steps that are appended to a
    cosine that has ended learn next to nothing. Without a column lr... the rate is taken to be constant: name the
    schedule where it was not. Steps count from 0, as Lightning logs them.

    Exit code: 0 whatever the verdict is, 2 wrong usage, or a log that cannot be used.
    """
    from traindx.prognosis import prognosis as judge
    from traindx.prognosis.messages import format_prognosis

    curve = read(log, metric, schedule, planned, warm_up)
    found = judge(curve, at, worth=worth)
    if as_json:
        sys.stdout.write(json.dumps(as_dict(curve, found)) + "\n")
    else:
        sys.stdout.write(format_prognosis(curve, found) + "\n")


def read(log: Path, metric: str | None, schedule: Rate, planned: int | None, warm_up: int) -> LearningCurve:
    """The curve that is asked for.

    Raises:
        UsageError: It is not known whether higher is better, or the options contradict each other.
        InputError: The log cannot be used.
    """
    from dataclasses import replace

    from traindx.prognosis import Schedule
    from traindx.prognosis.reading import logged_schedule, read_curve
    from traindx.trials.script.scoring_metric import direction_of, wanted_metric

    if schedule is not Rate.COSINE and (planned is not None or warm_up):
        raise UsageError("--planned and --warm-up describe a cosine", do="add --schedule cosine")
    name, higher = wanted_metric(metric) if metric is not None else (None, None)
    curve = read_curve(log, name, higher=bool(higher))
    if higher is None:
        higher = direction_of(curve.name)
    if higher is None:
        raise UsageError(
            f"is a higher {curve.name!r} better?", do=f"say --metric {curve.name}:higher or --metric {curve.name}:lower"
        )
    rates: Schedule = Schedule()
    if schedule is Rate.LOGGED:
        rates = logged_schedule(log, int(curve.last))
    elif schedule is Rate.COSINE:
        rates = Schedule.cosine(planned or int(curve.last), warm_up=warm_up)
    return replace(curve, higher_is_better=higher, schedule=rates)


def as_dict(curve: LearningCurve, found: Prognosis) -> dict[str, Any]:
    """The forecast as plain numbers; what lies beyond what can be foreseen is null."""

    def three(one: Any) -> list[float | None]:
        return [value if abs(value) != float("inf") else None for value in (one.low, one.middle, one.high)]

    there = found.forecast
    return {
        "state": found.state.value,
        "figure": curve.name,
        "higher_is_better": curve.higher_is_better,
        "seen": there.seen,
        "level": there.level,
        "at": there.at,
        "value": three(there.value),
        "gain": three(there.gain),
        "interval": 0.8,
        "worth": found.worth,
        "learned": found.learned,
        "stop": three(found.stop),
        "best_step": found.best,
        "constant_rate": curve.schedule.constant,
        "points": there.points,
    }
