"""How fast `traindx data` reads a folder of DICOM, against pydicom alone on the same files in the same run.

    python benchmarks/data_throughput.py --files 10000 --size 256

Makes the folder (CT slices with about 65 header elements and two sequences, several series of 100 slices), then
alternates between three readers so that a busy machine hits all of them alike:

* ``pydicom.dcmread(file)`` in one process: what a header costs;
* ``pydicom.dcmread(file).pixel_array`` in one process: what reading the image costs;
* ``traindx data FOLDER --workers N``: the whole command in a process of its own, start-up, audits, rules and reports
  included.

Prints the medians and the largest resident memory of the command and its workers, and writes ``--out`` as JSON. CPU
seconds (of the command with all its workers) do not depend on what else the machine does; seconds do. To see
whether memory is flat, run it with two numbers of files (``--files 2000 --files 10000``).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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

HEADER = """
Modality=CT Manufacturer=MAKER InstitutionName=HOSPITAL ReferringPhysicianName=DOCTOR^A StationName=CT1
StudyDescription=CHEST SeriesDescription=THIN ManufacturerModelName=MODEL9 AccessionNumber=A1 PatientBirthDate=19600101
PatientSex=F PatientAge=064Y PatientWeight=71.0 PatientIdentityRemoved=YES BodyPartExamined=CHEST ScanOptions=HELICAL
SliceThickness=1.25 KVP=120 DataCollectionDiameter=500 SoftwareVersions=V1 ReconstructionDiameter=380
DistanceSourceToDetector=949.1 DistanceSourceToPatient=541 GantryDetectorTilt=0 TableHeight=170 RotationDirection=CW
ExposureTime=800 XRayTubeCurrent=250 Exposure=20 FilterType=BODY ConvolutionKernel=STANDARD PatientPosition=HFS
StudyID=1 SeriesNumber=3 AcquisitionNumber=1 PhotometricInterpretation=MONOCHROME2 WindowCenter=40 WindowWidth=400
RescaleIntercept=-1024 RescaleSlope=1 RescaleType=HU
"""


def make(folder: Path, files: int, size: int) -> None:
    """Write CT slices: a noisy body with lung and bone and a texture of its own, in series of :data:`SLICES`."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    noise = rng.normal(0, 25, (64, size, size)).astype(np.int16)
    for number in range(files):
        series, place = divmod(number, SLICES)
        if place == 0:
            coarse = np.random.default_rng(series).normal(0, 60, (size // 8, size // 8))
            texture = np.kron(coarse, np.ones((8, 8)))
        wide, high = 0.32 + 0.06 * np.sin(series), 0.40 + 0.04 * np.cos(1.7 * series)
        body = (rows / wide) ** 2 + (columns / high) ** 2 < 1
        lung = (rows / 0.15) ** 2 + ((np.abs(columns) - 0.17) / (0.04 + 0.08 * place / SLICES)) ** 2 < 1
        bone = (rows - 0.22) ** 2 + columns**2 < (0.03 + 0.01 * (series % 5)) ** 2
        image = np.where(body, 40 + texture, -1000)
        image = np.where(lung & body, -820, image)
        image = np.where(bone, 700, image) + noise[number % 64] + 1024
        target = folder / f"series{series:04d}" / f"{place:04d}.dcm"
        write(target, np.clip(image, 0, 4095).astype("<u2"), series, place)


def write(target: Path, stored: np.ndarray, series: int, place: int) -> None:
    """One slice with the header of a clinical scanner's export."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    words = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), "20240102")
    words |= dict.fromkeys(("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"), "101112.131400")
    words |= dict(line.split("=") for line in HEADER.split())
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-D3000", "SRT", "Chest"
    values: dict[str, Any] = {
        **words,
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": dataset.file_meta.MediaStorageSOPInstanceUID,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": f"PATIENT^{series:04d}",
        "PatientID": f"P{series:04d}",
        "StudyInstanceUID": f"1.2.826.0.1.{series}",
        "SeriesInstanceUID": f"1.2.826.0.2.{series}",
        "FrameOfReferenceUID": f"1.2.826.0.3.{series}",
        "InstanceNumber": place + 1,
        "ImagePositionPatient": [-190, -190, round(-100 + 1.25 * place, 2)],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SliceLocation": round(-100 + 1.25 * place, 2),
        "PixelSpacing": [round(380 / stored.shape[0], 6)] * 2,
        "ProcedureCodeSequence": Sequence([item]),
        "AnatomicRegionSequence": Sequence([item]),
        "SamplesPerPixel": 1,
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(target, enforce_file_format=True)


def by_pydicom(folder: Path, *, pixels: bool) -> tuple[float, float]:
    """Seconds and CPU seconds that one process needs for all files, interpreter and imports not counted."""
    import pydicom

    files = sorted(folder.rglob("*.dcm"))
    begun, used = time.perf_counter(), time.process_time()
    for file in files:
        dataset = pydicom.dcmread(file)
        if pixels:
            _ = dataset.pixel_array
    return time.perf_counter() - begun, time.process_time() - used


def by_traindx(folder: Path, out: Path, workers: int) -> tuple[float, float, int, int]:
    """Seconds and CPU seconds of the whole command, and the largest resident memory in kB of it and of a worker."""
    command = [sys.executable, "-m", "traindx", "data", str(folder), "--out", str(out), "--workers", str(workers)]
    used = cpu_of_children()
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
    return seconds, cpu_of_children() - used, own, max(peaks.values(), default=0)


def cpu_of_children() -> float:
    """CPU seconds of all processes that this one has waited for, their own children included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
        headers, images, whole, work, own, worker = [], [], [], [], [], []
        header_work, image_work = [], []
        for _ in range(rounds):
            seconds, busy = by_pydicom(folder, pixels=False)
            headers.append(seconds)
            header_work.append(busy)
            seconds, busy, parent, child = by_traindx(folder, Path(name, "out"), workers)
            whole.append(seconds)
            work.append(busy)
            own.append(parent)
            worker.append(child)
            seconds, busy = by_pydicom(folder, pixels=True)
            images.append(seconds)
            image_work.append(busy)
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
        "dcmread_cpu_seconds": round(middle(header_work), 3),
        "dcmread_with_pixels_cpu_seconds": round(middle(image_work), 3),
        "traindx_seconds": round(middle(whole), 3),
        "traindx_cpu_seconds": round(middle(work), 3),
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
