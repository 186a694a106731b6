"""Learning curves from files: Lightning's ``metrics.csv``, or any table with a column of steps."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from traindx.errors import InputError
from traindx.prognosis.curve import LearningCurve, Schedule

STEPS = ("step", "global_step", "iteration", "iter", "epoch")


def read_curve(
    path: Path, metric: str | None = None, *, higher: bool, schedule: Schedule | None = None
) -> LearningCurve:
    """One figure of a log.

    Args:
        path: A CSV file with a header. Empty cells are left out, as Lightning leaves them where a row is another
            figure's.
        metric: Column; may be left out where there is only one besides the steps.
        higher: Whether higher is better.
        schedule: The learning rate behind it.

    Raises:
        InputError: The file cannot be read, or has no such column.
    """
    rows = _rows(path)
    columns = [name for name in rows[0] if name]
    steps = next((name for name in STEPS if name in columns), columns[0])
    others = [name for name in columns if name != steps and name not in STEPS and not name.lower().startswith("lr")]
    if metric is None and len(others) != 1:
        raise InputError(f"{path} has {len(others)} figures", expected="one, or --metric", do=_known(others))
    name = others[0] if metric is None else metric
    if name not in columns:
        raise InputError(f"{path} has no column {name!r}", expected=_known(others))
    found: dict[float, float] = {}
    offset = 1.0 if steps in STEPS else 0.0  # Lightning and most loops count from 0: step 0 is one step made
    for row in rows:
        at, value = _number(row.get(steps)), _number(row.get(name))
        if math.isfinite(at) and math.isfinite(value):
            found[at + offset] = value
    if not found:
        raise InputError(f"column {name!r} of {path} holds no numbers")
    ordered = sorted(found)
    return LearningCurve(tuple(ordered), tuple(found[at] for at in ordered), higher, name, "", schedule or Schedule())


def logged_schedule(path: Path, steps: int) -> Schedule:
    """The learning rate of a log that has a column such as ``lr-AdamW`` (Lightning writes it); else a constant one."""
    rows = _rows(path)
    columns = [name for name in rows[0] if name]
    rate = next((name for name in columns if name.lower().startswith(("lr", "learning_rate"))), None)
    clock = next((name for name in STEPS if name in columns), columns[0])
    known = {_number(row.get(clock)) + 1: _number(row.get(rate)) for row in rows} if rate is not None else {}
    known = {at: value for at, value in known.items() if math.isfinite(at) and math.isfinite(value)}
    if len(known) < 2:
        return Schedule()
    at = sorted(known)
    return Schedule.recorded([float(one) for one in np.interp(np.arange(1, steps + 1), at, [known[k] for k in at])])


def _rows(path: Path) -> Sequence[Mapping[str, str | None]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a CSV file with a header") from error
    if not rows:
        raise InputError(f"{path} holds no rows", expected="a header and a row for every figure")
    return rows


def _known(names: Sequence[str]) -> str:
    return "one of " + ", ".join(names[:12]) if names else "a column of figures"


def _number(text: str | None) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan
