"""How fast `traindx data` reads a folder of DICOM, against pydicom alone on the same files in the same run.

    python benchmarks/data_throughput.py --files 10000 --size 256

Makes the folder (CT slices with about 65 header elements and two sequences, several series of 100 slices), then
alternates between three readers so that a busy machine hits all of them alike:

* ``pydicom.dcmread(file)`` in one process: what a header costs;
* ``pydicom.dcmread(file).pixel_array`` in one process: what reading the image costs;
* ``traindx data FOLDER --workers N``: the whole command in a process of its own, start-up, audits, rules and reports
  included.

Prints the medians and the largest resident memory of the command and its workers, and writes ``--out`` as JSON. To see
whether memory is flat, run it with two numbers of files (``--files 2000 --files 10000``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SLICES = 100


def make(folder: Path, files: int, size: int) -> None:
    """Write CT slices: a noisy body with lung and bone, in series of :data:`SLICES`, a patient each."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    noise = rng.normal(0, 25, (64, size, size)).astype(np.int16)
    for number in range(files):
        series, place = divmod(number, SLICES)
        wide, high = 0.32 + 0.06 * np.sin(series), 0.40 + 0.04 * np.cos(1.7 * series)
        body = (rows / wide) ** 2 + (columns / high) ** 2 < 1
        lung = (rows / 0.15) ** 2 + ((np.abs(columns) - 0.17) / (0.04 + 0.08 * place / SLICES)) ** 2 < 1
        bone = (rows - 0.22) ** 2 + columns**2 < (0.03 + 0.01 * (series % 5)) ** 2
        image = np.where(body, 40, -1000)
        image = np.where(lung & body, -820, image)
        image = np.where(bone, 700, image) + noise[number % 64] + 1024
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        for word in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
            setattr(dataset, word, "20240102")
        for word in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
            setattr(dataset, word, "101112.131400")
        dataset.AccessionNumber, dataset.Modality, dataset.Manufacturer = f"A{series}", "CT", "MAKER"
        dataset.InstitutionName, dataset.ReferringPhysicianName = "HOSPITAL", "DOCTOR^A"
        dataset.StationName, dataset.StudyDescription, dataset.SeriesDescription = "CT1", "CHEST", "THIN"
        dataset.ManufacturerModelName, dataset.PatientName = "MODEL 9", f"PATIENT^{series:04d}"
        dataset.PatientID, dataset.PatientBirthDate = f"P{series:04d}", "19600101"
        dataset.PatientSex, dataset.PatientAge, dataset.PatientWeight = "F", "064Y", "71.0"
        dataset.PatientIdentityRemoved = "YES"
        dataset.BodyPartExamined, dataset.ScanOptions, dataset.SliceThickness = "CHEST", "HELICAL", "1.25"
        dataset.KVP, dataset.DataCollectionDiameter, dataset.SoftwareVersions = "120", "500", "V1"
        dataset.ReconstructionDiameter, dataset.DistanceSourceToDetector = "380", "949.1"
        dataset.DistanceSourceToPatient, dataset.GantryDetectorTilt, dataset.TableHeight = "541", "0", "170"
        dataset.RotationDirection, dataset.ExposureTime, dataset.XRayTubeCurrent = "CW", "800", "250"
        dataset.Exposure, dataset.FilterType, dataset.ConvolutionKernel = "20", "BODY", "STANDARD"
        dataset.PatientPosition = "HFS"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.826.0.1.{series}", f"1.2.826.0.2.{series}"
        dataset.StudyID, dataset.SeriesNumber, dataset.AcquisitionNumber = f"{series}", "3", "1"
        dataset.InstanceNumber = str(place + 1)
        dataset.ImagePositionPatient = [-190, -190, round(-100 + 1.25 * place, 2)]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.FrameOfReferenceUID, dataset.SliceLocation = f"1.2.826.0.3.{series}", str(-100 + 1.25 * place)
        for name, code in (("ProcedureCodeSequence", "CTCHEST"), ("AnatomicRegionSequence", "T-D3000")):
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SRT", "Chest"
            setattr(dataset, name, Sequence([item]))
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows = dataset.Columns = size
        dataset.PixelSpacing = [round(380 / size, 6)] * 2
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.WindowCenter, dataset.WindowWidth = "40", "400"
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "-1024", "1", "HU"
        dataset.PixelData = np.clip(image, 0, 4095).astype("<u2").tobytes()
        target = folder / f"series{series:04d}" / f"{place:04d}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target, enforce_file_format=True)


