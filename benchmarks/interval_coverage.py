"""Do 95 % intervals of paired effects hold the true effect in 95 of 100 cases? By simulation.

    python benchmarks/interval_coverage.py --runs 10000 --write

A pair is two runs on one seed: both share what the seed gives, each has noise of its own, and the treatment adds a
known effect (none, half of the noise, twice the noise). The noise of a figure is normal, skewed, heavy-tailed, or that
of an accuracy over 64 cases. Beside the coverage stands how often nothing (A/A) is called better or worse, looking
after every seed as the trials do; and in a second table the same where seeds are added to three while time is left,
for every number of seeds with which that may end, and how often an effect of twice the noise is found. ``--write``
keeps the tables in ``benchmarks/results/interval-coverage.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from traindx.trials.statistics import Direction, Identity, direction, look_level, p_value, paired_effect

RESULT = Path(__file__).parent / "results" / "interval-coverage.md"
SEEDS = (2, 3, 5)
ASKED, ADDED = 3, (3, 4, 6, 8, 12)
EFFECTS = (0.0, 0.5, 2.0)  # in standard deviations of one run's noise
Noise = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Noise] = {  # noise of unit variance and zero mean
    "normal": lambda draw, n: draw.standard_normal(n),
    "skewed (exponential)": lambda draw, n: draw.standard_exponential(n) - 1,
    "heavy tails (t, 5 degrees)": lambda draw, n: draw.standard_t(5, n) * np.sqrt(3 / 5),
}
CASES = 64  # of the accuracy


def pairs(draw: np.random.Generator, kind: str, effect: float, n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Treated and untreated figures of ``n`` seeds, and the true effect."""
    if kind == "accuracy over 64 cases":
        chance = np.clip(0.6 + 0.05 * draw.standard_normal(n), 0, 1)  # what a seed gives
        gain = 0.1 * effect / 2
        untreated = draw.binomial(CASES, np.clip(chance, 0, 1)) / CASES
        return draw.binomial(CASES, np.clip(chance + gain, 0, 1)) / CASES, untreated, gain
    shared = 3 * draw.standard_normal(n)  # seeds differ by more than the noise within a pair
    noise = KINDS[kind]
    return shared + effect + noise(draw, n), shared + noise(draw, n), effect


def coverage(kind: str, effect: float, n: int, runs: int, seed: int = 0) -> float:
    """Share of simulated intervals that hold the true effect; a comparison without an interval is left out."""
    draw = np.random.default_rng([seed, n, int(10 * effect), len(kind)])
    held = known = 0
    for _ in range(runs):
        treated, untreated, truth = pairs(draw, kind, effect, n)
        found = paired_effect(treated.tolist(), untreated.tolist())
        if found is not None and found.low <= found.high:
            known += 1
            held += found.low <= truth <= found.high
    return held / known


def verdicts(kind: str, n: int, runs: int, seed: int = 0, *, effect: float = 0.0, asked: int = 0) -> float:
    """Share of comparisons that are called better or worse at one of their looks."""
    draw = np.random.default_rng([seed, n, 99 + asked + int(10 * effect), len(kind)])
    said = 0
    for _ in range(runs):
        treated, untreated, _ = pairs(draw, kind, effect, n)
        for look in range(2, n + 1):
            level = look_level(look, n, asked)
            if level <= 0:
                continue
            found = paired_effect(treated[:look].tolist(), untreated[:look].tolist())
            what = direction(found, p_value(found), 0.0, Identity(weights=False, predictions=False), level)
            if what in (Direction.BETTER, Direction.WORSE):
                said += 1
                break
    return said / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    kinds = [*KINDS, "accuracy over 64 cases"]
    lines = [
        "| noise | seeds | coverage A/A | effect .5 sd | effect 2 sd | A/A called better or worse |",
        "|" + "---|" * 6,
    ]
    for kind in kinds:
        for n in SEEDS:
            shares = [coverage(kind, effect, n, given.runs) for effect in EFFECTS]
            cells = [f"{100 * share:.1f} %" for share in (*shares, verdicts(kind, n, given.runs))]
            lines.append("| " + " | ".join([kind, str(n), *cells]) + " |")
            print(lines[-1], flush=True)
    lines += ["", "| noise | seeds in the end | A/A called better or worse | effect 2 sd found |", "|" + "---|" * 4]
    print(*lines[-3:], sep="\n")
    for kind in kinds:
        for n in ADDED:
            wrong = verdicts(kind, n, given.runs, asked=ASKED)
            right = verdicts(kind, n, given.runs, asked=ASKED, effect=2.0)
            lines.append(f"| {kind} | {n} | {100 * wrong:.1f} % | {100 * right:.1f} % |")
            print(lines[-1], flush=True)
    if given.write:
        command = f"python benchmarks/interval_coverage.py --runs {given.runs} --write"
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(f"`{command}`\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
