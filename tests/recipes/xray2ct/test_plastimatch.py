"""Both renderers against plastimatch, which shares no code with them: same rays, same unit, no mirror image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.radiograph import MU_WATER_PER_MM, line_integral

PROGRAM = Path(sys.executable).with_name("plastimatch")
GEOMETRY = ConeGeometry((48, 48, 48), (7.0, 8.0, 6.5), (48, 48))
NORMAL = {"frontal": "0 1 0", "lateral": "-1 0 0"}  # from the patient to the source, in DICOM coordinates
FINER = 4  # smaller voxels each way
CM_PER_MM = 10.0  # plastimatch sums over path lengths in cm

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="plastimatch is not installed")


@pytest.fixture(scope="module")
def mu() -> Tensor:
    """Water with smooth, lopsided organs."""
    axes = torch.meshgrid(*[torch.arange(48.0)] * 3, indexing="ij")
    volume = torch.zeros(48, 48, 48)
    for centre, width, density in (
        ((24, 24, 24), 9.0, 1.0),
        ((14, 30, 18), 5.0, 1.2),
        ((32, 16, 33), 4.0, 0.9),
        ((20, 26, 30), 4.0, -0.5),
    ):
        squared = sum((axis - place) ** 2 for axis, place in zip(axes, centre, strict=True))
        volume += density * torch.exp(-squared / (2 * width**2))
    return MU_WATER_PER_MM * volume.clamp_min(0)[None, None]


@pytest.fixture(scope="module")
def reference(mu: Tensor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Plastimatch takes every voxel as a box and ours interpolate between them, so its boxes are made small."""
    folder = tmp_path_factory.mktemp("plastimatch")
    d, h, w = (count * FINER for count in GEOMETRY.shape)
    sd, sh, sw = (size / FINER for size in GEOMETRY.spacing_mm)
    mu = torch.nn.functional.interpolate(mu, scale_factor=FINER, mode="trilinear")
    corner = [-(count - 1) / 2 * size for count, size in ((w, sw), (h, sh), (d, sd))]
    header = {
        **{"ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False},
        **{"Offset": " ".join(map(str, corner)), "ElementSpacing": f"{sw} {sh} {sd}", "DimSize": f"{w} {h} {d}"},
        **{"ElementType": "MET_FLOAT", "ElementDataFile": "LOCAL"},
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    upwards = np.ascontiguousarray(mu[0, 0].numpy()[::-1], dtype="<f4")  # DICOM's z grows towards the head
    (folder / "volume.mha").write_bytes(text.encode() + upwards.tobytes())
    rows, columns = GEOMETRY.pixels
    height, width = GEOMETRY.pixel_mm
    found = {}
    for view in VIEWS:
        command = [str(PROGRAM), "drr", "-i", "exact", "-P", "none", "-t", "pfm", "-n", NORMAL[view], "--vup", "0 0 1"]
        command += ["--sad", str(GEOMETRY.source_to_isocentre_mm), "--sid", str(GEOMETRY.source_to_detector_mm)]
        command += ["-r", f"{rows} {columns}", "-z", f"{width * columns} {height * rows}", "-o", "0 0 0"]
        command += ["-I", str(folder / "volume.mha"), "-O", str(folder / view)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        (file,) = folder.glob(f"{view}*.pfm")
        _, size, _, pixels = file.read_bytes().split(b"\n", 3)
        shape = tuple(map(int, size.split()))[::-1]
        as_the_source_sees = torch.from_numpy(np.frombuffer(pixels, "<f4").reshape(shape).copy()) * CM_PER_MM
        found[view] = as_the_source_sees.flip(1)  # radiographs are hung as seen from the detector
    return found


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("renderer", ["nanodrr", "fast"])
def test_line_integrals_agree(renderer, view, mu, reference):
    if renderer == "nanodrr":
        mine = line_integral(mu, view, GEOMETRY)[0, 0]
    else:
        mine = Projector(GEOMETRY, VIEWS)(mu, view)[0, 0]
    theirs = reference[view]
    inside = (slice(20, 28), slice(20, 28))
    assert float(mine[inside].mean() / theirs[inside].mean()) == pytest.approx(1, abs=0.005)
    error = float((mine - theirs).abs().mean() / theirs.mean())
    assert error < 0.003
    for flipped in (mine.flip(0), mine.flip(1)):
        assert float((flipped - theirs).abs().mean() / theirs.mean()) > 100 * error
