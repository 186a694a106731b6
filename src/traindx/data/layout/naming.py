"""Roles that a convention or the user gives to files, before any of them is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from traindx.data.layout.conventions import Convention
from traindx.data.layout.patterns import compiled, matches

OTHER = "other"
"""Role of pictures that are neither image nor mask: they are read, and no audit asks for them."""


@dataclass(frozen=True)
class Naming:
    """Patterns with the role they give; the first that fits counts. Small, and sent to every worker.

    Attributes:
        rules: Pattern and role; the user's come first.
    """

    rules: tuple[tuple[str, str], ...] = ()

    def of(self, path: str) -> tuple[str, dict[str, str]]:
        """Role and fields of a path; nothing where no pattern fits."""
        for pattern, role in self.rules:
            found = matches(pattern, path)
            if found is not None:
                return role, found
        return "", {}


def naming(
    convention: Convention | None,
    images: Iterable[str] = (),
    masks: Iterable[str] = (),
    others: Iterable[str] = (),
) -> Naming:
    """The user's patterns before those of the convention.

    Raises:
        UsageError: A pattern that cannot be read.
    """
    rules = [
        (pattern, role) for role, given in ((OTHER, others), ("mask", masks), ("image", images)) for pattern in given
    ]
    for pattern, _ in rules:
        compiled(pattern)
    if convention is not None:
        known = ((OTHER, convention.others), ("mask", convention.masks), ("image", convention.images))
        rules += [(pattern, role) for role, given in known for pattern in given]
    return Naming(tuple(rules))
