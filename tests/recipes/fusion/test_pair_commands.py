"""predict, train and evaluate on pairs of plain images."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from recipes.fusion.conftest import brain
from traindx.errors import InputError, UsageError
from traindx.recipes import registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    for side in ("ct", "mri"):
        (root / side).mkdir()
    for patient in range(4):
        for number in (1, 2):
            for side, image in zip(("ct", "mri"), brain(10 * patient + number), strict=True):
                PIL.Image.fromarray(image).save(root / side / f"{patient + 1}00{number}.png")
    return root


def predict(out, *argv):
    return registry()["fusion"].predict([*map(str, argv), f"--out={out}"])


def shown(path):
    return np.asarray(PIL.Image.open(path))


def test_a_pair_of_pictures_is_fused_without_a_checkpoint(folder, tmp_path, capsys):
    a, b = folder / "ct" / "1001.png", folder / "mri" / "1001.png"
    assert predict(tmp_path, "--pair", a, b, "--method", "maximum") == 0
    np.testing.assert_array_equal(shown(tmp_path / "1001_fused.png"), np.maximum(shown(a), shown(b)))
    said = capsys.readouterr().out
    assert "48 x 48, grey, 8 bit, 0 to 255" in said
    assert "1001_fused.png" in said


def test_colour_is_kept_and_luminance_is_fused(folder, tmp_path):
    a, b = folder / "ct" / "1001.png", folder / "mri" / "1001.png"
    pet = np.stack([shown(b), shown(b) // 2, shown(b) // 3], axis=2)
    PIL.Image.fromarray(pet).save(tmp_path / "pet.png")
    predict(tmp_path, "--pair", tmp_path / "pet.png", a, "--method", "average")
    found = PIL.Image.open(tmp_path / "pet_fused.png")
    assert found.mode == "RGB"
    inside = (shown(b) > 0) & (shown(a) == 0)
    weights = np.array([0.299, 0.587, 0.114])
    hue = (np.asarray(found) - (np.asarray(found) @ weights)[..., None])[inside]
    clipped = (np.asarray(found)[inside] == 0).any(axis=1)
    expected = (pet - (pet @ weights)[..., None])[inside]
    assert np.abs(hue - expected)[~clipped].max() <= 1.5


def test_a_whole_folder_is_fused(folder, tmp_path):
    predict(tmp_path, "--root", folder, "--method", "laplacian")
    assert len(list(tmp_path.glob("*_fused.png"))) == 8


def test_what_is_not_clear_is_refused(folder, tmp_path):
    a, b = folder / "ct" / "1001.png", folder / "mri" / "1001.png"
    with pytest.raises(UsageError, match="what fuses the pair"):
        predict(tmp_path, "--pair", a, b)
    with pytest.raises(UsageError, match="pairs of plain images"):
        predict(tmp_path, "--pair", a, b, "--case", folder, "--method", "dwt")
    with pytest.raises(UsageError, match="no model is given"):
        predict(tmp_path, "--case", folder)
    with pytest.raises(InputError, match="several pairs are called 1001"):
        predict(tmp_path, "--pair", a, b, "--pair", a, b, "--method", "dwt")
