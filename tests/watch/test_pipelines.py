"""One raw case through the data set of the training and that of the evaluation: other windows, and what may differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from traindx.evidence import Evidence
from traindx.evidence.observed_items import SameCaseTwice, StageInputs
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.grey_levels import levels_compared
from traindx.watch.probes.making import in_child
from traindx.watch.probes.same_case import compared
from traindx.watch.probes.user_functions import UserFunctions
from traindx.watch.runtime.assembly import WithoutTorch, collectors_for
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import Sink, compact
from traindx.watch.runtime.watch import Watch

SOURCE = """
import random
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

def scan(rng):
    rows, columns = np.mgrid[:24, :24]
    image = np.full((24, 24), -1000.0)
    image[(rows - 12) ** 2 + (columns - 12) ** 2 < 90] = rng.normal(40, 20)
    image[4:8, 9 + rng.integers(5):15] = rng.uniform(300, 900)
    return (image + rng.normal(0, 15, image.shape)).astype(np.float32)

class Scans:
    def __init__(self, seed, change=None, low=-1000, high=1000):
        rng = np.random.default_rng(seed)
        self.cases = [(scan(rng), k % 2) for k in range(9)]
        self.change, self.low, self.high = change, low, high

    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        image, label = self.cases[index]
        image = self.scaled(image)
        if self.change is not None:
            image = self.change(image)
        return torch.tensor(np.ascontiguousarray(image))[None], label

    def scaled(self, image):
        top = self.high
        return (np.clip(image, self.low, top) - self.low) / (top - self.low)

class Other(Scans):
    def __getitem__(self, index):
        image, label = self.cases[index]
        return torch.tensor(self.scaled(image))[None], label

class Paths(Scans):
    '''Keeps names, as of files, and reads when it is asked.'''
    def __init__(self, seed, **more):
        super().__init__(seed, **more)
        global FILES
        FILES = {f"{seed}/{k}": image for k, (image, _) in enumerate(self.cases)} | globals().get("FILES", {})
        self.cases = [f"{seed}/{k}" for k in range(9)]

    def __getitem__(self, index):
        return torch.tensor(self.scaled(FILES[self.cases[index]]))[None]

def flipped(image):
    return image[:, ::-1] if random.random() < 0.5 else image

def brighter(image):
    return image * random.uniform(0.6, 1.4)

def noisy(image):
    return image + np.random.normal(0, 0.02, image.shape).astype(np.float32)

def moved(image):
    return np.roll(image, (5, 7), (0, 1))
"""


@pytest.fixture
def module(tmp_path: Path) -> Any:
    """The source as a module of the user's."""
    path = tmp_path / "script.py"
    path.write_text(SOURCE)
    made = ModuleType("script")
    exec(compile(SOURCE, str(path), "exec"), vars(made))
    return made


def seen(training: Any, other: Any) -> SameCaseTwice | None:
    """What a child finds."""

    def look() -> list[Any] | None:
        found = compared(torch, training, other)
        return [found.model_dump(mode="json")] if found is not None else []

    answer = in_child(torch, look)
    assert answer is not None
    return SameCaseTwice(**answer[0]) if answer else None


def fed(record: SameCaseTwice, *, as_in_training: bool = False) -> StageInputs:
    """What a network was given in validation."""
    mean, spread = record.mean, record.spread
    if as_in_training:
        mean, spread = record.mean_in_training, record.spread_in_training
    return StageInputs(
        network="Net", phase="validation", shape=record.shape, samples=8, mean=mean, spread=spread, off=1.0,
        least_spread=spread, most_spread=spread, largest_off=1.0,
    )  # fmt: skip


def said(*records: Any) -> list[Finding]:
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    return catalogue()["D114"].check(evidence)


def line(text: str) -> int:
    return next(number for number, one in enumerate(SOURCE.splitlines(), 1) if text in one)


