"""Reports that nobody tuned for: what `traindx examine` says of each at first sight, by batch.

    python benchmarks/first_sight.py                        # every batch, both twins
    python benchmarks/first_sight.py --batch 3 --twin faulty
    python benchmarks/first_sight.py --folder ../elsewhere  # NAME/{faulty,healthy}/train.py with NAME/expected.json

`tests/first_sight/NN_name` holds programs written after public reports whose cause was confirmed: own words, own
synthetic data, in the reporter's style; the faulty script and a twin in which the fault is fixed and nothing else.
Batches of ten were frozen before they were run for the first time, and the rate of that first run is the figure that
counts (`benchmarks/results/first_sight.md`). Once rules were changed for them, it only says that nothing was lost.

*at its line* counts a finding whose line is one at which a reader would accept the cause as named; whether its message
names the cause is for a reader to judge, so the messages are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "first_sight"
BATCH = 10  # reports a batch: 01 to 10 are the first


@dataclass
class Seen:
    """What was said of one twin of one report."""

    case: Path
    twin: str
    seconds: float
    diagnosis: dict[str, Any]
    findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rank(self) -> int | None:
        """Place of the first finding at an accepted line, from 0; None where there is none."""
        expected = json.loads((self.case / "expected.json").read_text(encoding="utf-8"))
        for number, finding in enumerate(self.findings):
            place = finding.get("location") or {}
            file = Path(str(place.get("file", ""))).name
            if place.get("line") in expected["lines"] and file == expected.get("file", "train.py"):
                return number
        return None


def examine(case: Path, twin: str, limit: float) -> Seen:
    """Examine a copy of one twin, as a user would."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "project"
        shutil.copytree(case / twin, work, ignore=shutil.ignore_patterns("__pycache__"))
        words = [sys.executable, "-m", "traindx", "examine", "train.py", "--json", "--out", "out"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            run = subprocess.run(
                words, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                timeout=limit, check=False, env=environment,
            )  # fmt: skip
            text = run.stdout.decode(errors="replace")
            diagnosis = json.loads(text[text.index("{") :])
        except (subprocess.TimeoutExpired, ValueError) as error:
            diagnosis = {"findings": [], "outcome": f"no diagnosis ({type(error).__name__})"}
    findings = [one for one in diagnosis["findings"] if one.get("standing") != "refuted"]
    return Seen(case, twin, time.monotonic() - begun, diagnosis, findings)


def report(seen: Seen) -> str:
    """A few lines: the cause, and what was said."""
    expected = json.loads((seen.case / "expected.json").read_text(encoding="utf-8"))
    rank = "" if seen.twin == "healthy" or seen.rank is None else f"  at its line: finding {seen.rank + 1}"
    lines = [f"{seen.case.name} {seen.twin}  {seen.seconds:.0f} s  {seen.diagnosis.get('outcome')}{rank}"]
    if seen.twin == "faulty":
        lines.append(f"    cause: {expected['cause']} {expected['lines']}  ({expected['source']})")
    for one in seen.findings:
        line = (one.get("location") or {}).get("line")
        lines.append(f"    {one['code']} {one['standing']} line {line}: {' '.join(one['message'].split())[:160]}")
    return "\n".join(lines)


def rate(seen: Iterable[Seen], title: str) -> str:
    """One line of figures."""
    seen = list(seen)
    faulty = [one for one in seen if one.twin == "faulty"]
    healthy = [one for one in seen if one.twin == "healthy"]
    first = sum(one.rank == 0 for one in faulty)
    two = sum(one.rank in (0, 1) for one in faulty)
    above = sum(finding["standing"] != "suspected" for one in healthy for finding in one.findings)
    suspected = sum(finding["standing"] == "suspected" for one in healthy for finding in one.findings)
    return (
        f"{title}: of {len(faulty)} faults at their line first {first}, among the first two {two}; "
        f"on {len(healthy)} healthy twins {above} above suspected, {suspected} suspected"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="reports to run (all by default)")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--batch", type=int, action="append", help="batches to run (all by default)")
    parser.add_argument("--twin", choices=("faulty", "healthy"), action="append", help="both by default")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one examination (300)")
    given = parser.parse_args()
    cases = sorted(path.parent for path in given.folder.glob("*/expected.json"))
    cases = [case for case in cases if not given.names or case.name in given.names]
    by_batch: dict[int, list[Path]] = {}
    for case in cases:
        number = (int(case.name.split("_")[0]) - 1) // BATCH + 1
        if not given.batch or number in given.batch:
            by_batch.setdefault(number, []).append(case)
    everything: list[Seen] = []
    for number, members in sorted(by_batch.items()):
        work = [(case, twin, given.limit) for case in members for twin in given.twin or ("faulty", "healthy")]
        found: list[Seen] = []
        with ThreadPoolExecutor(given.jobs) as pool:
            for seen in pool.map(lambda item: examine(*item), work):
                print(report(seen), flush=True)
                found.append(seen)
        print(rate(found, f"batch {number}"), flush=True)
        everything += found
    print(rate(everything, "all"))


if __name__ == "__main__":
    main()
