"""Public layouts in miniature: is `traindx data` silent on correct ones, and does it find the fault put into each?

    python benchmarks/layouts.py                  # the table on the terminal
    python benchmarks/layouts.py --only DRIVE     # with every finding
    python benchmarks/layouts.py --write          # benchmarks/results/layouts.md
    python benchmarks/layouts.py --keep rows.json --most 10 --write    # ten more of them, and the table of all so far

The trees are built by `tests/patients/layouts.py`. A convention passes when the clean tree gives nothing above
*suspected* and at most one *suspected*, and the tree with the fault gives one of the rules that name it and that the
clean tree did not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "layouts.md"
sys.path.insert(0, str(ROOT / "tests"))

from patients.layouts import CONVENTIONS, Convention, is_read  # noqa: E402
from traindx.data import verify  # noqa: E402


@dataclass
class Row:
    """What was said of one convention."""

    convention: Convention
    above: int
    suspected: int
    found: bool
    recognised: str
    clean: tuple[Any, ...]
    faulty: tuple[Any, ...]

    @property
    def silent(self) -> bool:
        """Nothing above suspected, and at most one suspected."""
        return self.above == 0 and self.suspected <= 1


def look(convention: Convention) -> Row:
    """Build both trees, verify both."""
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder, "set")
        convention.build(clean)
        before = verify(clean, workers=0)
        convention.plant(clean)
        after = verify(clean, workers=0)

    def standings(diagnosis: Any) -> Counter[tuple[str, str]]:
        return Counter((finding.code, str(finding.standing)) for finding in diagnosis.findings)

    new = standings(after) - standings(before)
    found = any(code in convention.codes for code, _ in new)
    lines = before.extras.get("layout", {}).get("lines", ())
    above = sum(str(finding.standing) != "suspected" for finding in before.findings)
    recognised = "; ".join(lines)
    return Row(convention, above, len(before.findings) - above, found, recognised, before.findings, after.findings)


def table(rows: list[Row], missing: list[str]) -> str:
    """Markdown."""
    lines = [
        "# Layouts: correct ones pass in silence, the fault in each is found",
        "",
        "Made by `python benchmarks/layouts.py --write`; built by `tests/patients/layouts.py` (made-up pictures in the",
        "published trees). *Clean*: findings above suspected / suspected on the correct tree (asked: 0 / at most 1).",
        "*Found*: one of the rules that name the fault speaks on the faulty tree and did not on the clean one.",
        "",
        f"**Silent on {sum(row.silent for row in rows)} of {len(rows)}, found {sum(row.found for row in rows)} of "
        f"{len(rows)}, both {sum(row.silent and row.found for row in rows)} of {len(rows)}.**",
        *(["", f"Not run: {', '.join(missing)}."] if missing else []),
        "",
        "| convention | family | clean | fault | asked of | found |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        kind = row.convention
        found = "yes" if row.found else "no"
        lines.append(
            f"| {kind.name} | {kind.family} | {row.above} / {row.suspected} | {kind.fault} | {', '.join(kind.codes)} "
            f"| {found} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="conventions whose names contain one of A,B, with every finding")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    parser.add_argument("--keep", type=Path, help="file of rows; those that are in it are not measured again")
    parser.add_argument("--most", type=int, default=len(CONVENTIONS), help="stop after so many")
    arguments = parser.parse_args()
    known = json.loads(arguments.keep.read_text(encoding="utf-8")) if arguments.keep and arguments.keep.exists() else {}
    rows, missing = [], []
    for convention in CONVENTIONS:
        wanted = arguments.only.lower().split(",")
        if not any(word in convention.name.lower() for word in wanted):
            continue
        if not is_read(convention.needs):
            print(f"    {convention.name:22} not run: {convention.needs} is not read here", flush=True)
            missing.append(f"{convention.name} ({convention.needs})")
            continue
        if convention.name in known:
            rows.append(Row(convention, *known[convention.name], (), ()))
            continue
        if arguments.most <= 0:
            missing.append(f"{convention.name} (later)")
            continue
        arguments.most -= 1
        row = look(convention)
        rows.append(row)
        known[convention.name] = (row.above, row.suspected, row.found, row.recognised)
        if arguments.keep:
            arguments.keep.write_text(json.dumps(known), encoding="utf-8")
        mark = "ok " if row.silent and row.found else "   "
        print(
            f"{mark} {convention.name:22} clean {row.above}/{row.suspected}  found {row.found}  {row.recognised}",
            flush=True,
        )
        if arguments.only:
            for title, findings in (("clean", row.clean), ("faulty", row.faulty)):
                for finding in findings:
                    print(f"    {title}: {finding.code} {finding.standing} {finding.severity}: {finding.message}")
    both = sum(row.silent and row.found for row in rows)
    print(f"silent {sum(r.silent for r in rows)}, found {sum(r.found for r in rows)}, both {both} of {len(rows)}")
    if arguments.write:
        RESULT.write_text(table(rows, missing), encoding="utf-8")


if __name__ == "__main__":
    main()
