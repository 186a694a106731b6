"""Items made from pictures with one spot: do image and mask, points or boxes of an item have it at the same place?

In a child process the pictures of a few items are replaced where the data set keeps them, or as they are read from
files, each by one of its own form with a bright spot at the same place; so are points and boxes. Then the items are
made as the script makes them, with other random numbers each time. Whatever moves one of the two alone shows.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from traindx.core.frames import defined_at
from traindx.evidence.base import Record
from traindx.evidence.probed_functions import MovedTried
from traindx.finding import Location
from traindx.watch.probes.file_readers import reading_changed
from traindx.watch.probes.functions.common import as_tensor, like, parts_of
from traindx.watch.probes.functions.moved import put
from traindx.watch.probes.functions.pictures import Place, array_of, is_mask, is_picture, size_of, spot_in, spot_like
from traindx.watch.probes.making import LineTrace, seed, traced
from traindx.watch.probes.recorded import copied

ITEMS = 3
TRIES = 10
SECONDS = 1.5  # of processor time a data set
PLACES_BY_NAME = re.compile(r"key_?point|landmark|bbox|box|points?\b|coord|corner|joint|fiducial|\bkpts?\b")
PLACES = ((0.4, 0.6), (0.6, 0.45), (0.45, 0.35), (0.55, 0.6), (0.5, 0.42))
WAYS = {0: ("mask",), 2: ("xy", "yx"), 4: ("xyxy", "yxyx", "cxcywh", "xywh")}
"""Ways to write a place, by the numbers that it takes."""
DEEP = 3  # data sets inside data sets


def items_tried(torch: Any, datasets: list[Any]) -> Iterator[Record]:
    """Every data set whose items are an image and a mask."""
    for dataset in datasets:
        try:
            record = _tried(torch, dataset)
        except Exception:  # whatever a data set raises that is given something else
            continue
        if record is not None:
            yield record


def _tried(torch: Any, dataset: Any) -> MovedTried | None:
    seed(torch, 0)
    roles = _roles(torch, dataset, dataset[0])
    if roles is None:
        return None
    best: MovedTried | None = None
    for way in WAYS[roles.width]:  # of writing a place: which one is the script's shows where it agrees
        record = _in_one_way(torch, dataset, roles, way)
        if record is not None and (best is None or record.apart < best.apart):
            best = record
    if best is not None and roles.width and best.apart > 0.8 * best.tries:
        return None  # it agrees nowhere: nobody knows how its places are written
    return best


def _in_one_way(torch: Any, dataset: Any, roles: _Roles, way: str) -> MovedTried | None:
    if not _comes_out(torch, dataset, roles, way):
        return None
    until = time.process_time() + SECONDS / len(WAYS[roles.width])
    tries, apart, farthest = 0, 0, 0.0
    broken: tuple[int, int] | None = None
    seen: list[Place] = []
    for number in range(TRIES):
        if time.process_time() > until:
            break
        index = number % min(ITEMS, len(dataset))
        found = _places(torch, _made(torch, dataset, index, number, way), roles, way)
        if found is None:
            continue
        distance, place = found
        seen.append(place)
        tries += 1
        if distance > 0:
            apart += 1
            farthest = max(farthest, distance)
            broken = broken or (index, number)
    if tries < TRIES // 2 or max((place.distance(seen[0]) for place in seen), default=0.0) < 2:
        return None  # what was put in did not come out
    where = _line(torch, dataset, *broken) if broken and apart >= tries / 5 and not roles.width else None
    item = getattr(type(dataset), "__getitem__", None)
    defined = defined_at(item) if hasattr(item, "__code__") else None
    return MovedTried(
        function=type(dataset).__name__,
        how="items",
        part={0: "mask", 2: "points", 4: "boxes"}[roles.width],
        tries=tries,
        apart=apart,
        distance=farthest,
        where=where or defined,
    )


def _comes_out(torch: Any, dataset: Any, roles: _Roles, way: str) -> bool:
    """With the same random numbers image and target both follow where the spot is put: it is ours that is seen."""
    for index in range(min(2, len(dataset))):
        followed: list[tuple[Place, Place]] = []
        for row, column in PLACES[:2]:
            with _spotted(torch, dataset, index, row, column, way) as replaced:
                seed(torch, 300)
                item = copied(torch, dataset[index])
            parts = dict(parts_of(item))
            image = next((place for path in roles.images if (place := spot_in(torch, parts.get(path)))), None)
            if roles.width:
                said = _said(torch, parts.get(roles.target), way, size_of(torch, parts.get(roles.images[0])))
                target = said[0] if said else None
            else:
                target = spot_in(torch, parts.get(roles.target))
            if image is None or target is None or len(replaced) < (1 if roles.width else 2):
                return False
            followed.append((image, target))
        for one, other in zip(*followed, strict=True):
            if one.distance(other) <= 0.05:  # of what is told in shares, too
                return False
    return True


@dataclass(frozen=True)
class _Roles:
    """Paths to the images of an item and to its one target; numbers in a row of it, 0 for a mask."""

    images: tuple[str, ...]
    target: str
    width: int = 0


def _roles(torch: Any, dataset: Any, item: Any) -> _Roles | None:
    pictures = [(path, value) for path, value in parts_of(item) if is_picture(torch, value)]
    masks = [path for path, value in pictures if is_mask(torch, value)]
    images = tuple(path for path, _ in pictures if path not in masks)
    if images and len(masks) == 1:
        return _Roles(images, masks[0])
    rows = [(path, width) for path, value in parts_of(item) if (width := _row_width(torch, value))]
    if len(images) == 1 and not masks and len(rows) == 1 and _speaks_of_places(dataset):
        return _Roles(images, rows[0][0], rows[0][1])
    return None


def _speaks_of_places(dataset: Any) -> bool:
    """Two or four numbers may be anything; the source of the data set says whether they are points or boxes."""
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    try:
        return bool(PLACES_BY_NAME.search(inspect.getsource(type(dataset)).lower()))
    except (OSError, TypeError):
        return False


def _row_width(torch: Any, value: Any) -> int:
    """2 for an array of points, 4 for one of boxes, 0 for anything else."""
    tensor = as_tensor(torch, value)
    if tensor is None or tensor.dim() not in (1, 2) or not tensor.is_floating_point() or tensor.numel() > 512:
        return 0
    width = tensor.shape[-1] if tensor.dim() == 2 and len(tensor) else tensor.numel() if tensor.dim() == 1 else 0
    return width if width in (2, 4) and bool(tensor.isfinite().all()) else 0


def _made(torch: Any, dataset: Any, index: int, number: int, way: str) -> Any:
    """An item from pictures that have a spot, all at one place."""
    row, column = PLACES[number % len(PLACES)]
    with _spotted(torch, dataset, index, row, column, way):
        seed(torch, 200 + number)
        return copied(torch, dataset[index])  # it may be a view of what is put back


def _places(torch: Any, item: Any, roles: _Roles, way: str) -> tuple[float, Place] | None:
    """How far the target's place is from that of the nearest image, 0 within the tolerance; and where it is."""
    parts = dict(parts_of(item))
    target = parts.get(roles.target)
    if roles.width:
        image = parts.get(roles.images[0])
        height, width = size_of(torch, image)
        seen, said = spot_in(torch, image), _said(torch, target, way, (height, width))
        if seen is None or not said:
            return None
        near = min(seen.distance(one) for one in said)
        return (near if near > max(3.0, 0.08 * min(height, width)) else 0.0), seen
    goal = spot_in(torch, target)
    if goal is None:
        return None
    height, width = size_of(torch, target)
    best: float | None = None
    for path in roles.images:
        place = spot_in(torch, parts.get(path))
        if place is None:
            continue
        size = size_of(torch, parts[path])
        scaled = Place(place.row * height / size[0], place.column * width / size[1])
        best = min(goal.distance(scaled), best if best is not None else 1e9)
    if best is None:
        return None
    return (best if best > max(2.5, 0.06 * min(height, width)) else 0.0), goal


