"""Survival: the partial likelihood of Cox, and the estimate of Kaplan and Meier."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, parts_of, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.predictions import mean_of

TIMES = {"time", "times", "duration", "durations", "survival", "days", "months", "t", "survtime", "ytime"}
EVENTS = {"event", "events", "status", "censor", "censoring", "e", "observed", "delta", "dead", "death", "censored"}
ROWS = 10


def _roles(trial: Trial) -> tuple[str, str]:
    """Times and events by name."""
    times = [name for name in trial.arrays if TIMES & set(words(name))]
    events = [name for name in trial.arrays if EVENTS & set(words(name)) and name not in times]
    trial.require(len(times) == 1 and len(events) == 1)
    return times[0], events[0]


@entry(
    "cox-partial-likelihood",
    "loss",
    "negative partial log likelihood of Cox",
    "compares each patient who dies with all who live as long or longer, in whatever order they come",
    names={
        "cox",
        "coxph",
        "coxloss",
        "partiallikelihood",
        "partiallog",
        "partialll",
        "coxnll",
        "negativepartial",
        "deepsurv",
    },
    unless={"concordance", "cindex", "net", "model", "discrete", "stratified", "time", "ranking"},
    remedy="Sort by time, longest first; -(risk - logcumsumexp(risk))[event == 1].mean().",
    source="Cox, Regression Models and Life-Tables, 1972, eq. 12; Katzman et al., DeepSurv, 2018, eq. 4",
)
def cox(trial: Trial) -> None:
    """Times without ties; the value up to a constant factor. A script that sorts its rows first may go on doing so."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 3)
    times, events = _roles(trial)
    (risk,) = (name for name in trial.arrays if name not in (times, events))
    shape, t = trial.arrays[risk].shape, trial.arrays[times]
    count = len(t.reshape(-1))
    trial.require(trial.arrays[risk].numel() == count >= 2 and trial.arrays[events].numel() == count)
    flat = t.reshape(-1).double()
    steps = flat[1:] - flat[:-1]
    falling, rising = bool((steps <= 0).all()), bool((steps >= 0).all())
    censored = bool({"censor", "censoring", "censored"} & set(words(events)))
    rows = max(ROWS, 2)
    made = torch.arange(rows, 0, -1).double()
    if rising and not falling:
        made = made.flip(0)
    elif not falling:
        made = made[torch.randperm(rows, generator=trial.generator())]
    happened = (torch.arange(rows) % 3 != 1).double()[torch.randperm(rows, generator=trial.generator(3))]

    def sized(values: Any, name: str) -> Any:
        return values.reshape((rows, *trial.arrays[name].shape[1:]))

    def value(h: Any, order: Any) -> float:
        return mean_of(
            trial,
            **{
                risk: h[order].reshape((rows, *shape[1:])),
                times: sized(made[order], times),
                events: sized(happened[order], events),
            },
        )

    def meant(h: Any, dead: Any) -> float:
        terms = [h[i] - h[made >= made[i]].logsumexp(0) for i in range(rows) if dead[i] > 0]
        return -float(sum(terms))

    first, second = (torch.randn(rows, generator=trial.generator(seed)).double() for seed in (1, 2))
    plain = torch.arange(rows)
    got = value(first, plain)
    if not falling and not rising:
        other = value(first, torch.randperm(rows, generator=trial.generator(5)))
        trial.expect(
            abs(other - got) <= 1e-3 * max(abs(got), abs(other)),
            "the same patients in another order",
            f"{other:.4g} came out instead of {got:.4g}",
        )
    ratio = value(second, plain) / got if got else 0.0
    choices = [meant(second, dead) / meant(first, dead) for dead in (happened, 1 - happened)[: 2 if censored else 1]]
    trial.expect(
        any(abs(ratio - choice) < 0.01 * max(abs(choice), 1.0) for choice in choices),
        f"{rows} patients with two sets of risks",
        f"the loss of one is {ratio:.3f} of the other, by definition {choices[0]:.3f}",
    )


@entry(
    "kaplan-meier-of-known-times",
    "figure",
    "Kaplan-Meier estimate",
    "falls by the share of those at risk who die at each time, and not at a censoring",
    names={"kaplan", "kaplanmeier", "km", "kmcurve", "kmestimator", "kmestimate"},
    unless={"plot", "means", "kmeans", "draw", "logrank", "ipcw", "weights", "censoring", "net"},
    remedy="cumprod(1 - deaths / at_risk) over the times in order; those at risk at t have a time of t or more.",
    source="Kaplan and Meier, Nonparametric Estimation from Incomplete Observations, 1958, eq. 2b",
)
def kaplan_meier(trial: Trial) -> None:
    """Eight patients at times 1 to 8, of which the third and the sixth are censored."""
    torch = trial.torch
    times, events = _roles(trial)
    trial.require(len(trial.arrays) == 2 and "censor" not in events)
    happened = torch.tensor([1.0, 1, 0, 1, 1, 0, 1, 1])
    result = trial.again(**{times: torch.arange(1, 9).double(), events: happened})
    known = [as_tensor(torch, part) for _, part in parts_of(result)]
    known += [torch.tensor(part).double() for part in (result if isinstance(result, tuple) else ()) if _numbers(part)]
    curves = [
        one.double()
        for one in known
        if one is not None and one.dim() == 1 and len(one) >= 6 and float(one.min()) >= 0 and float(one.max()) <= 1
        and bool((one.double().diff() <= 1e-9).all())
    ]  # fmt: skip
    trial.require(len(curves) == 1)
    expected = [7 / 8, 6 / 8, 6 / 8 * 4 / 5, 6 / 8 * 3 / 5, 6 / 8 * 3 / 5 * 1 / 2, 0.0]
    levels = sorted({round(float(one), 5) for one in curves[0]} - {1.0}, reverse=True)
    trial.expect(
        len(levels) == len(expected) and all(abs(a - b) < 1e-3 for a, b in zip(levels, expected, strict=True)),
        "eight patients of whom the third and the sixth are censored",
        f"the levels are {', '.join(f'{one:.3f}' for one in levels)}, by definition "
        f"{', '.join(f'{one:.3f}' for one in expected)}",
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 5 and all(isinstance(one, int | float) for one in value)
