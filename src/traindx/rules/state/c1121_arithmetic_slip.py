"""C1121 arithmetic-slip."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_BRACKETS = "Write {better}."
_SAYS = {
    "running-mean": (
        "`{source}` divides by the number of the last round and then adds 1, where the loop `{detail}`{at} adds up: "
        "the brackets of the count are missing.",
        _BRACKETS,
    ),
    "by-index": (
        "`{source}` divides by the index of the last round of `{detail}`{at}, which counts from 0: one round too few.",
        "Write {better}, or divide by the number of rounds.",
    ),
    "standardised": ("`{source}` divides before it takes the difference: brackets are missing.", _BRACKETS),
    "quotient": ("`{source}` divides by the first term of the sum alone: brackets are missing.", _BRACKETS),
    "middle": ("`{source}` halves one end of the span alone: brackets are missing.", _BRACKETS),
    "gaussian": (
        "`{source}` multiplies by the variance, which a Gaussian divides by: brackets are missing.",
        _BRACKETS,
    ),
    "power": ("`{source}` takes the power 1 and then divides: brackets are missing.", _BRACKETS),
    "bits": (
        "`{source}` is read as a comparison with `{detail}`: & and | come before comparisons.",
        "Put each comparison into brackets.",
    ),
    "added-to-itself": (
        "`{source}` adds a value to itself: `{detail}`{at} has taken the place of what it was before.",
        "Keep the value from before the call under a name of its own, and add that.",
    ),
    "one-for-both": (
        "`{source}` has `{was}` on both sides.",
        "Look whether one of them is to be {better}.",
    ),
    "spaced": (
        "`{source}` puts samples `{detail}` places apart, which is the number of samples: sample b of a flattened "
        "array of (batch, n) begins at b * n.",
        "Multiply by the number of entries of one sample.",
    ),
    "divided-twice": ("`{source}` divides by a length that `{detail}`{at} has divided by.", "Divide once."),
    "equals-plus": ("`{source}` gives the name a new value: `=+` is not `+=`.", _BRACKETS),
}


@rule("C1121", "arithmetic-slip", Severity.MAJOR, needs=(SourcesRead,))
def arithmetic_slip(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A formula is not what it is written for: brackets are missing, or a value meets itself.

    What it finds:
        `total / i + 1` for a running mean, and `total / i` behind the loop that counted from 0; `x - mean / std`;
        `2 * inter / a.sum() + b.sum()`; `(inter + smooth) / union + smooth`; `x_min + x_max / 2`; `exp(-d / 2 * sigma
        ** 2)`; `x ** 1 / 3`; `a > 0 & b > 0`; `x = f(x)` and then `x + x` where a residual was meant; one of two
        names on both sides while nothing reads the other one; `arange(batch) * batch` for the places of samples in
        a flattened array; a mean that is divided by the number again; `total =+ loss`.
    Why it stops learning:
        A residual is twice its branch, an input has another scale, nodes of one sample are mixed with another
        one's; or it is the figure that is wrong, and what is chosen by it.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        From the syntax trees, where names or the loop around say what was meant: the divisor is the counter of a
        loop (from 0) that adds to what is divided; the names are those of a mean and a spread, of two ends of one
        span, of an overlap and sums. `a / b * c`, and any other order of operations without such names, is left alone.
        `suspected`: nothing was computed.
    Remedy:
        Per form.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A formula that is meant as it stands, under names that say something else.
    References:
        The Python Language Reference, 6.17 "Operator precedence".
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
