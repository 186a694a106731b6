"""A/A runs: the same program against itself with other seeds, judged as a treatment is. Nothing may be *proven*.

    python benchmarks/aa_runs.py [--runs 12] [--only NAME ...] [--keep FILE] [--fork] [--write]

Every program, healthy twins of ``tests/first_sight`` and ``tests/scripts`` and recipes (``recipe:NAME``), is run so
many times, each time with another seed, and what its figure gave is kept in a file; runs that are there are not made
again. From these runs trials are put together: half of them stand for the program as it is, half for it with a change
that does nothing, and the trials engine judges them as it judges runs of a treatment.

*Disjoint* trials of three pairs use every run once: they are independent. *Drawn* trials are put together at random
from all runs of a program, with seeds added to twelve and every early look: they are many, and not independent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from verdicts import forked

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "aa_runs.md"
PROGRAMS = (
    "tests/scripts/cls_softmax",
    "tests/scripts/landmarks",
    "tests/scripts/regress_age",
    "tests/scripts/multitask",
    "tests/scripts/clip_sgd",
    "tests/first_sight/09_derm_focal",
    "tests/first_sight/21_organ_ids",
    "tests/first_sight/30_mil_slides",
    "tests/first_sight/32_contrastive",
    "tests/first_sight/38_ecg_files",
)
PAIRS, MOST, DRAWN = 3, 12, 500


class Given:
    """A backend whose runs were made before.

    Args:
        plain: Figures of the program as it is, one a seed.
        changed: Figures of the other runs.
        higher: The direction.
    """

    workers = 1
    shares_training = False
    idle = False
    slack = 1.2
    baselines = ()
    steps = 1

    def __init__(self, plain: Sequence[float], changed: Sequence[float], higher: bool) -> None:
        self.plain, self.changed, self.higher = plain, changed, higher
        self.moved: dict[str, str] = {}
        self.notes: list[str] = []

    def metric(self) -> Any:
        """The figure."""
        from traindx.case import Metric

        return "figure", Metric(function=lambda prediction, target: 0.0, higher_is_better=self.higher)

    def known(self) -> Iterator[Any]:
        """Nothing."""
        return iter(())

    def control(self, seed: int, arms: Any) -> None:
        """None."""

    def screened(self, seed: int, deadline: Any) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def shorten(self, seconds: float, least: float) -> float:
        """They are as long as they are."""
        return 0.0

    def job(self, job: Any) -> Any:
        """As it is."""
        return job

    def keep(self, result: Any, asked: Any) -> None:
        """They are kept elsewhere."""

    def refused(self, why: str) -> str:
        """As it is."""
        return why

    def one_seed(self, first: int, second: int) -> str:
        """Two seeds are two."""
        return ""

    def run(self, jobs: Any, report: Any, may_start: Any) -> Iterator[Any]:
        """The figures of the jobs."""
        from traindx.trials.jobs import ArmScore, JobResult

        for job in jobs:
            arm = job.arms[0]
            value = (self.changed if arm else self.plain)[job.seed]
            told = f"{job.seed}{arm}"
            scored = ArmScore(arm=arm, values={"figure": value}, predictions=told)
            yield job, JobResult(seed=job.seed, steps=1, training=arm, arms=(scored,), weights=told, seconds=0.01)


def judged(plain: Sequence[float], changed: Sequence[float], higher: bool) -> str:
    """The verdict of one trial."""
    from traindx.finding import Finding, Proposal, Severity
    from traindx.trials.engine import Trial
    from traindx.trials.shortlist import Shortlist
    from traindx.trials.treatment import Treatment

    finding = Finding(
        code="O401", name="nothing", message="", severity=Severity.MAJOR, proposals=(Proposal(treatment="nothing"),)
    )
    shortlist = Shortlist.of([finding], lambda proposal, _: Treatment("nothing", "nothing", frozenset({"training"})))
    backend = Given(plain, changed, higher)
    trial = Trial(shortlist, backend, budget=1e6, seeds=range(PAIRS), most_seeds=len(plain))
    return trial.run().results[0].verdict.value


def script_runs(path: Path, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Run a healthy twin once a seed."""
    from traindx.trials.script.pairing import run_arm
    from traindx.trials.script.scoring_metric import choose, value_of
    from traindx.watch.runtime.settings import Settings

    home = Path.cwd()
    chosen = None
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        shutil.copytree(path, work)
        scripts = sorted(work.glob("train*.py")) or sorted(work.glob("*.py"))
        os.chdir(work)
        try:
            for seed in seeds:
                begun = time.monotonic()
                result = run_arm(
                    Settings(target=scripts[0].name), directory=Path(folder) / str(seed), pair=seed, iterations=300
                )
                if result.broke:
                    raise RuntimeError(f"{path}: {result.broke}")
                chosen = chosen or choose(result).chosen
                if chosen is None:
                    raise RuntimeError(f"{path} reports no figure: {choose(result).why_not}")
                yield {
                    "seed": seed,
                    "metric": chosen.name,
                    "higher": chosen.higher_is_better,
                    "value": value_of(result, chosen),
                    "seconds": round(time.monotonic() - begun, 2),
                }
        finally:
            os.chdir(home)


