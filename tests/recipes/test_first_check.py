"""The first check of a recipe: it is kept beside the run, said, and refuses demonstrated faults only when asked to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from traindx.data import verify
from traindx.diagnosis import Diagnosis
from traindx.errors import InputError
from traindx.recipes.kit.first_check import FOLDER, first_check
from traindx.recipes.segmentation import train as segmentation
from traindx.recipes.xray2ct import train as xray2ct


def volumes(folder: Path, *, broken: bool) -> Path:
    """Four CT-like arrays, one of them with voxels that are not numbers."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(4):
        hu = rng.normal(0, 200, (12, 16, 16)).astype(np.float32)
        if broken and number == 2:
            hu[3, 4:8] = np.nan
        np.save(folder / f"ct_{number}.npy", hu)
    return folder


def of(folder: Path) -> object:
    def run(out: Path) -> Diagnosis:
        return verify(folder, out=out, workers=0)

    return run


def test_a_demonstrated_fault_is_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = first_check(of(volumes(tmp_path / "ct", broken=True)), tmp_path / "run", strict=False)
    assert "D103" in [finding.code for finding in found.findings]
    kept = json.loads((tmp_path / "run" / FOLDER / "diagnosis.json").read_text())
    assert [item["code"] for item in kept["findings"]] == [item.code for item in found.findings]
    assert "D103 demonstrated" in capsys.readouterr().out


def test_strict_refuses_it_and_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="D103"):
        first_check(of(volumes(tmp_path / "ct", broken=True)), tmp_path / "run", strict=True)
    assert (tmp_path / "run" / FOLDER / "diagnosis.json").exists()


def test_sound_data_passes_strictly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = first_check(of(volumes(tmp_path / "ct", broken=False)), tmp_path / "run", strict=True)
    assert not found.findings
    assert "data: no findings" in capsys.readouterr().out


@pytest.mark.parametrize("module", [segmentation, xray2ct])
def test_every_training_offers_it(module: object) -> None:
    options = module.parser().parse_args([])  # type: ignore[attr-defined]
    assert options.no_verification is False
    assert options.strict is False
