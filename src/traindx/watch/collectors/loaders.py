"""Data loaders: who reads what, how often, and whether the batches are finite."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from traindx.core.frames import defined_at
from traindx.evidence.base import Record
from traindx.evidence.observed_state import LoaderSeen
from traindx.finding import Location
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.runtime.call_sites import CallSite, constructor_site
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import sample
from traindx.watch.runtime.structure import items, known_length, members
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal


@dataclass
class Loader:
    """One data loader."""

    made: CallSite | None
    dataset: str
    item: Location | None
    batches: int
    batch_size: int
    shuffled: bool
    drops_last: bool
    workers: int
    passes: int = 0
    read: int = 0
    in_pass: int = 0
    nonfinite: int = 0
    nonfinite_key: str = ""
    looked_at: int = 0
    trains: bool = False
    beside: int = 0
    iterations: int = 0
    in_order: bool = False
    deepest: int = 0
    samples: int = -1


BESIDE = 3  # times that one batch of a loader was read for a backward call, beside that of another one


class Loaders(Collector):
    """Wraps construction of ``DataLoader`` and ``__next__`` of its iterators.

    Attributes:
        last: The loader that was read last.
        reading: The iterator whose batch is being told; None at any other time, so that none is kept alive.
        on_read: Tells every batch, with its loader.
        on_batch: Tells every batch that is looked at, with its loader.
        on_made: Tells a loader that was constructed, and the object itself.
        on_pass_begin: Tells a loader and its new iterator, before anything is read.
        on_pass_end: Tells a loader whose pass has ended.
    """

    subject = "data loaders"

    def __init__(self, watch: Watch, backwards: Backwards) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.last: Loader | None = None
        self._since: list[Loader] = []
        self.reading: Any = None
        self.on_batch: Signal[[Loader, Any]] = Signal(watch)
        self.on_read: Signal[[Loader, Any]] = Signal(watch)
        self.on_made: Signal[[Loader, Any]] = Signal(watch)
        self.on_pass_begin: Signal[[Loader, Any]] = Signal(watch)
        self.on_pass_end: Signal[[Loader]] = Signal(watch)
        self.order: list[Loader] = []
        self.bursts = Bursts(dense=3, ratio=1.6)
        self._known: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._iterators: Any = watch.torch.utils.weak.WeakIdKeyDictionary()

    def install(self) -> None:
        """Patch."""
        watch = self.watch
        module = import_module("torch.utils.data.dataloader")

        def make_init(original: Any) -> Any:
            def init(loader: Any, *args: Any, **kwargs: Any) -> None:
                original(loader, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        self.on_made.tell(self._describe(loader), loader)

            return init

        def make_iterator(original: Any) -> Any:
            def init(iterator: Any, loader: Any, *args: Any, **kwargs: Any) -> None:
                original(iterator, loader, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        known = self._iterators[iterator] = self._describe(loader)
                        known.passes += 1
                        known.in_pass = 0
                        self.on_pass_begin.tell(known, iterator)
                    if not watch.attached and not known.trains and any(one.trains for one in self.order):
                        watch.begin_burst(("pass", known.made))  # an evaluation that says neither eval() nor no_grad()

            return init

        def make_reset(original: Any) -> Any:
            def reset(iterator: Any, loader: Any, *args: Any, **kwargs: Any) -> Any:
                known = self._iterators.get(iterator)
                if known is not None and not args and kwargs.get("first_iter") is not True:
                    known.passes += 1
                return original(iterator, loader, *args, **kwargs)

            return reset

        def make_next(original: Any) -> Any:
            def next_(iterator: Any) -> Any:
                try:
                    batch = original(iterator)
                except StopIteration:
                    if watch.here_and_now:
                        with watch.ours(self):
                            self._ended(self._iterators.get(iterator))
                    raise
                if watch.here_and_now:
                    for hook in watch.between_calls:
                        hook()
                    learning = watch.torch.is_grad_enabled()  # what is watched is looked at without gradients
                    with watch.ours(self):
                        self.reading = iterator
                        try:
                            self._read(self._iterators.get(iterator), batch, learning)
                        finally:
                            self.reading = None
                return batch

            return next_

        watch.patches.wrap(module.DataLoader, "__init__", make_init)
        watch.patches.wrap(module._BaseDataLoaderIter, "__init__", make_iterator)
        watch.patches.wrap(module._BaseDataLoaderIter, "_reset", make_reset)
        watch.patches.wrap(module._BaseDataLoaderIter, "__next__", make_next)
        self.backwards.on_backward(self, before=self._backward)

    def _describe(self, loader: Any) -> Loader:
        known: Loader | None = self._known.get(loader)
        if known is not None:
            return known
        fields: dict[str, Any] = object.__getattribute__(loader, "__dict__")
        dataset = fields["dataset"]
        while type(dataset).__module__.startswith("torch.utils.data") and "dataset" in vars(dataset):
            dataset = dataset.dataset
        sampler = type(fields.get("sampler")).__name__
        if fields.get("_dataset_kind") == 0:  # one with an index; asking a stream for its length makes torch warn
            chosen = fields.get("batch_sampler")
            batches = known_length(fields.get("sampler") if chosen is None else chosen)
            samples = known_length(fields.get("sampler"))
        else:
            batches = samples = None
        item = getattr(type(dataset), "__getitem__", None) or getattr(type(dataset), "__iter__", None)
        known = Loader(
            made=constructor_site(loader),
            dataset=type(dataset).__name__,
            item=defined_at(item) if inspect.isfunction(item) else None,
            batches=-1 if batches is None else batches,
            batch_size=int(fields.get("batch_size") or 0),
            shuffled="Random" in sampler or "Distributed" in sampler,
            drops_last=bool(fields.get("drop_last")),
            samples=-1 if samples is None else samples,
            workers=int(fields.get("num_workers") or 0),
            in_order=sampler == "SequentialSampler" and type(fields.get("batch_sampler")).__name__ == "BatchSampler",
        )
        self._known[loader] = known
        self.order.append(known)
        return known

    def _read(self, loader: Loader | None, batch: Any, learning: bool) -> None:
        if loader is None:
            return
        loader.read += 1
        loader.in_pass += 1
        loader.deepest = max(loader.deepest, loader.in_pass)
        self.last = loader
        if learning:
            self._since.append(loader)
        self.on_read.tell(loader, batch)
        tensors = list(tensors_in(batch, self.watch.torch))
        if any(self.watch.would_wait(tensor) for _, tensor in tensors):  # a later batch will do
            return
        if not self.bursts.wanted(id(loader)):
            return
        loader.looked_at += 1
        for key, tensor in tensors:
            if tensor.is_floating_point() and tensor.numel() and not bool(sample(tensor, 65536).isfinite().all()):
                loader.nonfinite += 1
                loader.nonfinite_key = key
                break
        self.on_batch.tell(loader, batch)

    def _ended(self, loader: Loader | None) -> None:
        if loader is None:
            return
        if loader.batches < 0 and loader.in_pass:  # its length could not be asked for; now it was seen
            loader.batches = loader.in_pass
        loader.in_pass = 0
        self._since = [one for one in self._since if one is not loader]
        self.on_pass_end.tell(loader)

    def _backward(self, call: Backward) -> None:
        if self.last is not None:
            self.last.trains = True
        for one in self._since:  # a step may read from several: labelled and unlabelled items, two domains
            if one is not self.last and self._since.count(one) == 1:
                one.beside += 1
                one.trains |= one.beside >= BESIDE
        self._since.clear()

    def alive(self) -> list[Any]:
        """The loaders themselves, those that nobody has let go."""
        return list(self._known)

    def unread(self) -> Iterator[tuple[Loader, Any]]:
        """Loaders in fixed order that nobody has read yet, with their data sets: those of an evaluation to come."""
        for loader, known in list(self._known.items()):
            if not known.passes and not known.shuffled:
                yield known, object.__getattribute__(loader, "__dict__").get("dataset")

    def training(self) -> Loader | None:
        """The loader that feeds the training, if there is one."""
        feeding = [loader for loader in self.order if loader.trains]
        return next((loader for loader in feeding if loader.beside < BESIDE), feeding[0] if feeding else None)

    def passes(self) -> tuple[int, int]:
        """Passes over the training data begun, and iterations a pass (0 where unknown)."""
        loader = self.training()
        if loader is None:
            return 0, 0
        accumulation = max(1, round(self.watch.backwards / max(1, self.watch.steps)))
        return loader.passes, max(0, loader.batches // accumulation) if loader.batches > 0 else 0

    def records(self) -> Iterable[Record]:
        """One record a loader."""
        for loader in self.order:
            yield LoaderSeen(
                where=loader.made.location() if loader.made is not None else None,
                dataset=loader.dataset,
                item=loader.item,
                batches=loader.batches,
                batch_size=loader.batch_size,
                shuffled=loader.shuffled,
                drops_last=loader.drops_last,
                samples=loader.samples,
                workers=loader.workers,
                passes=loader.passes,
                read=loader.read,
                nonfinite=loader.nonfinite,
                nonfinite_key=loader.nonfinite_key,
                looked_at=loader.looked_at,
                trains=loader.trains,
                in_order=loader.in_order,
                deepest=loader.deepest,
                step=self.watch.iteration,
            )


def tensors_in(batch: Any, torch: Any, prefix: str = "batch", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All tensors of a nested batch with the path to each."""
    if isinstance(batch, torch.Tensor):
        yield prefix, batch
    elif depth < 4 and isinstance(batch, dict):
        for key, value in items(batch):
            yield from tensors_in(value, torch, f"{prefix}[{key!r}]", depth + 1)
    elif depth < 4 and isinstance(batch, list | tuple):
        for index, value in enumerate(members(batch)[:32]):
            yield from tensors_in(value, torch, f"{prefix}[{index}]", depth + 1)
