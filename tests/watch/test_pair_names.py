"""Lists of images and masks whose names go together, in one order and in two."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import Subset

from traindx.evidence import Evidence
from traindx.evidence.probed_functions import PairsByName
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.making import in_child
from traindx.watch.probes.pair_names import pairs_tried

SOURCE = """
import os

class Pairs:
    def __init__(self, root, right=False):
        self.images = [os.path.join(root, "images", name) for name in sorted(os.listdir(os.path.join(root, "images")))]
        names = os.listdir(os.path.join(root, "masks"))
        names.sort(key=lambda name: name.replace("_mask", "") if right else name)  # "0" < "_": not the order of images
        self.masks = [os.path.join(root, "masks", name) for name in names]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        with open(self.images[index]) as image, open(self.masks[index]) as mask:
            return image.read(), mask.read()

class ByName(Pairs):
    '''Keeps both lists, and makes the name of the mask from that of the image.'''
    def __getitem__(self, index):
        name = self.images[index].replace("images", "masks").replace(".png", "_mask.png")
        with open(self.images[index]) as image, open(name) as mask:
            return image.read(), mask.read()

class Kept(Pairs):
    '''Holds names alone; the pictures are in memory.'''
    def __getitem__(self, index):
        return index
"""


@pytest.fixture
def module(tmp_path: Path) -> Any:
    """The source as a module of the user's, and files."""
    for folder, ending in (("images", ""), ("masks", "_mask")):
        (tmp_path / folder).mkdir()
        for number in range(1, 15):
            (tmp_path / folder / f"case{number}{ending}.png").write_text("pixels")
    path = tmp_path / "script.py"
    path.write_text(SOURCE)
    made = ModuleType("script")
    exec(compile(SOURCE, str(path), "exec"), vars(made))
    vars(made)["root"] = str(tmp_path)
    return made


def seen(dataset: Any) -> PairsByName | None:
    """What a child finds."""

    def look() -> list[Any]:
        return [one.model_dump(mode="json") for one in pairs_tried(torch, dataset)]

    answer = in_child(torch, look)
    assert answer is not None
    return PairsByName(**answer[0]) if answer else None


def said(record: PairsByName | None) -> list[Finding]:
    evidence = Evidence()
    if record is not None:
        evidence.add(record)
    return catalogue()["D151"].check(evidence) if record is not None else []


def test_lists_in_two_orders(module: Any) -> None:
    (finding,) = said(seen(module.Pairs(module.root)))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert (
        "os.listdir" in SOURCE.splitlines()[finding.location.line - 1]
        or "self.masks" in (SOURCE.splitlines()[finding.location.line - 1])
    )
    assert said(seen(Subset(module.Pairs(module.root), range(2, 14))))


def test_files_that_are_not_opened_are_suspected(module: Any) -> None:
    assert [one.standing for one in said(seen(module.Kept(module.root)))] == [Standing.SUSPECTED]


@pytest.mark.parametrize("kind", ["Pairs", "ByName"])
def test_one_order_and_names_made_of_names(module: Any, kind: str) -> None:
    record = seen(getattr(module, kind)(module.root, right=kind == "Pairs"))
    assert record is not None
    assert not said(record)


class Lists:
    """Keeps lists, and opens nothing."""

    def __init__(self, **lists: list[Any]) -> None:
        vars(self).update(lists)
        self.count = len(next(iter(lists.values())))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def mixed(names: list[Any]) -> list[Any]:
    return random.Random(0).sample(names, len(names))


Name = Callable[[int], str]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda k: f"a/IMG_{k:03d}.jpg", lambda k: f"b/IMG_{k:03d}_seg.png"),
        (lambda k: f"vol-{k}.nii.gz", lambda k: f"labels/seg-{k}.nii.gz"),
        (lambda k: f"p{k}/image.png", lambda k: f"p{k}/mask.png"),
        (lambda k: f"scan_{k}_t1.nii", lambda k: f"drawn by anna {k}.nii"),
    ],
)
def test_names_of_every_kind(first: Name, second: Name) -> None:
    ours, theirs = [first(k) for k in range(20)], [second(k) for k in range(20)]
    record = seen(Lists(images=ours, masks=theirs))
    assert record is not None
    assert record.apart == 0
    assert said(seen(Lists(images=ours, masks=mixed(theirs))))
    assert said(seen(Lists(items=list(zip(ours, mixed(theirs), strict=True)))))


def test_images_of_two_kinds_may_be_unpaired_on_purpose() -> None:
    record = seen(Lists(ct=[f"ct/{k}.nii" for k in range(20)], mr=mixed([f"mr/{k}.nii" for k in range(20)])))
    assert record is not None
    assert not record.target
    (finding,) = said(record.model_copy(update={"opened": 4}))
    assert finding.standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    "lists",
    [
        {"now": [f"f{k}.png" for k in range(20)], "next": [f"f{k + 1}.png" for k in range(20)]},  # neighbours in time
        {"content": [f"c{k}.png" for k in range(20)], "style": [f"painting{3 * k}.png" for k in range(20)]},
        {"images": [f"i{k}.png" for k in range(20)], "labels": ["cat", "dog"] * 10},
        {"images": [f"i{k}.png" for k in range(20)], "text": [f"finding {k % 3}." for k in range(20)]},
    ],
)
def test_lists_that_are_no_pairs(lists: dict[str, list[str]]) -> None:
    assert seen(Lists(**lists)) is None
