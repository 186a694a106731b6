"""Slips of the pen in the script's own sources, told from the names that its author chose.

Readers look at syntax trees and at nothing else: a name says what its author meant, and a program that uses two names
for each other's thing contradicts itself. None of it is a measurement of the training.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading import (
    best_weights,
    brackets,
    copies,
    left_out,
    names,
    reordered,
    repeats,
    restarts,
    rounds,
    same_thing,
    shared,
    slips,
    sums,
    twins,
    values,
)
from traindx.watch.reading.program import Program, Slip

READERS = (
    *names.READERS,
    *copies.READERS,
    *values.READERS,
    *shared.READERS,
    *repeats.READERS,
    *sums.READERS,
    *rounds.READERS,
    *twins.READERS,
    *left_out.READERS,
    *slips.READERS,
    *brackets.READERS,
    *same_thing.READERS,
    *restarts.READERS,
    *best_weights.READERS,
    *reordered.READERS,
)
MOST = 6
"""Slips of one form in one program: where there are more, it is a habit of the author's and no slip."""


MOST_LINES = 6_000
"""Lines of a program that is read, which takes a second or two of processor; of a larger one nothing is said."""


def readable(trees: dict[str, ast.Module]) -> bool:
    """True of the sources of a program that is small enough to be read."""
    return lines_of(trees) <= MOST_LINES


def lines_of(trees: dict[str, ast.Module]) -> int:
    """Lines of all sources of a program."""
    return sum(max((one.end_lineno or 0 for one in tree.body), default=0) for tree in trees.values())


def slips_in(trees: dict[str, ast.Module]) -> Iterator[Slip]:
    """Every slip that is found in the sources of a program, each place once."""
    program = Program(trees)
    seen: set[tuple[str, int]] = set()
    for reader in READERS:
        found = list({(one.file, one.line, one.form): one for one in reader(program)}.values())
        for one in found if len(found) <= MOST else ():
            if (one.file, one.line) not in seen:
                seen.add((one.file, one.line))
                yield one