def _written(way: str, row: float, column: float) -> list[float]:
    """A place as a point or as a small box around it."""
    low = (row - 2, column - 2)
    high = (row + 2, column + 2)
    return {
        "mask": [],
        "xy": [column, row],
        "yx": [row, column],
        "xyxy": [low[1], low[0], high[1], high[0]],
        "yxyx": [*low, *high],
        "xywh": [low[1], low[0], 4.0, 4.0],
        "cxcywh": [column, row, 4.0, 4.0],
    }[way]


def _said(torch: Any, value: Any, way: str, size: tuple[int, int]) -> list[Place]:
    """The place that rows of numbers name, in pixels or in shares of the image; nothing where they do not agree."""
    tensor = as_tensor(torch, value)
    if tensor is None or not tensor.numel():
        return []
    rows = tensor.double().reshape(-1, len(_written(way, 0, 0)))
    if float((rows - rows[0]).abs().max()) > 1.0:
        return []
    first, second, *more = rows[0].tolist()
    if way in ("xyxy", "yxyx"):
        first, second = (first + more[0]) / 2, (second + more[1]) / 2
    elif way == "xywh":
        first, second = first + more[0] / 2, second + more[1] / 2
    row, column = (first, second) if way in ("yx", "yxyx") else (second, first)
    return [Place(row, column), Place(row * size[0], column * size[1])]


# -- pictures with a spot instead of those that there are --------------------------------------------------------------


@contextmanager
def _spotted(
    torch: Any, dataset: Any, index: int, row: float, column: float, way: str = "mask"
) -> Iterator[list[tuple[int, int]]]:
    """Inside, the sizes of the pictures that were replaced so far."""
    sizes: list[tuple[int, int]] = []

    def spot(value: Any) -> Any:
        """The same container with a spot in each of its pictures."""
        for path, one in parts_of(value):
            if is_picture(torch, one):
                height, width = size_of(torch, one)
                sizes.append((height, width))
                place = Place(row * height, column * width)
                value = put(value, path, spot_like(torch, one, place, square=is_mask(torch, one)))
        for path, one in parts_of(value) if way != "mask" else ():
            if _row_width(torch, one) == len(_written(way, 0, 0)) and sizes:
                value = put(value, path, _rows_like(torch, one, way, row, column, sizes[-1]))
        return value

    with changed_where_kept(torch, dataset, index, spot):
        yield sizes


