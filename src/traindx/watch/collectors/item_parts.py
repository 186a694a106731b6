"""Image, mask, boxes and landmarks of the items that loaders hand out: do they belong to each other?"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import BoxesSeen, MaskOnImage, SidesSeen
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.probes.making import broken_at
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

MOST_ITEMS = 16  # of a batch
ENOUGH = 192  # items of a loader
TRACED = 24  # items that are made again to find the line


@dataclass
class _Parts:
    """What was seen of one loader's items."""

    loader: Loader
    dataset: Callable[[], Any]
    widths: dict[str, list[float]] = field(default_factory=dict)
    ways: list[Any] = field(default_factory=list)
    points: list[Any] = field(default_factory=list)
    on_image: list[float] = field(default_factory=list)
    on_other: list[float] = field(default_factory=list)
    turned: list[float] = field(default_factory=list)


class ItemParts(Collector):
    """Looks at batches as they leave a loader; the parts of an item are only read."""

    subject = "parts of items"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self.bursts = Bursts(12, 1.3)
        self._parts: dict[tuple[Any, ...], _Parts] = {}
        self._lines: dict[tuple[Any, ...], CallSite | None] = {}

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_read(self, self._read)

    def _read(self, loader: Loader, batch: Any) -> None:
        dataset = getattr(self.loaders.reading, "_dataset", None)
        key = (loader.made, id(dataset))
        parts = self._parts.setdefault(key, _Parts(loader, _weakly(dataset)))
        if not self.bursts.wanted(key):
            return
        torch = self.watch.torch
        tensors = [(name, one) for name, one in tensors_in(batch, torch) if self._plain(one)]
        tensors = [(name, one.detach().as_subclass(torch.Tensor)) for name, one in tensors]
        self._boxes(parts, tensors)
        self._landmarks(parts, tensors)
        self._masks(parts, tensors)

    def _plain(self, tensor: Any) -> bool:
        torch = self.watch.torch
        strided = tensor.layout is torch.strided and tensor.device.type == "cpu"
        return bool(strided and tensor.numel() and not tensor.is_complex() and not tensor.is_quantized)

    # -- boxes ---------------------------------------------------------------------------------------------------

    def _boxes(self, parts: _Parts, tensors: list[tuple[str, Any]]) -> None:
        from traindx.watch.probes.item_relations import extents

        for name, tensor in tensors:
            if tensor.shape[-1] != 4 or tensor.dim() not in (2, 3) or tensor.numel() > 65536:
                continue
            rows = tensor.detach().reshape(-1, 4).float().numpy()
            rows = rows[(rows != 0).any(1)]  # padding
            sizes = extents(rows) if len(rows) else None
            kept = parts.widths.setdefault(re.sub(r"\[\d+\]$", "[*]", name) if tensor.dim() == 2 else name, [])
            if sizes is not None and len(kept) < 20 * ENOUGH:
                kept += [value for pair in zip(*sizes, strict=True) for value in pair]

    # -- landmarks -----------------------------------------------------------------------------------------------

    def _landmarks(self, parts: _Parts, tensors: list[tuple[str, Any]]) -> None:
        from traindx.watch.probes.item_relations import turns

        if len(parts.ways) >= ENOUGH:
            return
        for points in self._points(tensors):
            parts.ways.append(turns(points))
            parts.points.append(points)

    def _points(self, tensors: list[tuple[str, Any]]) -> Iterator[Any]:
        """Landmarks of every item: given as points, or as the peaks of heat maps."""
        from traindx.watch.probes.item_relations import peaks

        given = [one for _, one in tensors if one.dim() == 3 and one.shape[2] == 2 and 4 <= one.shape[1] <= 64]
        images = [one for _, one in tensors if one.dim() == 4]
        if len(given) == 1 and images:
            for item in given[0][:MOST_ITEMS].detach().double().numpy():
                yield item
            return
        single = [one for _, one in tensors if one.dim() == 2 and one.shape[1] == 2 and 4 <= one.shape[0] <= 64]
        if len(images) == 1 and len(single) == len(images[0]) and len({tuple(one.shape) for one in single}) == 1:
            yield from (item.double().numpy() for item in single[:MOST_ITEMS])
            return
        maps = [one for one in images if one.is_floating_point() and 4 <= one.shape[1] <= 64 and float(one.min()) >= 0]
        if len(maps) == 1 and len(images) > 1:
            for item in maps[0][:MOST_ITEMS].detach().float().numpy():
                found = peaks(item)
                if found is None:
                    return
                yield found

    # -- masks ---------------------------------------------------------------------------------------------------

    def _masks(self, parts: _Parts, tensors: list[tuple[str, Any]]) -> None:
        from traindx.watch.probes.item_relations import explained, turned

        pair = self._image_and_mask(tensors) if len(parts.on_image) < ENOUGH else None
        if pair is None:
            return
        images, masks = pair
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            own, other = explained(image, mask), explained(image, masks[number - 1])
            if own is None or other is None:
                continue
            parts.on_image.append(own)
            parts.on_other.append(other)
            parts.turned.append(max(explained(image, one) or 0.0 for one in turned(mask)))

    def _image_and_mask(self, tensors: list[tuple[str, Any]]) -> tuple[Any, Any] | None:
        """The one image and the one mask of a batch, as arrays with the items first."""
        import numpy as np

        from traindx.watch.probes.item_relations import FEW, LEAST

        torch = self.watch.torch
        images: list[Any] = []
        masks: list[Any] = []
        for _, tensor in tensors:
            if tensor.dim() < 3 or tensor.shape[0] < 2 or tensor[0].numel() < LEAST or tensor.shape[0] > 512:
                continue
            one = tensor[:MOST_ITEMS].detach()
            values = torch.unique(one[:, ..., :: max(1, one.shape[-1] // 64)].reshape(-1)[: 1 << 18])
            (masks if len(values) <= FEW else images).append(one)
        if len(images) != 1 or len(masks) != 1:
            return None
        image, mask = images[0].double().numpy(), np.asarray(masks[0].double().numpy())
        if mask.ndim == image.ndim and mask.shape[1] != 1:
            return None  # channels of a one-hot mask
        mask = mask[:, 0] if mask.ndim == image.ndim else mask
        return (image, mask) if len(image) == len(mask) and image.shape[2:] == mask.shape[1:] else None

    # -- the line --------------------------------------------------------------------------------------------------

    def _line(self, parts: _Parts, what: str, looks: Any) -> CallSite | None:
        """The line in the making of an item that broke a relation; looked for once."""
        key = (parts.loader.made, what)
        if key not in self._lines:
            self._lines[key] = None
            dataset = parts.dataset()
            if dataset is not None:
                self._lines[key] = broken_at(self.watch.torch, dataset, TRACED, looks)
        return self._lines[key]

    # -- summaries -------------------------------------------------------------------------------------------------

    def records(self) -> Iterable[Record]:
        """Records of what each loader's items hold."""
        for parts in self._parts.values():
            yield from self._box_records(parts)
            if parts.on_image:
                yield self._mask_record(parts)
        yield from self._side_records()

    def _box_records(self, parts: _Parts) -> Iterator[Record]:
        import numpy as np

        from traindx.watch.probes.item_relations import CornersSwapped

        for key, kept in parts.widths.items():
            if not kept:
                continue
            sizes = np.array(kept).reshape(-1, 2)
            crossed = (sizes < 0).any(1)
            record = BoxesSeen(
                key=key,
                boxes=len(sizes),
                crossed=int(crossed.sum()),
                gap=float(np.abs(sizes).min() / max(float(np.median(np.abs(sizes))), 1e-9)),
                ratio=self._ratio(np.abs(sizes), crossed),
                **self._facts(parts),
            )
            if record.crossed and record.crossed < record.boxes:
                record = record.model_copy(update={"made_at": self._shown(self._line(parts, "boxes", CornersSwapped))})
            yield record

    def _ratio(self, sizes: Any, crossed: Any) -> float:
        """Median size of crossed boxes over that of the others."""
        import numpy as np

        if crossed.all() or not crossed.any():
            return 1.0
        return float(np.median(sizes[crossed]) / max(float(np.median(sizes[~crossed])), 1e-9))

    def _mask_record(self, parts: _Parts) -> Record:
        import numpy as np

        from traindx.watch.probes.item_relations import MaskLeft

        own, other = np.array(parts.on_image), np.array(parts.on_other)
        reference = self._reference(parts)
        low = own < 0.25 * reference if reference else np.zeros(len(own), bool)
        record = MaskOnImage(
            items=len(own),
            explained=float(np.median(own)),
            by_other=float(np.median(other)),
            reference=reference,
            low=int(low.sum()),
            turned=int((low & (np.array(parts.turned) > 0.6 * reference)).sum()) if reference else 0,
            **self._facts(parts),
        )
        if parts.loader.trains and record.low >= 0.2 * record.items and record.items >= 16:
            looks: Any = lambda: MaskLeft(reference)  # noqa: E731
            record = record.model_copy(update={"made_at": self._shown(self._line(parts, "mask", looks))})
        return record

    def _reference(self, parts: _Parts) -> float:
        """What masks explain of their images in the other loaders, if they lie on them there; 0 if nobody knows."""
        import numpy as np

        best = 0.0
        for other in self._parts.values():
            if other is parts or other.loader.trains or len(other.on_image) < 8:
                continue
            own, wrong = float(np.median(other.on_image)), float(np.median(other.on_other))
            if own > max(0.05, 3 * wrong):
                best = max(best, own)
        return best

    def _side_records(self) -> Iterator[Record]:
        import numpy as np

        from traindx.watch.probes.item_relations import SidesMixed, agreement, partners

        usual: Any = None
        mean: Any = None
        for parts in self._parts.values():  # as they are where nothing is augmented
            if parts.loader.trains or len(parts.ways) < 8 or len({len(one) for one in parts.ways}) > 1:
                continue
            ways = np.array(parts.ways)
            steady = np.abs(ways.mean(0)) > 0.95
            if steady.mean() >= 0.3:
                usual = np.where(steady, np.sign(ways.mean(0)), 0)
                mean = np.mean([one - one.mean(0) for one in parts.points], axis=0)
        if usual is None:
            return
        for parts in self._parts.values():
            way = [agreement(one, usual) for one in parts.ways if len(one) == len(usual)]
            if not parts.loader.trains or not way:
                continue
            pairs = partners(mean)
            record = SidesSeen(
                items=len(way),
                mirrored=sum(one < -0.9 for one in way),
                kept=sum(one > 0.9 for one in way),
                landmarks=len(mean),
                pairs=sum(partner != number for number, partner in enumerate(pairs)) // 2 if pairs else 0,
                **self._facts(parts),
            )
            if record.mirrored and record.pairs:
                looks: Any = lambda: SidesMixed(usual)  # noqa: E731
                record = record.model_copy(update={"made_at": self._shown(self._line(parts, "sides", looks))})
            yield record

    def _facts(self, parts: _Parts) -> dict[str, Any]:
        loader = parts.loader
        return {
            "dataset": loader.dataset,
            "item": loader.item,
            "trains": loader.trains,
            "where": loader.made.location() if loader.made is not None else None,
            "step": self.watch.iteration,
        }

    def _shown(self, site: CallSite | None) -> Any:
        return site.location() if site is not None else None


def _weakly(dataset: Any) -> Callable[[], Any]:
    """A data set that is not kept alive; nothing where it must not be referred to weakly (a list, a tensor)."""
    if not hasattr(type(dataset), "__getitem__") or hasattr(type(dataset), "__torch_function__"):
        return lambda: None
    try:
        return weakref.ref(dataset)
    except TypeError:
        return lambda: None
