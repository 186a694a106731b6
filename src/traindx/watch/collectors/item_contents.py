"""Items by content: are the samples of a batch different ones, and is an item the same when it comes again?"""

from __future__ import annotations

import hashlib
import itertools
import statistics
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from traindx.evidence.observed_items import ItemsSeen
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.probes.held_memory import HeldChanged
from traindx.watch.probes.making import arrays_in, broken_at, in_child, seed
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.watch import Collector, Watch

VALUES = 512  # of every item, at a regular stride
LEAST_VALUES = 64  # fewer are a row or a matrix of numbers that may well repeat
LEAST_DIFFERENT = 8  # of these values must differ from the first; else the item counts as blank
MOST_SAMPLES = 32  # of a batch that are looked at
MOST_CONTENTS = 8192
FOLLOWED = 32  # items that are followed by their index
MOST_SIGHTINGS = 16  # of each
DRIFTING = 6  # items that go one way: fewer say nothing, and are not looked into
REMADE = 4  # items that are made again to find the line


@dataclass
class _Followed:
    """One item, each time it came: mean and spread; and how well it agrees with the first time, up to scale."""

    first: Any
    means: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    agreement: float = 1.0

    def again(self, values: Any) -> None:
        """It came again. A changed shape (another crop) agrees with nothing."""
        mean, spread = float(values.mean()), float(values.std(unbiased=False))
        if self.spreads:
            same = values.shape == self.first.shape and spread > 0
            first = (self.first - self.means[0]) / self.spreads[0]
            agreement = float((first * ((values - mean) / spread)).mean()) if same else 0.0
            self.agreement = min(self.agreement, agreement)
        self.means.append(mean)
        self.spreads.append(spread)


@dataclass(eq=False)
class _Items:
    """What was seen of one loader's items."""

    loader: Loader
    dataset: Any = None  # a weak reference
    batches: int = 0
    indexed: int = 0
    one_item: int = 0
    one_items: set[bytes] = field(default_factory=set)
    drawn: int = 0
    contents: set[bytes] = field(default_factory=set)
    indices: set[int] = field(default_factory=set)
    followed: dict[int, _Followed] = field(default_factory=dict)

    @property
    def thrice(self) -> list[_Followed]:
        """Items that came often enough to be judged."""
        return [one for one in self.followed.values() if len(one.spreads) >= 3]

    @property
    def transformed(self) -> list[_Followed]:
        """Of these, those that came in another form."""
        return [one for one in self.thrice if one.agreement < 0.9]


