"""E832 reading-changes-what-it-reads."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import ReadingTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "E832",
    "reading-changes-what-it-reads",
    Severity.MAJOR,
    needs=(ReadingTried,),
    looked_at=requires(ReadingTried, thing="functions that give a figure and write into something"),
)
def reading_changes(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function that gives a figure changes what it was computed of, so that the next figure is another one.

    What it finds:
        ``scores[np.isnan(scores)] = 0`` in a function that averages the caller's scores; a ``compute`` that divides
        what its object has summed up, so that asking twice gives two answers; a summary that sorts the caller's list; a
        default list that every call adds to.
    Why it stops learning:
        It does not; but whatever is printed, saved or chosen after the first reading goes by other numbers than were
        measured, and the order of two lines decides which.
    Evidence it needs:
        ReadingTried (a watched script): the function called again in a child process, with copies of its arguments and
        of its object.
    How it decides:
        The name says that it reads (a mean, a summary, a metric), it gives numbers, and the same ones for the same
        arguments. An array that it was given holds other values afterwards, and its caller reads that again:
        `suspected`; `demonstrated` where the same function, or another one that was given the array afterwards, gives
        another figure than without that call. Of an object that is asked for a figure: it, or another method that only
        reads, gives another figure afterwards: `demonstrated`. A default that grows: `suspected`.
    Remedy:
        Work on a copy.
    Trial it proposes:
        None; fix it.
    Known false positives:
        An array that is meant to be changed although the name speaks of a figure. What empties or resets its object,
        what says so, and names of updates, schedules and running averages are left alone.
    References:
        NumPy documentation, Copies and views.
    """
    for one in evidence.of(ReadingTried):
        if not one.changes:
            continue
        figures = f"{one.reader} gives {one.after:.4g} afterwards, where it gives {one.before:.4g} without this call"
        own = one.changes.startswith("self")
        if own:
            message = f"{one.function} only reads by its name, but changes {one.changes}: {figures}."
            remedy = f"Compute the figure of a copy, and leave {one.changes} as it is."
        elif one.read_at < 0:
            message = f"{one.function} adds to its default {one.changes}, which all calls share: a second call with "
            message += f"the same arguments gives {one.after:.4g}, the first one {one.before:.4g}."
            remedy = f"Use None as the default of {one.changes}, and make a new one in every call."
        else:
            message = f"{one.function} gives a figure, but the caller's {one.changes} {one.how}; it is read again in "
            message += f"line {one.read_at}" + (f", and {figures}." if one.reader else ".")
            remedy = f"Begin with a copy: {one.changes} = {one.changes}.copy() (clone() of a tensor, list() of a list)."
        yield Found(
            message=message,
            standing=Standing.DEMONSTRATED if one.reader and (own or one.read_at > 0) else Standing.SUSPECTED,
            location=one.where,
            numbers={"before": one.before, "after": one.after, "read_at": one.read_at},
            remedy=remedy,
            variant="state" if own else "default" if one.read_at < 0 else "argument",
        )