def recipe_runs(name: str, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Train and score a recipe once a seed."""
    from traindx.cli.target import load_case
    from traindx.trials.clock import Deadline
    from traindx.trials.scoring import score
    from traindx.trials.scoring_metric import ScoringMetric
    from traindx.trials.training import train

    case = load_case(name, [])
    figure, metric = case.metric()
    scoring = ScoringMetric.of(case, [])
    for seed in seeds:
        begun = time.monotonic()
        trained = train(case, seed, None, deadline=Deadline.after(600))
        value = score(case, trained.model, seed, scoring, Deadline.after(600)).values[figure]
        yield {
            "seed": seed,
            "metric": figure,
            "higher": metric.higher_is_better,
            "value": value,
            "seconds": round(time.monotonic() - begun, 2),
        }


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """What came of it, as Markdown."""
    head = [
        "program",
        "figure",
        "runs",
        "mean",
        "standard deviation",
        "disjoint trials",
        "proven",
        "drawn trials",
        "proven",
    ]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    total: Counter[str] = Counter()
    for name, made in runs.items():
        values = [one["value"] for one in sorted(made, key=lambda one: one["seed"])]
        higher = bool(made[0]["higher"])
        disjoint = [
            judged(values[at : at + PAIRS], values[at + PAIRS : at + 2 * PAIRS], higher)
            for at in range(0, len(values) - 2 * PAIRS + 1, 2 * PAIRS)
        ]
        drawn = []
        if len(values) >= 2 * PAIRS:
            chance = random.Random(0)
            for _ in range(DRAWN):
                mixed = chance.sample(values, len(values))
                half = min(MOST, len(mixed) // 2)
                drawn.append(judged(mixed[:half], mixed[half : 2 * half], higher))
        for kind, verdicts in (("disjoint", disjoint), ("drawn", drawn)):
            total[kind] += len(verdicts)
            total[f"{kind} proven"] += verdicts.count("proven")
            total[f"{kind} harmful"] += verdicts.count("harmful")
        mean = sum(values) / len(values)
        spread = (sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)) ** 0.5
        cells = [name, made[0]["metric"], len(values), f"{mean:.4g}", f"{spread:.2g}", len(disjoint)]
        cells += [disjoint.count("proven"), len(drawn), drawn.count("proven")]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    said = [
        f"{total[kind]} {kind} trials: {total[f'{kind} proven']} proven, {total[f'{kind} harmful']} harmful"
        for kind in ("disjoint", "drawn")
    ]
    return "\n".join([f"{sum(map(len, runs.values()))} runs of {len(runs)} programs; {'; '.join(said)}.", "", *rows])


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--only", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--keep", type=Path, default=Path("aa_runs.jsonl"))
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    keep = given.keep.resolve()
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in keep.read_text(encoding="utf-8").splitlines() if keep.exists() else ():
        record = json.loads(line)
        runs.setdefault(record.pop("program"), []).append(record)
    close = forked() if given.fork else None
    try:
        for name in given.only:
            have = {one["seed"] for one in runs.get(name, ())}
            seeds = [seed for seed in range(given.runs) if seed not in have]
            make = (
                recipe_runs(name, seeds) if name.startswith("recipe:") else script_runs(ROOT / name / "healthy", seeds)
            )
            try:
                for record in make:
                    runs.setdefault(name, []).append(record)
                    with keep.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"program": name, **record}) + "\n")
            except RuntimeError as error:
                print(error, file=sys.stderr, flush=True)
            print(f"{name}: {len(runs.get(name, ()))} runs", file=sys.stderr, flush=True)
    finally:
        if close is not None:
            close()
    text = table(runs)
    print(text)
    if given.write:
        RESULTS.write_text(
            f"# A/A runs\n\nWritten by `python benchmarks/aa_runs.py --write`.\n\n{text}\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
