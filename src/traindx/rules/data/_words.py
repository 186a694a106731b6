"""Wording shared by the rules about data: how examples, counts and places are said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import Example, FileCensus, Share
from traindx.finding import Location


def some(examples: Sequence[Example], limit: int = 3) -> str:
    """The first few examples as one phrase."""
    return "; ".join(str(example) for example in examples[:limit])


def place(evidence: Evidence, examples: Sequence[Example]) -> Location | None:
    """The file of the first example as the user would open it, without the item or key inside it."""
    if not examples:
        return None
    name = examples[0].name.split("#")[0]
    root = _root(evidence)
    return Location(file=str(root if name in ("", ".") else root / name))


def shares(values: Sequence[Share], limit: int = 4) -> str:
    """``a: 3, b: 1``."""
    text = ", ".join(f"{share.value}: {share.count}" for share in values[:limit])
    return text + (", ..." if len(values) > limit else "")


def of(count: int, total: int, noun: str) -> str:
    """``3 of 10 masks``."""
    return f"{count} of {total} {noun}{'' if total == 1 else 's'}"


def copied(count: int) -> str:
    """``1 image occurs``, ``2 images occur``."""
    return "1 image occurs" if count == 1 else f"{count} images occur"


def pairs(count: int, least: bool) -> str:
    """``2 pairs of images look like copies of one another``, with ``At least`` before it where not all are known."""
    said = "1 pair of images looks" if count == 1 else f"{count} pairs of images look"
    return f"{'At least ' if least else ''}{said} like copies of one another"


def row_place(evidence: Evidence, examples: Sequence[Example]) -> Location | None:
    """The table and line of an example called ``table.csv:12``; the file of ``boxes.json#annotations[5]``."""
    if not examples:
        return None
    if "#" in examples[0].name:
        return place(evidence, examples)
    table, _, line = examples[0].name.rpartition(":")
    return Location(file=str(_root(evidence) / table), line=int(line) if line.isdigit() else 0)


def table_place(evidence: Evidence, table: str) -> Location:
    """A table as the user would open it."""
    return Location(file=str(_root(evidence) / table))


def _root(evidence: Evidence) -> PurePath:
    """What was verified, as the user wrote it; nothing where that is not known."""
    census = evidence.last(FileCensus)
    return PurePath(census.root) if census is not None else PurePath()
