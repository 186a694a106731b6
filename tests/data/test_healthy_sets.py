"""Real public sets: nothing is demonstrated in them, and what is suspected is true (checked by hand, and here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import examined
from traindx.diagnosis import Diagnosis

pytestmark = pytest.mark.data


def suspected(diagnosis: Diagnosis) -> list[str]:
    assert all(finding.standing == "suspected" for finding in diagnosis.findings)
    assert diagnosis.exit_code == 0
    return sorted(finding.code for finding in diagnosis.findings if finding.severity != "note")


def message(diagnosis: Diagnosis, code: str) -> str:
    return " ".join(finding.message for finding in diagnosis.findings if finding.code == code)


def test_ct_of_several_sources(data_root: Path) -> None:
    assert suspected(examined(data_root / "ct_singles")) == []


def test_hippocampus(data_root: Path) -> None:
    """Two bit depths, and one scan on a scale of its own: intensities are not comparable, as the source says."""
    diagnosis = examined(data_root / "hippocampus", workers=2, task="segmentation", label_values=(0, 1, 2))
    assert suspected(diagnosis) == ["D128"]
    assert "hippocampus_217" in message(diagnosis, "D128")


def test_tuberculosis_radiographs(data_root: Path) -> None:
    root = data_root / "tbx11k_cxr"
    diagnosis = examined(root, boxes=root / "boxes.csv", task="concepts")
    assert suspected(diagnosis) == []
    assert diagnosis.extras["census"]["images"] == 600


def test_covid_radiographs(data_root: Path) -> None:
    """Copies, images without mask, and classes called "todo" and "?"."""
    diagnosis = examined(data_root / "covid_cxr")
    assert suspected(diagnosis) == ["D109", "D109", "D122", "D122", "D132", "D132"]
    images = np.load(data_root / "covid_cxr" / "covid_cxr_256.npz")["image"]
    np.testing.assert_array_equal(images[110], images[282])
    np.testing.assert_array_equal(images[558], images[559])
    assert "image[110]" in message(diagnosis, "D109")
    assert "191 of 609 images have no mask" in message(diagnosis, "D122")
    assert "“todo” 84 times" in message(diagnosis, "D132")


def test_sarcoma_ct_mr_pet(data_root: Path) -> None:
    """The slices are windowed CT in 8 bits; the volumes are HU."""
    diagnosis = examined(data_root / "sts_ct_mr_pet", workers=2)
    assert suspected(diagnosis) == ["D112"]
    assert "205 of 205" in message(diagnosis, "D112")


@pytest.mark.slow
def test_head_and_neck_ct(data_root: Path) -> None:
    diagnosis = examined(data_root / "openkbp_ct", workers=2)
    assert set(suspected(diagnosis)) <= {"D104", "D111"}
    spacing = np.load(data_root / "openkbp_ct" / "ct64.npz")["spacing"]
    assert spacing[:, 2].max() / spacing[:, 2].min() > 1.5  # what D111 says
