"""How large one image may be, asked before anything is decoded: no file can ask for more memory than there is.

What a file promises is compared with what it can hold (a header that promises more is cut short, or lies), then with
what one image may take. By default that is a fifth of the free memory for each process that reads, which leaves room
for a decoder's own copy, and never less than 1 GB; ``TRAINDX_MAX_IMAGE=8G`` says otherwise.
"""

from __future__ import annotations

import math
import os
from functools import cache

from traindx.data.reading import NotReadError, UnreadableError

VARIABLE = "TRAINDX_MAX_IMAGE"
PROCESSES = "TRAINDX_DATA_PROCESSES"
"""Set for workers: with how many processes the memory is shared."""

DEFLATE = 1032
"""The most that deflate (gzip, zip, PNG) can shrink: 258 bytes in two bits (RFC 1951, zlib's technical notes)."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SMALL_HEADER = 4096


def allowed() -> int:
    """Bytes that one decoded image may take."""
    given = os.environ.get(VARIABLE, "").strip().upper().removesuffix("B")
    number, unit = (given[:-1], given[-1]) if given[-1:] in ("K", "M", "G", "T") else (given, "")
    try:
        return int(float(number) * _UNITS[unit])
    except ValueError:
        return _by_default()


@cache
def _by_default() -> int:
    try:
        processes = max(1, int(os.environ.get(PROCESSES, "1")))
    except ValueError:
        processes = 1
    return max(1 << 30, _free() // (5 * processes))


def _free() -> int:
    """Free memory in bytes: of the machine, or of the control group where that is less (Linux; 8 GB elsewhere)."""
    free = 8 << 30
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as top:
            limit = top.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as now:
            used = int(now.read())
        if limit.isdigit():
            free = min(free, int(limit) - used)
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    return max(free, 0)


def check(shape: tuple[int, ...], width: int, *, stored: int | None = None, ratio: int = 1) -> int:
    """Refuse an image before it is decoded.

    Args:
        shape: Its size along each axis, channels included.
        width: Bytes of one value.
        stored: Bytes of the file that can hold its values, where that is known.
        ratio: The most by which the encoding can shrink them.

    Returns:
        Bytes that it takes decoded.

    Raises:
        UnreadableError: A size is not positive, or the file cannot hold that much.
        NotReadError: It is larger than one image may be.
    """
    if any(size < 0 for size in shape):
        raise UnreadableError(f"the header gives the size {size_text(shape)}")
    bytes_decoded = math.prod(shape) * width
    if stored is not None and bytes_decoded > stored * ratio + _SMALL_HEADER * (ratio > 1):
        raise UnreadableError(
            f"truncated: {size_text(shape)} values are {bytes_text(bytes_decoded)}, and the file cannot hold more than "
            f"{bytes_text(stored * ratio)}"
        )
    most = allowed()
    if bytes_decoded > most:
        raise NotReadError(
            f"larger than one image may be here: {bytes_text(bytes_decoded)} decoded, {bytes_text(most)} allowed "
            f"(set {VARIABLE}=16G to read it)"
        )
    return bytes_decoded


def size_text(shape: tuple[int, ...]) -> str:
    """``512 x 512 x 94``."""
    return " x ".join(str(size) for size in shape)


def bytes_text(number: float) -> str:
    """``3.6 GB``, decimal."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000 or unit == "PB":
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError  # the loop returns
