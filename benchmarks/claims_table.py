"""The claims of five post-mortems about our recipes: what was promised beside what paired runs measure.

    python benchmarks/claims_table.py [--budget 5m] [--steps N] [--only RECIPE[:NAME] ...] [--keep FILE] [--write]

One claim after the other, each with the budget; ``--keep`` names a file to which every judged claim is appended, and
those that are in it are not judged again. A claim that nobody has judged yet stands in the table as that. ``--steps``
makes trainings shorter than the recipe's own; what is then measured is the worth after so many steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = ROOT / "examples" / "claims"
RESULTS = ROOT / "benchmarks" / "results" / "claims.md"


def table(kept: dict[str, dict[str, Any]]) -> str:
    """All claims, as Markdown."""
    from traindx.trials.claim_files import load

    head = "recipe | claim | promised | measured | figure | verdict | steps | s of budget | s | why it is open"
    rows = [f"| {head} |", f"|{'---|' * 10}"]
    count = settled = 0
    for path in sorted(CLAIMS.glob("*.yaml")):
        for claim in load(path).claims:
            found = kept.get(f"{path.stem}:{claim.what}")
            count += found is not None
            cells = ["not judged yet", *[""] * 6]
            if found:
                is_open = found["verdict"] == "inconclusive"
                settled += not is_open
                cells = [str(found[key]) for key in ("measured", "metric", "verdict", "steps", "budget", "seconds")]
                cells.append(found.get("why", "").replace("|", "/")[:200] if is_open else "")
            rows.append(f"| {path.stem} | {claim.claim} | {claim.promised} | {' | '.join(cells)} |")
    return "\n".join([f"{count} of {len(rows) - 2} claims tried, {settled} of them settled.", "", *rows])


def main() -> int:
    """Run and print."""
    from traindx.cli.claims import judged
    from traindx.durations import seconds
    from traindx.trials.claim_files import load

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--keep", type=Path, default=Path("claims.jsonl"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    lines = given.keep.read_text(encoding="utf-8").splitlines() if given.keep.exists() else []
    kept: dict[str, dict[str, Any]] = {one["claim"]: one for one in map(json.loads, lines)}
    for path in sorted(CLAIMS.glob("*.yaml")):
        for claim in load(path).claims:
            name = f"{path.stem}:{claim.what}"
            if name in kept or (given.only and not {name, path.stem} & set(given.only)):
                continue
            begun = time.monotonic()
            found = judged(f"recipe:{path.stem}", claim, seconds(given.budget), (), given.steps)
            kept[name] = {
                "claim": name,
                "measured": found.measured,
                "metric": found.metric,
                "verdict": found.verdict,
                "why": found.why,
                "steps": given.steps or "all",
                "budget": round(seconds(given.budget)),
                "seconds": round(time.monotonic() - begun),
            }
            with given.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept[name]) + "\n")
            print(f"{name}: {found.verdict}, {found.measured} ({kept[name]['seconds']} s)", file=sys.stderr, flush=True)
    text = table(kept)
    print(text)
    if given.write:
        command = f"python benchmarks/claims_table.py --budget {given.budget} --write"
        head = f"# Claims of five post-mortems\n\nWritten by `{command}`; the budget is that of one claim."
        RESULTS.write_text(f"{head}\n\n{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
