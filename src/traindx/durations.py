"""Durations as people write them: ``90s``, ``3m``, ``1h30m``, ``0``."""

from __future__ import annotations

import re

from traindx.errors import UsageError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds(duration: str | float) -> float:
    """Parse a duration into seconds.

    Args:
        duration: ``"3m"``, ``"90s"``, ``"1h30m"``, or a plain number of seconds.

    Raises:
        UsageError: It cannot be read, or is negative.

    >>> seconds("1h30m"), seconds("90"), seconds(2.5)
    (5400.0, 90.0, 2.5)
    """
    text = str(duration).strip().lower().replace(" ", "")
    try:
        value = float(text)
    except ValueError:
        match = _PATTERN.fullmatch(text)
        if not text or match is None:
            raise UsageError(f"{duration!r} is not a duration", expected="for example 3m, 90s, 1h30m or 0s") from None
        value = sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS.values(), strict=True) if part)
    if not 0 <= value < float("inf"):
        raise UsageError(f"{duration!r} is not a duration", expected="zero or more seconds")
    return value


def format_duration(duration: float) -> str:
    """A duration for people: ``8.2 s``, ``3 min 05 s``, ``1 h 12 min``.

    >>> format_duration(8.24), format_duration(185), format_duration(4320)
    ('8.2 s', '3 min 05 s', '1 h 12 min')
    """
    if duration < 60:
        return f"{duration:.1f} s"
    if duration < 3600:
        return f"{int(duration // 60)} min {int(duration % 60):02d} s"
    return f"{int(duration // 3600)} h {int(duration % 3600 // 60):02d} min"
