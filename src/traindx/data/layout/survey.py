"""A first look at the names in a data folder: enough of them to recognise a layout, never all of a million."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_DIGITS = re.compile(r"\d+")
HASH = re.compile(r"(?<![A-Za-z0-9])[0-9a-f]{12,}(?![A-Za-z0-9])", re.IGNORECASE)
"""Names made by a hash or a UUID."""

PER_GROUP = 48
GROUPS = 400


def folder_group(path: str) -> str:
    """The folder of a file with everything that counts or identifies replaced: ``p10/s5/a.jpg`` gives ``p#/s#``."""
    folder = path.rpartition("/")[0]
    return _DIGITS.sub("#", HASH.sub("#", folder))


@dataclass
class Survey:
    """Names of a data folder.

    Attributes:
        files: Number of files.
        bytes: Their size.
        samples: Some names a folder (a group of folders that differ in numbers only).
    """

    files: int = 0
    bytes: int = 0
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All names that were kept, sorted."""
        return sorted(name for names in self.samples.values() for name in names)


def survey(walked: Iterable[tuple[str, int]]) -> Survey:
    """Count all files and keep some names of every group of folders.

    Args:
        walked: Paths relative to the data folder, and sizes.
    """
    seen = Survey()
    for name, size in walked:
        seen.files += 1
        seen.bytes += size
        group = folder_group(name)
        kept = seen.samples.get(group)
        if kept is None:
            if len(seen.samples) < GROUPS:
                seen.samples[group] = [name]
        elif len(kept) < PER_GROUP:
            kept.append(name)
    return seen
