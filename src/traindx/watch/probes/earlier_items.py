"""Is an item of a data set the same after other items were asked for, with the same random numbers?

A transform that remembers the range of the first image that it saw gives every later one in another range. Seen once,
it can no longer be told from what is meant; so the question is put before a loader hands out its first item, in a
forked child. There an item is made fresh and after two different others; everything that the making of those has
changed is put back one by one, to know what carries the difference, and the line that writes it is traced.
"""

from __future__ import annotations

import math
import sys
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later
from traindx.evidence.base import Record
from traindx.evidence.observed_items import ItemAfterOthers
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.probes.base import Experiment
from traindx.watch.probes.functions.common import parts_of
from traindx.watch.probes.item_vectors import vectors_tried
from traindx.watch.probes.kept_state import Entry, KeptState, numbers_of
from traindx.watch.probes.making import Child, LineTrace, as_array, seed, traced
from traindx.watch.probes.pair_names import pairs_tried
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.structure import known_length
from traindx.watch.runtime.watch import Watch

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

MOST_DATASETS = 4
CPU_LIMIT = 6  # seconds of a child, which is ended then
ENOUGH_SECONDS = 2.0  # of processor time, after which no further item is begun
LEAST_MAKINGS = 10  # of items, until it is known what they depend on
PATIENCE = 6.0  # seconds of wall time at the end of the watching
MOST_CARRIERS = 6
SAME = 1e-5  # of an item's spread: rounding
PLAIN = ("TensorDataset", "list", "tuple")  # nothing of theirs can change


@dataclass
class _Asked:
    child: Child
    loader: Loader
    dataset: str


class EarlierItems(Experiment):
    """Forks before the first item of a data set is read."""

    subject = "items after other items"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._known: list[weakref.ref[Any]] = []
        self._asked: list[_Asked] = []
        self._records: list[Record] = []

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_made(self, self._made)
        self.loaders.on_pass_begin(self, self._begins)
        self.watch.closing.append(self._end)

    def _made(self, loader: Loader, made: Any) -> None:
        """Once a device is in use there is no forking: where one may be later, the loader's making is early enough."""
        torch = self.watch.torch
        if torch.backends.cuda.is_built() and not torch.cuda.is_initialized():
            self._ask(loader, object.__getattribute__(made, "__dict__").get("dataset"))

    def _begins(self, loader: Loader, iterator: Any) -> None:
        self._ask(loader, getattr(iterator, "_dataset", None))

    def _ask(self, loader: Loader, dataset: Any) -> None:
        if type(dataset).__name__ in PLAIN or not self.watch.settings.extras.get("functions", True):
            return
        if len(self._known) >= MOST_DATASETS or any(known() is dataset for known in self._known) or sys.gettrace():
            return
        length = known_length(dataset)
        if not hasattr(type(dataset), "__getitem__") or length is None or length < 3:
            return
        try:
            self._known.append(weakref.ref(dataset))
        except TypeError:
            return
        torch = self.watch.torch

        def look() -> list[Any] | None:
            self.watch.over = True
            found: list[Record] = []
            with suppress(Exception):  # whatever a data set raises
                record = asked(torch, dataset, length)
                found += [record] if record is not None else []
            with suppress(Exception):
                found += vectors_tried(torch, dataset)
            with suppress(Exception):
                found += pairs_tried(torch, dataset)
            return [[record.kind, record.model_dump(mode="json")] for record in found]

        child = Child.started(torch, look, apart=True, seconds=CPU_LIMIT)
        if child is None:
            self.watch.not_examined(self.subject, "the process cannot be forked without a trace")
        else:
            self._asked.append(_Asked(child, loader, type(dataset).__name__))

    def records(self) -> Iterable[Record]:
        """What the children found, read when the watching ends."""
        if self.watch.ending:
            until = time.monotonic() + PATIENCE
            while self._asked:
                one = self._asked.pop(0)
                for kind, fields in one.child.answer(max(0.5, until - time.monotonic())) or ():
                    made = one.loader.made
                    changes: dict[str, Any] = {"step": self.watch.iteration}
                    if kind == "ItemAfterOthers":
                        loader = made.location() if made is not None else None
                        changes |= {"loader": loader, "trains": one.loader.trains}
                    self._records.append(Record.kinds[kind](**{**fields, **changes}))
        yield from self._records

    def _end(self) -> None:
        """Whatever was not waited for."""
        while self._asked:
            self._asked.pop().child.answer(0.0)


# -- in the child ------------------------------------------------------------------------------------------------------


class EnoughTimeError(Exception):
    """The time is over."""


@dataclass
class _Maker:
    """Makes items of a data set, always with the same random numbers."""

    torch: Any
    dataset: Any
    kept: KeptState

    def __call__(self, index: int, number: int = 0) -> list[Any]:
        spent = time.process_time() - self.begun
        if spent > (ENOUGH_SECONDS if self.made > 2 else 3 * ENOUGH_SECONDS / LEAST_MAKINGS):
            raise EnoughTimeError  # early where the first items show that there is no time for all
        self.made += 1
        self.kept.put_generators_back()
        seed(self.torch, number)
        return [
            array.astype("float64")
            for _, one in parts_of(self.dataset[index])
            if (array := as_array(one)) is not None and array.dtype.kind in "fiub"
        ]

    def __post_init__(self) -> None:
        self.begun = time.process_time()
        self.made = 0


