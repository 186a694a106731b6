"""What the items of a data set are called: which case each is of, and which slice or frame of it.

``case_00003:#:7``, ``patient07/slice_012.png``, ``("a12", 5)`` and ``{"patient_id": "a12", ...}`` say so themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

CASE_WORDS = (
    "patient", "case", "subject", "subj", "study", "volume", "participant", "person", "mouse", "animal", "slide", "wsi",
    "exam",
)  # fmt: skip
PART_WORDS = ("slice", "frame", "patch", "tile", "crop", "view")
NO_CASES = {
    "class", "cls", "label", "category", "cat", "grade", "fold", "split", "site", "center", "centre", "hospital",
    "domain", "scanner", "batch", "epoch", "year", "part", "set", "group",
}  # fmt: skip
"""Words before a number that is shared by many cases."""
KEYS = re.compile(
    r"(patient|subject|case|participant|person|study)s?(_?(id|uid|name|key|number|nr|no))?|pid|mrn|subj(_id)?"
)
_NAMED = re.compile(rf"(?:^|[^a-z])((?:{'|'.join(CASE_WORDS)}|pat|sub|vol)[-_ #]?\d+)(?![a-z])", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
LEAST_CASES = 4
LEAST_UNSPOKEN = 8
LEAST_PARTS = 3  # of a case: pairs may be anything
RUNS = 0.7  # of the cases whose parts are numbers in a row


@dataclass(frozen=True)
class Shared:
    """Cases on both sides of a division.

    Attributes:
        cases: Cases of the second side.
        shared: Of these, cases that the first side has, too.
        parts: Items of the second side.
        neighbours: Of these, items whose neighbour in the same case is on the first side; -1 where no part is known.
        spoken: A word says that these are cases, or parts of cases.
    """

    cases: int
    shared: int
    parts: int
    neighbours: int
    spoken: bool


def shared_cases(first: Sequence[Any], second: Sequence[Any]) -> Shared | None:
    """Cases that two lists of items have in common; None where their names do not say which case an item is of."""
    for read in (_by_key, _by_word, _by_pair, _by_last_number):
        found = read([*first, *second])
        if found is None:
            continue
        names, spoken = found
        ours, theirs = names[: len(first)], names[len(first) :]
        cases, known = {case for case, _ in theirs}, {case for case, _ in ours}
        numbered = all(part is not None for _, part in names)
        there = {(case, part) for case, part in ours}
        beside = sum(
            any((case, (part or 0) + step) in there for step in (-1, 1)) for case, part in theirs if part is not None
        )
        return Shared(len(cases), len(cases & known), len(theirs), beside if numbered else -1, spoken)
    return None


Names = tuple[list[tuple[Any, "int | None"]], bool]


def _by_key(items: list[Any]) -> Names | None:
    """Dictionaries with an entry that is called after the patient or the case."""
    if not all(isinstance(one, dict) for one in items):
        return None
    keys = [key for key in items[0] if isinstance(key, str) and KEYS.fullmatch(key.lower())]
    for key in keys:
        values = [one.get(key) for one in items]
        if all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
            names: list[tuple[Any, int | None]] = [(value, None) for value in values]
            if _are_cases(names, LEAST_CASES, 1.5):
                return names, True
    return None


def _texts(items: list[Any]) -> list[str] | None:
    """Names, paths, or the first path in each of some dictionaries or tuples."""
    found: list[str] = []
    for one in items:
        inner: Iterable[Any] = (
            one.values() if isinstance(one, dict) else one if isinstance(one, list | tuple) else [one]
        )
        text = next((str(part) for part in inner if isinstance(part, str) or hasattr(part, "__fspath__")), None)
        if text is None:
            return None
        found.append(text)
    return found


def _by_word(items: list[Any]) -> Names | None:
    """``case_00003``, and another number after it."""
    texts = _texts(items)
    if texts is None:
        return None
    names: list[tuple[Any, int | None]] = []
    for text in texts:
        match = _NAMED.search(text)
        rest = _NUMBER.findall(text[match.end() :].rsplit(".", 1)[0] if match is not None else "")
        if match is None:
            return None
        names.append((text[: match.end()].lower(), int(rest[-1]) if rest else None))
    if not _are_cases(names, LEAST_CASES, LEAST_PARTS):
        return None
    numbered = all(part is not None for _, part in names) and _in_rows(names)
    return ([(case, part if numbered else None) for case, part in names], True)


def _by_pair(items: list[Any]) -> Names | None:
    """``(case, number)``, the numbers in a row within each case."""
    pairs = [one for one in items if isinstance(one, tuple | list) and len(one) >= 2]
    if len(pairs) < len(items) or not all(isinstance(one[0], str | int) and type(one[1]) is int for one in pairs):
        return None
    names: list[tuple[Any, int | None]] = [(one[0], one[1]) for one in pairs]
    if not _are_cases(names, LEAST_CASES, LEAST_PARTS) or not _in_rows(names):
        return None
    spoken = all(isinstance(case, str) and _NAMED.search(case) for case, _ in names)
    return (names, spoken) if spoken or _side_by_side(names) else None


def _by_last_number(items: list[Any]) -> Names | None:
    """``TCGA_CS_4941_12.tif``: all before the last number is the case, and its numbers lie in a row."""
    texts = _texts(items)
    if texts is None:
        return None
    names: list[tuple[Any, int | None]] = []
    spoken = True
    for text in texts:
        stem = text.rsplit(".", 1)[0]
        numbers = list(_NUMBER.finditer(stem))
        if len(numbers) < 2:
            return None
        last = numbers[-1]
        case = stem[: last.start()]
        words = re.findall(r"[a-z]+(?=[-_ /\\]*\d)", case.lower())
        if not words or set(words) & NO_CASES or not re.search(r"[a-z]", case, re.IGNORECASE):
            return None
        spoken = spoken and any(word in re.split(r"[^a-z]+", case.lower()) for word in PART_WORDS)
        names.append((case, int(last.group())))
    if not _are_cases(names, LEAST_CASES if spoken else LEAST_UNSPOKEN, LEAST_PARTS) or not _in_rows(names):
        return None
    return (names, spoken) if spoken or _side_by_side(names) else None


def _grouped(names: list[tuple[Any, int | None]]) -> Iterator[list[int | None]]:
    found: dict[Any, list[int | None]] = {}
    for case, part in names:
        found.setdefault(case, []).append(part)
    yield from found.values()


def _are_cases(names: list[tuple[Any, int | None]], least: int, parts: float) -> bool:
    sizes = [len(one) for one in _grouped(names)]
    return len(sizes) >= least and mean(sizes) >= parts and len(set(names)) > 0.9 * len(names) * (parts >= LEAST_PARTS)


def _in_rows(names: list[tuple[Any, int | None]]) -> bool:
    """The parts of most cases are numbers in a row."""
    groups = [{part for part in one if part is not None} for one in _grouped(names)]
    rows = [max(one) - min(one) + 1 <= 1.2 * len(one) for one in groups if one]
    return len(rows) == len(groups) and mean(rows) >= RUNS


def _side_by_side(names: list[tuple[Any, int | None]]) -> bool:
    """The parts are counted anew in every case; classes of a list in their order are not."""
    groups = [{part for part in one if part is not None} for one in _grouped(names)]
    parts = set().union(*groups)
    return max(parts) - min(parts) + 1 <= 0.7 * sum(len(one) for one in groups)
