"""Items after other items: what a transform remembers, and what looks like it and is right."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from traindx.evidence import Evidence
from traindx.evidence.observed_items import ItemAfterOthers
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.collectors.backwards import Backwards
from traindx.watch.collectors.loaders import Loaders
from traindx.watch.probes.earlier_items import EarlierItems, asked
from traindx.watch.probes.making import in_child
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import Sink
from traindx.watch.runtime.watch import Watch

SOURCE = """
import random
import numpy as np
import torch
from torch.utils.data import Subset

RANGE = None
GENERATOR = np.random.default_rng(3)

class Scans:
    def __init__(self, change, count=8):
        rng = np.random.default_rng(0)
        self.images = [(rng.random((12, 12)) * (k + 1)).astype(np.float32) for k in range(count)]
        self.change = change

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.tensor(self.change(self.images[index]).copy()), index % 2

class FirstRange:
    limits = None
    def __call__(self, image):
        if self.limits is None:
            self.limits = float(image.min()), float(image.max())
        low, high = self.limits
        return (image - low) / (high - low)

class FirstReference:
    def __init__(self):
        self.reference = None
    def __call__(self, image):
        if self.reference is None:
            self.reference = np.sort(image.ravel())
        return self.reference[np.argsort(np.argsort(image.ravel()))].reshape(image.shape)

class RunningMean:
    def __init__(self):
        self.mean = 0.0
    def __call__(self, image):
        self.mean = 0.9 * self.mean + 0.1 * float(image.mean())
        return image - self.mean

def by_global(image):
    global RANGE
    if RANGE is None:
        RANGE = image.max()
    return image / RANGE

def made_by_closure():
    limit = None
    def change(image):
        nonlocal limit
        if limit is None:
            limit = image.max()
        return image / limit
    return change

def in_place(image):
    image -= image.mean() / 2
    image *= 1.1
    return image

class AllInAll:
    '''A range of the whole training set, found the first time that it is needed.'''
    def __init__(self):
        self.owner = None
    def __call__(self, image):
        if not hasattr(self, "top"):
            self.top = max(float(one.max()) for one in self.owner.images)
        return image / self.top

class OwnGenerators:
    def __init__(self):
        self.rng, self.old, self.python = np.random.default_rng(1), np.random.RandomState(2), random.Random(3)
        self.drawn = torch.Generator().manual_seed(4)
    def __call__(self, image):
        gain = self.rng.random() + self.old.rand() + self.python.random() + float(torch.rand((), generator=self.drawn))
        return image * gain * (1 + GENERATOR.random()) + np.random.rand() + random.random() + float(torch.rand(()))

class Cache:
    def __init__(self):
        self.known = {}
    def __call__(self, image):
        key = image.tobytes()
        if key not in self.known:
            self.known[key] = image / image.max()
        return self.known[key]

class AugmentedOnce:
    '''Keeps what it has drawn for an image.'''
    def __init__(self):
        self.known = {}
    def __call__(self, image):
        key = image.tobytes()
        if key not in self.known:
            self.known[key] = image[:, ::-1] + random.random()
        return self.known[key]

class Curriculum:
    def __init__(self):
        self.calls, self.strength = 0, 0.0
    def __call__(self, image):
        self.calls += 1
        self.strength += 0.01
        return image + self.strength * np.random.standard_normal(image.shape).astype(np.float32) + self.calls % 2

class OneBefore:
    def __init__(self):
        self.last = None
    def __call__(self, image):
        other, self.last = self.last, image
        return image if other is None else 0.8 * image + 0.2 * other

class Unrepeatable:
    def __call__(self, image):
        return image + np.random.default_rng().random()

def flipped_in_place(image):
    image[:] = image[:, ::-1].copy()
    return image

def counted_bytes(image):
    return (image > image.mean()).astype(np.float32)
"""


@pytest.fixture
def module(tmp_path: Path) -> Any:
    """The source as a module of the user's."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SOURCE))
    made = ModuleType("script")
    exec(compile(SOURCE, str(path), "exec"), vars(made))
    return made


