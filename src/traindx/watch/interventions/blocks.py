"""Figures in text that goes over several lines: dictionaries and JSON, tables, headings with a block below them."""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

from traindx.core.metric_names import COUNTERS, HIGHER, LOWER, SETTING, TEST, TRAINING, VALIDATION, split_of, words
from traindx.watch.interventions.lines import NUMBER, Reading, heading_of, readings_in, without_frame

MOST_LINES = 200  # of one dictionary
MOST_BLOCK = 40  # lines below a heading

_SPLIT_KEYS = frozenset(["phase", "split", "mode", "stage", "subset", "partition", "set", "type", "kind"])
_WRAPPERS = re.compile(r"\b(?:np\.|numpy\.|torch\.)?(?:float\d+|int\d+|tensor|array|OrderedDict|defaultdict)\(")
_CELL_NUMBER = re.compile(rf"^{NUMBER}\s*(?:%|[a-zA-Z]{{1,3}})?$", re.IGNORECASE)
_RULE = re.compile(r"^[\s\-=+|_:━─┏┓┗┛┡┩├┤┼╇┴┬┠┨]+$")
_HEADING_WORDS = HIGHER | LOWER | VALIDATION | TEST | TRAINING | COUNTERS | frozenset(["lr", "time", "metric"])


class BlockReader:
    """Reads line after line, and remembers what a later line needs."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._balance = 0
        self._header: list[str] = []
        self._heading, self._indent, self._left = "", 0, 0
        self._indented = False

    def turn(self) -> None:
        """The program does something else now: what was announced is over."""
        self._end_heading()

    def read(self, line: str) -> list[Reading]:
        """Readings that this line completes."""
        if self._open:
            return self._continued(line)
        plain = without_frame(line).replace("┃", "|").replace("│", "|")
        brace = plain.find("{")
        if brace >= 0 and plain.count("{") != plain.count("}"):
            self._open, self._balance = [plain], plain.count("{") - plain.count("}")
            return []
        if brace >= 0:
            found = self._mapping(plain)
            if found is not None:
                return found
        return self._text(line, plain)

    # -- dictionaries --------------------------------------------------------------------------------------------

    def _continued(self, line: str) -> list[Reading]:
        self._open.append(without_frame(line))
        self._balance += line.count("{") - line.count("}")
        if self._balance > 0 and len(self._open) < MOST_LINES:
            return []
        lines, self._open, self._balance = self._open, [], 0
        found = self._mapping("\n".join(lines))
        if found is not None:
            return found
        return [one for each in lines for one in self._text(each, each.replace("{", " ").replace("}", " "))]

    def _mapping(self, text: str) -> list[Reading] | None:
        begin, end = text.find("{"), text.rfind("}")
        fields = as_mapping(text[begin : end + 1])
        if fields is None:
            return None
        before = heading_of(text[:begin]) or ""
        context = before if split_of(before) else self._heading if split_of(self._heading) else ""
        return list(readings_of(fields, split_of(context), ""))

    # -- tables --------------------------------------------------------------------------------------------------

    def _text(self, line: str, plain: str) -> list[Reading]:
        if _RULE.match(plain):
            return []
        if self._is_header(cells_of(plain)) and not readings_in(plain):
            self._header = cells_of(plain)
            return []
        whole = cells_of(line)  # with its time of day, which is a cell
        for cells in (whole, cells_of(plain)):
            row = self._row(cells) if self._header and len(cells) == len(self._header) else []
            if row:
                return row
        return self._lines(line, plain)

    def _is_header(self, cells: list[str]) -> bool:
        if len(cells) < 2 or any(_CELL_NUMBER.match(cell) or not re.search(r"[^\W\d]", cell) for cell in cells):
            return False
        known = sum(bool(set(words(cell)) & _HEADING_WORDS) for cell in cells)
        return known >= 2 and all(len(cell.split()) <= 4 and not re.search(r"[:=]", cell) for cell in cells)

    def _row(self, cells: list[str]) -> list[Reading]:
        numbers = [(name, cell) for name, cell in zip(self._header, cells, strict=True) if _CELL_NUMBER.match(cell)]
        if len(numbers) < max(1, len(cells) // 2):
            return []
        labels = [cell for cell in cells if not _CELL_NUMBER.match(cell) and re.search(r"[^\W\d]", cell)]
        own = next((split_of(label) for label in labels if split_of(label)), "")
        split = own or split_of(self._heading)
        row_name = " ".join(labels)
        found = []
        for name, cell in numbers:
            match = re.match(NUMBER, cell, re.IGNORECASE)
            assert match is not None
            whole = " ".join(part for part in (row_name, name) if part)
            if split and not row_name and not split_of(name):
                whole = f"{_word_of(self._heading)} {name}"
            found.append(Reading(whole, float(match.group().replace(",", "")), split_of(name) or split))
        return found

    # -- headings ------------------------------------------------------------------------------------------------

    def _lines(self, line: str, plain: str) -> list[Reading]:
        indent = len(plain) - len(plain.lstrip())
        heading = heading_of(plain)
        if heading is not None:
            said = split_of(heading)
            kinds = SETTING | COUNTERS | HIGHER | LOWER
            if said or set(words(heading)) & kinds or plain.rstrip().endswith(":"):
                nested = indent > self._indent and not said
                if not nested or not split_of(self._heading):
                    self._heading, self._indent, self._left = heading, indent, MOST_BLOCK
                    self._indented = False
            return readings_in(plain)
        if not plain.strip():
            return []
        if self._heading and (self._left <= 0 or (self._indented and indent <= self._indent)):
            self._end_heading()
        self._left -= 1
        self._indented |= indent > self._indent
        under = self._heading
        if under and set(words(under)) & SETTING and not split_of(under):
            return [Reading(f"{under} {one.name}", one.value, one.split) for one in readings_in(plain)]
        two = cells_of(plain)
        if len(two) == 2 and _CELL_NUMBER.match(two[1]) and re.search(r"[^\W\d]", two[0]):
            plain = f"{two[0]}: {two[1]}"
        topic = under if set(words(under)) & (HIGHER | LOWER) else ""
        return readings_in(plain, split_of(under), _word_of(under), topic)

    def _end_heading(self) -> None:
        self._heading, self._indent, self._left, self._indented = "", 0, 0, False


def _word_of(heading: str) -> str:
    """How a heading says its split."""
    for token in heading.split():
        if token.lower() in VALIDATION | TEST | TRAINING:
            return token
    return split_of(heading)


def cells_of(line: str) -> list[str]:
    """Cells of a row: between bars, commas, or gaps of two spaces or more."""
    text = line.strip()
    if text.count("|") >= 1:
        cells = [cell.strip() for cell in text.strip("|").split("|")]
    elif text.count(",") >= 2 and not re.search(r"[:=]", text):
        cells = [cell.strip() for cell in text.split(",")]
        if any(" " in cell for cell in cells):
            return [text]
    else:
        cells = [cell.strip() for cell in re.split(r"\s{2,}|\t", text)]
    return [cell for cell in cells if cell]


def as_mapping(text: str) -> dict[Any, Any] | None:
    """A JSON object or a dictionary as Python prints it, with the wrappers of numpy and torch taken off."""
    try:
        fields = json.loads(text)
        return fields if isinstance(fields, dict) else None
    except ValueError:
        pass
    text = re.sub(r",\s*(?:device|dtype|grad_fn|requires_grad)=[^(),]*(?:\([^()]*\))?", "", text)
    text = _WRAPPERS.sub("(", text)
    text = re.sub(r"(?<![\w'\"])(nan|inf)(?![\w'\"])", "None", text)
    try:
        fields = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return fields if isinstance(fields, dict) else None


def readings_of(fields: dict[Any, Any], split: str, path: str, depth: int = 4) -> list[Reading]:
    """All numbers of a mapping, named by their keys from the outside in; configurations are left out."""
    for key, value in fields.items():
        if str(key).lower() in _SPLIT_KEYS and isinstance(value, str) and split_of(value):
            split = split_of(value)
            path = value if not split_of(path) else path
    found: list[Reading] = []
    for key, value in fields.items():
        name = f"{path}/{key}" if path else str(key)
        own = split_of(str(key)) or split
        if isinstance(value, dict):
            if depth and not _configures(str(key)):
                found += readings_of(value, own, name, depth - 1)
            continue
        number = _number(value)
        if number is not None:
            found.append(Reading(name, number, own))
    return found


def _configures(key: str) -> bool:
    return bool(set(words(key)) & SETTING) and not split_of(key)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value):
        finite = [float(v) for v in value if not math.isnan(float(v))]
        return sum(finite) / len(finite) if finite else math.nan
    return None
