"""What the rules on the terms of a watched loss must have seen."""

from __future__ import annotations

from collections import Counter

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossTermSeen
from traindx.rules.base import Limits, Nothing


def several_terms(evidence: Evidence, limits: Limits) -> Nothing | None:
    """For ``looked_at``: some loss has two terms or more, and their gradients were taken apart."""
    terms = evidence.of(LossTermSeen)
    if max(Counter(str(term.backward) for term in terms).values(), default=0) < 2:
        return Nothing("", "losses of several terms")
    apart = Counter(str(term.backward) for term in terms if len(term.gradient_shares) >= limits.looks)
    if max(apart.values(), default=0) < 2:
        return Nothing("the gradients of the loss's terms were not taken apart often enough")
    return None
