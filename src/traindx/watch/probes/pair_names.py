"""Two lists of files that a data set keeps, image and mask or input and target: do their names agree, index by index?

``glob`` and ``listdir`` give names in no order, and two lists that are made one by one need not have the same. Where
both have the same keys (names without the words for what they are, or their numbers) and an index has one key in the
one list and another in the other, an item is made of two cases. Which files an item opens is seen in a child process.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import PurePath
from typing import Any

from traindx.evidence.probed_functions import PairsByName
from traindx.watch.probes.live_calls import assigned_in
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.structure import known_length
from traindx.watch.runtime.syntax import walk

LEAST = 6  # items
MOST = 200_000
DEEP = 4  # data sets inside data sets
UNIQUE = 0.95  # of the keys of a list, and of those that the other one has, too
OPENED = 4  # items that are made to see which files they open
UNORDERED = {"glob", "iglob", "rglob", "listdir", "iterdir", "scandir"}
ROLES = {
    "image", "images", "img", "imgs", "im", "mask", "masks", "msk", "label", "labels", "lbl", "lab", "seg", "segs",
    "segmentation", "annotation", "annotations", "annot", "gt", "groundtruth", "ground", "truth", "target", "targets",
    "input", "inputs", "output", "x", "y", "lr", "hr", "low", "high", "noisy", "clean", "source", "src", "tgt", "ct",
    "mr", "mri", "t1", "t2", "flair", "pet", "manual", "roi", "vol", "volume", "data", "train", "val", "test", "png",
    "tif", "tiff", "jpg", "jpeg", "bmp", "nii", "gz", "npy", "npz", "dcm", "mat", "h5", "mha", "nrrd",
}  # fmt: skip
"""Words that tell what a file is, not of whom."""
TARGETS = {
    "mask", "masks", "msk", "label", "labels", "lbl", "seg", "segs", "segmentation", "segmentations", "annotation",
    "annotations", "annot", "gt", "truth", "target", "targets", "roi", "contour", "contours",
}  # fmt: skip
"""Words that tell that one file is what is asked of the other."""
_WEIGHTED = re.compile(r"(?<![a-z0-9])t[12]w?(?![a-z0-9])", re.IGNORECASE)  # a sequence of MR, whose number is none


@dataclass(frozen=True)
class Column:
    """One file an item.

    Attributes:
        name: Attribute that holds the list (and the entry of a tuple or dictionary).
        owner: Class that has the attribute.
        files: The files, by index of the data set that keeps them.
        indices: Those that are read, by index of the data set that is read.
    """

    name: str
    owner: type
    files: list[str]
    indices: list[int]


def pairs_tried(torch: Any, dataset: Any) -> Iterator[PairsByName]:
    """The first two lists of files of a data set whose names go together."""
    columns = list(_columns(torch, dataset))[:6]
    for number, first in enumerate(columns):
        for second in columns[number + 1 :]:
            keys = _keys(first.files, second.files)
            if keys is None or first.indices != second.indices:
                continue
            apart = [at for at, index in enumerate(first.indices) if keys[0][index] != keys[1][index]]
            both, neither = _opened(dataset, first, second, apart) if apart else (0, 0)
            site = _made_at(second) or _made_at(first) if apart else None
            yield PairsByName(
                dataset=type(dataset).__name__,
                first=first.name,
                second=second.name,
                items=len(first.indices),
                apart=len(apart),
                opened=both,
                others=neither,
                target=_is_target(first) != _is_target(second),
                where=site.location() if site is not None else None,
            )
            return


def _is_target(column: Column) -> bool:
    """Its name, or the folder and the names of its files, say that it is a mask or a label."""
    parts = [column.name, *(PurePath(one).name for one in column.files[:8]), PurePath(column.files[0]).parent.name]
    return any(TARGETS & set(re.findall(r"[a-z]+", part.lower())) for part in parts)


def _columns(torch: Any, dataset: Any, depth: int = 0) -> Iterator[Column]:
    count = known_length(dataset) or 0
    if depth > DEEP or not LEAST <= count <= MOST:
        return
    if isinstance(dataset, torch.utils.data.Subset):
        for column in _columns(torch, dataset.dataset, depth + 1):
            chosen = [column.indices[int(index)] for index in dataset.indices]
            yield Column(column.name, column.owner, column.files, chosen)
        return
    try:
        fields = object.__getattribute__(dataset, "__dict__")
    except AttributeError:
        return
    for name, value in list(fields.items()):
        if isinstance(value, torch.utils.data.Dataset) and known_length(value) == count:
            yield from _columns(torch, value, depth + 1)
            continue
        array = type(value).__name__ == "ndarray" and value.ndim == 1 and value.dtype.kind in "UO"
        if (array or type(value) in (list, tuple)) and len(value) == count:
            for label, files in _files_in(value.tolist() if array else list(value)):
                yield Column(f"{name}{label}", type(dataset), files, list(range(count)))


def _files_in(entries: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """A list of paths as it is; of tuples and dictionaries every position that holds a path."""
    first = entries[0]
    places: list[tuple[str, Callable[[Any], Any]]] = [("", lambda one: one)]
    if isinstance(first, dict):
        places = [(f"[{key!r}]", itemgetter(key)) for key in first]
    elif isinstance(first, list | tuple):
        places = [(f"[{at}]", itemgetter(at)) for at in range(len(first))]
    for label, part in places:
        with suppress(KeyError, IndexError, TypeError):
            values = [part(one) for one in entries]
            if all(isinstance(one, str) or hasattr(one, "__fspath__") for one in values):
                texts = [str(one) for one in values]
                if all(re.search(r"\w", one) for one in texts) and any("." in one or "/" in one for one in texts):
                    yield label, texts


def _keys(first: list[str], second: list[str]) -> tuple[list[Any], list[Any]] | None:
    """Keys of two lists by the first way to read them in which each is unique and both have the same."""
    if len(set(first) & set(second)) > 0.05 * len(first):
        return None  # the same files in both: neighbours in time, or two of a kind
    for read in (_stem, _path, _numbers_of_stem, _numbers_of_path):
        one, other = [read(text) for text in first], [read(text) for text in second]
        least = UNIQUE * len(first)
        if not all(one) or len(set(one)) < least or len(set(other)) < least:
            continue
        if len(set(one) & set(other)) >= least:
            return one, other
    return None


def _words(text: str) -> tuple[str, ...]:
    parts = re.findall(r"[a-z]+|\d+", _WEIGHTED.sub("_", text.lower()))
    return tuple(str(int(one)) if one.isdigit() else one for one in parts if one not in ROLES)


def _stem(text: str) -> tuple[str, ...]:
    return _words(PurePath(text).name)


def _path(text: str) -> tuple[str, ...]:
    return _words("/".join(PurePath(text).parts[-3:]))


def _numbers_of_stem(text: str) -> tuple[str, ...]:
    return tuple(str(int(one)) for one in re.findall(r"\d+", _WEIGHTED.sub("_", PurePath(text).stem)))


def _numbers_of_path(text: str) -> tuple[str, ...]:
    return tuple(str(int(one)) for one in re.findall(r"\d+", _WEIGHTED.sub("_", "/".join(PurePath(text).parts[-3:]))))


def _opened(dataset: Any, first: Column, second: Column, apart: list[int]) -> tuple[int, int]:
    """Of some items whose names differ: how many open both files of their index, and how many open other ones."""
    seen: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and args and isinstance(args[0], str):
            seen.append(args[0])

    sys.addaudithook(hook)
    both = others = 0
    step = max(1, len(apart) // OPENED)
    for index in apart[::step][:OPENED]:
        seen.clear()
        with suppress(Exception):  # whatever a data set raises
            dataset[index]
        names = [PurePath(one).name for one in seen]
        here = [PurePath(column.files[column.indices[index]]).name for column in (first, second)]
        if all(name in names for name in here):
            both += 1
        elif any(name in names for name in here) and any(PurePath(one).name in names for one in second.files):
            others += 1
    return both, others


def _made_at(column: Column) -> CallSite | None:
    """The line that lists the files in no order, where the class has one; else the one that keeps them."""
    name = column.name.partition("[")[0]
    kept = assigned_in(column.owner, name)
    tree = parsed(kept.file) if kept is not None else None
    if kept is None or tree is None:
        return kept
    listing = [one.lineno for one in walk(tree) if isinstance(one, ast.Assign) and _lists(one)]
    own = [line for line in listing if line == kept.line]
    near = [line for line in listing if abs(line - kept.line) <= 12]
    line = (own or near or [kept.line])[-1]
    return CallSite(kept.file, line, kept.symbol)


def _lists(statement: ast.Assign) -> bool:
    """It lists a folder, and does not sort."""
    called = [one.func for one in walk(statement) if isinstance(one, ast.Call)]
    names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called}
    return bool(names & UNORDERED) and not names & {"sorted", "natsorted"}
