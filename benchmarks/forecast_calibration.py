"""Does the forecast of a learning curve hold on longer runs? Real trainings of the X-ray to CT regression.

Short runs of the first stage of ``xray2ct_regression`` on volumes of the packaged CT, several seeds each: at a constant
rate, with a cosine that ends where the plan ends, and with the same cosine over twice as many steps; besides, a run
whose learning rate is 0 (stuck) and one that only trains its last layer (it converges). Each curve is forecast from its
first third and half to later steps, and the 80 % intervals are compared with what was reached.

    python benchmarks/forecast_calibration.py train --out runs/forecast     # about 5 minutes of one core
    python benchmarks/forecast_calibration.py report --out runs/forecast    # writes results/forecast-calibration.md

``report`` also takes Lightning CSV logs of other trainings: ``--log PATH:METRIC:STEPS``, with the length of the cosine
that they were trained under, or 0 for a constant rate.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from traindx.errors import InputError
from traindx.prognosis import Interval, LearningCurve, Schedule, forecast, prognosis
from traindx.prognosis.baselines import last_value, plain_power_law
from traindx.prognosis.curve import tail_of
from traindx.prognosis.reading import read_curve

RESULTS = Path(__file__).parent / "results"
SIZE = 16
EVERY = 5
PEAK = 2e-3
PLANNED, LONGER, STRETCHED = 100, 300, 200
SEEDS = (0, 1, 2, 3)
DEVELOPED_ON = (0, 1)  # the constants of the method were set with these in sight; the others test it


@dataclass
class Log:
    """One training: figures by step, and the learning rate of every step as a share of its peak."""

    name: str
    kind: str
    seed: int
    steps: list[int] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    seconds: float = 0.0


def plans(seeds: Sequence[int] = SEEDS) -> Iterator[tuple[str, int, int]]:
    """Kind, steps and seed of every training, the most telling ones first, so that a cut run can be reported too."""
    for seed in seeds:
        yield "constant", LONGER, seed
        yield "cosine", PLANNED, seed
        yield "cosine", STRETCHED, seed
        if seed == 0:
            yield "rate 0", 50, seed
            yield "last layer only", 150, seed


def rate(kind: str, step: int, steps: int) -> float:
    """Share of the peak rate: a warm-up of a fifteenth of the plan, then constant or a cosine to 2 %."""
    if kind == "rate 0":
        return 0.0
    warm = max(1, (steps if kind == "cosine" else PLANNED) // 15)
    if step < warm:
        return (step + 1) / warm
    if kind != "cosine":
        return 1.0
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(kind: str, steps: int, seed: int) -> Log:
    """One training, validated every few steps."""
    import torch

    from traindx.recipes.xray2ct.cascade.cascade import Cascade
    from traindx.recipes.xray2ct.cascade.system import CascadeSystem, plan_of
    from traindx.recipes.xray2ct.data import DataOptions, prepare
    from traindx.recipes.xray2ct.geometry import VIEWS
    from traindx.recipes.xray2ct.metrics import psnr_hu

    torch.set_num_threads(1)
    data = prepare(DataOptions(source="embedded", size=SIZE, train=24, val=8, seed=seed, batch_size=4))
    system = CascadeSystem(data, plan_of(data, "regression", (SIZE,), VIEWS), steps=steps, seed=seed)
    torch.manual_seed(seed)
    cascade = Cascade([system.stage(0)])
    learnt = list(cascade.parameters())
    if kind == "last layer only":
        for parameter in learnt[:-2]:
            parameter.requires_grad_(False)
        learnt = learnt[-2:]
    optimizer = torch.optim.AdamW(learnt, PEAK, betas=(0.9, 0.99), weight_decay=0.01)

    def validated() -> float:
        cascade.eval()
        with torch.no_grad():
            found = [
                float(
                    psnr_hu(
                        system.window.decode(system.predict(system, cascade, batch)), system.window.decode(batch["ct"])
                    )
                )
                for batch in data.val_batches()
            ]
        cascade.train()
        return sum(found) / len(found)

    log = Log(f"{kind} {steps} seed {seed}", kind, seed)
    begun, batches = time.process_time(), endless(data)
    for step in range(steps):
        share = rate(kind, step, steps)
        for group in optimizer.param_groups:
            group["lr"] = PEAK * share
        optimizer.zero_grad()
        loss = torch.stack(list(system.terms(system, cascade, next(batches)).values())).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        log.rates.append(share)
        log.losses.append(float(loss.detach()))
        if (step + 1) % EVERY == 0:
            log.steps.append(step + 1)
            log.psnr.append(validated())
    log.seconds = time.process_time() - begun
    return log


def endless(data: Any) -> Iterator[Any]:
    """Training batches, pass after pass."""
    while True:
        yield from data.train_batches()


def train_all(out: Path, seeds: Sequence[int]) -> None:
    """Train what is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for kind, steps, seed in plans(seeds):
        path = out / f"{kind.replace(' ', '-')}-{steps}-seed{seed}.json"
        if path.exists():
            continue
        log = train(kind, steps, seed)
        path.write_text(json.dumps(asdict(log)), encoding="utf-8")
        print(
            f"{log.name}: {log.psnr[0]:.2f} -> {log.psnr[-1]:.2f} dB, {log.seconds:.0f} s of processor time", flush=True
        )


