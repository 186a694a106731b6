"""Do the items of a data set tell apart the values that its label maps have? And is what they do not tell a structure?

Only ever used in a child process. Items are made as the script makes them, with the same random numbers each time, once
from what is read and once for each pair of values with one of them written as the other. What a data set derives from
the value anywhere (a mask of what is valid, a weight) makes the item another one, and then nothing is merged.
"""

from __future__ import annotations

import ast
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later
from traindx.evidence.base import Record
from traindx.evidence.probed_labels import LabelsMerged
from traindx.watch.probes.changed_items import LEAST_VOXELS, Making, Read, label_values
from traindx.watch.probes.declared_values import declarations
from traindx.watch.probes.functions.common import words
from traindx.watch.probes.label_regions import Region, region
from traindx.watch.probes.labels_compared import LABELS
from traindx.watch.runtime.call_sites import loaded_files
from traindx.watch.runtime.syntax import walk

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

SECONDS = 3.0  # of processor time for all data sets
TRACED = 12  # times that making an item takes under a trace, at most, as its lines are looked at
MERGING = {"clip", "clip_", "clamp", "clamp_", "clamp_max", "minimum", "astype", "bool", "where", "sign"}
READING = {"imread", "open", "load", "get_fdata", "asarray", "array", "read_image", "GetArrayFromImage"}


@dataclass
class _Shown:
    """What the items of a data set showed of its values."""

    values: set[float] = field(default_factory=set)
    maps: int = 0
    indices: dict[tuple[float, float, float], list[int]] = field(default_factory=dict)
    """Items that are the same with the first value written as the second, and others with it written as the third."""
    told: set[tuple[float, float]] = field(default_factory=set)  # some item changed with one written as the other


def merged_values(torch: Any, datasets: Iterable[Any]) -> Iterator[Record]:
    """A record for every value that a data set merges; one a data set that reads maps of labels and merges nothing."""
    loaded_files()  # asked for every item: what is looked up once a program is not these items' time
    until = time.process_time() + SECONDS
    for dataset in datasets:
        try:
            records = list(_merged(torch, dataset, until)) if time.process_time() < until else []
        except Exception:  # whatever a data set raises that is given something else
            continue
        yield from records


def _merged(torch: Any, dataset: Any, until: float) -> Iterator[LabelsMerged]:
    made = Making(torch, dataset)
    begun = time.process_time()
    half = begun + (until - begun) / 2  # another data set comes after it
    shown, without = _Shown(), 0
    reads: dict[int, Read] = {}
    for index in made.indices():
        if time.process_time() > half:
            break
        read = made.read(index)
        values = label_values(read.maps[0]) if len(read.maps) == 1 else None
        if values is None:
            without += 1
            if without > 1 and not shown.maps:
                return
            continue
        shown.maps += 1
        shown.values |= set(values)
        if len(values) > 2:
            reads[index] = read
            _pairs(made, index, sorted(values), shown, half)
    if not shown.maps:
        return
    shown.indices = {key: known for key, known in shown.indices.items() if key[:2] not in shown.told}
    said = declarations(shown.values, made.paths()) if shown.indices else {}
    found = [
        one for value in sorted({key[0] for key in shown.indices}) for one in _of_value(made, shown, reads, value, said)
    ]
    if not found:
        yield LabelsMerged(
            dataset=type(made.inmost).__name__, values=tuple(sorted(shown.values)), maps=shown.maps, where=made.defined
        )
    for one in found:
        index = shown.indices[one.value, one.into, one.told_from[0]][0]
        where, meant = None, False
        if time.process_time() + 3 * TRACED * made.seconds < until + SECONDS / 2:
            with suppress(Exception):  # an item that cannot be made under a trace: its place is known less well
                where, meant = made.line(index, one.value, one.into, one.told_from[0])
        yield one.model_copy(update={"where": where or made.defined, "meant": meant})


def _pairs(made: Making, index: int, values: list[float], shown: _Shown, until: float) -> None:
    """Which values of one item's map the item tells apart."""
    plain = made.item(index, None)
    if not _alike(plain, made.item(index, None)):
        return
    alike: dict[tuple[float, float], bool] = {}
    for value, into in itertools.permutations(values, 2):
        if time.process_time() > until:
            return
        if value != values[0]:  # the lowest stands for nothing, in most maps
            item = made.item(index, (value, into))
            alike[value, into] = _alike(plain, item)
            if not alike[value, into] and _also_valid(plain, item):
                return
    shown.told |= {key for key, same in alike.items() if not same}
    for value, into in [key for key, same in alike.items() if same]:
        for other in values:
            if other not in (value, into) and alike.get((value, other)) is False:
                shown.indices.setdefault((value, into, other), []).append(index)


