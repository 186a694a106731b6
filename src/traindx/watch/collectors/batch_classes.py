"""Classes in the batches of a loader that reads in the order of its data set: is a batch of one class alone?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import BatchClasses
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.runtime.watch import Collector, Watch

LEAST = 6  # items of a batch
MOST_CLASSES = 200


@dataclass
class _Seen:
    loader: Loader
    batches: int = 0
    pure: int = 0
    classes: set[int] = field(default_factory=set)
    leading: set[int] = field(default_factory=set)


class BatchesOfClasses(Collector):
    """Looks at whole numbers, one an item, in the batches that are looked at anyway."""

    subject = "classes in batches"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._seen: dict[int, _Seen] = {}

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_batch(self, self._batch)

    def _batch(self, loader: Loader, batch: Any) -> None:
        torch = self.watch.torch
        tensors = [one for _, one in tensors_in(batch, torch)]
        whole = [
            one
            for one in tensors
            if one.dim() == 1 and len(one) >= LEAST and one.dtype in (torch.int64, torch.int32, torch.uint8)
        ]
        if len(whole) != 1 or len(tensors) < 2:
            return
        counts = (
            torch.bincount(whole[0].long()) if int(whole[0].min()) >= 0 and int(whole[0].max()) < MOST_CLASSES else None
        )
        if counts is None:
            return
        seen = self._seen.setdefault(id(loader), _Seen(loader))
        seen.batches += 1
        seen.pure += int(counts.max()) >= 0.95 * len(whole[0])
        seen.leading.add(int(counts.argmax()))
        seen.classes.update(counts.nonzero().flatten().tolist())

    def records(self) -> Iterable[Record]:
        """One record a loader."""
        for seen in self._seen.values():
            yield BatchClasses(
                where=self.watch.shown(seen.loader.made),
                in_order=seen.loader.in_order,
                trains=seen.loader.trains,
                batches=seen.batches,
                pure=seen.pure,
                classes=len(seen.classes),
                leading=len(seen.leading),
                step=self.watch.iteration,
            )
