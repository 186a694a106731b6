"""E829 batches-left-out."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_figures import LoaderFigure
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E829",
    "batches-left-out",
    Severity.MAJOR,
    needs=(LoaderFigure,),
    thing="functions that go through a loader and return figures",
    third=Threshold(0.002, "from two thirds; round-off over a few batches is far below"),
)
def batches_left_out(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A figure over a loader does not hold every batch, or divides by one less than there are.

    What it finds:
        ``total[key] = 0.0`` for a key that is new, so that the first batch is lost; an assignment where ``+=`` was
        meant, so that the last batch alone is left; a sum over the number of the last batch, counted from 0.
    Why it stops learning:
        It does not; but what is printed is wrong by a factor or by a batch, and is compared with figures of others, or
        chooses the best epoch.
    Evidence it needs:
        LoaderFigure (a watched script): own functions are called again in a child process with four batches of three
        items in the place of their loader; so are loops over a loader, and what divides what they added up.
    How it decides:
        *Left out.* The order of the batches changes the figure, and at some places in that order it makes no difference
        at all which batch stands there, with the batches in order and turned round by one: `demonstrated`. If the last
        place alone counts, somebody may want just that: `suspected`, and *minor*.
        *One less.* The same batch four times in a row gives two thirds of what it gives twice, as a sum that is divided
        by the number of the last batch, counted from 0, and other random numbers make no difference: `suspected`.
        Left alone is what gives something else when it is called once more, or does not take all batches; and averages
        that are divided by the number of items, since a score with a smoothing term is halved by twice the items too.
    Remedy:
        Begin with the first value and add all of them; divide by the number of batches.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A figure that leaves the first batches out on purpose, as for warming up.
    References:
        None.
    """
    seen: set[tuple[object, ...]] = set()
    for one in evidence.of(LoaderFigure):
        name = f"{one.function}{one.figure}" if one.function else f"{one.figure!r}"
        if one.moved and one.silent:
            last_alone = one.silent == tuple(range(one.batches - 1))
            found = _left_out(one, name, last_alone)
        elif not one.moved and abs(one.longer - 2 / 3) < limits.third:
            found = _one_less(one, name)
        else:
            continue
        cause = (one.function or one.figure, found.variant, one.function == "" and one.where)
        if cause not in seen:  # a dictionary of figures has one cause
            seen.add(cause)
            yield found


def _left_out(one: LoaderFigure, name: str, last_alone: bool) -> Found:
    places = ", ".join(str(place + 1) for place in one.silent)
    which = "Only the last batch counts" if last_alone else f"Batch {places} of {one.batches} does not count"
    return Found(
        message=f"{which} in {name}: other batches in the place make no difference to it, whichever they are, and the "
        "order of the batches does.",
        standing=Standing.SUSPECTED if last_alone else Standing.DEMONSTRATED,
        severity=Severity.MINOR if last_alone else None,
        location=one.where,
        numbers={"batches": one.batches, "left_out": len(one.silent), "value": one.value},
        remedy="Add what every batch gives, the first one and the last one too.",
        variant="last-alone" if last_alone else "left-out",
    )


def _one_less(one: LoaderFigure, name: str) -> Found:
    return Found(
        message=f"{name} divides by one less than the batches that went in: the same batch four times in a row gives "
        "two thirds of what it gives twice, where an average stays.",
        standing=Standing.SUSPECTED,
        location=one.where,
        numbers={"value": one.value, "longer": one.longer},
        remedy="Divide by the number of batches: an index that counts from 0 ends one below it.",
        variant="divided-by-one-less",
    )
