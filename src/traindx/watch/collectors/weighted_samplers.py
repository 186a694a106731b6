"""Weighted samplers: do their weights fit the data set, and which class do they favour?"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_state import SamplerSeen
from traindx.watch.runtime.call_sites import CallSite, constructor_site
from traindx.watch.runtime.structure import known_length
from traindx.watch.runtime.watch import Collector, Watch

LABELS = ("targets", "labels", "label", "y", "classes_of_items")
MOST_ITEMS = 2_000_000
MOST_CLASSES = 1000
LEAST_A_CLASS = 2


class WeightedSamplers(Collector):
    """Notes where samplers are made; looks at weights and labels when a loader with one is made."""

    subject = "weighted samplers"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._made: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._seen: list[SamplerSeen] = []

    def install(self) -> None:
        """Patch construction of samplers and loaders."""
        watch = self.watch
        samplers = import_module("torch.utils.data.sampler")
        loaders = import_module("torch.utils.data.dataloader")

        def make_sampler(original: Any) -> Any:
            def init(sampler: Any, *args: Any, **kwargs: Any) -> None:
                original(sampler, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        self._made[sampler] = constructor_site(sampler)

            return init

        def make_loader(original: Any) -> Any:
            def init(loader: Any, *args: Any, **kwargs: Any) -> None:
                original(loader, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        self._look(loader)

            return init

        watch.patches.wrap(samplers.WeightedRandomSampler, "__init__", make_sampler)
        watch.patches.wrap(loaders.DataLoader, "__init__", make_loader)

    def _look(self, loader: Any) -> None:
        fields: dict[str, Any] = object.__getattribute__(loader, "__dict__")
        sampler, dataset = fields.get("sampler"), fields.get("dataset")
        given = getattr(sampler, "weights", None)
        if sampler is None or sampler not in self._made or not isinstance(given, self.watch.torch.Tensor):
            return
        site: CallSite | None = self._made[sampler]
        weights = given.detach().cpu().double().reshape(-1)
        length = known_length(dataset)
        items = -1 if length is None else length
        natural = drawn = -1.0
        classes = 0
        labels = self._labels(dataset) if 0 < items == len(weights) <= MOST_ITEMS else None
        if labels is not None and float(weights.sum()) > 0:
            counts = self.watch.torch.bincount(labels)
            present = counts[counts > 0]
            classes = len(present)
            if LEAST_A_CLASS <= classes <= MOST_CLASSES:
                rare = int(self.watch.torch.where(counts == present.min())[0][0])
                natural = float(present.min()) / items
                drawn = float(weights[labels == rare].sum() / weights.sum())
        self._seen.append(
            SamplerSeen(
                where=site.location() if site is not None else None,
                items=items,
                weights=len(weights),
                natural=natural,
                drawn=drawn,
                classes=classes,
                step=self.watch.iteration,
            )
        )

    def _labels(self, dataset: Any) -> Any:
        """Whole numbers, one an item, that a data set keeps as its labels; None where there are none of the kind."""
        torch = self.watch.torch
        fields = getattr(dataset, "__dict__", {})
        kept = [fields[name] for name in LABELS if name in fields]
        tensors = fields.get("tensors")
        kept += [tensors[-1]] if type(tensors) is tuple and tensors else []
        for value in kept:
            if type(value) is list and value and all(type(one) is int for one in value[:64]):
                labels = torch.tensor([one for one in value if type(one) is int])
            elif type(value) is torch.Tensor or type(value).__name__ == "ndarray":
                labels = torch.as_tensor(value)
            else:
                continue
            whole = labels.dim() == 1 and not labels.is_floating_point() and not labels.is_complex()
            if whole and len(labels) == known_length(dataset) and int(labels.min()) >= 0:
                return labels.cpu().long()
        return None

    def records(self) -> Iterable[Record]:
        """One record a loader with such a sampler."""
        yield from self._seen
