"""How training scripts report themselves: 84 styles, each with the figure that should judge.

The styles were collected from public training logs and written anew. A style is a text whose lines begin with what the
program does before it prints them: ``c|`` nothing yet (no iteration was made), ``t|`` training (an iteration passes),
``v|`` a network was just called without gradients. A line that begins with nothing of these goes on with the one above.
``\\r`` in a line is a carriage return, ``\\e`` an escape.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Style:
    """One way of logging.

    Attributes:
        name: What is special about it.
        lines: Phase and text of every line.
        figures: Readings of the series that may judge; empty where nothing reliable is reported.
        split: ``validation`` or ``test``.
        higher: A higher value is better.
    """

    name: str
    lines: tuple[tuple[str, str], ...]
    figures: tuple[tuple[float, ...], ...]
    split: str
    higher: bool | None


def read(text: str) -> Style:
    """A style from its text: ``== name``, ``-> figures ; split ; direction``, and the lines."""
    head, wanted, *rest = text.strip("\n").split("\n")
    figures, split, way = (part.strip() for part in wanted.removeprefix("->").split(";"))
    series = [tuple(float(value) for value in one.split(",")) for one in figures.split("or") if one.strip() != "none"]
    lines: list[tuple[str, str]] = []
    for line in rest:
        phase, bar, said = line.partition("|")
        if bar and phase in ("c", "t", "v"):
            lines.append((phase, said.replace("\\r", "\r").replace("\\e", "\x1b")))
        else:
            lines.append((lines[-1][0], line.replace("\\r", "\r").replace("\\e", "\x1b")))
    higher = {"higher": True, "lower": False, "-": None}[way]
    return Style(head.strip(), tuple(lines), tuple(series), split, higher)


def styles() -> list[Style]:
    """All of them."""
    texts = (path.read_text(encoding="utf-8").split("\n== ")[1:] for path in sorted(FOLDER.glob("*.txt")))
    return [read(text) for text in chain.from_iterable(texts)]
