"""Detection on the corpus of scripts in ``tests/scripts``: every healthy twin and every faulty twin, watched unchanged.

    python benchmarks/scripts_corpus.py [--jobs 2] [--only SLUG ...] [--write]

Prints one row a script and the totals: right code among the first two findings, right line, findings above
``suspected`` and suspicions on healthy twins. ``--write`` keeps the table in ``benchmarks/results/scripts_corpus.md``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from traindx.finding import Finding, Standing

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "scripts"
RESULTS = ROOT / "benchmarks" / "results" / "scripts_corpus.md"


@dataclass
class Result:
    """What an examination said of one twin."""

    slug: str
    twin: str
    outcome: str = ""
    seconds: float = 0.0
    script_seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    errors: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def above(self) -> list[Finding]:
        return [found for found in self.findings if found.standing.rank > Standing.SUSPECTED.rank]

    @property
    def suspected(self) -> list[Finding]:
        return [found for found in self.findings if found.standing is Standing.SUSPECTED]


def expected() -> dict[str, dict[str, Any]]:
    """The side file."""
    content: dict[str, dict[str, Any]] = yaml.safe_load((CORPUS / "expected.yaml").read_text(encoding="utf-8"))
    return content


def missing(entry: dict[str, Any]) -> str:
    """Packages that a script needs and that are not installed."""
    return ", ".join(name for name in entry.get("requires", ()) if find_spec(name) is None)


def examine(slug: str, twin: str, entry: dict[str, Any]) -> Result:
    """Watch one twin."""
    from traindx.host.examining import examine_script

    lacks = missing(entry)
    if lacks:
        return Result(slug, twin, skipped=f"{lacks} not installed")
    script = CORPUS / slug / twin / entry["script"]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as out, Path(os.devnull).open("w") as nowhere:
        diagnosis = examine_script(str(script), out=out, script_output=nowhere.fileno())
    return Result(
        slug,
        twin,
        outcome=diagnosis.outcome.value,
        seconds=time.monotonic() - begun,
        script_seconds=diagnosis.provenance.seconds,
        findings=list(diagnosis.findings),
        errors=diagnosis.errors,
    )


def judged(result: Result, entry: dict[str, Any]) -> tuple[bool, bool]:
    """Right code among the first two; and, at that finding, the right line of the right file."""
    wanted = (CORPUS / result.slug / "faulty" / entry["file"]).resolve()
    for found in result.findings[:2]:
        if found.code in entry["codes"]:
            place = found.location
            exact = place is not None and Path(place.file).resolve() == wanted and place.line == entry["line"]
            return True, exact
    return False, False


def run(slugs: list[str], jobs: int) -> list[Result]:
    """Both twins of these scripts."""
    entries = expected()
    work = [(slug, twin, entries[slug]) for slug in slugs for twin in ("healthy", "faulty")]
    results = []
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(examine, *zip(*work, strict=True)):
            results.append(result)
            found = ", ".join(f"{one.code}:{one.location.line if one.location else '-'}" for one in result.findings)
            said = result.skipped or found or "silent"
            print(f"{result.slug}/{result.twin}: {said} ({result.seconds:.0f} s)", file=sys.stderr, flush=True)
    return results


def table(results: list[Result]) -> tuple[str, dict[str, float]]:
    """The table as Markdown, and the totals."""
    entries = expected()
    rows = ["| script | fault | expected | found | code | line | healthy twin |", "|---|---|---|---|---|---|---|"]
    counts = {"faulty": 0, "code": 0, "line": 0, "healthy": 0, "above": 0, "suspected": 0, "skipped": 0}
    by_slug: dict[str, dict[str, Result]] = {}
    for result in results:
        by_slug.setdefault(result.slug, {})[result.twin] = result
    for slug, twins in by_slug.items():
        entry = entries[slug]
        faulty, healthy = twins["faulty"], twins["healthy"]
        if faulty.skipped:
            counts["skipped"] += 1
            rows.append(f"| {slug} | {entry['fault']} | {entry['codes'][0]} | skipped: {faulty.skipped} | | | |")
            continue
        code, line = judged(faulty, entry)
        counts["faulty"] += 1
        counts["healthy"] += 1
        counts["code"] += code
        counts["line"] += line
        counts["above"] += len(healthy.above)
        counts["suspected"] += len(healthy.suspected)
        found = ", ".join(f"{one.code}:{one.location.line if one.location else '-'}" for one in faulty.findings[:4])
        quiet = ", ".join(f"{one.code} ({one.standing.value})" for one in healthy.findings) or "silent"
        where = "/".join(entry["codes"]) + f":{entry['line']}"
        marks = ["yes" if good else "**no**" for good in (code, line)]
        rows.append(f"| {slug} | {entry['fault']} | {where} | {found} | {marks[0]} | {marks[1]} | {quiet} |")
    return "\n".join(rows), counts


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=None, metavar="SLUG")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    begun = time.monotonic()
    results = run(arguments.only or list(expected()), arguments.jobs)
    text, counts = table(results)
    total = max(1, counts["faulty"])
    seconds = time.monotonic() - begun
    summary = (
        f"right code among the first two: {counts['code']}/{counts['faulty']} "
        f"({100 * counts['code'] / total:.0f} %)  \n"
        f"right line: {counts['line']}/{counts['faulty']} ({100 * counts['line'] / total:.0f} %)  \n"
        f"healthy twins: {counts['above']} findings above suspected, {counts['suspected']} suspicions "
        f"({counts['suspected'] / total:.2f} a script)  \n"
        f"skipped: {counts['skipped']}; wall time {seconds:.0f} s with {arguments.jobs} processes"
    )
    print(text, "", summary, sep="\n")
    for result in results:
        for error in result.errors:
            print(f"{result.slug}/{result.twin}: {error}", file=sys.stderr)
    if arguments.write:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(
            f"# Scripts corpus\n\nWritten by `python benchmarks/scripts_corpus.py --write`.\n\n{text}\n\n{summary}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