def _of_value(
    made: Making, shown: _Shown, reads: dict[int, Read], value: float, said: dict[float, str]
) -> Iterator[LabelsMerged]:
    """What is known of a value that items do not tell from another one, in one record."""
    intos = sorted({key[1] for key in shown.indices if key[0] == value})
    others = sorted({key[2] for key in shown.indices if key[0] == value} - set(intos))
    if not others:
        return
    indices = sorted({index for key, known in shown.indices.items() if key[0] == value for index in known})
    shares = [float((one == value).mean()) for index in indices for one in reads[index].maps]
    seen = [one for index in indices for one in _regions(reads[index], value, intos, others)]
    figures: dict[str, Any] = {}
    if seen:
        edges = [one.edge for one in seen if one.edge is not None]
        figures = {
            name: median(getattr(one, name) for one in seen)
            for name in ("deep", "apart", "mixture", "part", "pure", "follows")
        }
        figures["edge"] = median(edges) if edges else None
    yield LabelsMerged(
        dataset=type(made.inmost).__name__,
        values=tuple(sorted(shown.values)),
        maps=shown.maps,
        value=value,
        into=intos[0],
        items=len(indices),
        told_from=tuple(others),
        share=median(shares),
        pictures=len(seen),
        declared=said.get(value, ""),
        where=made.defined,
        **figures,
    )


def _regions(read: Read, value: float, intos: list[float], others: list[float]) -> Iterator[Region]:
    labels = read.maps[0]
    for picture in read.pictures:
        image = _laid_on(picture, labels)
        if image is not None:
            seen = region(image, labels.reshape(image.shape), value, intos, others)
            if seen is not None:
                yield seen
            return


def _laid_on(picture: Any, labels: Any) -> Any | None:
    """An image of one channel, of the shape of a map of labels without axes of length 1; None where it has another."""
    shape = tuple(size for size in labels.shape if size > 1)
    image = picture.reshape([size for size in picture.shape if size > 1])
    if image.shape == shape:
        return image
    for axis in (image.ndim - 1, 0):
        if image.ndim == len(shape) + 1 and image.shape[axis] <= 4:
            left = image.shape[:axis] + image.shape[axis + 1 :]
            if left == shape:
                return image.astype(np.float64).mean(axis=axis)
    return None


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        one[path].shape == other[path].shape and bool(np.array_equal(one[path], other[path], equal_nan=True))
        if one[path].dtype.kind in "fc"
        else bool(np.array_equal(one[path], other[path]))
        for path in one
    )


def _also_valid(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Beside the target that changes there is an array of few values that does not: what is valid may be read apart."""
    if one.keys() != other.keys():
        return False
    changed = {path for path in one if not np.array_equal(one[path], other[path])}
    sizes = {one[path].size for path in changed}
    return any(
        path not in changed and array.size in sizes and array.size >= LEAST_VOXELS and 2 <= _distinct(array) <= 8
        for path, array in one.items()
    )


def _distinct(array: Any) -> int:
    return len(np.unique(array.reshape(-1)[: 1 << 16]))


# -- what is worth a look ----------------------------------------------------------------------------------------------


def any_merging(trees: Iterable[ast.Module]) -> bool:
    """True if some source compares, clips or casts something that is named for labels, or that it reads."""
    return any(_merges(node) for tree in trees for node in walk(tree))


def _merges(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        wanted = len(node.ops) == 1 and isinstance(node.ops[0], ast.Gt | ast.GtE | ast.NotEq | ast.Eq | ast.Lt)
        wanted = wanted and any(
            isinstance(side, ast.Constant) and type(side.value) in (int, float)
            for side in (node.left, *node.comparators)
        )
    else:
        wanted = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MERGING
    if not wanted:
        return False
    names = [one.id if isinstance(one, ast.Name) else getattr(one, "attr", "") for one in walk(node)]
    return any(name in READING or LABELS & set(words(name)) for name in names)
