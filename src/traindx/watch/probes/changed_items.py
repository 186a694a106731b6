"""Items of a data set, always made in the same way, from what is read with one value of a map of labels as another.

Only ever used in a child process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.core.frames import defined_at
from traindx.core.later import Later
from traindx.finding import Location
from traindx.watch.probes.declared_values import meant_at
from traindx.watch.probes.file_readers import reading_changed
from traindx.watch.probes.functions.common import parts_of
from traindx.watch.probes.functions.moved import put
from traindx.watch.probes.functions.pictures import array_of
from traindx.watch.probes.item_spots import changed_where_kept
from traindx.watch.probes.labels_compared import made_at
from traindx.watch.probes.making import as_array, seed
from traindx.watch.probes.merging_line import merging_line
from traindx.watch.probes.recorded import copied
from traindx.watch.runtime.generators import is_generator, putting_back

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

ITEMS = 6
MOST_VALUES = 6  # of one map: more are many classes, of which each is told from the others
LEAST_VOXELS = 256
MOST_VOXELS = 64_000_000
LEAST_IMAGE_VALUES = 25
HIGHEST = 4095


@dataclass
class Read:
    """What the making of one item read."""

    maps: list[Any] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)


class Making:
    """Makes items of a data set, always in the same way."""

    def __init__(self, torch: Any, dataset: Any) -> None:
        self.torch = torch
        self.dataset = dataset
        self.inmost = dataset
        while isinstance(self.inmost, torch.utils.data.Subset):
            self.inmost = self.inmost.dataset
        fields = getattr(dataset, "__dict__", {})
        data, transform = fields.get("data"), fields.get("transform")
        self.kept = data if isinstance(data, list | tuple) and callable(transform) else None
        self.transform: Any = transform
        self.count = len(self.kept) if self.kept is not None else len(dataset)
        item = getattr(type(self.inmost), "__getitem__", None)
        self.defined: Location | None = defined_at(item) if hasattr(item, "__code__") else None
        self.seconds = 0.0  # of processor time that an item took, the fastest
        self._change: Callable[[Any], Any] = self._writing(None)
        self._generators = [putting_back(one) for one in _generators(torch, dataset)]

    def indices(self) -> list[int]:
        """Items from all over the data set."""
        return sorted({round(number * (self.count - 1) / max(ITEMS - 1, 1)) for number in range(ITEMS)})

    def read(self, index: int) -> Read:
        """What is read, or kept, for an item."""
        read = Read()

        def look(value: Any) -> Any:
            for _, one in parts_of(value):
                array = array_of(self.torch, one)
                if array is not None and LEAST_VOXELS <= array.size <= MOST_VOXELS:
                    (read.maps if label_values(array) else read.pictures).append(array.copy())
            return value

        self.make(index, look)
        read.maps = _unlike(read.maps)
        read.pictures = [one for one in _unlike(read.pictures) if len(np.unique(one.flat[::7])) >= LEAST_IMAGE_VALUES]
        return read

    def item(self, index: int, written: tuple[float, float] | None) -> dict[str, Any]:
        """The arrays of an item by path, with one value of its map of labels written as another one."""
        return self.make(index, self._writing(written))

    def _writing(self, written: tuple[float, float] | None) -> Callable[[Any], Any]:
        def change(value: Any) -> Any:
            if written is None:
                return value
            for path, one in parts_of(value):
                array = array_of(self.torch, one)
                if array is not None and LEAST_VOXELS <= array.size <= MOST_VOXELS and label_values(array):
                    value = put(value, path, _rewritten(self.torch, one, array, written))
            return value

        return change

    def make(self, index: int, change: Callable[[Any], Any]) -> dict[str, Any]:
        """The arrays of an item by path, with what is read changed by a function."""
        for back in self._generators:
            back()
        seed(self.torch, index)
        begun = time.process_time()
        with self._changed(index, change):
            item = self._item(index, change)
            took = time.process_time() - begun
            self.seconds = min(took, self.seconds or took)
            found = {path: as_array(one) for path, one in parts_of(item)}  # copied before what is read is put back
            return {path: one.copy() for path, one in found.items() if one is not None}

    def _changed(self, index: int, change: Callable[[Any], Any]) -> AbstractContextManager[None]:
        if self.kept is None:
            return changed_where_kept(self.torch, self.dataset, index, change)
        return reading_changed(change)

    def _item(self, index: int, change: Callable[[Any], Any]) -> Any:
        """From the beginning: of a data set of a library, which may have kept what comes half-way, from its entry."""
        if self.kept is None:
            return self.dataset[index]
        return self.transform(change(copied(self.torch, self.kept[index])))

    def paths(self) -> list[Path]:
        """Some files that the data set names."""
        fields = [value for owner in (self.dataset, self.inmost) for value in getattr(owner, "__dict__", {}).values()]
        inner = [one for value in fields if type(value) in (list, tuple) for one in value[:2]]
        inner += [one for value in inner if type(value) is dict for one in value.values()]
        inner += [one for value in inner if type(value) in (list, tuple) for one in value[:4]]
        found = [Path(one) for one in [*fields, *inner] if isinstance(one, str | Path) and 0 < len(str(one)) < 400]
        return [path.absolute() for path in found if path.suffix or path.is_dir()]

    def line(self, index: int, value: float, same: float, other: float) -> tuple[Location | None, bool]:
        """The line that merges a value with another one, not with a third; whether a comment says that it is meant."""

        @contextmanager
        def written(into: float | None) -> Iterator[None]:
            self._change = self._writing(None if into is None else (value, into))
            yield

        found = merging_line(lambda: self.make(index, self._change), written, same, other)
        if found is None:
            return None, False
        if isinstance(found, str):
            return made_at(found), False
        return found.location(), meant_at(found.file, found.line)


def label_values(array: Any) -> tuple[float, ...] | None:
    """The values of a map of labels; None for anything else."""
    if array.dtype == bool or array.dtype.kind not in "uif":
        return None
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and low < high <= HIGHEST):
        return None
    some = array.reshape(-1)[:: max(1, array.size // 4096)]
    if len(np.unique(some)) > MOST_VALUES or (array.dtype.kind == "f" and not bool((array == np.rint(array)).all())):
        return None
    counts = np.bincount(array.reshape(-1).astype(np.int64))
    present = np.flatnonzero(counts)
    return tuple(map(float, present)) if 2 <= len(present) <= MOST_VALUES else None


def _rewritten(torch: Any, value: Any, array: Any, written: tuple[float, float]) -> Any:
    """Something in the form of what was read, with one value as another one."""
    made = np.array(array)
    made[made == written[0]] = written[1]
    if type(value).__module__.startswith("PIL."):
        kept = value.copy()
        kept.frombytes(np.ascontiguousarray(made).tobytes()) if value.mode != "1" else None
        return kept
    if isinstance(value, torch.Tensor):
        kept = value.detach().clone()
        kept.copy_(torch.from_numpy(made.astype(array.dtype)))
        return kept
    return made.view(type(value)) if type(value) is not np.ndarray and isinstance(value, np.ndarray) else made


def _unlike(arrays: list[Any]) -> list[Any]:
    """Without those that came through two readers, or as a copy."""
    found: list[Any] = []
    for one in arrays:
        if not any(one.size == other.size and np.array_equal(one.reshape(-1), other.reshape(-1)) for other in found):
            found.append(one)
    return found


def _generators(torch: Any, owner: Any, depth: int = 0, seen: set[int] | None = None) -> Iterator[Any]:
    """Generators of random numbers that a data set keeps: they go on with every item."""
    seen = set() if seen is None else seen
    if id(owner) in seen or depth > 4 or len(seen) > 400:
        return
    seen.add(id(owner))
    if is_generator(owner):
        yield owner
        return
    inner: Iterable[Any] = ()
    if type(owner) in (list, tuple):
        inner = owner[:64]
    elif type(owner) is dict:
        inner = list(owner.values())[:64]
    elif hasattr(owner, "__dict__") and not isinstance(owner, type | torch.Tensor):
        inner = list(vars(owner).values())
    for one in inner:
        if not isinstance(one, str | int | float | bool | Path | None.__class__):
            yield from _generators(torch, one, depth + 1, seen)
