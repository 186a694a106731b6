"""One mask among many that was resized or saved with loss is a damaged mask, not an image without mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from patients.folders import examined


def smears(root: Path, odd: np.ndarray | None, count: int = 14) -> Path:
    """Colour pictures ``00.bmp`` with masks of three values ``00.png`` in one folder, as a public set keeps them."""
    for number in range(count):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(90, 250, (40, 40, 3), np.uint8)).save(root / f"{number:02}.bmp")
        Image.fromarray(mask(number)).save(root / f"{number:02}.png")
    if odd is not None:
        Image.fromarray(odd).save(root / "03.png")
    return root


def mask(seed: int) -> np.ndarray:
    made = np.zeros((40, 40), np.uint8)
    made[8 : 22 + seed % 5, 8:30] = 128
    made[12:18, 12 + seed % 3 : 24] = 255
    return made


def interpolated() -> np.ndarray:
    made = mask(3)
    for value in range(1, 11):
        made[8, 8 + value] = 20 * value + 3
    return made


def test_a_damaged_mask_stays_a_mask(tmp_path: Path) -> None:
    diagnosis = examined(smears(tmp_path, interpolated()))
    said = {finding.code: finding.message for finding in diagnosis.findings}
    assert "03.png" in said["D113"]
    assert not {"D122", "D124"} & set(said)


def test_an_image_of_the_same_suffix_without_partner_stays_an_image(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    Image.fromarray(grey).save(smears(tmp_path, None) / "other.png")
    diagnosis = examined(tmp_path)
    assert {"D122"} <= {finding.code for finding in diagnosis.findings}
    assert "D113" not in {finding.code for finding in diagnosis.findings if finding.severity != "note"}