class ItemContents(Collector):
    """Looks at batches as they leave a loader, and at the indices that its sampler drew for them; both are only read.

    The first batches of a loader are looked at one by one, later ones ever more rarely; a few items are followed over
    the whole run by their index.
    """

    subject = "items by content"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._bursts = Bursts(dense=64, ratio=1.3)
        self._drawn: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._items: dict[tuple[Any, ...], _Items] = {}
        self._lines: dict[_Items, CallSite | None] = {}
        self._chosen: dict[_Items, bool | None] = {}
        self._told: list[tuple[Collector, Callable[[Loader, Any, tuple[int, ...], Any], None]]] = []

    def on_indexed(self, other: Collector, told: Callable[[Loader, Any, tuple[int, ...], Any], None]) -> None:
        """Call ``told`` with loader, data set, indices and batch wherever it is known which items a batch holds."""
        self._told.append((other, told))

    def install(self) -> None:
        """Patch the iterators of loaders, and subscribe to their batches."""
        iterators, watch = import_module("torch.utils.data.dataloader")._BaseDataLoaderIter, self.watch

        def make_next_index(original: Any) -> Any:
            def next_index(iterator: Any) -> Any:
                index = original(iterator)
                if watch.here_and_now:
                    with watch.ours(self):
                        self._draws(iterator, index)
                return index

            return next_index

        def make_reset(original: Any) -> Any:
            def reset(iterator: Any, *args: Any, **kwargs: Any) -> Any:
                self._drawn.pop(iterator, None)
                return original(iterator, *args, **kwargs)

            return reset

        watch.patches.wrap(iterators, "_next_index", make_next_index)
        watch.patches.wrap(iterators, "_reset", make_reset)
        self.loaders.on_read(self, self._read)
        self.loaders.on_pass_end(self, self._passed)

    def _draws(self, iterator: Any, index: Any) -> None:
        if getattr(iterator, "_in_order", True) is False:
            return
        ahead = bool(getattr(iterator, "_num_workers", 0))  # workers are sent batches ahead and answer in order
        waiting = self._drawn.setdefault(iterator, deque(maxlen=None if ahead else 1))
        plain = isinstance(index, list | tuple) and all(isinstance(one, int) for one in index)
        waiting.append(tuple(index) if plain else None)

    def _read(self, loader: Loader, batch: Any) -> None:
        waiting = self._drawn.get(self.loaders.reading)
        indices: tuple[int, ...] | None = waiting.popleft() if waiting else None
        dataset = getattr(self.loaders.reading, "_dataset", None)
        for other, told in self._told if indices is not None and len(set(indices)) == len(indices) else ():
            with self.watch.ours(other):
                told(loader, dataset, indices, batch)  # type: ignore[arg-type]  # narrowed by the line above
        key = (loader.made, id(dataset))  # often made anew for every pass
        items = self._items.setdefault(key, _Items(loader))
        if items.dataset is None and dataset is not None:
            with suppress(TypeError):
                items.dataset = weakref.ref(dataset)
        wanted = self._bursts.wanted(key)
        due = {index for index in indices or () if self._due(items, index)}
        if not wanted and not due:
            return
        tensor = self._image(batch)
        if tensor is None or self.watch.would_wait(tensor):
            return
        if indices is not None and len(indices) != tensor.shape[0]:
            indices = None
        places: Iterable[int] = range(min(MOST_SAMPLES, tensor.shape[0]))
        if not wanted:  # an item that is followed is looked at alone
            places = [place for place in places if indices is not None and indices[place] in due]
        known = {place: values for place in places if (values := self._values(tensor[place])) is not None}
        if indices is not None:
            self._follow(items, indices, known)
        if wanted and len(known) >= 2:
            self._count(items, indices, known, self._whole(batch, tensor, known))

    def _image(self, batch: Any) -> Any | None:
        """The largest tensor with an item a row; of an image and a mask of its size, what is of floating point."""
        found = self._large(batch)
        chosen = max(found, key=lambda one: (one.numel(), one.is_floating_point()), default=None)
        return None if chosen is None else chosen.detach().as_subclass(self.watch.torch.Tensor)

    def _large(self, batch: Any) -> list[Any]:
        """Tensors of a batch with an item a row and some values in each."""
        torch = self.watch.torch
        return [
            tensor
            for _, tensor in tensors_in(batch, torch)
            if tensor.dim() >= 2
            and tensor.shape[0] >= 1
            and tensor[0].numel() >= LEAST_VALUES
            and tensor.dtype is not torch.bool
            and tensor.layout is torch.strided
        ]

    def _whole(self, batch: Any, image: Any, known: dict[int, Any]) -> list[bytes]:
        """What tells whole items apart: a few values of every large tensor; a code of the hour may be the same."""
        parts = [
            one.detach().as_subclass(self.watch.torch.Tensor)
            for one in self._large(batch)
            if one.shape[0] == image.shape[0] and not self.watch.would_wait(one)
        ]
        values = ([sample(one[place], VALUES).double().numpy().tobytes() for one in parts] for place in known)
        return [hashlib.blake2b(b"".join(one), digest_size=12).digest() for one in values]

    def _due(self, items: _Items, index: int) -> bool:
        """An item that is followed, and did not come often enough yet."""
        followed = items.followed.get(index)
        return followed is not None and len(followed.spreads) < MOST_SIGHTINGS

    def _values(self, item: Any) -> Any | None:
        """A few values of an item; None if it is blank or not finite."""
        values = sample(item, VALUES).double()
        blank = int((values != values[0]).sum()) < LEAST_DIFFERENT
        return None if blank or not bool(values.isfinite().all()) else values

    def _follow(self, items: _Items, indices: tuple[int, ...], known: dict[int, Any]) -> None:
        for place, values in known.items():
            index = indices[place]
            if index not in items.followed and len(items.followed) < FOLLOWED:
                items.followed[index] = _Followed(values)
            followed = items.followed.get(index)
            if followed is not None and len(followed.spreads) < MOST_SIGHTINGS:
                followed.again(values)

    def _count(self, items: _Items, indices: tuple[int, ...] | None, known: dict[int, Any], whole: list[bytes]) -> None:
        digests = [hashlib.blake2b(values.numpy().tobytes(), digest_size=12).digest() for values in known.values()]
        if indices is not None and len({indices[place] for place in known}) < 2:
            return  # one item was asked for
        items.batches += 1
        items.indexed += indices is not None
        if len(set(digests)) == 1:
            items.one_item += 1
            items.one_items.add(digests[0])
        if len(items.contents) < MOST_CONTENTS:
            items.drawn += len(whole)
            items.contents.update(whole)
            items.indices.update(indices[place] for place in known) if indices is not None else None

    def _passed(self, loader: Loader) -> None:
        """After a pass of an evaluation its data set is still there, which it may not be at the end."""
        for items in self._items.values():
            if items.loader is loader and not loader.trains:
                self._by_index(items, items.transformed)

    def records(self) -> Iterable[ItemsSeen]:
        """One record a loader."""
        for items in self._items.values():
            loader, followed, transformed = items.loader, items.thrice, items.transformed
            alike = [one for one in followed if one.agreement >= 0.999]
            growing, shrinking = (sum(_rises(one.spreads[::way]) for one in alike) for way in (1, -1))
            rising, falling = (sum(_rises(one.means[::way]) for one in alike) for way in (1, -1))
            drifts = len(alike) >= DRIFTING and 2 * max(growing, shrinking, rising, falling) > len(alike)
            changed = self._changed(items) if drifts else None
            yield ItemsSeen(
                where=loader.made.location() if loader.made is not None else None,
                dataset=loader.dataset,
                item=loader.item,
                trains=loader.trains,
                batches=items.batches,
                indexed=items.indexed,
                one_item=items.one_item,
                one_items=len(items.one_items),
                drawn=items.drawn,
                contents=len(items.contents),
                indices=len(items.indices),
                followed=len(followed),
                alike=len(alike),
                transformed=len(transformed),
                by_index=self._by_index(items, transformed) if not loader.trains else None,
                sightings=max((len(one.spreads) for one in alike), default=0),
                growing=growing,
                shrinking=shrinking,
                rising=rising,
                falling=falling,
                changed_at=changed.location() if changed is not None else None,
                factor=statistics.median([one.spreads[-1] / one.spreads[0] for one in alike] or [1.0]),
                shift=statistics.median([abs(one.means[-1] - one.means[0]) / one.spreads[0] for one in alike] or [0.0]),
                step=self.watch.iteration,
            )

    def _by_index(self, items: _Items, transformed: list[_Followed]) -> bool | None:
        """Does the index choose what an item is made of? Asked once, where most items came in other forms."""
        if items not in self._chosen:
            dataset: Any = items.dataset() if items.dataset is not None else None
            if len(transformed) < DRIFTING or dataset is None:
                return None
            torch = self.watch.torch

            def made(index: int) -> list[Any] | None:
                def look() -> list[Any] | None:
                    seed(torch, 0)
                    return _print(dataset[index])

                return in_child(torch, look)

            first, second = list(items.followed)[:2]
            prints = made(first), made(second)
            self._chosen[items] = prints[0] != prints[1] if None not in prints else None
        return self._chosen[items]

    def _changed(self, items: _Items) -> CallSite | None:
        """The line that changes what the data set holds; looked for once."""
        if items not in self._lines:
            dataset = items.dataset() if items.dataset is not None else None
            self._lines[items] = None
            if dataset is not None:
                self._lines[items] = broken_at(self.watch.torch, dataset, REMADE, lambda: HeldChanged(dataset))
        return self._lines[items]


def _print(item: Any) -> list[Any] | None:
    """What tells an item from others: its largest array, hashed."""
    arrays = sorted(arrays_in({"item": item}).values(), key=lambda array: int(array.size))
    return [hashlib.blake2b(arrays[-1].tobytes(), digest_size=16).hexdigest()] if arrays else None


def _rises(values: list[float]) -> bool:
    """Every value is larger than the one before, by more than rounding."""
    return all(b - a > 1e-4 * max(abs(a), abs(b)) for a, b in itertools.pairwise(values))