def seen(dataset: Any) -> ItemAfterOthers:
    """What a child finds; the data set of the test stays as it is."""

    def look() -> list[Any] | None:
        found = asked(torch, dataset, len(dataset))
        return None if found is None else [found.model_dump(mode="json")]

    answer = in_child(torch, look)
    assert answer is not None
    return ItemAfterOthers(**answer[0])


def said(record: ItemAfterOthers) -> list[Finding]:
    evidence = Evidence()
    evidence.add(record)
    return catalogue()["D150"].check(evidence)


def line(text: str) -> int:
    return next(number for number, one in enumerate(SOURCE.splitlines(), 1) if text in one)


@pytest.mark.parametrize(
    ("make", "variant", "text"),
    [
        (lambda m: m.FirstRange(), "kept", "self.limits = float"),
        (lambda m: m.by_global, "kept", "RANGE = image.max()"),
        (lambda m: m.made_by_closure(), "kept", "limit = image.max()"),
        (lambda m: m.in_place, "in-place", "image -= image.mean()"),
    ],
)
def test_what_an_earlier_item_left(module: Any, make: Callable[[Any], Any], variant: str, text: str) -> None:
    dataset = module.Scans(make(module))
    (finding,) = said(seen(dataset))
    assert (finding.standing, finding.variant) == (Standing.DEMONSTRATED, variant)
    assert finding.location is not None
    assert finding.location.line == line(text)
    assert module.RANGE is None  # nothing of ours has changed
    assert dataset.images[0].max() <= 1.0


@pytest.mark.parametrize("kind", ["FirstReference", "RunningMean"])
def test_what_may_be_meant_is_suspected(module: Any, kind: str) -> None:
    (finding,) = said(seen(module.Scans(getattr(module, kind)())))
    assert finding.standing is Standing.SUSPECTED


def test_a_store_of_augmented_items(module: Any) -> None:
    record = seen(module.Scans(module.AugmentedOnce()))
    assert record.how == "drawn-once"
    assert not said(record)  # an evaluation
    (finding,) = said(record.model_copy(update={"trains": True}))
    assert finding.standing is Standing.SUSPECTED
    assert "AugmentedOnce.known" in finding.message


def test_a_subset_is_looked_into(module: Any) -> None:
    assert said(seen(torch.utils.data.Subset(module.Scans(module.FirstRange()), [5, 2, 7, 1])))


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.OwnGenerators(),
        lambda m: m.Cache(),
        lambda m: m.Curriculum(),
        lambda m: m.OneBefore(),
        lambda m: m.flipped_in_place,
        lambda m: m.counted_bytes,
    ],
)
def test_what_is_no_memory_of_an_image(module: Any, make: Callable[[Any], Any]) -> None:
    record = seen(module.Scans(make(module)))
    assert record.settled
    assert not said(record)


def test_a_range_of_the_whole_set_that_is_found_when_needed(module: Any) -> None:
    dataset = module.Scans(module.AllInAll())
    dataset.change.owner = dataset
    record = seen(dataset)
    assert record.settled
    assert not said(record)


def test_what_cannot_be_repeated_is_not_looked_at(module: Any) -> None:
    record = seen(module.Scans(module.Unrepeatable()))
    assert not record.settled
    evidence = Evidence()
    evidence.add(record)
    rule = catalogue()["D150"]
    assert not said(record)
    assert rule.nothing_in(evidence, rule.limits()) is not None


def test_a_run_that_uses_a_device_is_asked_when_its_loader_is_made(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fork is made once CUDA is in use, which is before the first batch as a rule."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    watch = Watch(torch, Settings("test", steps=0, seconds=0.0, stop=False), Sink(tmp_path))
    loaders = Loaders(watch, Backwards(watch))
    tried = EarlierItems(watch, loaders)
    watch.collectors = [loaders, tried]
    for collector in list(watch.collectors):
        with watch.ours(collector):
            collector.install()
    try:
        loader = DataLoader(module.Scans(module.FirstRange()), 2)
        assert len(tried._asked) == 1
        next(iter(loader))
        assert len(tried._asked) == 1  # once a data set
    finally:
        watch.finish()
        watch.sink.close()