def logs(out: Path) -> Iterable[Log]:
    """The trainings that are there."""
    return [Log(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(out.glob("*.json"))]


@dataclass
class Question:
    """What is known, and what is asked."""

    what: str
    run: str
    figure: str
    known: LearningCurve
    at: float
    truth: float
    final: bool


@dataclass
class Tally:
    """How often intervals held, and how wide they were beside the error of the last value."""

    asked: int = 0
    held: int = 0
    widths: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def enter(self, interval: Interval, truth: float, change: float) -> None:
        """One interval; widths and errors are in units of what the figure changed by until then."""
        self.asked += 1
        self.held += truth in interval
        self.widths.append(interval.width / change)
        self.errors.append(abs(interval.middle - truth) / change)

    def row(self) -> list[str]:
        """Cells of a table."""
        share = self.held / self.asked
        low, high = wilson(self.held, self.asked)
        return [
            f"{self.held} of {self.asked} ({100 * share:.0f} %, {100 * low:.0f} to {100 * high:.0f})",
            f"{median(self.widths):.2f}",
            f"{median(self.errors):.2f}",
        ]


def wilson(held: int, asked: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share = held / asked
    middle = (share + z**2 / (2 * asked)) / (1 + z**2 / asked)
    half = z / (1 + z**2 / asked) * math.sqrt(share * (1 - share) / asked + z**2 / (4 * asked**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def curves_of(log: Log) -> Iterator[LearningCurve]:
    """PSNR and training loss of a training, with its schedule."""
    schedule = Schedule.recorded(log.rates)
    yield LearningCurve(tuple(log.steps), tuple(log.psnr), True, "PSNR", "dB", schedule)
    yield LearningCurve(tuple(range(1, len(log.losses) + 1)), tuple(log.losses), False, "loss", "", schedule)


def smoothed_at(curve: LearningCurve, at: float) -> float:
    """What was reached at a step: the validation there, or the median of the last losses."""
    values = [value for step, value in zip(curve.steps, curve.values, strict=True) if step <= at]
    return values[-1] if curve.higher_is_better else median(values[-8:])


def questions(logs: Sequence[Log]) -> Iterator[Question]:
    """From the first third and half of every run to later steps, and from a finished cosine to one twice as long."""
    learning = [log for log in logs if log.kind in ("constant", "cosine")]
    for log in learning:
        for curve in curves_of(log):
            end = curve.last
            for share in (1 / 3, 1 / 2):
                for later in (2 / 3, 5 / 6, 1.0):
                    what = f"{log.kind} rate, same run"
                    truth = smoothed_at(curve, later * end)
                    known = curve.until(share * end)
                    yield Question(what, log.name, curve.name, known, later * end, truth, later == 1.0)
    for log in learning:
        twice = [
            one
            for one in learning
            if one.kind == log.kind == "cosine" and one.seed == log.seed and len(one.losses) == 2 * len(log.losses)
        ]
        for one in twice:
            for curve, longer in zip(curves_of(log), curves_of(one), strict=True):
                truth = smoothed_at(longer, longer.last)
                yield Question(
                    "cosine run to a new one twice as long", log.name, curve.name, curve, longer.last, truth, True
                )


def answered(asked: Iterable[Question]) -> dict[tuple[str, str, bool], dict[str, Tally]]:
    """Forecasts of all questions, beside those of both baselines, by what was asked."""
    found: dict[tuple[str, str, bool], dict[str, Tally]] = {}
    for one in asked:
        try:
            forecasts = {
                "forecast": forecast(one.known, one.at).value,
                "last value": last_value(one.known),
                "plain power law": plain_power_law(one.known, one.at),
            }
        except InputError:
            continue
        values = tail_of(one.known)
        shown = values.back(values.values)
        change = max(1e-9, float(shown.max() - shown.min()))
        for final in {False, one.final}:  # the ends of runs are counted by themselves too
            table = found.setdefault((one.what, one.figure, final), {name: Tally() for name in forecasts})
            for name, interval in forecasts.items():
                table[name].enter(interval, one.truth, change)
    return found


def verdict_rows(logs: Sequence[Log]) -> Iterator[list[str]]:
    """What is said of every whole run."""
    for log in logs:
        curve = next(iter(curves_of(log)))
        try:
            said = prognosis(curve)
        except InputError as error:
            yield [log.name, "-", error.found, ""]
            continue
        gain = said.forecast.gain
        cells = f"{gain.middle:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"
        yield [log.name, f"{curve.values[-1]:.2f}", said.state.value, cells]


def external(text: str) -> Log:
    """A Lightning log as a training of its own."""
    path, metric, steps = text.rsplit(":", 2)
    curve = read_curve(Path(path), metric, higher=metric != "loss")
    rates = Schedule.cosine(int(steps), warm_up=int(steps) // 15, last=0.02).rates if int(steps) else ()
    name = f"log {Path(path).parent.parent.parent.name}/{metric}"
    return Log(name, "other", 0, [int(step) for step in curve.steps], list(curve.values), [], list(rates))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _explained(count: int, seconds: float) -> str:
    return (
        f"{count} trainings of the first stage of `xray2ct_regression` ({SIZE} voxels a side, 24 volumes made from the "
        f"packaged CT, 8 for validation), {seconds:.0f} s of processor time in all. The constants of the method were "
        f"set on other logs and with seeds {', '.join(map(str, DEVELOPED_ON))} in sight; the other seeds test it. "
        "Coverage is how often the 80 % interval held what was reached, with the 95 % interval of that share as if "
        "forecasts were independent; those of one run are not, so that the true uncertainty is larger. Width and "
        "error are medians, in units of what the figure had changed by in the part that was fitted. All trainings "
        "are short, and most are in their first, steepest phase: a figure that improves faster and faster there is "
        "forecast too low."
    )


def report(logs: Sequence[Log]) -> str:
    """The results as Markdown."""
    runs = [log for log in logs if log.kind != "other"]
    parts = {
        "Unseen runs": [log for log in runs if log.seed not in DEVELOPED_ON],
        "Runs that the method was developed on": [log for log in runs if log.seed in DEVELOPED_ON],
    }
    blocks = [
        "# Does the forecast of a learning curve hold?",
        "Written by `python benchmarks/forecast_calibration.py report`; the trainings are made by "
        "`python benchmarks/forecast_calibration.py train`.",
        _explained(len(runs), sum(log.seconds for log in runs)),
    ]
    for title, some in parts.items():
        found = answered(questions(some))
        rows = [
            [what, figure, "the end" if final else "all later steps", name, *tally.row()]
            for (what, figure, final), tallies in sorted(found.items())
            for name, tally in tallies.items()
        ]
        blocks += [
            f"## {title}",
            table(("all questions together", "held", "width", "error"), together(found)),
            table(("question", "figure", "asked at", "method", "held", "width", "error"), rows),
        ]
    blocks += [
        "## What is said of whole runs",
        "Gain in dB (or the figure's unit) by twice the steps, with the 80 % interval.",
        table(("run", "last", "verdict", "gain"), verdict_rows(logs)),
    ]
    return "\n\n".join(blocks) + "\n"


def together(found: dict[tuple[str, str, bool], dict[str, Tally]]) -> Iterator[list[str]]:
    """All questions, by method."""
    overall: dict[str, Tally] = {}
    for (_, _, final), tallies in found.items():
        for name, tally in () if final else tallies.items():
            one = overall.setdefault(name, Tally())
            one.asked, one.held = one.asked + tally.asked, one.held + tally.held
            one.widths += tally.widths
            one.errors += tally.errors
    for name, tally in overall.items():
        yield [name, *tally.row()]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "report"))
    parser.add_argument("--out", type=Path, default=Path("runs/forecast"), help="where the trainings are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="which to train")
    parser.add_argument("--log", action="append", default=[], metavar="PATH:METRIC:STEPS", help="another log to judge")
    options = parser.parse_args()
    if options.what == "train":
        train_all(options.out, options.seeds)
        return
    text = report([*logs(options.out), *map(external, options.log)])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "forecast-calibration.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
