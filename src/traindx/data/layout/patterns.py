"""Path patterns as users and conventions write them: ``labels/{case}_seg.nii.gz``, ``**/mask/*.gif``."""

from __future__ import annotations

import re
from functools import lru_cache

from traindx.errors import UsageError

_PART = re.compile(r"\*\*/|\*\*|\*|\?|\{[a-z]+\}|[^*?{]+|\{")
FIELDS = ("case", "patient", "split", "part", "channel", "any")
"""Names that may stand in braces. ``case`` is what an image and its masks share."""


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for the whole path, relative to the data folder with ``/``.

    ``*`` and ``{field}`` stay within one component, ``**/`` is any number of folders, a field that occurs twice must be
    the same both times. A pattern may begin anywhere in the tree: ``labels/*.png`` also fits ``set1/labels/a.png``.

    Raises:
        UsageError: An unknown field, or a brace that is not closed.
    """
    said = "(?:.*/)??"  # the whole path first, then any part of it
    seen: set[str] = set()
    for part in _PART.findall(pattern.strip().removeprefix("./").removeprefix("/")):
        if part == "**/":
            said += "(?:.*/)?"
        elif part == "**":
            said += ".*"
        elif part == "*":
            said += "[^/]*"
        elif part == "?":
            said += "[^/]"
        elif part.startswith("{"):
            field = part[1:-1]
            if field not in FIELDS:
                expected = f"fields {', '.join('{' + name + '}' for name in FIELDS)}, * and **"
                raise UsageError(f"the pattern {pattern!r} has {part}", expected=expected)
            said += "[^/]+?" if field == "any" else f"(?P={field})" if field in seen else f"(?P<{field}>[^/]+?)"
            seen.add(field)
        else:
            said += re.escape(part)
    return re.compile(said, re.IGNORECASE)


def matches(pattern: str, path: str) -> dict[str, str] | None:
    """The fields of a path that fits the pattern; None where it does not."""
    found = compiled(pattern).fullmatch(path)
    return None if found is None else {name: value for name, value in found.groupdict().items() if value}
