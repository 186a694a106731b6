"""Changes of a script's source that are put in place while it is loaded; no file is written.

A line, or the lines of a patch, take the place of others when the file is compiled, in the script itself and in the
modules that it imports. Every line keeps the number that it has in the file, and what is put in has that of the line
it stands for, so that other treatments find their places and tracebacks show the user's own lines.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from traindx.watch.runtime.syntax import walk

EDIT = "edit-source"


@dataclass(frozen=True)
class Edit:
    """Lines that take the place of others.

    Attributes:
        file: Path of the file.
        line: Number of the first line that is taken, from 1; of an insertion, the line before which it goes.
        old: Lines that are taken, without their ends.
        new: Lines that are put there.
    """

    file: str
    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Edit:
        """From JSON."""
        return cls(str(fields["file"]), int(fields["line"]), tuple(fields["old"]), tuple(fields["new"]))

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return {"file": self.file, "line": self.line, "old": list(self.old), "new": list(self.new)}


def apply(source: str, edits: Sequence[Edit]) -> str:
    """A source with its edits in place.

    Raises:
        ValueError: The source is not the one that the edits are for, or two edits take the same line.
    """
    return "\n".join(_edited(source, edits)[0]) + "\n"


def compiled_with(source: str, edits: Sequence[Edit], path: str) -> CodeType:
    """A changed source as a code object whose lines have the numbers that they have in the file.

    Raises:
        SyntaxError: The change is no Python.
        ValueError: As :func:`apply`.
    """
    lines, numbers = _edited(source, edits)
    tree = ast.parse("\n".join(lines) + "\n", path)
    for node in walk(tree):
        place: Any = node
        if not hasattr(place, "lineno"):
            continue
        before = place.lineno, place.end_lineno
        place.lineno, place.end_lineno = (numbers[line - 1] for line in before)
        if place.lineno == place.end_lineno and before[0] != before[1]:  # columns of two lines do not compare
            place.end_col_offset = max(place.col_offset, place.end_col_offset)
    return compile(tree, path, "exec", dont_inherit=True)


def _edited(source: str, edits: Sequence[Edit]) -> tuple[list[str], list[int]]:
    """The changed lines, and for each the number of the line of the file that it is or stands for."""
    lines = source.splitlines()
    count = max(1, len(lines))
    numbers = list(range(1, len(lines) + 1))
    below = len(lines) + 2
    for edit in sorted(edits, key=lambda edit: edit.line, reverse=True):
        begin, end = edit.line - 1, edit.line - 1 + len(edit.old)
        if end + 1 > below:
            raise ValueError(f"two changes of {edit.file} take line {below}")
        if tuple(lines[begin:end]) != edit.old:
            raise ValueError(f"line {edit.line} of {edit.file} is not what the change is for")
        lines[begin:end] = edit.new
        last = min(max(edit.line, end), count)
        numbers[begin:end] = [min(edit.line + index, last) for index in range(len(edit.new))]
        below = edit.line
    return lines, numbers


class Overlay:
    """Changed sources by path, and which of them were loaded.

    Args:
        treatments: What is in place in this arm.
    """

    def __init__(self, treatments: Sequence[Mapping[str, Any]]) -> None:
        self.edits: dict[str, list[Edit]] = {}
        self.loaded: set[str] = set()
        self.failed = ""
        for fields in treatments:
            for one in fields.get("edits", ()):
                edit = Edit.of(one)
                self.edits.setdefault(os.path.realpath(edit.file), []).append(edit)

    @staticmethod
    def files_of(edits: Sequence[Mapping[str, Any]]) -> set[str]:
        """Files that some edits change."""
        return {os.path.realpath(str(one["file"])) for one in edits}

    def install(self) -> None:
        """Change what is imported from now on; the script itself asks :meth:`compiled`."""
        if not self.edits:
            return
        original = importlib.machinery.SourceFileLoader.get_code
        overlay = self

        def get_code(loader: Any, fullname: str) -> CodeType | None:
            code = overlay.compiled(loader.get_filename(fullname))
            return code if code is not None else original(loader, fullname)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment, unused-ignore]

    def compiled(self, path: str) -> CodeType | None:
        """The changed file as a code object; None for a file that is left as it is.

        Raises:
            SyntaxError: The change is no Python.
        """
        real = os.path.realpath(path)
        edits = self.edits.get(real)
        if edits is None:
            return None
        with open(real, encoding="utf-8") as file:
            source = file.read()
        try:
            code = compiled_with(source, edits, path)
        except SyntaxError:
            raise
        except ValueError as error:
            self.failed = str(error)
            return None
        self.loaded.add(real)
        return code
