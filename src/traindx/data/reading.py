"""What the readers of single files share: the ways in which a file can be of no use."""

from __future__ import annotations

import os
import re


class UnreadableError(Exception):
    """A file that should hold an image and does not yield one; the message says why."""


class NotAnImageError(Exception):
    """A well-formed file that holds no image, such as a radiotherapy plan."""


class NotReadError(Exception):
    """A file that may be in order and that this installation or this machine cannot read; says what to do."""


class IgnoredError(Exception):
    """A file of a kind that is not read."""


def printable(name: str) -> str:
    """A file name that can be written anywhere: bytes that are not UTF-8 become ``\\xf6``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace") if not name.isascii() else name


def reason_of(error: BaseException, limit: int = 160) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"'?(/[^\s':]+)+/", "'…/", text)  # the file is named beside it; its folder need not be
    return text if len(text) <= limit else text[: limit - 1] + "…"
