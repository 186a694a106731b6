"""C1117 copy-not-adapted."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "copy": (
        "`{source}` is like `{detail}`{at} but for one word, and still has `{was}` where that would be `{better}`.",
        "Write {better}, if the line was copied.",
    ),
    "term": (
        "`{source}` is made of what `{detail}` is made of{at}, under another weight.",
        "Write {better} for {was} and its like, if the term was copied.",
    ),
    "same": (
        "`{source}` gives the same as `{detail}`{at}: two names for one value.",
        "Look which of the two was copied and not changed.",
    ),
    "index": (
        "`{source}` takes the same place twice ({detail}){at}.",
        "Look at the numbers: one of them was copied and not changed.",
    ),
    "stand-in": (
        "`{source}` is made of `{was}`, and nothing reads what `{detail}` gives{at}.",
        "Write {better}, if that is what is meant.",
    ),
    "left-over": (
        "`{source}` reads `{was}`, which an earlier block has left, and nothing reads what `{detail}` gives{at}.",
        "Write {better}, if that is what is meant.",
    ),
    "earlier-loop": (
        "`{source}` adds up `{was}`, which only `{detail}` gives a value{at}: it is what that loop left.",
        "Compute it in this loop as well.",
    ),
    "one-body": (
        "`{source}` has the same body as `{detail}`{at}, to the letter.",
        "Look which of the two was copied and not changed.",
    ),
    "operands": (
        "`{source}` has the same on both sides: `{detail}`.",
        "One of the two is another thing; look which.",
    ),
    "branches": (
        "`{source}` does the same whether it holds or not: `{detail}`{at}.",
        "Look which branch was copied and not changed, or leave the condition out.",
    ),
    "test-twice": (
        "`{source}` is never reached: the same is asked before{at}.",
        "Look which of the two conditions was copied and not changed.",
    ),
    "key-twice": (
        "`{source}` takes the place of `{detail}`{at}, which stands under the same key.",
        "Give one of the two another key, or leave it out.",
    ),
    "defined-twice": (
        "`{source}` is defined again{at}, and the later one holds: this one is never used.",
        "Give one of the two another name, or leave it out.",
    ),
}


@rule("C1117", "copy-not-adapted", Severity.MAJOR, needs=(SourcesRead,))
def copy_not_adapted(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A line or a block was copied, and not adapted in one place.

    What it finds:
        Two statements near each other that are alike but for one word, which the second one still has in one place;
        one value under two names (`w = s * r` and `h = s * r`); the same index twice (`b[0], b[1], b[2], b[2]`); a
        value that nothing reads, beside the use of one whose name differs by one word, or of what an earlier loop
        has left (`val_loss = ...` and then `total += loss`); two functions of one body; `a > b and a > b`, `max(x,
        x)`, equal branches; a condition, a key or a method that stands twice.
    Why it stops learning:
        One of two things is used for both: a loss term looks at the other one's target, a figure is that of another
        set, an option decides about another one's term.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        Statements of one shape at most four apart in one block, in which one word was replaced by one other word at two
        places or more, and stands unchanged at exactly one, where the adapted name exists in the program. Values,
        branches and keys are compared as syntax trees; what draws or may change is left alone. `suspected`.
    Remedy:
        Write what the copy was meant to say.
    Trial it proposes:
        The patched script, where one name, or two that are exchanged, put it right (`traindx fix`, `--prove`).
    Known false positives:
        Two things that are equal for now; a sum that is written out in both lines.
    References:
        Li, Lu, Myagmar and Zhou, "CP-Miner: Finding copy-paste and related bugs in large-scale software code", 2006.
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
