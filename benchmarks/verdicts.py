"""Verdicts on known faults: what the paired runs of ``--prove`` say of the findings of scripts whose fault is known.

    python benchmarks/verdicts.py [--budget 60s] [--cases DIR] [--only NAME ...] [--twin faulty] [--keep FILE] [--write]
    python benchmarks/verdicts.py --count

Scripts are those of ``tests/scripts``, and with ``--cases`` a folder with ``NAME/{faulty,healthy}/train.py`` and the
lines of the fault in ``NAME/expected.json``. Every script is copied, examined, and its findings tried within the
budget, with ``--fork`` in forks of one process that has torch loaded, as the tests do it. ``--keep`` names a file to
which every script is appended; what is in it is not run again.

A verdict on the planted fault is right if it is *proven* or *contributory*, and open if it is inconclusive. A verdict
on a healthy twin is wrong if it is one of these: it would send somebody after a fault that is not there. ``--count``
prints how many codes have a trial in a script, with and without patches.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "scripts"
RESULTS = ROOT / "benchmarks" / "results" / "verdicts.md"
RIGHT = ("proven", "contributory")


@dataclass(frozen=True)
class Known:
    """A script whose fault is known.

    Attributes:
        name: Of the pair of twins.
        folder: That of one twin.
        script: File that is run.
        lines: Lines of the fault.
        file: File that they are in.
        codes: Codes that name it; () for any at these lines.
    """

    name: str
    folder: Path
    script: str
    lines: tuple[int, ...]
    file: str
    codes: tuple[str, ...] = ()


def known(twin: str, cases: Path | None) -> Iterator[Known]:
    """Every script, in the order of the files."""
    expected: dict[str, dict[str, Any]] = yaml.safe_load((CORPUS / "expected.yaml").read_text(encoding="utf-8"))
    for slug, entry in expected.items():
        yield Known(slug, CORPUS / slug / twin, entry["script"], (entry["line"],), entry["file"], tuple(entry["codes"]))
    for path in sorted(cases.glob("*/expected.json")) if cases is not None else ():
        entry = json.loads(path.read_text(encoding="utf-8"))
        yield Known(path.parent.name, path.parent / twin, "train.py", tuple(entry["lines"]), "train.py")


def tried(one: Known, twin: str, budget: float) -> dict[str, Any]:
    """Examine a script and try what was found."""
    from traindx.cli.script import tried_patch
    from traindx.host.examining import ProofOptions, examine_script

    begun = time.monotonic()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        work = Path(folder) / "work"
        shutil.copytree(one.folder, work)
        os.chdir(work)
        try:
            diagnosis = examine_script(
                one.script,
                out=Path(folder) / "out",
                script_output=nowhere.fileno(),
                proof=ProofOptions(budget=budget, patch_of=tried_patch),
            )
        finally:
            os.chdir(home)
    findings = []
    for found in diagnosis.findings:
        place, worth = found.location, found.worth
        effect = None if worth is None else worth.alone or worth.given_rest
        planted = (
            twin == "faulty"
            and place is not None
            and place.line in one.lines
            and Path(place.file).name == Path(one.file).name
            and (not one.codes or found.code in one.codes)
        )
        findings.append(
            {
                "code": found.code,
                "line": place.line if place is not None else 0,
                "planted": planted,
                "treatments": [proposal.treatment for proposal in found.proposals],
                "verdict": worth.verdict.value if worth is not None else "",
                "effect": [effect.mean, effect.low, effect.high, effect.n] if effect is not None else None,
                "note": worth.note if worth is not None else "",
            }
        )
    table = diagnosis.trials
    return {
        "name": one.name,
        "twin": twin,
        "budget": budget,
        "seconds": round(time.monotonic() - begun, 1),
        "metric": table.metric if table is not None else "",
        "seeds": len(table.seeds) if table is not None else 0,
        "notes": list(table.notes) if table is not None else [],
        "not_examined": [item.reason for item in diagnosis.not_examined if item.subject == "trials"],
        "errors": list(diagnosis.errors),
        "findings": findings,
    }


def table(records: list[dict[str, Any]]) -> str:
    """What came of it, as Markdown."""
    rows = [
        "| script | twin | finding | planted | tried by | verdict | effect | figure | budget | why it is open |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    counts: dict[str, list[int]] = {"planted": [0, 0, 0, 0], "healthy": [0, 0, 0, 0], "other": [0, 0, 0, 0]}
    for record in records:
        for found in record["findings"]:
            if not found["verdict"]:
                continue
            kind = "healthy" if record["twin"] == "healthy" else "planted" if found["planted"] else "other"
            word = found["verdict"]
            counts[kind][0] += 1
            counts[kind][1 if word in RIGHT else 2 if word == "inconclusive" else 3] += 1
            effect = found["effect"]
            said = f"{effect[0]:+.3g} [{effect[1]:+.3g}, {effect[2]:+.3g}], {effect[3]} pairs" if effect else "–"
            why = (
                found["note"].split("; alone", maxsplit=1)[0].replace("|", "/")[:160] if word == "inconclusive" else ""
            )
            rows.append(
                f"| {record['name']} | {record['twin']} | {found['code']}:{found['line']} | "
                f"{'yes' if found['planted'] else ''} | {', '.join(found['treatments'])} | {word} | {said} | "
                f"{record['metric']} | {record['budget']:g} s | {why} |"
            )
    what = {
        "planted": "the planted fault",
        "other": "other findings of faulty twins",
        "healthy": "findings of healthy twins",
    }
    lines = [
        f"- {what[kind]}: {n} tried, {right} proven or contributory, {is_open} open, {rest} no effect or harmful"
        for kind, (n, right, is_open, rest) in counts.items()
    ]
    names = {record["name"] for record in records}
    return "\n".join([f"{len(records)} runs of {len(names)} scripts.", "", *lines, "", *rows])


def count() -> str:
    """How many codes have a trial in a script, without and with patches."""
    from traindx.fix.catalogue import CHANGES, NOT_TRIED
    from traindx.trials.treatments.registry import EVERY

    proposed: set[str] = set()
    for path in (ROOT / "src" / "traindx" / "rules").rglob("*.py"):
        code = re.match(r"[a-z]\d{3,4}(?=_)", path.name)
        if code is None:
            continue
        named = {node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _text(node)}
        if any(EVERY[name].script for name in named & set(EVERY)):
            proposed.add(code[0].upper())
    patched = set(CHANGES) - set(NOT_TRIED)
    new = ", ".join(sorted(patched - proposed))
    return f"{len(proposed)} codes have a treatment in a script; {len(proposed | patched)} with patches (new: {new})"


def _text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def forked() -> Callable[[], None]:
    """Run scripts in forks of a process with torch in it; the result ends that process."""
    sys.path.insert(0, str(ROOT / "tests"))
    from forked import Zygote
    from traindx.host import examining
    from traindx.trials.script import pairing

    made = Zygote()
    pairing.run_script = made.run_script  # type: ignore[assignment]
    examining.run_script = made.run_script  # type: ignore[assignment]
    return made.close


def main() -> int:
    """Run and print."""
    from traindx.durations import seconds

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--twin", nargs="*", default=["faulty"], choices=["faulty", "healthy"])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--count", action="store_true")
    given = parser.parse_args()
    if given.count:
        print(count())
        return 0
    keep = given.keep
    records = [json.loads(line) for line in keep.read_text().splitlines()] if keep and keep.exists() else []
    done = {(record["name"], record["twin"]) for record in records}
    close = forked() if given.fork else None
    try:
        for twin in given.twin:
            for one in known(twin, given.cases.resolve() if given.cases else None):
                if (one.name, twin) in done or (given.only and one.name not in given.only):
                    continue
                record = tried(one, twin, seconds(given.budget))
                records.append(record)
                if keep:
                    with keep.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(record) + "\n")
                said = [f"{found['code']}:{found['line']} {found['verdict'] or '-'}" for found in record["findings"]]
                print(f"{one.name}/{twin}: {', '.join(said) or 'nothing'} ({record['seconds']:.0f} s)", flush=True)
    finally:
        if close is not None:
            close()
    text = table(records)
    print(text)
    if given.write:
        how = f"{' --fork' if given.fork else ''} --budget {given.budget}{' --cases DIR' if given.cases else ''}"
        head = f"# Verdicts on known faults\n\nWritten by `python benchmarks/verdicts.py{how} --write`; {count()}."
        RESULTS.write_text(f"{head}\n\n{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
