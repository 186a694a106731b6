"""Sit one check on a case and apply one rule, as an examination does."""

from __future__ import annotations

from pathlib import Path

from traindx import rules
from traindx.case import Case
from traindx.checks import Check, CheckContext
from traindx.evidence import Evidence
from traindx.finding import Finding, Location, Standing


def run_check(case: Case, *checks: Check, trained=None, seed: int = 0) -> Evidence:
    """The evidence of some checks on a case."""
    evidence = Evidence()
    ctx = CheckContext(case, evidence, seed=seed, trained=trained)
    with case.open():
        for check in checks:
            assert not check.missing(case), check.missing(case)
            check.function(ctx)
    return evidence


def findings(evidence: Evidence, *codes: str) -> list[Finding]:
    """What the named rules (or all) say."""
    catalogue = rules.catalogue()
    return [finding for code in codes or tuple(catalogue) for finding in catalogue[code].check(evidence)]


def above_suspected(found: list[Finding]) -> list[Finding]:
    """Those that would make an examination call the case at fault."""
    return [finding for finding in found if finding.standing.rank > Standing.SUSPECTED.rank]


def line_at(location: Location) -> str:
    """The source line a finding points at."""
    return Path(location.file).read_text(encoding="utf-8").splitlines()[location.line - 1].strip()
