"""D125: bit depth and colour of image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from patients.folders import found, radiograph, radiograph_folder, write_png


def deep(seed: int) -> np.ndarray:
    return radiograph(seed).astype(np.uint16) * 16


def test_eight_bit_images_are_silent(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    assert found(tmp_path, "D125") == []


def test_sixteen_bit_images_are_suspected_with_the_share_that_clipping_destroys(tmp_path: Path) -> None:
    for seed in range(4):
        write_png(tmp_path / f"{seed}.png", deep(seed))
    (finding,) = found(tmp_path, "D125")
    assert (finding.standing, finding.severity) == ("suspected", "minor")
    expected = np.mean([np.mean(deep(seed) > 255) for seed in range(4)])
    assert abs(finding.numbers["share above 255"] - expected) < 1e-9
    assert expected > 0.5
    with Image.open(tmp_path / "0.png") as image:  # what the finding warns of
        assert np.mean(np.asarray(image.convert("L")) == 255) > 0.5


def test_two_depths_in_one_set_are_worse(tmp_path: Path) -> None:
    for seed in range(4):
        write_png(tmp_path / f"{seed}.png", deep(seed) if seed else radiograph(seed))
    (finding,) = found(tmp_path, "D125")
    assert finding.severity == "major"


def test_tiff_stacks_count_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([deep(seed) for seed in range(4)]))
    (finding,) = found(tmp_path, "D125")
    assert finding.numbers["largest value"] == max(deep(seed).max() for seed in range(4))


def test_sixteen_bit_container_of_eight_bit_values_is_silent(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", radiograph(0).astype(np.uint16))
    assert found(tmp_path, "D125") == []


def test_colour_is_a_note_and_grey_in_three_channels_is_nothing(tmp_path: Path) -> None:
    grey = np.repeat(radiograph(0)[..., None], 3, axis=2)
    write_png(tmp_path / "a.png", grey)
    assert found(tmp_path, "D125") == []
    grey[10:20, 10:20] = (250, 20, 20)
    write_png(tmp_path / "b.png", grey)
    (finding,) = found(tmp_path, "D125")
    assert finding.severity == "note"
    assert "1 colour" in finding.message


def test_palette(tmp_path: Path) -> None:
    Image.fromarray(radiograph(0)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    (finding,) = found(tmp_path, "D125")
    assert "1 palette" in finding.message