@pytest.mark.parametrize("change", ["", "flipped"])
def test_another_window(module: Any, change: str) -> None:
    training = module.Scans(1, getattr(module, change) if change else None)
    record = seen(training, module.Other(2, high=200))
    assert record is not None
    (finding,) = said(record, fed(record))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert finding.location.line == line("top = self.high")
    assert "200" in finding.message
    assert [one.standing for one in said(record)] == [Standing.SUSPECTED]  # what a network got was not seen
    assert not said(record, fed(record, as_in_training=True))  # the script does the rest after the loader


def test_cases_that_are_kept_by_name(module: Any) -> None:
    training, other = module.Paths(1), module.Paths(2, low=-200, high=300)
    record = seen(training, other)
    assert record is not None
    assert said(record, fed(record))


@pytest.mark.parametrize("change", ["", "flipped"])
def test_one_preprocessing(module: Any, change: str) -> None:
    record = seen(module.Scans(1, getattr(module, change) if change else None), module.Other(2))
    assert record is not None  # it was looked at
    assert not said(record, fed(record))


def test_own_statistics_are_no_more_than_suspected(module: Any) -> None:
    record = seen(module.Scans(1), module.Other(2, high=700))
    assert record is not None
    assert [one.standing for one in said(record, fed(record))] == [Standing.SUSPECTED]


@pytest.mark.parametrize("change", ["brighter", "moved"])
def test_values_that_are_drawn_and_other_places_are_left_alone(module: Any, change: str) -> None:
    how: Callable[..., Any] = getattr(module, change)
    assert seen(module.Scans(1, how), module.Other(2, high=200)) is None


def test_an_evaluation_that_is_augmented_is_left_alone(module: Any) -> None:
    assert seen(module.Scans(1), module.Scans(2, module.brighter, high=200)) is None


def test_a_little_noise_in_training(module: Any) -> None:
    record = seen(module.Scans(1, module.noisy), module.Other(2))
    assert record is None or not said(record, fed(record))


class Colours:
    """Pictures of three channels, in one order or the other, with one normalisation a channel."""

    def __init__(self, seed: int, turned: bool, mean: tuple[float, ...] = (0.0, 0.0, 0.0)) -> None:
        generator = torch.Generator().manual_seed(seed)
        colour = torch.tensor([0.0, 0.3, 0.9]).reshape(3, 1, 1)
        self.pictures = [torch.rand(3, 24, 24, generator=generator) * 0.3 + k / 9 + colour for k in range(6)]
        self.turned, self.mean = turned, torch.tensor(mean).reshape(3, 1, 1)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        picture = self.pictures[index] - self.mean
        return picture.flip(0) if self.turned else picture


def test_channels_in_another_order_and_means_of_each() -> None:
    record = seen(Colours(0, turned=False), Colours(1, turned=True))
    assert record is not None
    assert [one.standing for one in said(record, fed(record))] == [Standing.SUSPECTED]
    record = seen(Colours(0, turned=False), Colours(1, turned=False, mean=(5.0, -3.0, 1.0)))
    assert record is not None
    assert not record.channels_turned
    assert said(record, fed(record))
    record = seen(Colours(0, turned=True), Colours(1, turned=True))
    assert record is not None
    assert not said(record, fed(record))


