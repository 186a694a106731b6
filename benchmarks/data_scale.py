"""``traindx data`` on many files, against pydicom and nibabel reading the same files and nothing else.

``python benchmarks/data_scale.py --files 20000 --bytes 1e9``. Nine files of ten are DICOM slices, the others
NIfTI volumes (half of them packed). Both sides use one process that reads. Time is the processor's, because other
programs may run beside it; wall time is printed, too. Memory is the peak of the resident set; what the program takes
before it reads anything is taken off. ``--volume 256`` measures one volume of that side in int16 instead: memory beyond
the program against the size of the volume.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

BARE = """
import os, sys
import nibabel, numpy, pydicom
before = int(open("/proc/self/statm").read().split()[1])
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith(".dcm"):
            pydicom.dcmread(path).pixel_array.sum()
        elif "nii" in name:
            numpy.asanyarray(nibabel.load(path).dataobj).sum()
print(before * 4096)
"""
OURS = """
import sys
import nibabel, numpy, pydicom, scipy
import traindx.data.verification, traindx.data.pool, traindx.rules
traindx.rules.catalogue()
before = int(open("/proc/self/statm").read().split()[1])
from traindx.data import verify
verify(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]))
print(before * 4096)
"""


def make(folder: Path, files: int, size: int) -> int:
    """Write the files; returns their bytes."""
    side = max(16, int((size / files / 2) ** 0.5))
    rng = np.random.default_rng(0)
    stock = rng.normal(0, 60, (8, side, side)).astype("<i2")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    prefix = generate_uid(prefix="1.2.826.0.1.3680043.8.498.77.")[:40]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = prefix + ".1000000"
    dataset.SeriesInstanceUID = prefix + ".7000000"
    dataset.StudyInstanceUID, dataset.PatientID, dataset.Modality = generate_uid(), "scale-1000000", "CT"
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], ["0", "0", "1000"]
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.8], 1
    dataset.PixelData = bytes(2 * side * side)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    head = stream.getvalue()[: -2 * side * side]
    total = 0
    for number in range(files):
        series, index = divmod(number, 100)
        place = folder / f"p{series:05d}"
        place.mkdir(exist_ok=True)
        image = np.roll(stock[number % 8], number, axis=number % 2) + np.int16(number % 97)
        if number % 10:
            data = head.replace(b".1000000", b".%07d" % (1000000 + number)).replace(
                b".7000000", b".%07d" % (7000000 + series)
            )
            data = data.replace(b"scale-1000000", b"scale-%07d" % (1000000 + series)).replace(
                b"\\1000", b"\\%04d" % (1000 + index)
            )
            (place / f"{index:03d}.dcm").write_bytes(data + image.astype("<i2").tobytes())
            total += len(data) + image.nbytes
        else:
            name = place / f"{index:03d}.nii{'.gz' if number % 20 else ''}"
            nib.save(nib.Nifti1Image(image.reshape(side, side, 1), np.eye(4)), name)
            total += name.stat().st_size
    return total


def run(code: str, *arguments: str) -> tuple[float, float, int, int]:
    """Processor and wall seconds with children, peak of the largest process, and what it took at first, in bytes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    wrapped = (
        code + "\nimport resource\nprint(max(resource.getrusage(w).ru_maxrss for w in "
        "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", wrapped, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    first, most = (int(line) for line in done.stdout.split()[-2:])
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.monotonic() - begun, most, first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bytes", type=float, default=1e9)
    parser.add_argument("--volume", type=int, default=0, help="one volume of this side instead")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="traindx-scale-"))
    try:
        data = folder / "data"
        data.mkdir()
        if options.volume:
            shape = (options.volume,) * 3
            array = np.random.default_rng(0).integers(-1000, 1000, shape, dtype=np.int16)
            nib.save(nib.Nifti1Image(array, np.eye(4)), data / "a.nii.gz")
            size, workers = array.nbytes, "0"
        else:
            size, workers = make(data, options.files, int(options.bytes)), "1"
        print(f"{sum(1 for path in data.rglob('*') if path.is_file())} files, {size / 1e6:.0f} MB", flush=True)
        bare = run(BARE, str(data))
        ours = run(OURS, str(data), str(folder / "out"), workers)
        for name, (cpu, wall, most, first) in (("pydicom, nibabel", bare), ("traindx data", ours)):
            beyond = (most - first) / 1e6
            print(
                f"{name:<18} {cpu:7.1f} s of processor {wall:7.1f} s {most / 1e6:7.0f} MB, "
                f"{beyond:.0f} beyond the program"
            )
        print(
            f"time x{ours[0] / bare[0]:.2f}"
            + (f", memory x{(ours[2] - ours[3]) / size:.2f} the volume" if options.volume else "")
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
