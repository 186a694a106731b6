"""Which faults of a recipe are found, by which rule first, what each is worth, and how silent a healthy case is.

    python benchmarks/detection_matrix.py xray2ct                     checks only, seconds a fault
    python benchmarks/detection_matrix.py xray2ct --budget 3m         with trials: every fault is proven or ruled out

Writes ``benchmarks/results/detection-<recipe>[-trials].md``; the figures in documentation come from there.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from traindx.cli.target import load_case
from traindx.diagnosis import Diagnosis
from traindx.durations import seconds as parse
from traindx.examination import examine
from traindx.faults import registry
from traindx.finding import Standing
from traindx.trials import CaseReference

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One examination and whether it said what it should."""

    name: str
    expected: str
    documented: str
    first: str
    others: str
    worth: str
    right: bool
    took: float


def run(target: str, faults: list[str], budget: str, seed: int = 0) -> tuple[Diagnosis, float]:
    reference = CaseReference("traindx.cli.target:load_case", {"target": target, "faults": faults})
    case = reference.build() if seed == 0 else load_case(target, faults)
    begun = time.perf_counter()
    diagnosis = examine(case, budget=budget, reference=reference, seed=seed)
    return diagnosis, time.perf_counter() - begun


def judged(name: str, expected: str, documented: str, diagnosis: Diagnosis, took: float) -> Row:
    above = [item for item in diagnosis.findings if item.standing.rank > Standing.SUSPECTED.rank]
    first = diagnosis.findings[0] if expected and diagnosis.findings else above[0] if above else None
    rest = [f"{item.code} ({item.standing.value})" for item in diagnosis.findings if item is not first]
    right = (first is not None and first.code == expected) if expected else first is None
    worth = ""
    if first is not None and first.worth is not None and first.worth.given_rest is not None:
        effect = first.worth.given_rest
        verdict, unit = first.worth.verdict.value, f" {first.worth.unit}" if first.worth.unit else ""
        spread = f" [{effect.low:.3g}, {effect.high:.3g}]" if effect.low == effect.low else ""
        worth = f"{effect.mean:+.3g}{unit}{spread}, {verdict}" if spread or effect.mean else f"bit-identical, {verdict}"
    return Row(
        name, expected or "silence", documented, first.code if first else "-", ", ".join(rest), worth, right, took
    )


def table(rows: list[Row]) -> str:
    head = "| case | expected | documented diagnosis | first finding | others | worth | right | s |"
    lines = [head, "|" + "---|" * 8]
    for row in rows:
        cells = (row.name, row.expected, row.documented, row.first, row.others, row.worth, "yes" if row.right else "NO")
        lines.append("| " + " | ".join(cells) + f" | {row.took:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--budget", default="0s")
    parser.add_argument("--fault", action="append", help="only these; repeatable")
    parser.add_argument("--healthy-seeds", type=int, default=3)
    given = parser.parse_args()
    target = f"recipe:{given.recipe}"
    rows: list[Row] = []
    for seed in range(given.healthy_seeds if not given.fault else 0):
        diagnosis, took = run(target, [], given.budget, seed)
        rows.append(judged(f"healthy, seed {seed}", "", "", diagnosis, took))
        print(rows[-1], flush=True)
    for fault in registry().values():
        if fault.recipe != given.recipe or (given.fault and fault.name not in given.fault):
            continue
        diagnosis, took = run(target, [fault.name], given.budget)
        rows.append(judged(fault.name, fault.expected_rule, fault.documented_diagnosis, diagnosis, took))
        print(rows[-1], flush=True)
    right = sum(row.right for row in rows)
    text = f"{table(rows)}\n\n{right} of {len(rows)} right.\n"
    print(text)
    if not given.fault:
        RESULTS.mkdir(exist_ok=True)
        suffix = "-trials" if parse(given.budget) > 0 else ""
        command = f"python benchmarks/detection_matrix.py {given.recipe}" + (
            f" --budget {given.budget}" if suffix else ""
        )
        file = RESULTS / f"detection-{given.recipe}{suffix}.md"
        file.write_text(f"`{command}`\n\n{text}", encoding="utf-8")
        print(f"written to {file}")


if __name__ == "__main__":
    main()
