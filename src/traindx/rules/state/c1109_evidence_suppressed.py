"""C1109 evidence-suppressed."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import SuppressedEvidence
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("C1109", "evidence-suppressed", Severity.MINOR, needs=(SuppressedEvidence,))
def evidence_suppressed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The script silences all warnings, and PyTorch was trying to say something.

    What it finds:
        `warnings.filterwarnings("ignore")` together with a warning of PyTorch's about shapes, schedules or gradients
        that was raised and not shown.
    Why it stops learning:
        It does not; it hides why.
    Evidence it needs:
        SuppressedEvidence (a watched script).
    How it decides:
        Warnings that torch raised while everything was ignored, and that speak of the training itself, are collected.
        Silencing alone is common and is not reported; a hidden warning is `demonstrated`.
    Remedy:
        Silence single messages by module or text, and read what is hidden.
    Trial it proposes:
        None.
    Known false positives:
        A warning that was read and judged harmless.
    References:
        Python documentation of `warnings.filterwarnings`.
    """
    for seen in evidence.of(SuppressedEvidence):
        if not seen.hidden:
            continue
        yield Found(
            variant="warnings",
            message=f"All warnings are silenced here, and PyTorch said: {seen.hidden[0]!r}"
            + (f" and {len(seen.hidden) - 1} more." if len(seen.hidden) > 1 else "."),
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"hidden": len(seen.hidden)},
            remedy="Ignore single messages by text or module, and fix what this one says.",
        )
