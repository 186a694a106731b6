"""Label numbers that a function looks for and that the data do not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from traindx.core import compat
from traindx.evidence import Evidence
from traindx.evidence.probed_labels import LabelsCompared
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.labels_compared import labels_compared
from traindx.watch.probes.recorded import Recorder

Array = Any


def by_numpy(label: Array) -> Array:
    return np.stack([label == 1, np.isin(label, (1, 3)), label == 2])


def by_torch(label: Array) -> Array:
    return torch.stack([torch.isin(torch.tensor(label), torch.tensor(one)) for one in ([1, 3], [2])])


def by_reading(label: Array) -> Array:
    label = np.array(label.tolist())
    return np.stack([label == value for value in (1, 2, 3)])


def in_place(label: Array) -> Array:
    target = np.zeros_like(label)
    for number, value in enumerate((1, 2, 3)):
        target[label.astype(np.int16) == value] = number
    return target


def both_conventions(label: Array) -> Array:
    return np.stack([label == 1, (label == 4) | (label == 3), label > 0])


def ignoring(label: Array) -> Array:
    return np.stack([label == 1, label == 255])


def one_left_out(label: Array) -> Array:
    return np.stack([label == 1, label == 2])


def one_class(label: Array) -> Array:
    return label == 3


class Cases(Dataset[Any]):
    """Twenty label maps, made into targets by a function."""

    def __init__(self, values: list[int], regions: Callable[[Array], Array]) -> None:
        rng = np.random.default_rng(0)
        self.labels = [rng.choice(values, size=(12, 12)) for _ in range(20)]
        self.regions = regions

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Array:
        return self.regions(self.labels[index])


def seen(values: list[int], regions: Callable[[Array], Array]) -> list[LabelsCompared]:
    with compat.no_function_modes(torch):  # as in everything that the watching does
        return list(labels_compared(torch, [Subset(Cases(values, regions), list(range(20)))], []))  # type: ignore[arg-type]


def judged(records: list[LabelsCompared]) -> list[Finding]:
    evidence = Evidence()
    for record in records:
        evidence.add(record)
    rule = catalogue()["D148"]
    return rule.check(evidence) if rule.applies(evidence) else []


@pytest.mark.parametrize(
    ("regions", "text"),
    [
        (by_numpy, "return np.stack([label == 1, np.isin(label, (1, 3)), label == 2])"),
        (by_torch, "return torch.stack([torch.isin("),
        (by_reading, "return np.stack([label == value for"),
        (in_place, "target[label.astype(np.int16) == value]"),
    ],
)
def test_a_number_of_another_convention(regions: Callable[[Array], Array], text: str) -> None:
    (finding,) = judged(seen([0, 1, 2, 4], regions))
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip().startswith(text)
    assert (finding.numbers["never"], finding.numbers["unnamed"]) == ("3", "4")
    assert "20 of 20 items" in finding.message


@pytest.mark.parametrize(
    ("values", "regions"),
    [
        ([0, 1, 2, 3], by_numpy),
        ([0, 1, 2], by_numpy),  # a class that does not occur, and none that is left out
        ([0, 1, 2, 4], both_conventions),
        ([0, 1, 2, 3], ignoring),
        ([0, 1, 2, 3], one_left_out),
        ([0, 1, 2, 4], one_class),  # nothing of what it looks for: a target that never varies is another rule's
    ],
)
def test_conventions_that_fit_or_tell_nothing(values: list[int], regions: Callable[[Array], Array]) -> None:
    records = seen(values, regions)
    assert [one.maps >= 8 for one in records] == [True]
    assert judged(records) == []


def test_a_function_that_is_given_a_batch() -> None:
    recorder = Recorder(torch)
    with recorder.recording(5.0):
        one_left_out(np.random.default_rng(0).choice([0, 2, 3], size=(12, 12)))
    (record,) = labels_compared(torch, [], recorder.done())
    assert isinstance(record, LabelsCompared)
    assert (record.named, record.never, record.unnamed, record.items) == ((1.0, 2.0), (1.0,), (3.0,), 0)


@pytest.mark.slow  # monai takes ten seconds to import
def test_a_transform_of_a_library() -> None:
    transforms = pytest.importorskip("monai.transforms")
    data = [{"label": torch.tensor(one)[None]} for one in Cases([0, 1, 2, 3], one_class).labels]
    made = transforms.Compose([transforms.ConvertToMultiChannelBasedOnBratsClassesd("label")])
    dataset = SimpleNamespace(data=data, transform=made)
    (record,) = labels_compared(torch, [dataset], [])
    assert isinstance(record, LabelsCompared)
    assert record.function == "ConvertToMultiChannelBasedOnBratsClasses"
    assert (record.named, record.never, record.unnamed) == ((1.0, 2.0, 4.0), (4.0,), (3.0,))
    assert len(judged([record])) == 1
