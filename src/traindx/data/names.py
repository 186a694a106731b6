"""What file names, folders and array keys say: role, modality, split, patient and the key that pairs image and mask.

Names are weak evidence, so everything read from them is marked as such by the callers, and the part of a path nearest
to the pixels wins: array key, then file name, then the folders upwards, then the data folder itself.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traindx.data.layout.naming import Naming

MASK_WORDS = frozenset(
    [
        "mask",
        "masks",
        "label",
        "labels",
        "lab",
        "labs",
        "seg",
        "segs",
        "segmentation",
        "segmentations",
        "gt",
        "groundtruth",
        "annotation",
        "annotations",
        "manual",
        "contour",
        "contours",
        "roi",
        "rois",
    ]
)
IMAGE_WORDS = frozenset(["image", "images", "img", "imgs", "volume", "volumes", "vol", "scan", "scans"])
MODALITY_WORDS = {
    "ct": "CT",
    "cbct": "CT",
    "hu": "CT",
    "mr": "MR",
    "mri": "MR",
    "t1": "MR",
    "t2": "MR",
    "t1w": "MR",
    "t2w": "MR",
    "t1c": "MR",
    "t1ce": "MR",
    "flair": "MR",
    "dwi": "MR",
    "adc": "MR",
    "pet": "PT",
    "suv": "PT",
    "cxr": "DX",
    "xray": "DX",
    "xrays": "DX",
    "radiograph": "DX",
    "radiographs": "DX",
}
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "ts": "test",
    "holdout": "test",
}
OUTPUT_WORDS = frozenset(["predict", "prediction", "predictions", "predicted", "pred", "preds"])
"""What a network made is neither an image nor a mask of the set."""

SHOWN_WORDS = frozenset(["screenshot", "screenshots", "overlay", "overlays"])
"""Pictures of a viewer or of masks drawn over images."""

IMAGE_SUFFIXES = (
    ".nii.gz", ".nii", ".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npz", ".npy",
    ".gif", ".webp", ".jp2", ".mhd", ".mha", ".nrrd", ".h5", ".hdf5",
)  # fmt: skip
PATIENT = re.compile(r"^(?:sub|subj|subject|patient|pat)(?:[-_ ]|(?=\d))([A-Za-z0-9]+)$", re.IGNORECASE)
PLACEHOLDERS = frozenset(
    [
        "anonymous",
        "anonymized",
        "anonymised",
        "anon",
        "unknown",
        "none",
        "na",
        "n/a",
        "patient",
        "test",
        "0",
        "1",
        "xxx",
    ]
)
_SHORT = ("tr", "ts")  # imagesTs is a test set, BraTS2021 is none
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z0-9]+")
_HASH = re.compile(r"(?<![A-Za-z0-9])[0-9a-f]{12,}(?![A-Za-z0-9])", re.IGNORECASE)
CHANNEL = re.compile(r"^000\d$")


def without_suffix(name: str) -> str:
    """A file's base name without a known image suffix; other dots (DICOM UIDs) stay."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    lower = base.lower()
    for suffix in IMAGE_SUFFIXES:
        if lower.endswith(suffix):
            return base[: -len(suffix)]
    return base


@lru_cache(maxsize=4096)
def words(part: str) -> tuple[str, ...]:
    """Lower-case words of one path component: ``labelsTr`` gives ``labels``, ``tr``; ``ct64`` gives ``ct64``, "
    "``ct``."""
    found: list[str] = []
    for raw in _WORD.findall(_CAMEL.sub(" ", part)):
        word = raw.lower()
        found.append(word)
        stem = word.rstrip("0123456789")
        if stem and stem != word and word not in MODALITY_WORDS and stem not in _SHORT:
            found.append(stem)
    return tuple(found)


def nearest(parts: tuple[str, ...], vocabulary: dict[str, str]) -> str:
    """The value that the last component with any word of the vocabulary agrees on; empty where it is of two minds."""
    for part in reversed(parts):
        found = {vocabulary[word] for word in words(part) if word in vocabulary}
        if found:
            return found.pop() if len(found) == 1 else ""
    return ""


_TASKS = frozenset(
    ("segmentation", "segmentations", "annotation", "annotations", "with", "without", "and", "incl", "plus")
)
"""Words of a name that tells what a whole set is or has: ``lung_segmentation``, ``Dataset_with_GT``."""
_ROLES = {
    **dict.fromkeys((*OUTPUT_WORDS, *SHOWN_WORDS), "other"),
    **dict.fromkeys(MASK_WORDS, "mask"),
    **dict.fromkeys(IMAGE_WORDS, "image"),
}


