"""Sections that a command adds to a report through ``Diagnosis.extras["sections"]``, for example the demo's fix.

Each is a mapping with the fields of :class:`Section`; what does not fit them is left out rather than breaking a report.
"""

from __future__ import annotations

from pydantic import ValidationError

from traindx.diagnosis import Diagnosis
from traindx.finding import Frozen


class Table(Frozen):
    """A small table: the head's cells and the rows' cells, all text."""

    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class Section(Frozen):
    """A section of a report.

    Attributes:
        title: Heading.
        text: Paragraphs, parted by empty lines.
        pictures: Names of pictures of the diagnosis, shown in this order.
        curves: Names of curves of the diagnosis.
        table: A table under the text.
    """

    title: str
    text: str = ""
    pictures: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    table: Table | None = None

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The text's paragraphs."""
        return tuple(" ".join(part.split()) for part in self.text.split("\n\n") if part.strip())


def sections(diagnosis: Diagnosis) -> tuple[Section, ...]:
    """The additional sections of a diagnosis, in order."""
    raw = diagnosis.extras.get("sections", ())
    found = []
    for item in raw if isinstance(raw, list | tuple) else ():
        try:
            found.append(Section.model_validate(item))
        except ValidationError:
            continue
    return tuple(found)
