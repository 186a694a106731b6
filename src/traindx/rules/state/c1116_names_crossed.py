"""C1116 names-crossed."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "arguments": (
        "`{source}` gives each of two arguments to the other one's parameter: it is defined as `{detail}`{at}.",
        "Exchange the two, or give them by keyword.",
    ),
    "results": (
        "`{source}` takes two results for each other: {detail}{at}.",
        "Exchange the two names.",
    ),
    "items": (
        "`{source}` takes items apart in another order than elsewhere: there they are `{detail}`{at}.",
        "Use one order in both places; a named tuple or a dataclass keeps it.",
    ),
    "split": (
        "`{source}`: train_test_split gives the {detail}, so two of these names hold each other's array.",
        "Write x_train, x_test, y_train, y_test = train_test_split(x, y).",
    ),
    "text": (
        "`{source}` puts two values behind each other's words: {detail}.",
        "Exchange the two values.",
    ),
    "entries": (
        "`{source}` puts two values under each other's keys.",
        "Exchange the two values.",
    ),
    "calls-differ": (
        "`{source}` is given other things than in `{detail}`{at}, and both are at hand in both functions.",
        "Look which of the two is meant.",
    ),
    "other-side": (
        "`{source}` belongs to another set than `{detail}`{at}.",
        "Look which of the two sets is meant.",
    ),
    "other": (
        "`{source}` gives `{was}` where the definition is `{detail}`{at}, and nothing reads the `{better}` at hand.",
        "Give it `{better}`, if that is what is meant.",
    ),
}


@rule("C1116", "names-crossed", Severity.MAJOR, needs=(SourcesRead,))
def names_crossed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Two names stand for each other's thing.

    What it finds:
        `f(mask, image)` where `f` is defined as `f(image, mask)`, also by keyword and in constructors; `mask, image
        = load()` where `load` returns `image, mask`, and the same in `zip`; tuples that are put together in one
        order and taken apart in another; `x_train, y_train, x_test, y_test = train_test_split(x, y)`; `"train {}
        val {}".format(val, train)` and dictionaries whose two values stand under each other's keys; an argument
        named unlike its parameter where something that is named like it lies unread; a loss that training and
        validation give different things; a validation that walks through the training loader.
    Why it stops learning:
        Nothing is raised as long as both have a shape that fits: the network learns one thing from the other, a loss is
        taken of the wrong pair, or the figures of two sets are reported as each other's.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        Both names say what the other place asks for (the same words), and neither says what its own place asks for. A
        function that is called both ways round in one place, that calls itself, or whose name says that it swaps or
        reverses, is left alone, as are names of one letter. `suspected`: a name is not a measurement.
    Remedy:
        Exchange the two.
    Trial it proposes:
        The patched script, where one name, or two that are exchanged, put it right (`traindx fix`, `--prove`).
    Known false positives:
        A function that gives the same either way (a squared difference), and two things that are exchanged on purpose
        and keep their names.
    References:
        Rice et al., "Detecting argument selection defects", 2017.
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
