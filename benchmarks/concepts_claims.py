"""The document's two claims about stage 1, judged by trial: its box loss is backwards, its learning rates are too low.

    python benchmarks/concepts_claims.py --budget 4m --write

Each is one fault of the concepts recipe, examined with trials: every treatment that a finding proposes is run against
the untreated case, paired by seed. Writes ``benchmarks/results/concepts-claims.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from traindx.cli.target import load_case
from traindx.diagnosis import Diagnosis
from traindx.examination import examine
from traindx.finding import Effect

RESULTS = Path(__file__).parent / "results" / "concepts-claims.md"
FAULTS = ("box-loss-no-margin", "low-learning-rates")


def shown(effect: Effect | None) -> str:
    return "-" if effect is None else f"{effect.mean:+.3f} [{effect.low:.3f}, {effect.high:.3f}], n={effect.n}"


def report(fault: str, diagnosis: Diagnosis) -> str:
    found = [f"* {one.code} {one.name}, {one.standing.value}: {one.message}" for one in diagnosis.findings]
    fine = [f"* in order: {one.subject}: {one.detail}" for one in diagnosis.healthy if "direction" in one.subject]
    lines = [f"## {fault}", "", *found, *fine]
    trials = diagnosis.trials
    if trials is None:
        return "\n".join([*lines, "", "No trial was run.", ""])
    lines += [
        "",
        f"Metric: {trials.metric}; seeds {', '.join(map(str, trials.seeds))}; {trials.steps} steps; "
        f"{trials.seconds:.0f} s; {'complete' if trials.complete else 'the budget ended first'}.",
        "",
        "| treatment | alone | given the rest | verdict |",
        "|---|---|---|---|",
    ]
    for row in trials.results:
        lines.append(
            f"| {row.title or row.treatment} | {shown(row.alone)} | {shown(row.given_rest)} | {row.verdict.value} |"
        )
    lines += ["", "| arm | " + trials.metric + ", by seed |", "|---|---|"]
    for arm in trials.arms:
        lines.append(f"| {arm.name} | {', '.join(f'{value:.3f}' for value in arm.values)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="4m")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    parts = [
        "# The document's claims about stage 1, by trial",
        "",
        f"`python benchmarks/concepts_claims.py --budget {given.budget} --write`",
        "",
    ]
    for fault in FAULTS:
        case = load_case("recipe:concepts", [fault])
        parts.append(report(fault, examine(case, budget=given.budget, workers=1)))
        print(parts[-1], flush=True)
    if given.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
