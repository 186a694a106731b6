"""What one contract says."""

from __future__ import annotations

from dataclasses import dataclass

from traindx.finding import Severity, Standing


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Something that a library's function expects of its caller and does not enforce.

    Attributes:
        key: Name in kebab case, stable for ever: records and findings carry it.
        function: What is called, as the documentation of the library names it.
        expects: Completes "it expects …", without a full stop.
        meaning: What happens instead, one sentence.
        remedy: What to change, one sentence.
        source: Where the library says so.
        near: Calls that look alike and are right, which the check tells apart.
        standing: ``demonstrated`` where the numbers that passed break a documented precondition; else ``suspected``.
        severity: How much it hurts.
        least: Calls that must have been looked at.
        share: Least share of these that broke it.
        sizes: Least number of different lengths of the axis in question that were seen in these, so that it is no
            chance that it is as long as the batch.
        computed: Arguments whose value a line of the script computes: the finding is placed there, if it is found.
    """

    key: str
    function: str
    expects: str
    meaning: str
    remedy: str
    source: str
    near: str
    standing: Standing = Standing.SUSPECTED
    severity: Severity = Severity.MAJOR
    least: int = 3
    share: float = 0.9
    sizes: int = 0
    computed: tuple[str, ...] = ()
