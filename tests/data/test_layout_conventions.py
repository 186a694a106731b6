"""Public layouts in miniature: silent where they are right, and the fault in each is found (benchmarks/layouts.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from patients.folders import examined
from patients.layouts import CONVENTIONS, Convention, is_read
from traindx.diagnosis import Diagnosis

QUICK = ("ACDC", "ISIC 2017", "CheXpert", "RSNA hemorrhage", "MURA", "nnU-Net splits", "VinDr-CXR")
"""One of every family; the others take a minute together."""


def shown(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return sorted((finding.code, finding.standing.value) for finding in diagnosis.findings)


def check(convention: Convention, folder: Path) -> None:
    convention.build(folder)
    clean = shown(examined(folder))
    assert all(standing == "suspected" for _, standing in clean)
    assert len(clean) <= 1
    convention.plant(folder)
    faulty = shown(examined(folder))
    assert any(code in convention.codes for code, _ in faulty if (code, "demonstrated") not in clean)
    assert [entry for entry in faulty if entry[0] in convention.codes] != [
        entry for entry in clean if entry[0] in convention.codes
    ]


def named(names: tuple[str, ...], *, inside: bool) -> list[Convention]:
    return [one for one in CONVENTIONS if (one.name in names) == inside]


@pytest.mark.parametrize("convention", named(QUICK, inside=True), ids=lambda one: one.name)
def test_one_of_every_family(convention: Convention, tmp_path: Path) -> None:
    check(convention, tmp_path / "set")


@pytest.mark.slow
@pytest.mark.parametrize("convention", named(QUICK, inside=False), ids=lambda one: one.name)
def test_all_others(convention: Convention, tmp_path: Path) -> None:
    if not is_read(convention.needs):
        pytest.skip(f"{convention.needs} is not read here")
    check(convention, tmp_path / "set")


def test_the_quick_ones_exist() -> None:
    assert len(named(QUICK, inside=True)) == len(QUICK)
