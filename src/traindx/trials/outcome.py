"""Puts what the trials measured back onto the findings that proposed them."""

from __future__ import annotations

from collections.abc import Sequence

from traindx.diagnosis import TreatmentResult, TrialTable
from traindx.finding import Finding, Standing, Verdict, Worth
from traindx.trials.treatment import label

# which of several treatments speaks for a finding: what confirm before what is open, and that before what rule out
_BY_WEIGHT = (
    Verdict.PROVEN,
    Verdict.CONTRIBUTORY,
    Verdict.HARMFUL,
    Verdict.INCONCLUSIVE,
    Verdict.NO_EFFECT,
)


def apply_results(findings: Sequence[Finding], table: TrialTable) -> list[Finding]:
    """Worth and standing of findings after a trial.

    A finding is *proven* if one of its treatments is, and *refuted* if all of them are without effect; otherwise it
    stands where it stood. A property that was shown to be broken stays in the list when it is refuted: it is broken,
    but it is not why the metric is what it is.

    Args:
        findings: The findings that were given to the trial, all of them.
        table: Its table.
    """
    every = [proposal for finding in findings for proposal in finding.proposals]
    rows = {row.treatment: row for row in table.results}
    changed = []
    for finding in findings:
        mine = [rows[name] for name in dict.fromkeys(label(p, every) for p in finding.proposals) if name in rows]
        changed.append(_judged(finding, mine, table) if mine else finding)
    return changed


def _judged(finding: Finding, rows: Sequence[TreatmentResult], table: TrialTable) -> Finding:
    def weight(row: TreatmentResult) -> tuple[int, float]:
        gains = [effect.mean for effect in (row.alone, row.given_rest) if effect is not None]
        return _BY_WEIGHT.index(row.verdict), -max(gains, default=0.0)

    best = min(rows, key=weight)
    standing = finding.standing
    note = best.note
    if best.verdict is Verdict.PROVEN:
        standing = Standing.PROVEN
    elif best.verdict is Verdict.NO_EFFECT:
        standing = Standing.REFUTED
        if finding.standing is Standing.DEMONSTRATED:
            aside = "what was found is so, but fixing it does not change the metric: it is not the cause"
            note = f"{aside} ({note})" if note else aside
    worth = Worth(
        metric=table.metric,
        unit=table.unit,
        alone=best.alone,
        given_rest=best.given_rest,
        verdict=best.verdict,
        bit_identical=best.bit_identical,
        note=note,
    )
    return finding.model_copy(update={"worth": worth, "standing": standing})
