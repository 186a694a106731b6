"""Mutated DICOM, NIfTI, PNG and CSV files through the readers of ``traindx data``, for as long as is asked.

``python benchmarks/fuzz_readers.py --minutes 10``. Good small files are damaged at random (bytes, numbers in headers,
lengths, cuts, repeats, pieces of another file) and verified in worker processes, as the command does it. Counted are
workers that died, files that took longer than ten seconds, exceptions that got out, and the peak memory of the workers.
Every damaged file that did something of the kind is kept in ``--keep``.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image

from traindx.data import pool
from traindx.data.tables import read_rows, understand
from traindx.errors import InputError

SLOW = 10.0
BATCH = 16


def seeds() -> dict[str, bytes]:
    """One small good file of each kind and form."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (24, 20), dtype=np.uint8)
    found: dict[str, bytes] = {}
    for name, array in (
        ("grey.png", image),
        ("colour.png", np.stack([image] * 3, -1)),
        ("deep.png", image.astype(np.uint16) * 99),
    ):
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, "PNG")
        found[name] = stream.getvalue()
    volume = rng.integers(-1000, 1000, (9, 8, 7)).astype(np.int16)
    packed = nib.Nifti1Image(volume, np.diag([1.0, 1, 2, 1])).to_bytes()
    found["plain.nii"], found["packed.nii.gz"] = packed, gzip.compress(packed)
    found["float.nii"] = nib.Nifti2Image(volume.astype(np.float32), np.eye(4)).to_bytes()
    for name, syntax in (
        ("explicit.dcm", pydicom.uid.ExplicitVRLittleEndian),
        ("implicit.dcm", pydicom.uid.ImplicitVRLittleEndian),
        ("rle.dcm", pydicom.uid.RLELossless),
    ):
        found[name] = _dicom(volume[:, :, 0], syntax)
    found["labels.csv"] = b"image,finding,split\n" + b"".join(b"grey%d.png,%d,train\n" % (n, n % 2) for n in range(30))
    found["boxes.csv"] = b"image_id;x_min;y_min;x_max;y_max;class\n" + b"a.png;1,5;2;30;40;nodule\n" * 20
    return found


def _dicom(image: np.ndarray, syntax: pydicom.uid.UID) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.SeriesInstanceUID = dataset.StudyInstanceUID = pydicom.uid.generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "fuzz-0001", "Fuzz^One", "CT"
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.WindowCenter, dataset.WindowWidth = [40, 400], [400, 1500]
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.8], 1
    inner = pydicom.Dataset()
    inner.SeriesInstanceUID = pydicom.uid.generate_uid()
    dataset.ReferencedSeriesSequence = [inner]
    dataset.PixelData = np.ascontiguousarray(image).tobytes()
    if syntax == pydicom.uid.RLELossless:
        dataset.compress(syntax)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


NASTY = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The file with one to three damages."""
    damaged = bytearray(data)
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.6:  # inside the compression, so that the header is reached
        return gzip.compress(mutated(gzip.decompress(data), others, rng), 1)
    for _ in range(rng.randint(1, 3)):
        if not damaged:
            break
        at = rng.randrange(len(damaged)) if rng.random() < 0.5 else rng.randrange(min(len(damaged), 400))
        kind = rng.randrange(7)
        if kind == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[at] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
        elif kind == 2:
            width = rng.choice("HIQ")
            value = rng.choice(NASTY) & (1 << 8 * struct.calcsize(width)) - 1
            damaged[at : at + struct.calcsize(width)] = struct.pack(rng.choice("<>") + width, value)
        elif kind == 3:
            del damaged[at:]
        elif kind == 4:
            del damaged[at : at + rng.randint(1, 64)]
        elif kind == 5:
            piece = bytes(damaged[at : at + rng.randint(1, 128)]) * rng.randint(1, 40)
            damaged[at:at] = piece
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            damaged[at:at] = other[start : start + rng.randint(1, 200)]
    return bytes(damaged)


def peak(pid: int) -> int:
    """Peak resident memory of a process in bytes (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="where files go that did something they must not")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    good = seeds()
    pool.PATIENCE = SLOW * BATCH
    counts: Counter[str] = Counter()
    said: Counter[str] = Counter()
    bad: list[str] = []
    most = first = 0
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        worker = pool._Worker(folder)
        try:
            while time.monotonic() < end:
                names = []
                for number in range(BATCH):
                    name, data = rng.choice(list(good.items()))
                    names.append(f"{number:02d}_{name}")
                    Path(folder, names[-1]).write_bytes(mutated(data, list(good.values()), rng))
                    counts[name.partition(".")[2]] += 1
                images = [name for name in names if not name.endswith(".csv")]
                begun = time.process_time(), time.monotonic()
                result = worker.ask(images)
                for name in (name for name in names if name.endswith(".csv")):
                    _table(Path(folder, name), bad)
                if result is None or time.monotonic() - begun[1] > SLOW * 6:
                    bad.append(f"{worker.last_words or 'slow'}: {_culprit(worker, folder, images, options.keep)}")
                else:
                    said.update(report.status for report in result[0])
                    if len(result[0]) != len(images):
                        bad.append("a file without a report")
                    bad += [f"{r.path}: {r.reason}" for r in result[0] if "MemoryError" in r.reason]
                if worker._process is not None:
                    now = peak(worker._process.pid)
                    first = first or now
                    most = max(most, now)
        finally:
            worker.close()
    total = sum(counts.values())
    print(f"{total} files in {options.minutes:g} min: " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common()))
    print("statuses of images: " + ", ".join(f"{n} {status}" for status, n in said.most_common()))
    print(f"peak of a worker {most / 1e6:.0f} MB ({first / 1e6:.0f} MB after its first batch)")
    print(f"crashes, hangs, exceptions: {len(bad)}")
    for line in bad[:20]:
        print("  " + line)


def _table(path: Path, bad: list[str]) -> None:
    begun = time.process_time()
    try:
        understand(path, path.name)
        for _ in read_rows(path):
            pass
    except InputError:
        pass
    except Exception as error:
        bad.append(f"{path.name}: {type(error).__name__}: {error}")
    if time.process_time() - begun > SLOW:
        bad.append(f"{path.name}: {time.process_time() - begun:.0f} s")


def _culprit(worker: pool._Worker, folder: str, names: list[str], keep: Path | None) -> str:
    """The file that does it alone, kept."""
    found = [name for name in names if worker.ask([name]) is None]
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for name in found:
            (keep / f"{time.time_ns()}_{name}").write_bytes(Path(folder, name).read_bytes())
    return ", ".join(found) or "none of them alone"


if __name__ == "__main__":
    main()