def asked(torch: Any, dataset: Any, length: int) -> ItemAfterOthers | None:
    """Ask for one item of a data set fresh and after others. In a child only: it changes what the data set keeps.

    Args:
        torch: The script's torch.
        dataset: A data set with an index, of which no item was asked for yet.
        length: Its number of items.
    """
    kept = KeptState(torch, dataset)
    make = _Maker(torch, dataset, kept)
    item = getattr(type(dataset), "__getitem__", None)
    name = type(dataset).__name__
    code = getattr(item, "__code__", None)
    where = CallSite(code.co_filename, code.co_firstlineno, code.co_qualname).location() if code is not None else None
    nothing = ItemAfterOthers(dataset=name, settled=False, where=where)
    indices = length // 2, 0, length - 1
    try:
        found = _compared(make, indices)
    except EnoughTimeError:
        return nothing
    if found is None:
        return nothing
    kind, difference, entries = found
    settled = ItemAfterOthers(dataset=name, settled=True, where=where)
    if not kind:
        return settled
    if kind == "drawn-once":
        return settled.model_copy(update={"how": kind, "difference": difference, "name": _stored(entries)})
    carrier = next((one for one in entries if _carries(make, indices, one, kind)), None)
    if carrier is None:
        return settled
    place = _line(torch, make, indices[1] if kind != "in-place" else indices[0], carrier)
    return ItemAfterOthers(
        dataset=name,
        settled=True,
        how=kind,
        name=carrier.name,
        few=numbers_of(carrier.after) is not None,
        difference=difference,
        where=place or where,
    )


def _compared(make: _Maker, indices: tuple[int, int, int]) -> tuple[str, float, list[Entry]] | None:
    """How an item depends on others, by how much, and what may carry it; None where the making is not repeatable."""
    kept, (index, one, other) = make.kept, indices
    fresh = make(index)
    again = make(index)
    own = [entry for entry in kept.changes() if entry.in_place]
    kept.put_back()
    if not fresh or not _alike(fresh, make(index)):
        return None
    kept.put_back()
    if not _alike(fresh, again):
        if any(_rearranged(entry) for entry in own):
            return "", 0.0, []
        if own:
            return "in-place", _difference(fresh, again), own
    other_draw = make(index, 1)
    kept.put_back()
    if not _alike(fresh, other_draw):
        make(index)
        entries_now = kept.changes()
        if entries_now and _alike(fresh, make(index, 1)):
            kept.put_back()
            return "drawn-once", _difference(fresh, other_draw), entries_now
        kept.put_back()
    seen: list[tuple[list[Any], dict[Any, Entry]]] = []
    for earlier in (one, other):
        make(earlier)
        first = {entry.key: entry for entry in kept.changes()}
        after = make(index)
        for entry in kept.changes():  # what goes on changing with every item
            known = first.get(entry.key)
            if known is not None and not _equal(known.after, entry.after):
                first[entry.key] = Entry(entry.name, entry.before, entry.after, True, entry.key)
        seen.append((after, first))
        kept.put_back()
    if all(_alike(fresh, after) for after, _ in seen):
        return "", 0.0, []
    (after, entries), (_, others) = seen
    carriers = [
        entry
        for key, entry in entries.items()
        if _is_told_by_content(entry.after) and key in others and not _equal(entry.after, others[key].after)
    ]
    stays = [entry for entry in carriers if not entry.in_place]
    return ("kept" if stays else "running"), _difference(fresh, after), (stays or carriers)[:MOST_CARRIERS]


def _carries(make: _Maker, indices: tuple[int, int, int], entry: Entry, kind: str) -> bool:
    """The item is another one where this entry alone stays, and all else is put back."""
    index, earlier, _ = indices
    make.kept.put_back()
    with suppress(EnoughTimeError):
        fresh = make(index)
        if kind != "in-place":
            make.kept.put_back()
            make(earlier)
        make.kept.put_back(but=entry.key)
        after = make(index)
        make.kept.put_back()
        return not _alike(fresh, after)
    return False


def _stored(entries: list[Entry]) -> str:
    """Where the first making of an item has left something: what is left of the key of an item is no name."""
    return next((one.name.partition("[")[0] for one in entries), "")


def _line(torch: Any, make: _Maker, index: int, entry: Entry) -> Location | None:
    """The line in the making of an item that writes it."""
    make.kept.put_back()
    make.kept.put_generators_back()
    seed(torch, 0)
    trace = LineTrace(lambda arrays: make.kept.changed(entry.key))
    with suppress(Exception):
        traced(trace, make.dataset, index)
    return trace.broken.location() if trace.broken is not None else None


def _is_told_by_content(value: Any) -> bool:
    """Numbers or an array; a count, a name or a list of what was seen is no measure of an image."""
    return as_array(value) is not None or numbers_of(value) is not None


def _equal(one: Any, other: Any) -> bool:
    a, b = as_array(one), as_array(other)
    if a is not None and b is not None:
        return bool(a.shape == b.shape and (a == b).all())
    return numbers_of(one) is not None and numbers_of(one) == numbers_of(other)


def _rearranged(entry: Entry) -> bool:
    """The same values in other places: images that are flipped where they are kept stay what they are."""
    one, other = as_array(entry.before), as_array(entry.after)
    if one is None or other is None or one.size != other.size:
        return False
    flat, turned = one.flatten(), other.flatten()
    flat.sort()
    turned.sort()
    return bool((flat == turned).all())


def _alike(one: list[Any], other: list[Any]) -> bool:
    return _difference(one, other) <= SAME


def _difference(one: list[Any], other: list[Any]) -> float:
    """The greatest root mean square difference of two items' arrays, over the spread; 1 for other shapes."""
    if [array.shape for array in one] != [array.shape for array in other]:
        return 1.0
    found = 0.0
    for a, b in zip(one, other, strict=True):
        scale = max(float(a.std()), 1e-6 * float(abs(a).mean()), 1e-12)
        apart = a - b
        apart[np.isnan(a) & np.isnan(b)] = 0
        error = float((apart**2).mean() ** 0.5) / scale
        found = max(found, error if math.isfinite(error) else 1.0)
    return found
