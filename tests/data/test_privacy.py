"""Nothing that is written says who the patients are: every identifying attribute is filled, and searched for."""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from patients.folders import ct_volume, radiograph_folder, segmentation_folder, write_series
from traindx import report
from traindx.data import verify
from traindx.data.privacy import COMMON, Identities
from traindx.data.sharing import shareable
from traindx.diagnosis import Diagnosis
from traindx.evidence import Evidence

# Value representations that hold text, dates or identifiers (PS3.5 6.2); sequences are filled one level deep.
TEXTS = ("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "AS", "CS", "UR", "DA", "DT", "TM", "UI")
IMAGE = ("0028", "7FE0", "0002", "0000", "FFFE")
NAMES = ("Mustermann", "Erika")
NUMBER = "MRN8834127"
BIRTH = "19540217"
SOP = "1.2.826.0.1.3680043.10.511.3.4071.22."


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """The values are no valid codes, on purpose: pydicom need not say so two thousand times."""
    settings = pydicom.config.settings
    before = settings.writing_validation_mode, settings.reading_validation_mode
    settings.writing_validation_mode = settings.reading_validation_mode = pydicom.config.IGNORE
    yield
    settings.writing_validation_mode, settings.reading_validation_mode = before


def secret(number: int, vr: str) -> str:
    """A value of an attribute that occurs nowhere else: attribute 17 says ``Zq17x``, a date has a year of its own."""
    if vr == "DA":
        return date.fromordinal(693_000 + number).strftime("%Y%m%d")
    if vr == "DT":
        return date.fromordinal(693_000 + number).strftime("%Y%m%d") + "121314"
    if vr == "TM":
        return f"1213{number % 60:02d}.{number:06d}"
    if vr == "AS":
        return f"{number % 1000:03d}Y"
    if vr == "UI":
        return f"1.2.826.0.1.3680043.9.{number}.77777"
    return f"Zq{number}x"


def identified(folder: Path, *, uids: bool = False) -> list[str]:
    """A series whose attributes are all filled that can hold text; returns what must be found nowhere."""
    volume = ct_volume(3, (6, 32, 32))
    wanted: list[str] = []
    series = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    series.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    series.file_meta.MediaStorageSOPClassUID = CTImageStorage
    number = 0
    for tag, (vr, _, _, retired, keyword) in sorted(DicomDictionary.items()):
        group = f"{tag >> 16:04X}"
        if group in IMAGE or retired or not keyword or vr not in (*TEXTS, "SQ"):
            continue
        if keyword in ("ImageType", "SOPClassUID", "Modality", "SpecificCharacterSet", "TimezoneOffsetFromUTC"):
            continue
        number += 1
        if vr == "SQ":
            inner = Dataset()
            inner.PatientID = inner.PatientName = value = secret(number, "LO")
            series.add_new(tag, vr, [inner])
        else:
            value = secret(number, vr)
            series.add_new(tag, vr, value)
        if vr not in ("TM", "AS"):  # six digits and "017Y" occur by themselves
            wanted.append(value)
    series.PatientName, series.PatientID, series.PatientBirthDate = "^".join(NAMES), NUMBER, BIRTH
    series.AccessionNumber = "ACC55501234"
    series.SOPClassUID, series.Modality = CTImageStorage, "CT"
    series.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    series.StudyInstanceUID, series.SeriesInstanceUID = generate_uid(), generate_uid()
    series.FrameOfReferenceUID = generate_uid()
    series.SamplesPerPixel, series.PhotometricInterpretation = 1, "MONOCHROME2"
    series.Rows = series.Columns = 32
    series.BitsAllocated = series.BitsStored = 16
    series.HighBit, series.PixelRepresentation = 15, 1
    series.PixelSpacing, series.SliceThickness = [0.8, 0.8], 2
    series.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    series.RescaleSlope, series.RescaleIntercept = 1, 0
    wanted += [str(series.StudyInstanceUID), str(series.SeriesInstanceUID), NUMBER, BIRTH, "ACC55501234", *NAMES]
    series.SOPInstanceUID = series.file_meta.MediaStorageSOPInstanceUID = f"{SOP}100"
    series.ImagePositionPatient = ["0", "0", "100"]
    series.PixelData = bytes(2 * 32 * 32)
    stream = io.BytesIO()
    series.save_as(stream, enforce_file_format=True)
    one = stream.getvalue()[: -2 * 32 * 32]
    assert one.count(f"{SOP}100".encode()) == 2
    assert one.count(b"0\\0\\100 ") == 1
    folder.mkdir(parents=True)
    for index, image in enumerate(
        volume, start=100
    ):  # pydicom takes a second to write so many attributes: once is enough
        uid = f"{SOP}{index}"
        data = one.replace(f"{SOP}100".encode(), uid.encode()).replace(b"0\\0\\100 ", f"0\\0\\{index} ".encode())
        (folder / (f"{uid}.dcm" if uids else f"{index}.dcm")).write_bytes(data + image.astype("<i2").tobytes())
        wanted.append(uid)
    return wanted


def written(folder: Path) -> bytes:
    """Everything below a folder, the names of files included."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return b"\n".join(str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes() for path in files)


def found_in(everything: bytes, wanted: list[str]) -> list[str]:
    """Which of the values occur: UIDs as such, all others as runs of letters and digits of any case."""
    runs = set(re.findall(rb"[0-9a-z]+", everything.lower())) | set(re.findall(rb"[0-9.]+", everything))
    return [value for value in wanted if value.lower().encode() in runs]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Folders and files that are named after the patient, with the faults that make a report quote them."""
    root = tmp_path_factory.mktemp("named") / "data"
    wanted = identified(root / f"{NAMES[0]}_{NAMES[1]}" / NUMBER, uids=True)
    first = next((root / f"{NAMES[0]}_{NAMES[1]}" / NUMBER).iterdir())
    broken = root / f"{NAMES[1]}-{NAMES[0]}-{BIRTH}.dcm"
    broken.write_bytes(first.read_bytes()[:2000])
    (root / f"{NUMBER}.png").write_bytes(b"no image")
    (root / f"train_{NAMES[0].lower()}").mkdir()
    (root / f"train_{NAMES[0].lower()}" / "copy.dcm").write_bytes(first.read_bytes())
    (root / "labels.csv").write_text(f"image,finding\n{NUMBER},1\n{first.stem},0\nnobody,1\n")
    return root, wanted


def examine(root: Path, out: Path, **options: object) -> bytes:
    diagnosis = verify(root, out=out, workers=0, **options)  # type: ignore[arg-type]
    assert not diagnosis.errors
    report.write(diagnosis, out)
    return written(out)


def test_attributes_do_not_reach_what_is_written(tmp_path: Path) -> None:
    wanted = identified(tmp_path / "data" / "ct")
    assert len(wanted) > 1000
    assert "PatientName" in {keyword_for_tag(tag) for tag in DicomDictionary}
    everything = examine(tmp_path / "data", tmp_path / "out")
    assert b"ct/100.dcm" in everything  # harmless names stay: a report must say where
    assert found_in(everything, wanted) == []


def test_names_of_files_and_folders_do_not_either(named: tuple[Path, list[str]], tmp_path: Path) -> None:
    root, wanted = named
    everything = examine(root, tmp_path / "out")
    assert found_in(everything, wanted) == []
    assert re.search(rb"(patient|name|uid)-[0-9a-f]{8}", everything)


def test_they_do_when_they_are_asked_for(named: tuple[Path, list[str]], tmp_path: Path) -> None:
    root, wanted = named
    everything = examine(root, tmp_path / "out", show_identifiers=True)
    assert {NUMBER, *NAMES} <= set(found_in(everything, wanted))


def test_only_the_owner_may_look(named: tuple[Path, list[str]], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    verify(named[0], out=out, workers=0)
    for folder in (out, out.parent, out / "pictures"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((out / "files.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Mustermann_Erika/000.dcm: cut short", ["mustermann", "erika"]),
        ("see erika-mustermann.png", ["mustermann", "erika"]),
        ("case MRN-8834127 occurs twice", ["8834127"]),
        ("p_1954-02-17/x.nii.gz", ["1954-02-17"]),
        ("images/Doe^John^^.dcm", ["doe", "john"]),
        ("Muster_Max_19610402.nii.gz", ["muster", "max", "19610402"]),
        ("1.2.840.113619.2.55.3.604688.12.1/1.2.840.113619.2.55.3.604688.12.1.7.dcm", ["113619"]),
        ("patient 4711: 3 in train, 2 in val", ["4711"]),
        ("folder/4711/ct.dcm", ["4711"]),
    ],
)
def test_what_is_hidden(text: str, hidden: list[str]) -> None:
    identities = Identities()
    identities.learn([("name", "Mustermann^Erika"), ("patient", NUMBER), ("date", BIRTH), ("id", "4711")])
    masked = identities.mask(text).lower()
    assert not [part for part in hidden if part in masked]
    assert identities.mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "3 of 20 files cannot be read: images/case_017.nii.gz (truncated)",
        "values from -4711.5 to 4711 HU in 512x512x94",
        "lung_004/mask.png and chest/series_2/ct.dcm",
        "1.2.840.10008.1.2.8.1 is a transfer syntax of the standard",
        "erika is a word of no path, and so is Mustermann",
        "sub-01/anat/sub-01_T1w.nii.gz, ISIC_0024306.jpg, LIDC-IDRI-0001",
    ],
)
def test_what_is_not(text: str) -> None:
    identities = Identities()
    identities.learn([("name", "Mustermann^Erika"), ("name", "CHEST^LUNG"), ("id", "4711"), ("patient", "anonymous")])
    assert identities.mask(text) == text