class Masked(Colours):
    """Pictures with a mask and a class; the numbers of both may be given."""

    def __init__(self, seed: int, values: tuple[int, int] = (0, 1), classes: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__(seed, turned=False)
        self.values, self.classes = values, classes
        self.kinds = [k % 3 for k in range(6)]
        self.flat = torch.arange(6) % 2  # not put into the other data set: of one axis

    def __getitem__(self, index: int) -> Any:
        picture = self.pictures[index]
        mask = torch.where(picture.mean(0) > picture.mean(), self.values[1], self.values[0])
        return picture, mask, self.classes[self.kinds[index]], int(self.flat[index])


def test_targets_in_other_numbers() -> None:
    for other in (Masked(1, values=(0, 255)), Masked(1, classes=(0, 2, 1))):
        record = seen(Masked(0), other)
        assert record is not None
        (finding,) = said(record, fed(record))
        assert (finding.variant, finding.standing) == ("targets", Standing.SUSPECTED)
    record = seen(Masked(0), Masked(1))
    assert record is not None
    assert record.targets >= 2
    assert not said(record, fed(record))


class Cropped(Dataset):  # type: ignore[type-arg]
    """Pictures of bytes, cut anywhere in training and in the middle elsewhere, then normalised."""

    def __init__(self, seed: int, random: bool, mean: float = 0.5, jitter: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pictures = [torch.randint(0, 255, (3, 40, 40), generator=generator, dtype=torch.uint8) for _ in range(8)]
        self.random, self.mean, self.jitter = random, mean, jitter

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        row, column = torch.randint(0, 16, (2,)).tolist() if self.random else (8, 8)
        picture = self.pictures[index][:, row : row + 24, column : column + 24].float() / 255
        gain = 1 + self.jitter * (float(torch.rand(())) - 0.5)
        return (picture * gain - self.mean) / 0.25, index % 2


class NormalisedAtOnce(Cropped):
    """Keeps its pictures normalised, and only cuts them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, random=True)
        self.pictures = [(one.float() / 255 - 0.5) / 0.25 for one in self.pictures]

    def __getitem__(self, index: int) -> Any:
        return self.pictures[index][:, 8:32, 8:32], index % 2


def levels(training: Any, other: Any) -> SameCaseTwice | None:
    def look() -> list[Any] | None:
        found = levels_compared(torch, training, other)
        return [found.model_dump(mode="json")] if found is not None else []

    answer = in_child(torch, look)
    assert answer is not None
    return SameCaseTwice(**answer[0]) if answer else None


def test_a_grey_value_through_pipelines_that_cut_apart() -> None:
    training = Cropped(0, random=True)
    assert seen(training, Cropped(1, random=False, mean=-1.0)) is None  # the places are others
    record = levels(training, Cropped(1, random=False, mean=-1.0))
    assert record is not None
    (finding,) = said(record, fed(record))
    assert finding.standing is Standing.DEMONSTRATED
    assert "pictures of one value" in finding.message
    record = levels(training, Cropped(1, random=False))
    assert record is not None
    assert not said(record, fed(record))
    assert levels(Cropped(0, random=True, jitter=0.4), Cropped(1, random=False, mean=-1.0)) is None  # it is drawn


def test_a_set_that_keeps_its_cases_in_another_form_is_left_alone() -> None:
    training, other = NormalisedAtOnce(0), Cropped(1, random=False)
    assert seen(training, other) is None
    assert levels(training, other) is None


@pytest.mark.parametrize("read", [True, False])
def test_in_a_run_that_reads_its_evaluation_and_in_one_that_has_not_yet(read: bool, tmp_path: Path) -> None:
    watch = Watch(torch, Settings("test", steps=0, seconds=0.0, stop=False), Sink(tmp_path))
    watch.collectors = collectors_for(watch, WithoutTorch())
    watch.collectors = [one for one in watch.collectors if not isinstance(one, UserFunctions)]
    for collector in list(watch.collectors):
        with watch.ours(collector):
            collector.install()
    try:
        training = DataLoader(Cropped(0, random=True), 4, shuffle=True)
        validation = DataLoader(Cropped(1, random=False, mean=-1.0), 4)
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 24), torch.nn.Flatten())
        optimizer = torch.optim.SGD(net.parameters(), 1e-4)
        for _ in range(2):
            for x, y in training:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                for x, _ in validation if read else ():
                    net(x)
    finally:
        watch.finish()
        watch.sink.close()
        compact(tmp_path)
    evidence = Evidence.load(tmp_path)
    (record,) = evidence.of(SameCaseTwice)
    assert record.unread is not read
    (finding,) = catalogue()["D114"].check(evidence)
    assert finding.standing is (Standing.DEMONSTRATED if read else Standing.SUSPECTED)
    assert finding.location is not None
    assert "validation = DataLoader" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