def by_pydicom(folder: Path, *, pixels: bool) -> float:
    """Seconds that one process needs for all files, interpreter and imports not counted."""
    import pydicom

    files = sorted(folder.rglob("*.dcm"))
    begun = time.perf_counter()
    for file in files:
        dataset = pydicom.dcmread(file)
        if pixels:
            _ = dataset.pixel_array
    return time.perf_counter() - begun


def by_traindx(folder: Path, out: Path, workers: int) -> tuple[float, int, int]:
    """Seconds of the whole command, and the largest resident memory in kB of it and of a worker."""
    command = [sys.executable, "-m", "traindx", "data", str(folder), "--out", str(out), "--workers", str(workers)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peaks: dict[int, int] = {}
    watch = threading.Thread(target=_watch, args=(process.pid, peaks, lambda: process.poll() is None), daemon=True)
    watch.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - begun
    watch.join()
    if process.returncode not in (0, 1):
        raise SystemExit(f"traindx data ended with {process.returncode}: {errors}")
    own = peaks.pop(process.pid, 0)
    return seconds, own, max(peaks.values(), default=0)


def _watch(pid: int, peaks: dict[int, int], alive: Callable[[], bool]) -> None:
    """Note the high-water mark of a process and its children (Linux)."""
    while alive():
        for number in (pid, *_children(pid)):
            try:
                status = Path(f"/proc/{number}/status").read_text()
            except OSError:
                continue
            mark = [line for line in status.splitlines() if line.startswith("VmHWM")]
            if mark:
                peaks[number] = max(peaks.get(number, 0), int(mark[0].split()[1]))
        time.sleep(0.05)


def _children(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            yield from (int(child) for child in (task / "children").read_text().split())
        except OSError:
            continue


def measure(files: int, size: int, rounds: int, workers: int) -> dict[str, Any]:
    """One folder, all readers, ``rounds`` times."""
    with tempfile.TemporaryDirectory(prefix="traindx-bench-") as name:
        folder = Path(name, "dicom")
        make(folder, files, size)
        by_pydicom(folder, pixels=False)  # the files are in the page cache for all of them
        headers, images, whole, own, worker = [], [], [], [], []
        for _ in range(rounds):
            headers.append(by_pydicom(folder, pixels=False))
            seconds, parent, child = by_traindx(folder, Path(name, "out"), workers)
            whole.append(seconds)
            own.append(parent)
            worker.append(child)
            images.append(by_pydicom(folder, pixels=True))
        diagnosis = json.loads(Path(name, "out", "diagnosis.json").read_text())
    reading = diagnosis["extras"]["census"]["seconds"]
    middle = statistics.median
    return {
        "files": files,
        "size": size,
        "rounds": rounds,
        "workers": workers,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "dcmread_seconds": round(middle(headers), 3),
        "dcmread_with_pixels_seconds": round(middle(images), 3),
        "traindx_seconds": round(middle(whole), 3),
        "traindx_reading_seconds": round(float(reading), 3),
        "traindx_over_dcmread": round(middle(a / b for a, b in zip(whole, headers, strict=True)), 3),
        "traindx_over_dcmread_with_pixels": round(middle(a / b for a, b in zip(whole, images, strict=True)), 3),
        "files_per_second": {
            "dcmread": round(files / middle(headers)),
            "dcmread with pixels": round(files / middle(images)),
            "traindx data": round(files / middle(whole)),
        },
        "peak_rss_mb": {"command": round(max(own) / 1024, 1), "worker": round(max(worker) / 1024, 1)},
        "findings": [finding["code"] for finding in diagnosis["findings"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, action="append", help="number of files; repeatable (10000)")
    parser.add_argument("--size", type=int, default=256, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    chosen = parser.parse_args()
    results = []
    for files in chosen.files or [10000]:
        results.append(measure(files, chosen.size, chosen.rounds, chosen.workers))
        print(json.dumps(results[-1], indent=2), flush=True)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
