"""Heat maps beside the images that they are about: does the image show the same thing at every peak?

At the place of a landmark images of different patients look alike; at any other place they do not. Patches at the peaks
are averaged over items: what is left of their variation says whether that is the place, or its mirror image, or the one
with rows and columns exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import HeatMapsSeen
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.watch import Collector, Watch

MOST_ITEMS = 16  # of a batch
ENOUGH = 160  # items of a loader
LEAST_SIDE = 24
MOST_CHANNELS = 32
Size = tuple[int, int]
ELSEWHERE: dict[str, Callable[[float, float, Size], tuple[float, float]]] = {
    "own": lambda row, column, size: (row, column),
    "transposed": lambda row, column, size: (column, row),
    "mirrored": lambda row, column, size: (row, size[1] - 1 - column),
    "upside-down": lambda row, column, size: (size[0] - 1 - row, column),
}


@dataclass
class _Maps:
    """Patches by way of reading a place, and by landmark."""

    loader: Loader
    items: int = 0
    patches: dict[str, dict[int, list[Any]]] = field(default_factory=lambda: {way: {} for way in ELSEWHERE})


class HeatMaps(Collector):
    """Looks at batches as they leave a loader."""

    subject = "heat maps beside images"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self.bursts = Bursts(10, 1.5)
        self._maps: dict[tuple[Any, ...], _Maps] = {}

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_read(self, self._read)

    def _read(self, loader: Loader, batch: Any) -> None:
        key = (loader.made, id(getattr(self.loaders.reading, "_dataset", None)))
        known = self._maps.get(key)
        if (known is not None and known.items >= ENOUGH) or not self.bursts.wanted(key):
            return
        torch = self.watch.torch
        tensors = [one for _, one in tensors_in(batch, torch) if self._may_be(one)]
        if len(tensors) != 2:
            return
        pairs = [(image, maps) for image, maps in (tensors, tensors[::-1]) if image.shape[1] <= 4 and _peaked(maps)]
        if len(pairs) != 1:
            return
        image, maps = (one[:MOST_ITEMS].detach().as_subclass(torch.Tensor).double().numpy() for one in pairs[0])
        self._note(self._maps.setdefault(key, _Maps(loader)), image, maps)

    def _may_be(self, tensor: Any) -> bool:
        plain = tensor.layout is self.watch.torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
        return bool(
            plain
            and tensor.dim() == 4
            and tensor.shape[0] > 1
            and min(tensor.shape[2:]) >= LEAST_SIDE // 2
            and tensor.shape[1] <= MOST_CHANNELS
            and tensor.numel() <= 1 << 24
        )

    def _note(self, known: _Maps, images: Any, maps: Any) -> None:
        from traindx.watch.probes.item_relations import peaks

        height, width = images.shape[2:]
        if min(height, width) < LEAST_SIDE:
            return
        reach = max(3, round(0.08 * min(height, width)))
        for image, heat in zip(images.mean(1), maps, strict=True):
            found = peaks(heat)
            spread = image.std()
            if found is None or not spread > 0:
                continue
            known.items += 1
            flat = (image - image.mean()) / spread
            for landmark, (x, y) in enumerate(found):
                row = (y + 0.5) * height / heat.shape[1] - 0.5
                column = (x + 0.5) * width / heat.shape[2] - 0.5
                for way, move in ELSEWHERE.items():
                    at = [round(part) for part in move(row, column, (height, width))]
                    patch = flat[max(0, at[0] - reach) : at[0] + reach + 1, max(0, at[1] - reach) : at[1] + reach + 1]
                    if patch.shape == (2 * reach + 1, 2 * reach + 1):
                        known.patches[way].setdefault(landmark, []).append(patch)

    def records(self) -> Iterable[Record]:
        """One record a loader."""
        for known in self._maps.values():
            loader = known.loader
            yield HeatMapsSeen(
                where=loader.made.location() if loader.made is not None else None,
                dataset=loader.dataset,
                item=loader.item,
                trains=loader.trains,
                items=known.items,
                landmarks=len(known.patches["own"]),
                own=alike(known.patches["own"]),
                transposed=alike(known.patches["transposed"]),
                mirrored=max(alike(known.patches["mirrored"]), alike(known.patches["upside-down"])),
                step=self.watch.iteration,
            )


def _peaked(maps: Any) -> bool:
    """Zero nearly everywhere, and nowhere below."""
    return bool(maps.min() >= 0) and float(maps.max()) > 0 and float(maps.mean()) < 0.1 * float(maps.max())


def alike(patches: dict[int, list[Any]]) -> float:
    """Share of the patches' variation that their mean over items keeps; the median over landmarks.

    Patches of unrelated places keep one part in as many as there are.
    """
    import numpy as np

    shares = []
    for several in patches.values():
        if len(several) < 2:
            continue
        stack = np.stack(several)
        within = float(stack.var(axis=(1, 2)).mean())
        shares.append(float(stack.mean(0).var()) / within if within > 0 else 0.0)
    return float(np.median(shares)) if shares else 0.0