@lru_cache(maxsize=4096)
def _folder(parts: tuple[str, ...]) -> tuple[str, str, str, str, str]:
    """Role, modality, split, patient and collection of a folder, asked again for every file in it."""
    patient = next((match[1] for part in reversed(parts) if (match := PATIENT.match(part))), "")
    kept = (re.sub(r"\d+", "N", _HASH.sub("N", part)) for part in parts if not _is_only(part, _ROLES, SPLIT_WORDS))
    # "lung_segmentation" is what a project is called; "labels" and "segmentation" alone are what a folder holds.
    roles = tuple(part for part in parts if _is_only(part, _ROLES, SPLIT_WORDS) or not _TASKS.intersection(words(part)))
    split = nearest(parts, SPLIT_WORDS)
    return nearest(roles, _ROLES), nearest(parts, MODALITY_WORDS), split, patient, "/".join(kept)


def _is_only(part: str, *vocabularies: dict[str, str]) -> bool:
    """True if a component holds nothing but words of the vocabularies."""
    found = [raw.lower() for raw in _WORD.findall(_CAMEL.sub(" ", part))]
    stems = [word.rstrip("0123456789") for word in found]  # ct128 is still ct
    return bool(found) and all(
        any(word in known or stem in known for known in vocabularies) for word, stem in zip(found, stems, strict=True)
    )


class Names:
    """What the name of one file says.

    Args:
        path: Path relative to the data folder, with ``/``.
        root: Name of the data folder itself: the weakest hint on the modality, and none on anything else, because it
            is the name of a project.
        naming: What a known layout or the user's patterns say; it wins over words.
    """

    __slots__ = ("_case", "_folders", "collection", "modality", "name", "patient", "role", "split")

    def __init__(self, path: str, root: str = "", naming: Naming | None = None) -> None:
        *folders, base = path.split("/")
        self.name = without_suffix(base)
        role, modality, split, patient, self.collection = _folder(tuple(folders))
        modality = modality or nearest((root,), MODALITY_WORDS)
        own = (self.name,)
        self.role = _own(own, _ROLES, role)
        self.modality = _own(own, MODALITY_WORDS, modality)
        self.split = split
        match = PATIENT.match(self.name.split("_", 1)[0])
        self.patient = match[1] if match and "_" in self.name else patient
        self._folders = folders
        self._case = ""
        if naming is not None and naming.rules:
            given, fields = naming.of(path)
            self.role = given or self.role
            self.split = SPLIT_WORDS.get(fields.get("split", "").lower(), fields.get("split", "")) or self.split
            self.patient = fields.get("patient", self.patient)
            self._case = fields.get("case", "")

    @property
    def case(self) -> str:
        """What a pattern says; otherwise see :func:`case_key`."""
        return self._case or case_key(self._folders, self.name)


def _own(own: tuple[str, ...], vocabulary: dict[str, str], otherwise: str) -> str:
    """What the file's own name says; what the folders say where it is silent; nothing where it is of two minds."""
    return nearest(own, vocabulary) if any(word in vocabulary for word in words(own[0])) else otherwise


def case_key(folders: list[str], name: str) -> str:
    """The key that an image shares with its mask: folders and name without the words for role, modality and split.

    ``imagesTr/hippocampus_001`` and ``labelsTr/hippocampus_001`` give ``hippocampus 001``;
    ``p7/ct`` and ``p7/mask`` give ``p7``; a channel number such as ``_0000`` behind the number of a case is left out.
    """
    dull = _ROLES.keys() | MODALITY_WORDS.keys()
    kept = [folder.lower() for folder in folders if not _is_only(folder, _ROLES, SPLIT_WORDS, MODALITY_WORDS)]
    own = [word for word in (raw.lower() for raw in _WORD.findall(_CAMEL.sub(" ", name))) if word not in dull]
    # In case_0009_0000 the last number is the channel; in case_0009 it is the case.
    if len(own) > 1 and CHANNEL.match(own[-1]) and any(letter.isdigit() for letter in own[-2]):
        own.pop()
    unique: list[str] = []
    for word in own:  # a name that is repeated (case__image__case) counts once; numbers stay as they are
        if word.isdigit() or word not in unique:
            unique.append(word)
    return "/".join([*kept, " ".join(unique)]) if kept else " ".join(unique)


_PART = re.compile(
    rf"^(?P<case>.*\d.*?)[^A-Za-z0-9]*(?:{'|'.join(sorted(MASK_WORDS))})[^A-Za-z0-9]?\d{{1,3}}$", re.IGNORECASE
)


def whole_case(path: str) -> str:
    """The case key of a mask that is one of several: ``benign (7)_mask_2`` is of ``benign 7``; empty for all others."""
    *folders, base = path.split("/")
    found = _PART.match(without_suffix(base))
    return case_key(folders, found["case"]) if found else ""


def is_placeholder(patient: str) -> bool:
    """True for patient identifiers that stand for nobody."""
    return not patient.strip() or patient.strip().lower() in PLACEHOLDERS
