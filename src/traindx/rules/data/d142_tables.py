"""D142 between two data sets: one name, two numbers."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import NamesNumbered
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

DICTIONARIES = ("idx", "index", "map", "vocab", "stoi", "token", "code", "encoder", "classes_")


@rule(
    "D142",
    "labels-mapped-apart",
    Severity.CRITICAL,
    needs=(NamesNumbered,),
    thing="two data sets that number the same names",
    common=Threshold(2, "names that both tables have, one of them with two numbers"),
)
def names_numbered_apart(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The data sets of training and evaluation give one name two numbers.

    Classes, words or sites that each part of the data numbers by itself, in the order in which they occur or without
    those that it does not have: the third class of the one is the second of the other. Tables that both data sets keep
    under one name (a dictionary from names to numbers from 0 on, a list of names, an encoder) are compared in a child
    process. ``demonstrated`` for a dictionary or an encoder, ``suspected`` for a list of names, which may be no table.
    """
    for seen in evidence.of(NamesNumbered):
        if not seen.apart or seen.common < limits.common:
            continue
        certain = not seen.unread and any(part in seen.name.lower() for part in DICTIONARIES)
        yield Found(
            variant="two-tables",
            message=f"{seen.dataset} and {seen.training} number the same names in two ways: in their {seen.name}, "
            f"{seen.apart} of {seen.common} names that both have differ ({seen.names} names here, "
            f"{seen.names_in_training} in training).",
            standing=Standing.DEMONSTRATED if certain else Standing.SUSPECTED,
            location=seen.where or seen.loader,
            numbers={"apart": seen.apart, "common": seen.common},
            remedy="Number the names once, from the training data or a fixed list, and give both data sets that table.",
        )
