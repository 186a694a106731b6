"""A remedy as the reader needs it: text, and the code before and after where it is known.

Code is written into a remedy as fenced blocks marked ``before``, ``after`` or anything else (``python``, ``diff``)::

    Recover the noise from the clipped x0.
    ```before
    eps = (a * x - x0) / s
    ```
    ```after
    eps = (x - a * x0) / s
    ```
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9_-]*)[ \t]*\n(.*?)^[ \t]*```[ \t]*$\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Code:
    """A block of code in a remedy: ``kind`` is ``before``, ``after`` or the language of the fence."""

    kind: str
    text: str


@dataclass(frozen=True)
class Remedy:
    """A remedy taken apart."""

    paragraphs: tuple[str, ...]
    code: tuple[Code, ...]


def parse(remedy: str) -> Remedy:
    """Take a remedy's text and code apart."""
    code = tuple(Code(kind.lower() or "code", body.rstrip("\n")) for kind, body in _FENCE.findall(remedy))
    text = _FENCE.sub("\n", remedy)
    paragraphs = tuple(" ".join(part.split()) for part in re.split(r"\n[ \t]*\n", text) if part.strip())
    return Remedy(paragraphs, code)