@pytest.mark.parametrize("called", ["Name^Files", "Examples^Demonstrated", "Code^Curves", "Title^D109"])
def test_somebody_may_be_called_like_a_field(called: str, tmp_path: Path) -> None:
    """Names of our own fields, codes and choices are no data, whatever a header says."""
    root = tmp_path / "data"
    write_series(root / "ct", 1)
    for path in sorted((root / "ct").iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = called
        dataset.save_as(path)
    (root / "copy.dcm").write_bytes(path.read_bytes())
    family = called.partition("^")[0]
    (root / f"{family}_17.png").write_bytes(b"no image")
    out = tmp_path / "out"
    diagnosis = verify(root, out=out, workers=0)
    assert {"D109", "D121"} <= {finding.code for finding in diagnosis.findings}
    assert not diagnosis.errors
    assert len(list(Evidence.load(out))) > 3
    again = Diagnosis.model_validate_json((out / "diagnosis.json").read_text())
    assert [finding.name for finding in again.findings] == [finding.name for finding in diagnosis.findings]
    assert (f"{family}_17".encode() not in written(out)) is (family.lower() not in COMMON)


def test_tokens_are_of_one_run(tmp_path: Path) -> None:
    first, second = Identities(), Identities()
    assert first.token("patient", "7") == first.token("patient", "7") != second.token("patient", "7")


@pytest.mark.parametrize(("said", "lines"), [("YES", 1), ("NO", 0), (None, 0)])
def test_text_that_a_header_says_is_in_the_pixels_is_pointed_out(tmp_path: Path, said: str | None, lines: int) -> None:
    write_series(tmp_path / "us", 1, BurnedInAnnotation=said)
    write_series(tmp_path / "ct", 2)
    diagnosis = verify(tmp_path, workers=0)
    found_ = [line for line in diagnosis.extras["layout"]["lines"] if "burnt into" in line]
    assert len(found_) == lines
    assert all("6 DICOM images say" in line for line in found_)


def test_pydicom_quotes_nothing(tmp_path: Path) -> None:
    """A value that a reader cannot convert is not repeated in its message."""
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        dataset = pydicom.Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PatientName, dataset.Modality = "Mustermann^Erika", "CT"
        dataset.Rows = dataset.Columns = 4
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.PixelData = np.zeros(8, np.uint8).tobytes()
        dataset.save_as(tmp_path / "data" / f"{name}.dcm", implicit_vr=False, little_endian=True)
    assert found_in(examine(tmp_path / "data", tmp_path / "out"), list(NAMES)) == []


def test_a_report_to_hand_on_names_nothing(tmp_path: Path) -> None:
    root = tmp_path / "wardseven"
    segmentation_folder(root, 4)
    (root / "imagesTr" / "zebrafile.nii.gz").write_bytes(b"no image")
    first = next(path for path in sorted(root.rglob("*.nii.gz")) if path.name != "zebrafile.nii.gz")
    (root / "My scans").mkdir()
    (root / "My scans" / "second copy.nii.gz").write_bytes(first.read_bytes())
    radiograph_folder(root / "quokkafolder", 4)
    out = tmp_path / "out"
    diagnosis = verify(root, out=out, workers=0)
    shared = shareable(diagnosis, out)
    report.write(shared, out / "share", root=out / "share")
    names = {path.name for path in root.rglob("*")} | {path.name.partition(".")[0] for path in root.rglob("*")}
    everything = (out / "share" / "diagnosis.json").read_text() + (out / "share" / "report.md").read_text()
    harmless = {"images", "masks", "labels", "train", "val", "test", "imagesTr", "labelsTr", "splits", "boxes"}
    assert not [name for name in names - harmless if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", everything)]
    assert "wardseven" not in everything
    sentences = [finding.message for finding in shared.findings]
    assert not [said for said in sentences if re.search(r"\)\s*name-\d+", said)], "an end of a sentence is no name"
    numbers = {str(finding.location.file) for finding in shared.findings if finding.location is not None}
    assert numbers <= set(re.findall(r"[\w-]+", " ".join(sentences))), "one file has one number"
    assert shared.pictures == ()
    assert b"data:image" not in (out / "share" / "report.html").read_bytes()
    assert [finding.code for finding in shared.findings] == [finding.code for finding in diagnosis.findings]
    assert [finding.numbers for finding in shared.findings] == [finding.numbers for finding in diagnosis.findings]
