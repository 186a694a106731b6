"""Folders as classes: said, judged where all splits agree on them, and never taken for what they are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from patients.folders import examined, radiograph, write_png


def folders(root: Path, *names: str, splits: tuple[str, ...] = ("train", "test"), each: int = 6) -> Path:
    seed = 0
    for split in splits:
        for name in names:
            for number in range(each):
                seed += 1
                write_png(root / split / name / f"image ({number}).png", radiograph(seed, 48))
    return root


def said(root: Path, beginning: str) -> list[str]:
    return [line for line in examined(root).extras["layout"]["lines"] if line.startswith(beginning)]


def test_classes_that_all_splits_have_are_labels(tmp_path: Path) -> None:
    root = folders(tmp_path, "glioma_tumor", "no_tumor")
    assert said(root, "classes by folder") == ["classes by folder: glioma_tumor 12, no_tumor 12"]
    assert [finding.code for finding in examined(root).findings] == []


def test_one_image_in_two_classes_is_a_contradiction(tmp_path: Path) -> None:
    root = folders(tmp_path, "glioma_tumor", "no_tumor")
    shutil.copy(root / "train" / "no_tumor" / "image (2).png", root / "train" / "glioma_tumor" / "image (9).png")
    (finding,) = [finding for finding in examined(root).findings if finding.code == "D109"]
    assert finding.standing == "demonstrated"
    assert finding.numbers["with other labels"] == 1


def test_a_class_of_a_handful_is_noted(tmp_path: Path) -> None:
    root = folders(tmp_path, "a_tumor", "b_tumor", each=20)
    for split in ("train", "test"):
        write_png(root / split / "rare_tumor" / "x.png", radiograph(900 + len(split), 48))
    (finding,) = [finding for finding in examined(root).findings if finding.code == "D105"]
    assert (finding.standing, finding.severity) == ("suspected", "note")
    assert "rare_tumor 2 of 82" in finding.message


def test_without_splits_it_is_a_guess_that_judges_nothing(tmp_path: Path) -> None:
    root = folders(tmp_path, "yes", "no", splits=("scans",))
    assert len(said(root, "folders that may be classes")) == 1
    shutil.copy(root / "scans" / "no" / "image (2).png", root / "scans" / "yes" / "image (9).png")
    (finding,) = [finding for finding in examined(root).findings if finding.code == "D109"]
    assert finding.standing == "suspected"


@pytest.mark.parametrize(
    "names", [("p1", "p2"), ("patient_7", "patient_8"), ("images", "scans"), ("20210311", "20210412"), ("CT", "MR")]
)
def test_cases_dates_and_modalities_are_no_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    root = folders(tmp_path, *names)
    assert said(root, "classes by folder") == said(root, "folders that may be") == []
