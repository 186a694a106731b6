"""Text that is safe to print: what a script said may hold colours, titles and cursor movements of a terminal."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements (ECMA-48, control sequences)
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # window titles, links, device strings
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # all control characters but tabulator and line feed
)


def printable_text(text: str) -> str:
    """A text without escape sequences and control characters; tabulators and line feeds stay."""
    return _CONTROL.sub("", text)


def printable(model: M) -> M:
    """A copy of a model in which every text is printable."""
    changed = {name: clean for name, value in model if (clean := _printable(value)) is not value}
    return model.model_copy(update=changed) if changed else model


def _printable(value: Any) -> Any:
    """The value itself where there was nothing to take out."""
    if isinstance(value, str):  # an enumeration's members are printable as they are
        return printable_text(value) if type(value) is str and _CONTROL.search(value) else value
    if isinstance(value, BaseModel):
        return printable(value)
    if isinstance(value, tuple | list):
        parts = [_printable(one) for one in value]
        return type(value)(parts) if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    if isinstance(value, dict):
        pairs = {_printable(key): _printable(one) for key, one in value.items()}
        same = all(a is b and pairs[a] is value[b] for a, b in zip(pairs, value, strict=False))
        return value if same and len(pairs) == len(value) else pairs
    return value
