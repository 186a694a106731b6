"""``traindx examine … --claims FILE``: a post-mortem judged by one command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from traindx.errors import UsageError
from traindx.finding import Verdict
from traindx.trials.claim_files import Claim, ClaimList, Tried, load, markdown

if TYPE_CHECKING:
    from traindx.diagnosis import TrialTable

FILE = "claims.md"


def listed_for(path: Path | None, script: str) -> ClaimList | None:
    """The list of claims about what is examined; None where there is no list.

    Args:
        path: The list.
        script: The script that is examined; empty where it is a recipe.

    Raises:
        UsageError: It cannot be read, or is about something else.
    """
    if path is None:
        return None
    listed = load(path)
    if script and listed.recipe:
        raise UsageError(f"{path} is about {listed.recipe}, and not a script", expected=f"recipe:{listed.recipe}")
    if script and listed.script and listed.script != Path(script).name:
        raise UsageError(f"{path} is about {listed.script}, and not {Path(script).name}", expected=listed.script)
    return listed


def of_script(claims: ClaimList, table: TrialTable | None, out: Path) -> bool:
    """Show what the trials of a script say of the claims.

    Args:
        claims: What is claimed.
        table: The trials; None where nothing was tried.
        out: Where the table is written.

    Returns:
        True if every claim was settled.
    """
    rows = {row.treatment: row for row in table.results} if table is not None else {}
    tried = []
    for claim in claims.claims:
        row = rows.get(claim.what)
        if table is None or row is None:
            tried.append(Tried(claim, Verdict.INCONCLUSIVE.value, "", "", None, "not tried"))
            continue
        effect = row.alone or row.given_rest
        tried.append(Tried(claim, row.verdict.value, table.metric, table.unit, effect, row.note))
    show(claims.source, tried, out)
    return not any(one.verdict == Verdict.INCONCLUSIVE.value for one in tried)


def of_recipe(target: str, claims: ClaimList, budget: float, seeds: Sequence[int], out: Path) -> int:
    """Judge the claims about a recipe, each as a fix that is compared, and print the table.

    Args:
        target: ``recipe:NAME``.
        claims: What is claimed.
        budget: Seconds for all of them.
        seeds: Numbers of the pairs.
        out: Where the table is written.

    Returns:
        The exit code: 0 if every claim was settled, 3 if one was not.

    Raises:
        UsageError: The claims are about something else, or name a fault that the recipe does not have.
    """
    from traindx.faults import registry

    recipe = target.removeprefix("recipe:")
    if claims.recipe != recipe:
        raise UsageError(f"these claims are about {claims.recipe or 'a script'}", expected=f"recipe:{claims.recipe}")
    known = {fault.name for fault in registry().values() if fault.recipe == recipe}
    for claim in claims.claims:
        for name in (claim.what, *claim.beside):
            if name not in known:
                raise UsageError(f"{recipe} has no fault {name!r}", expected=f"one of {', '.join(sorted(known))}")
    tried = []
    for index, claim in enumerate(claims.claims, start=1):
        print(f"traindx | claim {index} of {len(claims.claims)}: {claim.claim}", file=sys.stderr, flush=True)
        tried.append(judged(target, claim, budget / len(claims.claims), seeds))
    show(claims.source, tried, out)
    return 3 if any(one.verdict == "inconclusive" for one in tried) else 0


def judged(target: str, claim: Claim, budget: float, seeds: Sequence[int], steps: int | None = None) -> Tried:
    """One claim about a recipe, as a fix that is compared.

    Args:
        target: ``recipe:NAME``.
        claim: What is claimed.
        budget: Seconds.
        seeds: Numbers of the pairs.
        steps: Optimiser steps of a training; the recipe's own by default, and where their number is what is claimed.
    """
    from traindx.cli.target import load_case
    from traindx.trials.compare import compare

    beside, named = list(claim.beside), [*claim.beside, claim.what]
    before, after = (named, beside) if claim.kind == "fault" else (beside, named)
    cases = load_case(target, before), load_case(target, after)
    if cases[0].steps != cases[1].steps:
        steps = None
    found = compare(*cases, budget=budget, seeds=tuple(seeds), steps=steps)
    return Tried(claim, found.verdict.value, found.metric, found.unit, found.effect, found.sentence)


def show(source: str, tried: Sequence[Tried], out: Path) -> None:
    """Print the table and write it beside the report."""
    text = markdown(source, tried)
    (out / FILE).write_text(text, encoding="utf-8")
    print(text, file=sys.stderr)
