"""What removing each fault of a recipe is worth, judged as a claimed fix: paired trainings on the same seeds.

    python benchmarks/claimed_fixes.py segmentation --fault variance-term --fault variance-term-dominates --budget 4m

*Before* is the case with the fault, *after* the healthy one. What a post-mortem blamed without reason must come out as
a placebo here, at its real size; removing a real fault must come out as helping or curing.
``--write`` keeps the table in
``benchmarks/results/claimed-fixes-<recipe>.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from traindx.cli.target import load_case
from traindx.faults import registry
from traindx.trials.claims import Comparison
from traindx.trials.compare import compare

RESULTS = Path(__file__).parent / "results"


def row(name: str, documented: str, judged: Comparison) -> str:
    """One line of the table."""
    effect, before, after = judged.effect, judged.before, judged.after
    worth = f"{effect.mean:+.3g} [{effect.low:.3g}, {effect.high:.3g}]" if effect is not None else "-"
    values = [", ".join(f"{value:.3f}" for value in each) or "-" for each in (before, after)]
    cells = (name, documented, judged.metric, *values, worth, judged.verdict.value, f"{judged.seconds:.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--fault", action="append", help="only these; repeatable")
    parser.add_argument("--budget", default="4m", help="time for a fault")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    target = f"recipe:{given.recipe}"
    lines = [
        "| fault removed | documented diagnosis | metric | with the fault, by seed | without | worth of removing it | "
        "verdict | s |",
        "|" + "---|" * 8,
    ]
    for fault in registry().values():
        if fault.recipe != given.recipe or (given.fault and fault.name not in given.fault):
            continue
        judged = compare(load_case(target, [fault.name]), load_case(target), budget=given.budget, seeds=given.seeds)
        lines.append(row(fault.name, fault.documented_diagnosis, judged))
        print(lines[-1], judged.sentence, *judged.notes, sep="\n  ", flush=True)
    table = "\n".join(lines)
    print(table)
    if given.write:
        chosen = "".join(f" --fault {name}" for name in given.fault or ())
        command = f"python benchmarks/claimed_fixes.py {given.recipe}{chosen} --budget {given.budget} --write"
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"claimed-fixes-{given.recipe}.md").write_text(f"`{command}`\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
