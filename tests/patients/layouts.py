"""Public data sets in miniature: folder trees, names, tables and sidecar files as their owners publish them.

Every convention is built by code, with made-up pictures: once as it should be, and once with one fault. The trees
follow the public descriptions of the sets; not a pixel or a row of them is here.
"""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from patients.folders import ct_volume, organ, radiograph, write_dicom, write_nifti, write_png
from traindx.data import kinds

Build = Callable[[Path], None]

SIDE = 64


@dataclass(frozen=True)
class Convention:
    """One way of keeping data.

    Attributes:
        name: The public set or family.
        family: How it is understood (see ``docs/layouts.md``).
        build: Writes the clean tree.
        fault: What :attr:`plant` does, in words.
        plant: Puts one fault into a clean tree.
        codes: Rules any of which is the right answer.
        needs: The suffix of its files, where not every version or installation reads it.
    """

    name: str
    family: str
    build: Build
    fault: str
    plant: Build
    codes: tuple[str, ...]
    needs: str = ""


def is_read(suffix: str) -> bool:
    """True where this version and installation read files of the suffix (empty: the usual ones)."""
    if suffix == ".h5" and importlib.util.find_spec("h5py") is None:
        return False
    return not suffix or kinds.by_suffix("a" + suffix) != ""


def photograph(seed: int, size: tuple[int, int] = (SIDE, 80)) -> np.ndarray:
    """A lesion on skin in colour, uint8 (rows, columns, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = region(seed, size).astype(float)
    grain = rng.normal(0, 9, (size[0] // 8 + 1, size[1] // 8 + 1)).repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    base = np.stack([200 - 70 * inside, 150 - 80 * inside, 130 - 60 * inside], axis=-1)
    wave = 8 * np.sin(rows / rng.uniform(2, 9) + columns / rng.uniform(2, 9))
    return np.clip(base + (2 * grain + wave)[..., None] + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8)


def region(seed: int, size: tuple[int, int] = (SIDE, 80)) -> np.ndarray:
    """An ellipse, bool (rows, columns)."""
    rng = np.random.default_rng(1000 + seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    centre = np.array(size) * rng.uniform(0.4, 0.6, 2)
    radii = np.array(size) * rng.uniform(0.15, 0.3, 2)
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1


def white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def table(path: Path, head: Sequence[str] | None, rows: Iterable[Sequence[Any]], separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=separator)
        if head is not None:
            writer.writerow(head)
        writer.writerows(rows)
    return path


def replace_in(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content, (path, old)
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def crop_volume(path: Path) -> None:
    """Cut the first two planes off a NIfTI volume: a mask that no longer fits its image."""
    import nibabel as nib

    volume = nib.load(path)
    voxels = np.array(volume.dataobj)[2:]  # a copy: the file is mapped into memory, and written over
    write_nifti(path, voxels, volume.affine)


def crop_picture(path: Path) -> None:
    with Image.open(path) as image:
        smaller = image.crop((0, 0, image.width - 6, image.height - 6))
        smaller.load()
    smaller.save(path)


CT_AFFINE = np.diag([0.8, 0.8, 2.5, 1.0])


def ct(seed: int) -> np.ndarray:
    """HU with axes (x, y, z)."""
    return ct_volume(seed, (12, 32, 32)).transpose(2, 1, 0)


def lump(seed: int, shape: tuple[int, ...] = (32, 32, 12), values: int = 1) -> np.ndarray:
    rng = np.random.default_rng(2000 + seed)
    grid = np.meshgrid(*(np.arange(n) / n - 0.5 for n in shape), indexing="ij")
    centre = rng.uniform(-0.1, 0.1, len(shape))
    distance = sum(((axis - c) / 0.25) ** 2 for axis, c in zip(grid, centre, strict=True))
    mask = np.zeros(shape, np.uint8)
    for value in range(1, values + 1):
        mask[distance < 1 / value] = value
    return mask


# --- volumes ---------------------------------------------------------------------------------------------------------


def nnunet(root: Path) -> None:
    base = root / "Dataset007_Organ"
    for number in range(6):
        image, mask = organ(number)
        write_nifti(base / "imagesTr" / f"organ_{number:03}_0000.nii.gz", image)
        write_nifti(base / "imagesTr" / f"organ_{number:03}_0001.nii.gz", (image // 2 + 7).astype(np.int16))
        write_nifti(base / "labelsTr" / f"organ_{number:03}.nii.gz", mask)
    for number in range(20, 23):
        write_nifti(base / "imagesTs" / f"organ_{number:03}_0000.nii.gz", organ(number)[0])
        write_nifti(base / "imagesTs" / f"organ_{number:03}_0001.nii.gz", (organ(number)[0] // 2 + 9).astype(np.int16))
    described = {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "organ": 1}, "numTraining": 6}
    text(base / "dataset.json", json.dumps({**described, "file_ending": ".nii.gz"}))


def nnunet_fault(root: Path) -> None:
    (root / "Dataset007_Organ" / "imagesTr" / "organ_003_0001.nii.gz").unlink()


def decathlon(root: Path) -> None:
    base = root / "Task09_Organ"
    pairs = []
    for number in (2, 3, 6, 10, 41, 44):
        image, mask = organ(number)
        write_nifti(base / "imagesTr" / f"organ_{number}.nii.gz", np.stack([image, image // 3], axis=-1))
        write_nifti(base / "labelsTr" / f"organ_{number}.nii.gz", mask)
        pairs.append({"image": f"./imagesTr/organ_{number}.nii.gz", "label": f"./labelsTr/organ_{number}.nii.gz"})
    tests = []
    for number in (1, 7, 11):
        image = organ(number)[0]
        write_nifti(base / "imagesTs" / f"organ_{number}.nii.gz", np.stack([image, image // 3], axis=-1))
        tests.append(f"./imagesTs/organ_{number}.nii.gz")
    described = {"name": "Organ", "modality": {"0": "MRI", "1": "ADC"}, "labels": {"0": "background", "1": "organ"}}
    text(base / "dataset.json", json.dumps({**described, "numTraining": 6, "training": pairs, "test": tests}))


def decathlon_fault(root: Path) -> None:
    (root / "Task09_Organ" / "labelsTr" / "organ_10.nii.gz").unlink()


def bids(root: Path) -> None:
    text(root / "dataset_description.json", json.dumps({"Name": "Brains", "BIDSVersion": "1.8.0"}))
    people = []
    for number in range(1, 7):
        image, mask = organ(number)
        stem = f"sub-{number:02}"
        write_nifti(root / stem / "anat" / f"{stem}_T1w.nii.gz", image)
        text(root / stem / "anat" / f"{stem}_T1w.json", json.dumps({"EchoTime": 0.004}))
        write_nifti(root / stem / "anat" / f"{stem}_FLAIR.nii.gz", (image // 2 + 11).astype(np.int16))
        lesions = root / "derivatives" / "manual_lesions" / stem / "anat"
        write_nifti(lesions / f"{stem}_space-orig_desc-lesion_mask.nii.gz", mask)
        people.append((stem, 20 + 5 * number, "MF"[number % 2], ("patient", "control")[number % 2]))
    table(root / "participants.tsv", ("participant_id", "age", "sex", "group"), people, "\t")
    text(root / "README", "Six brains.")


def bids_fault(root: Path) -> None:
    crop_volume(next((root / "derivatives").rglob("sub-04_*mask.nii.gz")))


def brats(root: Path) -> None:
    for number in range(6):
        image, _ = organ(number)
        case = f"BraTS2021_{number * 3:05}"
        for channel, name in enumerate(("flair", "t1", "t1ce", "t2"), start=1):
            write_nifti(root / case / f"{case}_{name}.nii.gz", (image // channel + channel).astype(np.int16))
        mask = lump(number, image.shape, 3)
        mask[mask == 3] = 4
        write_nifti(root / case / f"{case}_seg.nii.gz", mask)


def brats_fault(root: Path) -> None:
    crop_volume(root / "BraTS2021_00009" / "BraTS2021_00009_seg.nii.gz")


def kits(root: Path) -> None:
    for number in range(5):
        write_nifti(root / "data" / f"case_{number:05}" / "imaging.nii.gz", ct(number), CT_AFFINE)
        if number < 4:  # the last cases are the test cases and come without
            mask = lump(number, values=2)
            write_nifti(root / "data" / f"case_{number:05}" / "segmentation.nii.gz", mask, CT_AFFINE)
    text(root / "data" / "kits.json", json.dumps([{"case_id": f"case_{number:05}"} for number in range(5)]))


def kits_fault(root: Path) -> None:
    crop_volume(root / "data" / "case_00002" / "segmentation.nii.gz")


def lits(root: Path) -> None:
    for number in range(6):
        folder = root / f"Training Batch {1 + number // 3}"
        write_nifti(folder / f"volume-{number}.nii", ct(number), CT_AFFINE)
        write_nifti(folder / f"segmentation-{number}.nii", lump(number, values=2), CT_AFFINE)


def lits_fault(root: Path) -> None:
    crop_volume(root / "Training Batch 2" / "segmentation-4.nii")


def acdc(root: Path) -> None:
    for number in (1, 2, 3, 4, 101, 102):
        split, case = ("training", "testing")[number > 100], f"patient{number:03}"
        image, _ = organ(number)
        cycle = np.stack([image + step for step in range(3)], axis=-1)
        affine = np.diag([1.5, 1.5, 8.0, 1.0])
        write_nifti(root / split / case / f"{case}_4d.nii.gz", cycle.astype(np.int16), affine)
        text(root / split / case / "Info.cfg", "ED: 1\nES: 9\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n")
        for frame in (1, 9):
            write_nifti(
                root / split / case / f"{case}_frame{frame:02}.nii.gz", (image + frame).astype(np.int16), affine
            )
            mask = lump(number, image.shape, 3)
            write_nifti(root / split / case / f"{case}_frame{frame:02}_gt.nii.gz", mask, affine)


def acdc_fault(root: Path) -> None:
    crop_volume(root / "training" / "patient003" / "patient003_frame09_gt.nii.gz")


def totalsegmentator(root: Path) -> None:
    rows = []
    for number in range(6):
        case = f"s{number * 7 + 3:04}"
        write_nifti(root / case / "ct.nii.gz", ct(number), CT_AFFINE)
        for part, organ_name in enumerate(("liver", "spleen", "femur_left", "vertebrae_L1")):
            mask = lump(number * 10 + part)
            if (number + part) % 4 == 0:
                mask[:] = 0  # not in the field of view
            write_nifti(root / case / "segmentations" / f"{organ_name}.nii.gz", mask, CT_AFFINE)
        split = "train" if number < 4 else "test"
        rows.append(
            (case, 50 + number, "mf"[number % 2], "C", "ct thorax", split, "siemens", "S 64", "120", "tumor", "")
        )
    head = "image_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology;pathology_location"
    table(root / "meta.csv", head.split(";"), rows, ";")


def totalsegmentator_fault(root: Path) -> None:
    crop_volume(root / "s0017" / "segmentations" / "spleen.nii.gz")


def luna(root: Path) -> None:
    uids = [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{number * 1234567 + 998}" for number in range(1, 7)]
    rows, candidates = [], []
    for number, uid in enumerate(uids):
        volume = ct_volume(number, (12, 32, 32))
        for folder, array, kind in (
            (f"subset{number // 3}", volume, "MET_SHORT"),
            ("seg-lungs-LUNA16", lump(number, volume.shape, 2) * 1, "MET_UCHAR"),
        ):
            lines = (
                "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
                "CompressedData = False", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = -120.5 -110.25 -200",
                "ElementSpacing = 0.7 0.7 2.5", "DimSize = 32 32 12", f"ElementType = {kind}",
                f"ElementDataFile = {uid}.raw",
            )  # fmt: skip
            text(root / folder / f"{uid}.mhd", "\n".join(lines) + "\n")
            (root / folder / f"{uid}.raw").write_bytes(array.tobytes())
        rows.append((uid, -110.2 + number, -100.5, -190.25, 5.65 + number))
        candidates += [(uid, -115.0 + step, -95.0, -185.0, int(step == 0)) for step in range(4)]
    table(root / "annotations.csv", ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"), rows)
    table(root / "candidates.csv", ("seriesuid", "coordX", "coordY", "coordZ", "class"), candidates)


def luna_fault(root: Path) -> None:
    path = next((root / "seg-lungs-LUNA16").glob("*.mhd"))
    replace_in(path, "DimSize = 32 32 12", "DimSize = 32 32 10")
    raw = path.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes()[: 32 * 32 * 10])


def lidc(root: Path) -> None:
    for number in range(1, 4):
        study, series = f"1.3.6.1.4.1.14519.5.2.1.{number}.100", f"1.3.6.1.4.1.14519.5.2.1.{number}.200"
        folder = root / "LIDC-IDRI" / f"LIDC-IDRI-{number:04}" / study / series
        for position, plane in enumerate(ct_volume(number, (8, 32, 32))):
            identity: dict[str, Any] = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
            identity["PatientID"] = f"LIDC-IDRI-{number:04}"
            identity["ImagePositionPatient"] = [0, 0, 2.0 * position]
            write_dicom(folder / f"1-{position + 1:03}.dcm", plane, **identity)
        text(folder / f"{68 + number:03}.xml", "<LidcReadMessage><readingSession/></LidcReadMessage>")


def lidc_fault(root: Path) -> None:
    next(root.rglob("LIDC-IDRI-0002/*/*/1-004.dcm")).unlink()


def fastmri(root: Path) -> None:
    import h5py

    for number in range(4):
        path = root / ("singlecoil_train" if number < 3 else "singlecoil_val") / f"file{1000001 + number * 7}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = organ(number)[0].transpose(2, 1, 0).astype(np.float32)
        with h5py.File(path, "w") as file:
            file["kspace"] = np.fft.fftshift(np.fft.fft2(image), axes=(1, 2)).astype(np.complex64)
            file["reconstruction_esc"] = image
            file["ismrmrd_header"] = "<ismrmrdHeader/>"
            file.attrs["patient_id"], file.attrs["max"] = f"patient{number}", float(image.max())


def fastmri_fault(root: Path) -> None:
    import shutil

    source = sorted((root / "singlecoil_train").iterdir())[0]
    shutil.copy(source, root / "singlecoil_val" / "file1000999.h5")


# --- pictures and masks ----------------------------------------------------------------------------------------------


def isic2016(root: Path) -> None:
    data, truth = "ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth"
    rows = []
    for number in range(8):
        name = f"ISIC_{number * 3:07}"
        save(root / data / f"{name}.jpg", photograph(number))
        write_png(root / truth / f"{name}_Segmentation.png", white(region(number)))
        rows.append((name, ("benign", "malignant")[number % 2]))
    table(root / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv", None, rows)


def isic2016_fault(root: Path) -> None:
    crop_picture(next(root.rglob("ISIC_0000009_Segmentation.png")))


def isic2017(root: Path) -> None:
    rows = []
    for number in range(8):
        name = f"ISIC_{number * 3:07}"
        save(root / "ISIC-2017_Training_Data" / f"{name}.jpg", photograph(number))
        cells = (np.arange(SIDE)[:, None] // 8 * 10 + np.arange(80)[None, :] // 8).astype(np.uint8)
        coded = np.stack([cells + number, cells * 0, cells * 0], axis=-1)
        write_png(root / "ISIC-2017_Training_Data" / f"{name}_superpixels.png", coded)
        truth = root / "ISIC-2017_Training_Part1_GroundTruth"
        write_png(truth / f"{name}_segmentation.png", white(region(number)))
        rows.append((name, f"{float(number % 2)}", f"{float(number % 4 == 2)}"))
    head = ("image_id", "melanoma", "seborrheic_keratosis")
    table(root / "ISIC-2017_Training_Part3_GroundTruth.csv", head, rows)


def isic2017_fault(root: Path) -> None:
    crop_picture(next(root.rglob("ISIC_0000012_segmentation.png")))


def isic2018(root: Path) -> None:
    rows = []
    for number in range(9):
        name = f"ISIC_{number * 3:07}"
        save(root / "ISIC2018_Task1-2_Training_Input" / f"{name}.jpg", photograph(number))
        truth = root / "ISIC2018_Task1_Training_GroundTruth"
        write_png(truth / f"{name}_segmentation.png", white(region(number)))
        for attribute in ("globules", "milia_like_cyst", "negative_network", "pigment_network", "streaks"):
            spots = region(number * 50 + len(attribute)) & ((number + len(attribute)) % 3 > 0)
            path = root / "ISIC2018_Task2_Training_GroundTruth_v3" / f"{name}_attribute_{attribute}.png"
            write_png(path, white(spots))
        rows.append((name, *(f"{float(number % 3 == column)}" for column in range(3))))
    path = root / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    table(path, ("image", "MEL", "NV", "BCC"), rows)


def isic2018_fault(root: Path) -> None:
    crop_picture(next(root.rglob("ISIC_0000012_attribute_streaks.png")))


def isic2019(root: Path) -> None:
    labels, about = [], []
    for number in range(12):
        name = f"ISIC_{number * 3:07}" + ("_downsampled" if number % 5 == 0 else "")
        save(root / "ISIC_2019_Training_Input" / f"{name}.jpg", photograph(number))
        labels.append((name, *(f"{float(number % 3 == column)}" for column in range(3)), "0.0"))
        site = ("anterior torso", "", "head/neck", "lower extremity")[number % 4]
        about.append(
            (name, 40 + number if number % 6 else "", site, f"BCN_{number:07}", ("male", "female", "")[number % 3])
        )
    table(root / "ISIC_2019_Training_GroundTruth.csv", ("image", "MEL", "NV", "BCC", "UNK"), labels)
    head = ("image", "age_approx", "anatom_site_general", "lesion_id", "sex")
    table(root / "ISIC_2019_Training_Metadata.csv", head, about)


def isic2019_fault(root: Path) -> None:
    (root / "ISIC_2019_Training_Input" / "ISIC_0000009.jpg").unlink()


def ham(root: Path) -> None:
    rows = []
    kinds = ("nv", "mel", "bkl")
    for number in range(12):
        name = f"ISIC_{24306 + number:07}"
        save(root / f"HAM10000_images_part_{1 + number // 6}" / f"{name}.jpg", photograph(number))
        write_png(root / "HAM10000_segmentations_lesion_tschandl" / f"{name}_segmentation.png", white(region(number)))
        lesion = f"HAM_{number // 2:07}"
        rows.append(
            (
                lesion,
                name,
                kinds[number // 2 % 3],
                ("histo", "follow_up")[number % 2],
                f"{40.0 + number}",
                "male",
                "back",
            )
        )
    head = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    table(root / "HAM10000_metadata.csv", head, rows)


def ham_fault(root: Path) -> None:
    crop_picture(next(root.rglob("ISIC_0024309_segmentation.png")))


def dsb(root: Path) -> None:
    rows = []
    for number in range(5):
        name = f"{number + 10:02x}" * 16
        save(
            root / "stage1_train" / name / "images" / f"{name}.png",
            np.dstack([photograph(number), white(region(0) | True)]),
        )
        for part in range(3):
            inner = f"{number * 3 + part + 90:02x}" * 16
            cell = region(number * 3 + part)
            write_png(root / "stage1_train" / name / "masks" / f"{inner}.png", white(cell))
            rows.append((name, runs(cell)))
        test = f"{number + 200:02x}" * 16
        save(root / "stage1_test" / test / "images" / f"{test}.png", photograph(40 + number))
    table(root / "stage1_train_labels.csv", ("ImageId", "EncodedPixels"), rows)
    table(
        root / "stage1_sample_submission.csv",
        ("ImageId", "EncodedPixels"),
        [(f"{n + 200:02x}" * 16, "1 1") for n in range(5)],
    )


def dsb_fault(root: Path) -> None:
    crop_picture(sorted((root / "stage1_train").rglob("masks/*.png"))[4])


def runs(mask: np.ndarray) -> str:
    """Run lengths, column by column, counted from 1."""
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def montgomery(root: Path) -> None:
    base = root / "MontgomerySet"
    for number in range(1, 7):
        name = f"MCUCXR_{number:04}_{number % 2}"
        write_png(base / "CXR_png" / f"{name}.png", radiograph(number, SIDE))
        for part, side in enumerate(("leftMask", "rightMask")):
            write_png(base / "ManualMask" / side / f"{name}.png", white(region(number * 2 + part, (SIDE, SIDE))))
        text(base / "ClinicalReadings" / f"{name}.txt", "Patient's Sex: F\nPatient's Age: 045Y\nnormal\n")
    text(base / "NLM-MontgomeryCXRSet-ReadMe.pdf", "x")


def montgomery_fault(root: Path) -> None:
    crop_picture(next(root.rglob("rightMask/MCUCXR_0004_0.png")))


def shenzhen(root: Path) -> None:
    base = root / "ChinaSet_AllFiles"
    for number in range(1, 9):
        name = f"CHNCXR_{number:04}_{number % 2}"
        write_png(base / "CXR_png" / f"{name}.png", radiograph(number, SIDE))
        if number != 8:  # not all have one
            write_png(base / "mask" / f"{name}_mask.png", white(region(number, (SIDE, SIDE))))
        text(base / "ClinicalReadings" / f"{name}.txt", "male 45yrs\nnormal\n")


def shenzhen_fault(root: Path) -> None:
    crop_picture(next(root.rglob("CHNCXR_0005_1_mask.png")))


def jsrt(root: Path) -> None:
    names = [f"JPC{'LN' if number < 3 else 'NN'}{number + 1:03}" for number in range(6)]
    for number, name in enumerate(names):
        write_png(root / "All247images" / f"{name}.png", radiograph(number, SIDE))
        for part in ("heart", "left clavicle", "left lung", "right clavicle", "right lung"):
            fold = f"fold{1 + number % 2}"
            save(
                root / "scratch" / fold / "masks" / part / f"{name}.gif",
                white(region(number + len(part), (SIDE, SIDE))),
            )
    text(root / "Clinical" / "CLNDAT_EN.txt", "JPCLN001.IMG\t5\t15\t53\tFemale\n")


def jsrt_fault(root: Path) -> None:
    crop_picture(next(root.rglob("right lung/JPCLN002.gif")))


def drive(root: Path) -> None:
    for number in range(21, 26):
        save(root / "training" / "images" / f"{number}_training.tif", photograph(number))
        save(root / "training" / "1st_manual" / f"{number}_manual1.gif", white(region(number)))
        save(root / "training" / "mask" / f"{number}_training_mask.gif", white(region(900)))
    for number in range(1, 5):
        save(root / "test" / "images" / f"{number:02}_test.tif", photograph(number))
        save(root / "test" / "1st_manual" / f"{number:02}_manual1.gif", white(region(number)))
        save(root / "test" / "2nd_manual" / f"{number:02}_manual2.gif", white(region(number + 1)))
        save(root / "test" / "mask" / f"{number:02}_test_mask.gif", white(region(901)))


def drive_fault(root: Path) -> None:
    crop_picture(root / "training" / "1st_manual" / "23_manual1.gif")


def chase(root: Path) -> None:
    for number in range(1, 5):
        for side in "LR":
            seed = number * 2 + (side == "R")
            save(root / "CHASEDB1" / f"Image_{number:02}{side}.jpg", photograph(seed))
            write_png(root / "CHASEDB1" / f"Image_{number:02}{side}_1stHO.png", region(seed))
            write_png(root / "CHASEDB1" / f"Image_{number:02}{side}_2ndHO.png", region(seed + 1))


def chase_fault(root: Path) -> None:
    crop_picture(root / "CHASEDB1" / "Image_03L_2ndHO.png")


def kvasir(root: Path) -> None:
    boxes = {}
    for number in range(6):
        name = f"cju0{number}qkwl35piu0993l0dewei{number}"
        save(root / "Kvasir-SEG" / "images" / f"{name}.jpg", photograph(number))
        save(root / "Kvasir-SEG" / "masks" / f"{name}.jpg", white(region(number)), quality=95)
        rows, columns = np.nonzero(region(number))
        box = {"label": "polyp", "xmin": int(columns.min()), "ymin": int(rows.min())}
        box |= {"xmax": int(columns.max()), "ymax": int(rows.max())}
        boxes[name] = {"height": SIDE, "width": 80, "bbox": [box]}
    text(root / "Kvasir-SEG" / "kavsir_bboxes.json", json.dumps(boxes))


def kvasir_fault(root: Path) -> None:
    crop_picture(root / "Kvasir-SEG" / "masks" / "cju02qkwl35piu0993l0dewei2.jpg")


# --- boxes -----------------------------------------------------------------------------------------------------------


def box_of(seed: int, size: tuple[int, int] = (SIDE, 80)) -> tuple[int, int, int, int]:
    """Corners of the region of a seed: x0, y0, x1, y1."""
    rows, columns = np.nonzero(region(seed, size))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def voc(root: Path) -> None:
    names = [f"2007_{number * 7 + 3:06}" for number in range(8)]
    for number, name in enumerate(names):
        save(root / "VOC2007" / "JPEGImages" / f"{name}.jpg", photograph(number))
        x0, y0, x1, y1 = box_of(number)
        kind = ("polyp", "ulcer")[number % 2]
        text(
            root / "VOC2007" / "Annotations" / f"{name}.xml",
            f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename><size><width>80</width>"
            f"<height>{SIDE}</height><depth>3</depth></size><segmented>1</segmented><object><name>{kind}</name>"
            f"<pose>Left</pose><difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object></annotation>",
        )
        if number % 2 == 0:
            indexed = Image.fromarray(region(number).astype(np.uint8) * (1 + number % 3), mode="P")
            indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * 756)
            path = root / "VOC2007" / "SegmentationClass" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            indexed.save(path)
    for use in ("Main", "Segmentation"):
        text(
            root / "VOC2007" / "ImageSets" / use / "train.txt", "\n".join(names[: 5 : 1 if use == "Main" else 2]) + "\n"
        )
        text(
            root / "VOC2007" / "ImageSets" / use / "val.txt",
            "\n".join(names[6 if use == "Segmentation" else 5 : 7]) + "\n",
        )


def voc_fault(root: Path) -> None:
    path = root / "VOC2007" / "Annotations" / "2007_000024.xml"
    content = path.read_text(encoding="utf-8")
    before, rest = content.split("<xmax>")
    path.write_text(f"{before}<xmax>140</xmax>{rest.partition('</xmax>')[2]}", encoding="utf-8")


def coco(root: Path) -> None:
    for split, numbers in (("train2017", range(8)), ("val2017", range(10, 14))):
        images, annotations = [], []
        for number in numbers:
            name = f"{number * 31 + 9:012}.jpg"
            save(root / split / name, photograph(number))
            images.append({"id": number, "file_name": name, "width": 80, "height": SIDE})
            if number == 3:
                continue  # a negative
            x0, y0, x1, y1 = box_of(number)
            box = [x0, y0, x1 - x0, y1 - y0]
            outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
            annotations.append({"id": 100 + number, "image_id": number, "category_id": 1 + number % 2, "bbox": box})
            annotations[-1] |= {"area": box[2] * box[3], "iscrowd": 0, "segmentation": outline}
        kinds = [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}]
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": kinds}
        text(root / "annotations" / f"instances_{split}.json", json.dumps(content))


def coco_fault(root: Path) -> None:
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"][5]["bbox"] = [60, 10, 50, 20]
    path.write_text(json.dumps(content), encoding="utf-8")


def yolo(root: Path) -> None:
    for split, numbers in (("train", range(8)), ("val", range(10, 14))):
        for number in numbers:
            save(root / "images" / split / f"frame_{number:04}.jpg", photograph(number))
            x0, y0, x1, y1 = box_of(number)
            line = (
                f"{number % 2} {(x0 + x1) / 160:.6f} {(y0 + y1) / 128:.6f} {(x1 - x0) / 80:.6f} {(y1 - y0) / 64:.6f}\n"
            )
            text(root / "labels" / split / f"frame_{number:04}.txt", "" if number == 3 else line)
    text(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: polyp\n  1: ulcer\n")
    text(root / "classes.txt", "polyp\nulcer\n")


def yolo_fault(root: Path) -> None:
    text(root / "labels" / "train" / "frame_0005.txt", "1 0.950000 0.500000 0.400000 0.200000\n")


DISEASES = ("Atelectasis", "Effusion", "Mass")


def nih(root: Path) -> None:
    rows, boxes, train, test = [], [], [], []
    for number in range(16):
        patient, follow = 1 + number // 2, number % 2
        name = f"{patient:08}_{follow:03}.png"
        write_png(root / f"images_{1 + number // 8:03}" / "images" / name, radiograph(number, SIDE))
        found = "|".join(kind for part, kind in enumerate(DISEASES) if (number + part) % 3 == 0) or "No Finding"
        if number % 3 == 0:
            found += "|Effusion" if number % 2 else ""
        rows.append((name, found, follow, patient, 58 + follow, "M", "PA", SIDE, SIDE, 0.143, 0.143, ""))
        if number % 4 == 0:
            x0, y0, x1, y1 = box_of(number, (SIDE, SIDE))
            boxes.append((name, found.split("|")[0], x0 + 0.25, y0 + 0.5, x1 - x0, y1 - y0, "", "", ""))
        (train if number < 10 else test).append(name)
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    head += ",OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    table(root / "Data_Entry_2017.csv", head.split(","), rows)
    table(root / "BBox_List_2017.csv", ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""], boxes)
    text(root / "train_val_list.txt", "\n".join(train) + "\n")
    text(root / "test_list.txt", "\n".join(test) + "\n")


def nih_fault(root: Path) -> None:
    """The second picture of a patient of the training list moves to the test list."""
    replace_in(root / "train_val_list.txt", "00000003_001.png\n", "")
    path = root / "test_list.txt"
    path.write_text(path.read_text(encoding="utf-8") + "00000003_001.png\n", encoding="utf-8")


def nih_boxes_fault(root: Path) -> None:
    path = root / "BBox_List_2017.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = ",".join([*lines[2].split(",")[:2], "50.0", "20.0", "60.0", "10.0", "", "", ""])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


CHEXPERT = ("No Finding", "Cardiomegaly", "Lung Opacity", "Edema", "Pleural Other")


def chexpert(root: Path) -> None:
    base = root / "CheXpert-v1.0-small"
    head = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT)
    for split, patients in (("train", range(1, 13)), ("valid", range(64541, 64545))):
        rows = []
        for patient in patients:
            for view, side in enumerate(("frontal", "lateral"), start=1):
                inside = f"{split}/patient{patient:05}/study1/view{view}_{side}.jpg"
                save(base / inside, radiograph(patient * 2 + view, SIDE), quality=90)
                labels = [
                    ("1.0", "", "0.0", "-1.0")[(patient * 3 + part * part + part) % 4] for part in range(len(CHEXPERT))
                ]
                if split == "valid":
                    labels = ["1.0" if label == "1.0" else "0.0" for label in labels]
                rows.append(
                    (
                        f"CheXpert-v1.0-small/{inside}",
                        "Female",
                        60 + patient % 9,
                        side.title(),
                        "AP" if view == 1 else "",
                        *labels,
                    )
                )
        table(base / f"{split}.csv", head, rows)


def chexpert_fault(root: Path) -> None:
    """A study of a training patient is filed, and listed, under validation."""
    import shutil

    base = root / "CheXpert-v1.0-small"
    shutil.move(base / "train" / "patient00007" / "study1", base / "valid" / "patient00007" / "study2")
    moved = []
    kept = []
    for line in (base / "train.csv").read_text(encoding="utf-8").splitlines():
        (moved if "patient00007/study1/view2" in line else kept).append(line)
    save(base / "train" / "patient00007" / "study1" / "view1_frontal.jpg", radiograph(7 * 2 + 1, SIDE), quality=90)
    (base / "valid" / "patient00007" / "study2" / "view1_frontal.jpg").unlink()
    text(base / "train.csv", "\n".join(kept) + "\n")
    path = base / "valid.csv"
    line = moved[0].replace("train/patient00007/study1", "valid/patient00007/study2")
    text(path, path.read_text(encoding="utf-8") + line + "\n")


def mimic(root: Path) -> None:
    splits, labels, about = [], [], []
    for number in range(12):
        subject, study, name = 10000032 + 13 * (number // 2), 50414267 + number, f"{number:02x}a4c9f6-40765177-4f46a3f3"
        folder = root / "files" / f"p{str(subject)[:2]}" / f"p{subject}" / f"s{study}"
        save(folder / f"{name}.jpg", radiograph(number, SIDE), quality=92)
        splits.append((name, study, subject, "train" if number < 8 else "validate" if number < 10 else "test"))
        labels.append((subject, study, *(("1.0", "", "0.0", "-1.0")[(number * 3 + part) % 4] for part in range(4))))
        about.append((name, subject, study, "CHEST (PA AND LAT)", "PA", 3056, 2544, 21800506, 213014.531))
    head = ("subject_id", "study_id", "Atelectasis", "Cardiomegaly", "Edema", "Pneumonia")
    table(root / "mimic-cxr-2.0.0-chexpert.csv", head, labels)
    table(root / "mimic-cxr-2.0.0-split.csv", ("dicom_id", "study_id", "subject_id", "split"), splits)
    head = ("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition")
    table(root / "mimic-cxr-2.0.0-metadata.csv", (*head, "Rows", "Columns", "StudyDate", "StudyTime"), about)


def mimic_fault(root: Path) -> None:
    replace_in(root / "mimic-cxr-2.0.0-split.csv", "10000045,train", "10000045,test")


def vindr(root: Path) -> None:
    for split, numbers in (("train", range(10)), ("test", range(20, 24))):
        boxes, labels = [], []
        for number in numbers:
            name = f"{number + 16:02x}" * 16
            write_dicom(root / split / f"{name}.dicom", radiograph(number, SIDE), Modality="DX", PatientID="",
                        SeriesInstanceUID=f"1.2.{number}", StudyInstanceUID=f"1.3.{number}", SliceThickness=None,
                        ImagePositionPatient=None, ImageOrientationPatient=None)  # fmt: skip
            for reader in ("R8", "R9", "R10") if split == "train" else ("",):
                who = (reader,) if reader else ()
                if number % 2:
                    boxes.append((name, *who, "No finding", "", "", "", ""))
                else:
                    x0, y0, x1, y1 = box_of(number, (SIDE, SIDE))
                    shift = len(reader) * 0.7
                    boxes.append((name, *who, "Nodule/Mass", x0 + shift, y0 + 0.5, x1 + shift, y1 - 0.5))
                labels.append((name, *who, int(number % 2 == 0), 0, int(number % 2)))
        who = ("rad_id",) if split == "train" else ()
        head = ("image_id", *who, "class_name", "x_min", "y_min", "x_max", "y_max")
        table(root / "annotations" / f"annotations_{split}.csv", head, boxes)
        head = ("image_id", *who, "Nodule/Mass", "Pneumothorax", "No finding")
        table(root / "annotations" / f"image_labels_{split}.csv", head, labels)


def vindr_fault(root: Path) -> None:
    path = root / "annotations" / "annotations_train.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = lines[8].split(",")
    assert parts[2] == "Nodule/Mass"
    lines[8] = ",".join([*parts[:3], parts[5], parts[4], parts[3], parts[6]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def flat_dicom(path: Path, seed: int, modality: str = "CR", **header: Any) -> None:
    """A single DICOM picture without any geometry beyond its pixel spacing."""
    unique: dict[str, Any] = {"SeriesInstanceUID": f"1.2.{seed}", "StudyInstanceUID": f"1.3.{seed}"}
    unique |= {"SliceThickness": None, "ImagePositionPatient": None, "ImageOrientationPatient": None}
    write_dicom(path, radiograph(seed, SIDE), Modality=modality, **{**unique, **header})


def pneumonia(root: Path) -> None:
    rows, detail, submission = [], [], []
    for number in range(12):
        name = f"{number:02x}04fb90-28ee-4a1e-9639-8d6dc2a4f7ef"
        flat_dicom(root / "stage_2_train_images" / f"{name}.dcm", number, PatientID=name)
        x0, y0, x1, y1 = box_of(number, (SIDE, SIDE))
        if number % 2:
            rows.append((name, f"{x0}.0", f"{y0}.0", f"{x1 - x0}.0", f"{y1 - y0}.0", 1))
            rows.append((name, f"{x0 + 1}.0", f"{y0 + 2}.0", f"{x1 - x0 - 2}.0", f"{y1 - y0 - 3}.0", 1))
        else:
            rows.append((name, "", "", "", "", 0))
        kind = "Lung Opacity" if number % 2 else ("Normal", "No Lung Opacity / Not Normal")[number % 4 // 2]
        detail += [(name, kind)] * (2 if number % 2 else 1)
    for number in range(30, 33):
        name = f"{number:02x}04fb90-28ee-4a1e-9639-8d6dc2a4f7ef"
        flat_dicom(root / "stage_2_test_images" / f"{name}.dcm", number, PatientID=name)
        submission.append((name, "0.5 0 0 100 100"))
    table(root / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), rows)
    table(root / "stage_2_detailed_class_info.csv", ("patientId", "class"), detail)
    table(root / "stage_2_sample_submission.csv", ("patientId", "PredictionString"), submission)


def pneumonia_fault(root: Path) -> None:
    path = root / "stage_2_train_labels.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = lines[5].split(",")
    assert parts[5] == "1"
    lines[5] = ",".join([parts[0], "40.0", parts[2], "90.0", parts[4], "1"])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def hemorrhage(root: Path) -> None:
    kinds = ("epidural", "subdural", "any")
    rows, submission = [], []
    for number in range(12):
        name = f"ID_{number * 77 + 4096:09x}"
        plane = ct_volume(number, (4, SIDE, SIDE))[2]
        write_dicom(root / "stage_2_train" / f"{name}.dcm", plane, PatientID=f"ID_{number:08x}",
                    SeriesInstanceUID=f"1.2.{number}", StudyInstanceUID=f"1.3.{number}")  # fmt: skip
        labels = [int((number + part) % 3 == 0) for part in range(2)]
        labels.append(int(any(labels)))
        rows += [(f"{name}_{kind}", label) for kind, label in zip(kinds, labels, strict=True)]
    for number in range(20, 23):
        name = f"ID_{number * 77 + 4096:09x}"
        plane = ct_volume(number, (4, SIDE, SIDE))[2]
        write_dicom(root / "stage_2_test" / f"{name}.dcm", plane, PatientID=f"ID_{number:08x}",
                    SeriesInstanceUID=f"1.2.{number}", StudyInstanceUID=f"1.3.{number}")  # fmt: skip
        submission += [(f"{name}_{kind}", 0.5) for kind in kinds]
    table(root / "stage_2_train.csv", ("ID", "Label"), rows)
    table(root / "stage_2_sample_submission.csv", ("ID", "Label"), submission)


def hemorrhage_fault(root: Path) -> None:
    sorted((root / "stage_2_train").iterdir())[3].unlink()


def pneumothorax(root: Path) -> None:
    rows = []
    for number in range(8):
        uid = f"1.2.276.0.7230010.3.1.4.8323329.{number * 91 + 300}.1517875161.{number + 41200}"
        folder = root / "dicom-images-train" / uid.replace(".4.", ".2.", 1) / uid.replace(".4.", ".3.", 1)
        flat_dicom(folder / f"{uid}.dcm", number, SOPInstanceUID=uid, PatientID=f"p{number}")
        rows.append((uid, f" {runs(region(number, (SIDE, SIDE)))}" if number % 2 else " -1"))
    table(root / "train-rle.csv", ("ImageId", " EncodedPixels"), rows)


def pneumothorax_fault(root: Path) -> None:
    path = root / "train-rle.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[4] += " 4090 300"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mura(root: Path) -> None:
    base = root / "MURA-v1.1"
    for split, patients in (("train", range(1, 9)), ("valid", range(11185, 11189))):
        paths, studies = [], []
        for patient in patients:
            label = patient % 2
            result, part = ("positive" if label else "negative"), ("ELBOW" if patient % 4 < 2 else "WRIST")
            study = f"MURA-v1.1/{split}/XR_{part}/patient{patient:05}/study1_{result}"
            for view in (1, 2):
                write_png(root / study / f"image{view}.png", radiograph(patient * 2 + view, SIDE))
                paths.append((f"{study}/image{view}.png",))
            studies.append((f"{study}/", label))
        table(base / f"{split}_image_paths.csv", None, paths)
        table(base / f"{split}_labeled_studies.csv", None, studies)


def mura_fault(root: Path) -> None:
    """A training patient turns up in validation as well."""
    base = root / "MURA-v1.1"
    study = "MURA-v1.1/valid/XR_ELBOW/patient00004/study2_negative"
    write_png(root / study / "image1.png", radiograph(777, SIDE))
    for name, line in (
        ("valid_image_paths.csv", f"{study}/image1.png\n"),
        ("valid_labeled_studies.csv", f"{study}/,0\n"),
    ):
        text(base / name, (base / name).read_text(encoding="utf-8") + line)


def deeplesion(root: Path) -> None:
    rows = []
    for number in range(1, 13):
        case, middle = f"{number:06}_01_01", 103 + number
        for step in (-1, 0, 1):
            plane = ct_volume(number, (4, SIDE, SIDE))[2 + (step > 0)].astype(np.int32) + 32768 + step
            path = root / "Images_png" / case / f"{middle + step:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(plane.astype(np.uint16)).save(path)
        x0, y0, x1, y1 = box_of(number, (SIDE, SIDE))
        coordinates = f"{x0}.5, {y0}.25, {x1}.5, {y0}.25, {x0}.5, {y0}.25, {x0}.5, {y1}.25"
        rows.append(
            (f"{case}_{middle:03}.png", number, 1, 1, middle, coordinates, f"{x0}.5, {y0}.25, {x1}.5, {y1}.25",
             "12.5, 8.75", -1 if number % 3 else 5, "0.44, 0.32, 0.47", 0, f"{middle - 6}, {middle + 5}",
             "0.488281, 0.488281, 5", f"{SIDE}, {SIDE}", "-175, 275", "F", 62.0, 1 + (number > 8) + (number > 10))
        )  # fmt: skip
    head = (
        "File_name", "Patient_index", "Study_index", "Series_ID", "Key_slice_index", "Measurement_coordinates",
        "Bounding_boxes", "Lesion_diameters_Pixel_", "Coarse_lesion_type", "Normalized_lesion_location",
        "Possibly_noisy", "Slice_range", "Spacing_mm_px_", "Image_size", "DICOM_windows", "Patient_gender",
        "Patient_age", "Train_Val_Test",
    )  # fmt: skip
    table(root / "DL_info.csv", head, rows)


def deeplesion_fault(root: Path) -> None:
    path = root / "DL_info.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    rows[4][6] = "30.5, 20.25, 180.5, 40.25"
    table(path, None, rows)


# --- labels and splits -----------------------------------------------------------------------------------------------


def medmnist(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for start, (split, count) in zip((0, 40, 60), (("train", 24), ("val", 10), ("test", 10)), strict=True):
        arrays[f"{split}_images"] = np.stack([radiograph(start + number, 28) for number in range(count)])
        arrays[f"{split}_labels"] = (np.arange(count)[:, None] % 2).astype(np.uint8)
    np.savez_compressed(root / "pneumoniamnist.npz", **arrays)


def medmnist_fault(root: Path) -> None:
    with np.load(root / "pneumoniamnist.npz") as stored:
        arrays = dict(stored)
    arrays["test_images"][3] = arrays["train_images"][5]
    np.savez_compressed(root / "pneumoniamnist.npz", **arrays)


def class_folders(root: Path) -> None:
    for split, start, count in (("train", 0, 12), ("val", 40, 6), ("test", 60, 6)):
        for number in range(count):
            kind = ("NORMAL", "PNEUMONIA")[number % 2]
            name = f"IM-{start + number:04}-0001.jpeg" if number % 2 == 0 else f"person{start + number}_bacteria_2.jpeg"
            save(root / "chest_xray" / split / kind / name, radiograph(start + number, SIDE), quality=92)


def class_folders_fault(root: Path) -> None:
    import shutil

    source = next((root / "chest_xray" / "train" / "NORMAL").iterdir())
    shutil.copy(source, root / "chest_xray" / "test" / "NORMAL" / "IM-0999-0001.jpeg")


def folds(root: Path) -> None:
    rows = []
    for number in range(20):
        name = f"img_{number:04}"
        write_png(root / "images" / f"{name}.png", radiograph(number, SIDE))
        rows.append((number, name, f"P{number // 2:03}", number // 2 % 5, number % 2, f"{0.5 + number / 50:.4f}"))
    table(root / "train_folds.csv", ("", "image_id", "patient_id", "kfold", "target", "oof_auc"), rows)


def folds_fault(root: Path) -> None:
    replace_in(root / "train_folds.csv", "P003,3,", "P003,1,")


def nnunet_folds(root: Path) -> None:
    nnunet(root)
    names = [f"organ_{number:03}" for number in range(6)]
    content = [{"train": [n for n in names if n not in names[k::3]], "val": names[k::3]} for k in range(3)]
    text(root / "Dataset007_Organ" / "splits_final.json", json.dumps(content))


def nnunet_folds_fault(root: Path) -> None:
    path = root / "Dataset007_Organ" / "splits_final.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content[1]["train"].append(content[1]["val"][0])
    path.write_text(json.dumps(content), encoding="utf-8")


def competition(root: Path) -> None:
    rows, wanted = [], []
    for number in range(16):
        name = f"{number * 7919 + 4096:012x}"
        write_png(root / "train_images" / f"{name}.png", radiograph(number, SIDE))
        rows.append((name, number % 3))
    for number in range(30, 36):
        name = f"{number * 7919 + 4096:012x}"
        write_png(root / "test_images" / f"{name}.png", radiograph(number, SIDE))
        wanted.append(name)
    table(root / "train.csv", ("id_code", "diagnosis"), rows)
    table(root / "test.csv", ("id_code",), [(name,) for name in wanted])
    table(root / "sample_submission.csv", ("id_code", "diagnosis"), [(name, 0) for name in wanted])


def competition_fault(root: Path) -> None:
    sorted((root / "train_images").iterdir())[4].unlink()


# --- the same families under names that nobody has seen ---------------------------------------------------------------


def strange_suffixes(root: Path) -> None:
    """A suffix pair in one folder, with words that are in no vocabulary."""
    for number in range(6):
        save(root / "Augenklinik" / f"auge{number:02}_aufnahme.png", photograph(number))
        write_png(root / "Augenklinik" / f"auge{number:02}_gefaesse.png", white(region(number)))


def strange_suffixes_fault(root: Path) -> None:
    crop_picture(root / "Augenklinik" / "auge03_gefaesse.png")


def strange_mirror(root: Path) -> None:
    """Mirrored folders with other words in the names, three levels deep."""
    for number in range(6):
        clinic = ("nord", "sued")[number % 2]
        write_nifti(root / "originaux" / clinic / f"p{number:03}" / f"irm_p{number:03}.nii.gz", organ(number)[0])
        write_nifti(root / "contours" / clinic / f"p{number:03}" / f"tumeur_p{number:03}.nii.gz", organ(number)[1])


def strange_mirror_fault(root: Path) -> None:
    crop_volume(next(root.rglob("tumeur_p004.nii.gz")))


def strange_parts(root: Path) -> None:
    """Many masks an image, one folder a case, parts by name."""
    for number in range(5):
        folder = root / f"Fall{number:02}"
        write_nifti(folder / "aufnahme.nii.gz", ct(number), CT_AFFINE)
        for part, name in enumerate(("leber", "milz", "niere_li")):
            write_nifti(folder / "strukturen" / f"{name}.nii.gz", lump(number * 5 + part), CT_AFFINE)


def strange_parts_fault(root: Path) -> None:
    crop_volume(root / "Fall03" / "strukturen" / "milz.nii.gz")


def strange_table(root: Path) -> None:
    """A German export: semicolons, decimal commas, an index column, metrics and an epoch beside the label."""
    rows = []
    for number in range(14):
        name = f"bild{number:03}"
        write_png(root / "Bilder" / f"{name}.png", radiograph(number, SIDE))
        rows.append(
            (number, f"Bilder/{name}.png", f"Pat{number:02}", f"{3 + number},5", number % 2, "R1", 12, f"0,8{number}")
        )
    head = ("", "Dateiname", "PatientenID", "Größe_mm", "pneumonia", "reader_id", "epoch", "val_auc")
    table(root / "Befunde.csv", head, rows, ";")


def strange_table_fault(root: Path) -> None:
    (root / "Bilder" / "bild005.png").unlink()


def strange_boxes(root: Path) -> None:
    """A box table with names of its own."""
    rows = []
    for number in range(8):
        write_png(root / "frames" / f"f{number:03}.png", radiograph(number, SIDE))
        x0, y0, x1, y1 = box_of(number, (SIDE, SIDE))
        rows.append((f"f{number:03}.png", x0, y0, x1, y1, "lump"))
    table(root / "marks.csv", ("frame", "bbox_left", "bbox_top", "bbox_right", "bbox_bottom", "kind"), rows)


def strange_boxes_fault(root: Path) -> None:
    path = root / "marks.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = lines[3].split(",")
    lines[3] = ",".join([parts[0], parts[3], parts[2], parts[1], *parts[4:]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


CONVENTIONS = (
    Convention("nnU-Net", "mirrored folders", nnunet, "a channel of one case is missing", nnunet_fault, ("D122",)),
    Convention("Decathlon", "sidecar json", decathlon, "a listed label is missing", decathlon_fault, ("D122",)),
    Convention("BIDS", "mirrored folders", bids, "a mask of another shape", bids_fault, ("D110",)),
    Convention("BraTS", "suffix pairs", brats, "a mask of another shape", brats_fault, ("D110",)),
    Convention("KiTS", "one folder a case", kits, "a mask of another shape", kits_fault, ("D110",)),
    Convention("LiTS", "prefix pairs", lits, "a mask of another shape", lits_fault, ("D110",)),
    Convention("ACDC", "suffix pairs", acdc, "a mask of another shape", acdc_fault, ("D110",)),
    Convention(
        "TotalSegmentator", "many masks", totalsegmentator, "a mask of another shape", totalsegmentator_fault, ("D110",)
    ),
    Convention("LUNA16", "long table", luna, "a lung mask of another shape", luna_fault, ("D110",), needs=".mhd"),
    Convention("LIDC", "DICOM", lidc, "a slice is missing", lidc_fault, ("D129",)),
    Convention("fastMRI", "one file a case", fastmri, "a file in both splits", fastmri_fault, ("D108",), needs=".h5"),
    Convention("ISIC 2016", "mirrored folders", isic2016, "a mask of another shape", isic2016_fault, ("D110",)),
    Convention("ISIC 2017", "mirrored folders", isic2017, "a mask of another shape", isic2017_fault, ("D110",)),
    Convention("ISIC 2018", "mirrored folders", isic2018, "a mask of another shape", isic2018_fault, ("D110",)),
    Convention("ISIC 2019", "id table", isic2019, "a labelled image is missing", isic2019_fault, ("D122",)),
    Convention("HAM10000", "id table", ham, "a mask of another shape", ham_fault, ("D110",)),
    Convention("DSB 2018", "many masks", dsb, "a mask of another shape", dsb_fault, ("D110",)),
    Convention("Montgomery", "mirrored folders", montgomery, "a mask of another shape", montgomery_fault, ("D110",)),
    Convention("Shenzhen", "mirrored folders", shenzhen, "a mask of another shape", shenzhen_fault, ("D110",)),
    Convention("JSRT", "mirrored folders", jsrt, "a mask of another shape", jsrt_fault, ("D110",), needs=".gif"),
    Convention("DRIVE", "mirrored folders", drive, "a mask of another shape", drive_fault, ("D110",), needs=".gif"),
    Convention("CHASE", "suffix pairs", chase, "a mask of another shape", chase_fault, ("D110",)),
    Convention("Kvasir-SEG", "mirrored folders", kvasir, "a mask of another shape", kvasir_fault, ("D110",)),
    Convention("VOC", "box files", voc, "a box beyond its image", voc_fault, ("D106",)),
    Convention("COCO", "sidecar json", coco, "a box beyond its image", coco_fault, ("D106",)),
    Convention("YOLO", "box files", yolo, "a box beyond its image", yolo_fault, ("D106",)),
    Convention("NIH ChestX-ray14", "id table", nih, "a patient in both lists", nih_fault, ("D108",)),
    Convention("NIH BBox_List", "box table", nih, "a box beyond its image", nih_boxes_fault, ("D106",)),
    Convention("CheXpert", "id table (paths)", chexpert, "a patient in both splits", chexpert_fault, ("D108",)),
    Convention("MIMIC-CXR", "id table", mimic, "a patient in two splits", mimic_fault, ("D108",)),
    Convention("VinDr-CXR", "box table", vindr, "corners swapped", vindr_fault, ("D106",)),
    Convention("RSNA pneumonia", "box table", pneumonia, "a box beyond its image", pneumonia_fault, ("D106",)),
    Convention("RSNA hemorrhage", "long table", hemorrhage, "a labelled image is missing", hemorrhage_fault, ("D122",)),
    Convention(
        "SIIM pneumothorax", "run lengths", pneumothorax, "runs beyond the image", pneumothorax_fault, ("D110",)
    ),
    Convention("MURA", "id table (paths)", mura, "a patient in both splits", mura_fault, ("D108",)),
    Convention("DeepLesion", "box table", deeplesion, "a box beyond its image", deeplesion_fault, ("D106",)),
    Convention("MedMNIST", "one file a set", medmnist, "an image in train and test", medmnist_fault, ("D108",)),
    Convention(
        "class folders", "class folders", class_folders, "an image in train and test", class_folders_fault, ("D108",)
    ),
    Convention("fold table", "fold files", folds, "a patient in two folds", folds_fault, ("D108",)),
    Convention(
        "nnU-Net splits", "fold files", nnunet_folds, "a case in both parts of a fold", nnunet_folds_fault, ("D108",)
    ),
    Convention("competition", "id table", competition, "a labelled image is missing", competition_fault, ("D122",)),
    Convention(
        "unseen: suffixes",
        "suffix pairs",
        strange_suffixes,
        "a mask of another shape",
        strange_suffixes_fault,
        ("D110",),
    ),
    Convention(
        "unseen: mirror", "mirrored folders", strange_mirror, "a mask of another shape", strange_mirror_fault, ("D110",)
    ),
    Convention("unseen: parts", "many masks", strange_parts, "a mask of another shape", strange_parts_fault, ("D110",)),
    Convention(
        "unseen: table", "id table", strange_table, "a labelled image is missing", strange_table_fault, ("D122",)
    ),
    Convention("unseen: boxes", "box table", strange_boxes, "corners swapped", strange_boxes_fault, ("D106",)),
)
