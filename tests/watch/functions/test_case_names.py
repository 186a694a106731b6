"""Which case an item is of, by its name; and what a division or two data sets have in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, Subset

from traindx.evidence import Evidence
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.case_lists import cases_in_both
from traindx.watch.probes.functions.case_names import shared_cases

Name = Callable[[int, int], Any]
NAMES: dict[str, tuple[Name, bool]] = {
    "case and slice": (lambda case, z: f"case_{case:05d}:#:{z}", True),
    "a folder a patient": (lambda case, z: Path(f"/data/1/patient{case:03d}/img_{z:04d}.png"), True),
    "barcodes": (lambda case, z: f"TCGA_CS_49{case:02d}_{z}.tif", False),
    "slices of something": (lambda case, z: f"BraTS20_{case:03d}_slice_{z}.h5", True),
    "pairs": (lambda case, z: (f"volume{case}", z), True),
    "pairs of numbers": (lambda case, z: (case, z), False),
    "pairs of path and label": (lambda case, z: (f"vol_{case}/slice_{z:03d}.npy", case % 2), True),
    "dictionaries": (lambda case, z: {"image": f"{case * 100 + z}.png", "patient_id": f"x{case}"}, True),
}


def items(name: Name, cases: int = 12, slices: int = 8) -> list[Any]:
    return [name(case, z) for case in range(cases) for z in range(slices)]


def divided(everything: list[Any], by_item: bool, slices: int = 8) -> tuple[list[Any], list[Any]]:
    rng = random.Random(0)
    if by_item:
        everything = rng.sample(everything, len(everything))
        return everything[20:], everything[:20]
    return everything[3 * slices :], everything[: 3 * slices]


@pytest.mark.parametrize("kind", list(NAMES))
def test_slices_that_were_divided_one_by_one(kind: str) -> None:
    name, spoken = NAMES[kind]
    found = shared_cases(*divided(items(name), by_item=True))
    assert found is not None
    assert found.spoken is spoken
    assert found.shared == found.cases > 5
    assert found.neighbours == -1 or found.neighbours > 10
    healthy = shared_cases(*divided(items(name), by_item=False))
    assert healthy is not None
    assert healthy.shared == 0


@pytest.mark.parametrize(
    "name",
    [
        lambda case, z: f"img_{case * 8 + z:05d}.png",  # numbered through
        lambda case, z: f"class_{case}/{z:04d}.png",
        lambda case, z: f"{case}/{z:04d}.png",  # digits
        lambda case, z: f"fold{case}/img{z}.png",
        lambda case, z: f"benign/{case * 8 + z}.png",
        lambda case, z: (f"img_{case * 8 + z:05d}.png", case),
        lambda case, z: (case * 8 + z, case),  # index and class
        lambda case, z: (case, case * 8 + z),  # class and index
        lambda case, z: {"image": f"img_{case * 8 + z}.png", "label": case},
        lambda case, z: case * 8 + z,
    ],
)
def test_names_that_say_no_case(name: Name) -> None:
    assert shared_cases(*divided(items(name), by_item=True)) is None


def test_few_cases_that_nothing_says_to_be_cases() -> None:
    assert shared_cases(*divided(items(lambda case, z: f"run{case}_{z}.png", cases=5), by_item=True)) is None


class Slices(Dataset):  # type: ignore[type-arg]
    def __init__(self, names: list[Any]) -> None:
        self.names = names
        self.scale = [1.0] * 3

    def __len__(self) -> int:
        return len(self.names)


class Augmented(Dataset):  # type: ignore[type-arg]
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)


def said(training: Any, other: Any) -> Iterator[Finding]:
    evidence = Evidence()
    record = cases_in_both(torch, training, other)
    if record is not None:
        evidence.add(record)
        yield from catalogue()["D108"].check(evidence)


def test_data_sets_that_keep_names() -> None:
    names = items(NAMES["case and slice"][0])
    ours, theirs = divided(names, by_item=True)
    (finding,) = said(Slices(ours), Slices(theirs))
    assert finding.standing is Standing.DEMONSTRATED
    assert "case_0" not in finding.message  # names of patients stay out of reports
    assert not list(said(*map(Slices, divided(names, by_item=False))))


def test_subsets_of_one_data_set() -> None:
    whole = Slices(items(NAMES["barcodes"][0]))
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).tolist()
    (finding,) = said(Augmented(Subset(whole, order[20:])), Subset(whole, order[:20]))
    assert finding.standing is Standing.SUSPECTED
    assert not list(said(Augmented(Subset(whole, range(24, 96))), Subset(whole, range(24))))


def test_films_that_are_cut_once() -> None:
    names = items(lambda case, z: f"patient{case:02d}/frame{z}.png", slices=30)
    before = [one for one in names if int(one.rsplit("frame")[1][:-4]) < 24]
    assert not list(said(Slices(before), Slices([one for one in names if one not in before])))
