"""The planted-defect benchmark on real data: a few plants of every corpus always, all of them when there is time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.data

SUBSET = (
    "NaN in a volume",
    "mask mirrored by its affine",
    "not labelled = 3, nothing declared",
    "truncated NIfTI",
    "box corners swapped",
    "box of a negative",
    "halved copy in train and val",
    "padding -3024",
    "split by slice",
    "missing slices",
)


@pytest.fixture(scope="module")
def benchmark(data_root: Path) -> Iterator[ModuleType]:
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import planted_defects

        yield planted_defects
    finally:
        sys.path.remove(folder)


def check(result: dict) -> None:
    assert result["missed"] == []
    assert all(findings == [] for findings in result["findings_on_clean_twins"].values())
    assert result["with_other_findings"] == {}


def test_plants_of_every_corpus(benchmark: ModuleType) -> None:
    chosen = [plant for plant in benchmark.PLANTS if plant.name in SUBSET]
    assert len(chosen) == len(SUBSET)
    result = benchmark.run(chosen)
    assert len(result["findings_on_clean_twins"]) == 3
    check(result)


def test_every_rule_about_files_has_a_plant(benchmark: ModuleType) -> None:
    from traindx.evidence import dataset
    from traindx.rules import catalogue

    def about_files(kind: type) -> bool:
        return kind.__module__.startswith(dataset.__name__)  # and its parts by subject

    codes = {code for code, rule in catalogue().items() if any(about_files(kind) for kind in rule.needs)}
    assert {plant.code for plant in benchmark.PLANTS} == codes


@pytest.mark.slow
def test_all_plants(benchmark: ModuleType) -> None:
    check(benchmark.run())
