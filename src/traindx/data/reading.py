"""What the readers of single files share: the ways in which a file can be of no use."""

from __future__ import annotations

import re


class UnreadableError(Exception):
    """A file that should hold an image and does not yield one; the message says why."""


class NotAnImageError(Exception):
    """A well-formed file that holds no image, such as a radiotherapy plan."""


class IgnoredError(Exception):
    """A file of a kind that is not read."""


def reason_of(error: BaseException, limit: int = 160) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"'?(/[^\s':]+)+/", "'…/", text)  # the file is named beside it; its folder need not be
    return text if len(text) <= limit else text[: limit - 1] + "…"
