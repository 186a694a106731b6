"""Items whose image came back mirrored: did the places that belong to it (boxes, points) come along?

Items are followed by the index that the sampler drew. Of each sighting a small grey picture is kept, and the numbers
of whatever part of the item is named like a place, however deep it lies in lists and mappings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from traindx.core.frames import defined_at
from traindx.evidence.observed_items import PlacesOnMirrored
from traindx.finding import Location
from traindx.watch.collectors.item_contents import ItemContents
from traindx.watch.collectors.loaders import Loader, tensors_in
from traindx.watch.runtime.structure import items as entries
from traindx.watch.runtime.structure import members
from traindx.watch.runtime.watch import Collector, Watch

FOLLOWED = 48  # items of a loader
MOST_SIGHTINGS = 6  # of each
SIDE = 24  # of the small pictures, in pixels
LEAST_SIDE = 8  # of an image
MOST_NUMBERS = 256  # of an item's places
DEPTH = 4
PLACES_BY_NAME = re.compile(r"key_?point|landmark|bbox|box|coord|corner|joint|fiducial|\bkpts?\b", re.IGNORECASE)
# Two sightings of a picture are mirror images of each other if the one agrees with the other's mirror image far better
# than with the other itself: small turns, crops and changes of contrast leave the agreement above one half.
AGREES, AHEAD = 0.5, 0.3


@dataclass
class _Sighting:
    picture: Any
    places: dict[str, tuple[float, ...]]


@dataclass
class _Followed:
    loader: Loader
    dataset: str = ""
    made_at: Location | None = None
    last: dict[int, _Sighting] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    mirrored: dict[str, int] = field(default_factory=dict)
    stayed: dict[str, int] = field(default_factory=dict)


class MirroredItems(Collector):
    """Compares each sighting of an item with the one before; batches are only read."""

    subject = "places on mirrored images"

    def __init__(self, watch: Watch, contents: ItemContents) -> None:
        super().__init__(watch)
        self.contents = contents
        self._loaders: dict[tuple[Any, ...], _Followed] = {}

    def install(self) -> None:
        """Subscribe."""
        self.contents.on_indexed(self, self._read)

    def _read(self, loader: Loader, dataset: Any, indices: tuple[int, ...], batch: Any) -> None:
        key = (loader.made, id(dataset))
        seen = self._loaders.get(key)
        if seen is None:
            inner = _innermost(dataset)
            item = getattr(type(inner), "__getitem__", None)
            made_at = defined_at(item) if hasattr(item, "__code__") else None
            seen = self._loaders[key] = _Followed(loader, type(inner).__name__, made_at)
        due = [k for k, index in enumerate(indices) if self._due(seen, index)]
        places = places_of(batch, len(indices)) if due else {}
        image = self._image(batch, len(indices)) if places else None
        if image is None or self.watch.would_wait(image):
            return
        for place in due:
            own = {name: numbers for name, rows in places.items() if (numbers := numbers_in(rows[place]))}
            if own:
                self._again(seen, indices[place], _Sighting(self._small(image[place]), own))

    @staticmethod
    def _due(seen: _Followed, index: int) -> bool:
        times = seen.times.get(index)
        return len(seen.times) < FOLLOWED if times is None else times < MOST_SIGHTINGS

    def _image(self, batch: Any, count: int) -> Any | None:
        """The one image of every item; None where there are several: places may belong to one that is as it was."""
        torch = self.watch.torch
        found = [
            one
            for _, one in tensors_in(batch, torch)
            if one.dim() == 4 and one.shape[0] == count and min(one.shape[2:]) >= LEAST_SIDE and one.shape[1] <= 4
        ]
        return found[0].detach() if len(found) == 1 and found[0].layout is torch.strided else None

    def _small(self, image: Any) -> Any:
        torch = self.watch.torch
        grey = image.as_subclass(torch.Tensor).float().mean(0)
        small = torch.nn.functional.adaptive_avg_pool2d(grey[None, None], SIDE)[0, 0].double()
        small = small - small.mean()
        return small / small.norm().clamp_min(1e-12)

    def _again(self, seen: _Followed, index: int, now: _Sighting) -> None:
        before = seen.last.get(index)
        seen.last[index] = now
        seen.times[index] = seen.times.get(index, 0) + 1
        if before is None or not mirrored(before.picture, now.picture):
            return
        for name, numbers in now.places.items():
            if name in before.places:
                seen.mirrored[name] = seen.mirrored.get(name, 0) + 1
                seen.stayed[name] = seen.stayed.get(name, 0) + (numbers == before.places[name])

    def records(self) -> Iterable[PlacesOnMirrored]:
        """One record for every part of a loader's items that is named like a place."""
        for seen in self._loaders.values():
            made = seen.loader.made
            for name, pairs in seen.mirrored.items():
                yield PlacesOnMirrored(
                    where=made.location() if made is not None else None,
                    dataset=seen.dataset,
                    part=name,
                    mirrored=pairs,
                    stayed=seen.stayed[name],
                    made_at=seen.made_at,
                    trains=seen.loader.trains,
                    step=self.watch.iteration,
                )


