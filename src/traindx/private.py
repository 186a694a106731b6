"""Folders that nobody else may look into: what is written there quotes the user's files and shows patients' images."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o700


def make_private(folder: Path) -> None:
    """Make a folder and those above it that are missing, each for its owner alone; one that exists stays as it is.

    Raises:
        OSError: It cannot be made.
    """
    missing = []
    above = folder
    while not above.exists():
        missing.append(above)
        if above.parent == above:
            break
        above = above.parent
    for one in reversed(missing):
        try:
            os.mkdir(one, PRIVATE)
        except FileExistsError:  # another run made it meanwhile
            continue
    folder.mkdir(exist_ok=True)