@contextmanager
def changed_where_kept(torch: Any, dataset: Any, index: int, change: Callable[[Any], Any]) -> Iterator[None]:
    """Inside, what a data set keeps for an index, and what readers of files give, are changed by a function.

    Args:
        torch: The script's torch.
        dataset: A data set with an index.
        index: The item that is going to be made.
        change: Given an entry or what was read; returns one of its form.
    """
    undo: list[Callable[[], None]] = []
    try:
        entries = list(stores(torch, dataset, index))  # those with pictures first: places are in their pixels
        entries.sort(key=lambda one: not any(is_picture(torch, part) for _, part in parts_of(one[0][one[1]])))
        for keep, at in entries:
            undo.append(_exchanged(torch, keep, at, change))
        with reading_changed(change):
            yield
    finally:
        for one in reversed(undo):
            one()


def _rows_like(torch: Any, value: Any, way: str, row: float, column: float, size: tuple[int, int]) -> Any:
    """Points or boxes in the form of others, all at one place; in shares of the image where the others are."""
    tensor = as_tensor(torch, value)
    assert tensor is not None
    made = torch.tensor(_written(way, row * size[0], column * size[1]), dtype=torch.float64)
    if float(tensor.abs().max()) <= 1.5:
        made = made / torch.tensor([size[0 if (way[0] == "y") == (axis % 2 == 0) else 1] for axis in range(len(made))])
    return like(torch, made.expand(tensor.shape).clone(), value)


def stores(torch: Any, dataset: Any, index: int, depth: int = 0) -> Iterator[tuple[Any, int]]:
    """Containers of a data set that have something for an index, in it or in the data set that it takes items from."""
    if isinstance(dataset, torch.utils.data.Subset):
        yield from stores(torch, dataset.dataset, int(dataset.indices[index]), depth + 1)
        return
    for value in list(vars(dataset).values()) if hasattr(dataset, "__dict__") else ():
        if isinstance(value, torch.utils.data.Dataset) and depth < DEEP:
            yield from stores(torch, value, index, depth + 1)
        groups = (
            value.values() if type(value) is dict else value if type(value) is tuple and len(value) < 5 else [value]
        )
        for one in groups:
            whole = type(one) is list or (hasattr(one, "shape") and hasattr(one, "dtype") and len(one.shape) > 1)
            if whole and len(one) > index:
                yield one, index


def _exchanged(torch: Any, keep: Any, at: int, spot: Callable[[Any], Any]) -> Callable[[], None]:
    before = keep[at]
    if type(keep) is not list:
        before = before.clone() if isinstance(before, torch.Tensor) else before.copy()
    keep[at] = spot(before)

    def back() -> None:
        keep[at] = before

    return back


# -- the line ----------------------------------------------------------------------------------------------------------


class SpotsApart:
    """Asked line by line: do an image and a mask within reach have their spots at different places?"""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def __call__(self, arrays: dict[str, Any]) -> bool | None:
        """After one line."""
        torch = self.torch
        returned = {name: one for name, one in arrays.items() if name.startswith("return")}
        masks = [one for one in returned.values() if is_picture(torch, one) and is_mask(torch, one)]
        shown = returned if masks and len(returned) > len(masks) else arrays  # not what it was made of
        pictures = [one for one in shown.values() if is_picture(torch, one)]
        masks = [one for one in pictures if is_mask(torch, one)]
        images = [one for one in pictures if not is_mask(torch, one)]
        goals = [place for one in masks if (place := _share(torch, one)) is not None]
        places = [place for one in images if (place := _share(torch, one)) is not None]
        if not goals or not places:
            return None
        nearest = min(goal.distance(place) for goal in goals[-1:] for place in places)
        return nearest > 0.06


def _share(torch: Any, value: Any) -> Place | None:
    """Where a spot lies, in shares of the smaller side."""
    place, size = spot_in(torch, value), size_of(torch, value)
    return Place(place.row / min(size), place.column / min(size)) if place is not None else None


def _line(torch: Any, dataset: Any, index: int, number: int) -> Location | None:
    """The line after which the spots lie apart, in an item in which they do."""
    row, column = PLACES[number % len(PLACES)]
    with _spotted(torch, dataset, index, row, column):
        seed(torch, 200 + number)
        trace = LineTrace(SpotsApart(torch))
        item = traced(trace, dataset, index)
    pictures = [array_of(torch, one) for _, one in parts_of(item) if is_picture(torch, one)]
    trace.looks({str(position): one for position, one in enumerate(pictures)})
    return trace.broken.location() if trace.broken is not None else None
