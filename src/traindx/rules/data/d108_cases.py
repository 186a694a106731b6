"""D108 by the names of items: slices of one case in training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import SharedCases
from traindx.evidence.probed_functions import SplitTried
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule

_SHARED = Threshold(0.3, "of the cases of the evaluation that the training has, too; a split by case has none")
_LEAST = Threshold(2, "such cases: one may be a slip in a list")
_BESIDE = Threshold(0.3, "of the items that lie next to a training item; a case that is cut once has one such place")


@rule(
    "D108",
    "patient-leak",
    Severity.CRITICAL,
    needs=(SplitTried,),
    looked_at=requires(
        SplitTried,
        lambda seen, limits: seen.cases > 0,
        otherwise="the names of what a function divides do not say which case an item is of",
    ),
    thing="functions that divide items whose names say which case they are of",
    shared_share=_SHARED,
    least_shared=_LEAST,
    beside=_BESIDE,
)
def division_cuts_cases(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function that divides the data puts items of one case on both sides, by their own names.

    Slices of a volume, frames of a film or tiles of a slide that were shuffled and divided one by one: the neighbours
    of most validation slices are trained on. ``demonstrated`` where a word in the names says that these are cases or
    slices (patient, case, volume, slice ...), else ``suspected``; a case that is cut once, as a film before and after
    a moment, is silence.
    """
    for seen in evidence.of(SplitTried):
        counts = seen.cases, seen.shared_cases, seen.members, seen.neighbours
        if _leaks(counts, limits.shared_share, limits.least_shared, limits.beside):
            yield _found(f"{seen.function} divides the data so that", counts, seen.spoken, seen.where)


@rule(
    "D108",
    "patient-leak",
    Severity.CRITICAL,
    needs=(SharedCases,),
    thing="two data sets that keep names which say which case an item is of",
    cases_share=_SHARED,
    cases_least=_LEAST,
    cases_beside=_BESIDE,
)
def cases_on_both_sides(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The data sets of training and evaluation keep names of items of the same cases.

    Lists of names with a case and a number, pairs of both, dictionaries with an identifier, or columns of a table, read
    in a child process. As for a function that divides the data; silence where one was seen to do so.
    """
    divided = [(one.cases, one.shared_cases, one.members, one.neighbours) for one in evidence.of(SplitTried)]
    if any(_leaks(one, limits.cases_share, limits.cases_least, limits.cases_beside) for one in divided):
        return
    for seen in evidence.of(SharedCases):
        counts = seen.cases, seen.shared, seen.members, seen.neighbours
        if _leaks(counts, limits.cases_share, limits.cases_least, limits.cases_beside):
            subject = f"{seen.dataset} has items of cases that are trained on:"
            yield _found(subject, counts, seen.spoken and not seen.unread, seen.divided_at or seen.where)


def _leaks(counts: tuple[int, int, int, int], share: float, least: float, beside: float) -> bool:
    cases, shared, members, neighbours = counts
    return shared >= max(least, share * cases) and (neighbours < 0 or neighbours >= beside * members)


def _found(subject: str, counts: tuple[int, int, int, int], spoken: bool, where: Location | None) -> Found:
    cases, shared, members, neighbours = counts
    beside = f", and {neighbours} of its {members} items lie next to a training item" if neighbours >= 0 else ""
    return Found(
        variant="one-case-on-both-sides",
        message=f"{subject} {shared} of the {cases} cases of the evaluation are in the training, too{beside}.",
        standing=Standing.DEMONSTRATED if spoken else Standing.SUSPECTED,
        location=where,
        numbers={"shared": shared, "cases": cases, "neighbours": neighbours},
        remedy="Divide the cases first, then take the slices of each side.",
    )
