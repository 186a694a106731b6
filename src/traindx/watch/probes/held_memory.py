"""Memory that a data set keeps, and whether the making of an item has changed it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from traindx.watch.probes.making import as_array

MOST_ARRAYS = 4096  # of a list of images
MOST_BYTES = 16 << 20  # that are read after every line; of more, every n-th value
DEEP = 4  # data sets inside data sets, and containers inside them


class HeldChanged:
    """Asked line by line: do the arrays that a data set keeps hold other values than before the item was made?

    Args:
        dataset: A data set with an index.
    """

    def __init__(self, dataset: Any) -> None:
        arrays = list(held(dataset))
        stride = max(1, sum(one.nbytes for one in arrays) // MOST_BYTES)
        self._views = [one.reshape(-1)[::stride] if stride > 1 else one for one in arrays]
        self._before = self._sum()

    def __call__(self, arrays: dict[str, Any]) -> bool | None:
        """After one line; what the line left in reach does not matter."""
        return self._sum() != self._before if self._views else None

    def _sum(self) -> int:
        found = 0
        for view in self._views:
            found = zlib.crc32(view.tobytes(), found)
        return found


def held(owner: Any) -> Iterator[Any]:
    """Arrays of numpy, and the memory of tensors, that an object keeps: in its fields, lists, tuples and dicts."""
    waiting: list[tuple[Any, int]] = [(owner, 0)]
    known: set[int] = set()
    count = 0
    while waiting and count < MOST_ARRAYS:
        value, depth = waiting.pop()
        if id(value) in known:
            continue
        known.add(id(value))
        array = as_array(value)
        if array is not None:
            if array.flags.c_contiguous:
                count += 1
                yield array
        elif depth < DEEP:
            waiting += [(one, depth + 1) for one in _inside(value)]


def _inside(value: Any) -> list[Any]:
    """What an object keeps, without running any code of its class."""
    if isinstance(value, dict):
        return list(dict.values(value))[:MOST_ARRAYS]
    if isinstance(value, list | tuple):
        return list(value[:MOST_ARRAYS])
    try:
        fields: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return []
    return list(fields.values()) if isinstance(fields, dict) else []