def mirrored(one: Any, other: Any) -> bool:
    """True if a small picture agrees with a mirror image of another one, and far less with the other itself.

    Args:
        one: Square picture of mean 0 and norm 1.
        other: The same.
    """
    straight = float((one * other).sum())
    turned = max(float((one * other.flip(axes)).sum()) for axes in ((0,), (1,), (0, 1)))
    return turned >= AGREES and turned - straight >= AHEAD


def places_of(batch: Any, count: int) -> dict[str, Any]:
    """Parts of a batch that are named like places, each with an entry an item; no method of the script's is called."""
    found: dict[str, Any] = {}
    named = [(str(name), value) for name, value in entries(batch)] if isinstance(batch, dict) else []
    if isinstance(batch, list | tuple):
        named = [(str(number), value) for number, value in enumerate(members(batch))]
    for name, value in named:
        rows = _rows(value)
        if rows is None or len(rows) != count:
            continue
        if isinstance(batch, dict) and PLACES_BY_NAME.search(name):
            found[name] = rows
        elif all(isinstance(one, dict) for one in rows):
            fields = [dict(entries(one)) for one in rows]
            for inner in {key for one in fields for key in one if isinstance(key, str) and PLACES_BY_NAME.search(key)}:
                found[f"{name}.{inner}"] = [one.get(inner) for one in fields]
    return found


def _rows(value: Any) -> Any | None:
    """The entries of a part of a batch; None where it has none."""
    if isinstance(value, list | tuple):
        return members(value)
    plain = type(value).__module__.partition(".")[0] in ("torch", "numpy")
    return value if plain and len(getattr(value, "shape", ())) >= 2 else None


def numbers_in(value: Any) -> tuple[float, ...]:
    """All fractions and numbers of a part of an item in their order; () for none, or far too many."""
    found: list[float] = []
    for one in _leaves(value, 0):
        found.append(one)
        if len(found) > MOST_NUMBERS:
            return ()
    return tuple(found) if any(found) else ()


def _leaves(value: Any, depth: int) -> Iterator[float]:
    if isinstance(value, bool) or value is None or depth > DEPTH:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, dict):
        for _, one in entries(value):
            yield from _leaves(one, depth + 1)
    elif isinstance(value, list | tuple):
        for one in members(value)[: MOST_NUMBERS + 1]:
            yield from _leaves(one, depth + 1)
    elif type(value).__module__.partition(".")[0] in ("torch", "numpy") and hasattr(value, "tolist"):
        count = value.numel() if callable(value.size) else value.size
        if 0 < count <= MOST_NUMBERS:
            yield from _leaves(value.tolist(), depth)


def _innermost(dataset: Any) -> Any:
    """The data set that makes the items, below the subsets it is wrapped in."""
    for _ in range(3):
        inner = vars(dataset).get("dataset") if hasattr(dataset, "__dict__") else None
        if inner is None:
            break
        dataset = inner
    return dataset
