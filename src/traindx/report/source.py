"""The user's own lines around a finding, with a light syntax colouring by the standard library's tokenizer."""

from __future__ import annotations

import io
import keyword
import token
import tokenize
from dataclasses import dataclass
from pathlib import Path

from traindx.finding import Location
from traindx.notebooks import source_of

_BIGGEST = 2_000_000  # bytes; a larger "source file" is not one a person wrote
_SOFT = ("True", "False", "None", "self", "cls")


@dataclass(frozen=True)
class Span:
    """A piece of a line: its text and what it is (``keyword``, ``string``, ``number``, ``comment`` or empty)."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class SourceLine:
    """One line of an excerpt."""

    number: int
    spans: tuple[Span, ...]
    at_fault: bool

    @property
    def text(self) -> str:
        """The line without colours."""
        return "".join(span.text for span in self.spans)


def excerpt(location: Location | None, *, around: int = 4, root: Path | None = None) -> tuple[SourceLine, ...]:
    """The lines around a location, without empty ones at either end; nothing where the line cannot be read.

    Args:
        location: Where; ``line`` 0 gives nothing.
        around: Lines before and after.
        root: Directory that relative paths start from, the working directory by default.
    """
    if location is None or location.line < 1:
        return ()
    text = _text(location, root or Path())
    if text is None:
        return ()
    lines = text.splitlines()
    if location.line > len(lines):
        return ()
    first, last = max(1, location.line - around), min(len(lines), location.line + around)
    coloured = _coloured(text) if location.cell or location.file.endswith(".py") else {}
    chosen = [
        SourceLine(number, coloured.get(number) or (Span(lines[number - 1]),), number == location.line)
        for number in range(first, last + 1)
    ]
    while chosen and not chosen[-1].at_fault and not chosen[-1].text.strip():
        chosen.pop()
    while chosen and not chosen[0].at_fault and not chosen[0].text.strip():
        chosen.pop(0)
    return _dedented(chosen)


def _text(location: Location, root: Path) -> str | None:
    """The file that a location is in, or the cell of a notebook."""
    if location.cell:
        return source_of(location.file, root)
    path = root / location.file
    try:
        if not path.is_file() or path.stat().st_size > _BIGGEST:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _dedented(lines: list[SourceLine]) -> tuple[SourceLine, ...]:
    """Remove the common indentation, so that deeply nested code fits a narrow page."""
    filled = [line.text for line in lines if line.text.strip()]
    margin = min((len(text) - len(text.lstrip(" ")) for text in filled), default=0)
    return tuple(SourceLine(line.number, _without(line.spans, margin), line.at_fault) for line in lines)


def _without(spans: tuple[Span, ...], margin: int) -> tuple[Span, ...]:
    kept: list[Span] = []
    for span in spans:
        cut = min(margin, len(span.text) - len(span.text.lstrip(" "))) if margin else 0
        margin -= cut
        kept.append(Span(span.text[cut:], span.kind))
    return tuple(span for span in kept if span.text)


def _coloured(text: str) -> dict[int, tuple[Span, ...]]:
    """Spans by line number; lines after a syntax error are left out."""
    lines = text.splitlines()
    marks: dict[int, list[tuple[int, int, str]]] = {}
    try:
        for item in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = _kind(item)
            if not kind:
                continue
            (row, start), (last_row, end) = item.start, item.end
            for number in range(row, last_row + 1):
                if number <= len(lines):
                    left = start if number == row else 0
                    right = end if number == last_row else len(lines[number - 1])
                    marks.setdefault(number, []).append((left, right, kind))
    except (tokenize.TokenError, SyntaxError):
        pass  # the excerpt is shown plain from here on; the file's own error is reported elsewhere
    return {number: tuple(_cut(lines[number - 1], found)) for number, found in marks.items()}


def _kind(item: tokenize.TokenInfo) -> str:
    name = token.tok_name[item.type]
    if name == "COMMENT":
        return "comment"
    if name == "NUMBER":
        return "number"
    if name == "STRING" or name.startswith("FSTRING"):
        return "string"
    if name == "NAME" and (keyword.iskeyword(item.string) or item.string in _SOFT):
        return "keyword"
    return ""


def _cut(line: str, marks: list[tuple[int, int, str]]) -> list[Span]:
    spans: list[Span] = []
    done = 0
    for left, right, kind in marks:
        if left > done:
            spans.append(Span(line[done:left]))
        if right > left:
            spans.append(Span(line[left:right], kind))
        done = max(done, right)
    if done < len(line):
        spans.append(Span(line[done:]))
    return spans
