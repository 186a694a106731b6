"""What a file is: by its suffix where that is plain, by its first bytes where it is not."""

from __future__ import annotations

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm",
)  # fmt: skip
ARRAY_SUFFIXES = (".npy", ".npz")
VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
CONTAINER_SUFFIXES = (".h5", ".hdf5", ".hdf", ".mat")
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu", ".qptiff")
TABLE_SUFFIXES = (".csv", ".tsv")
TEXTS = (
    ".txt", ".md", ".json", ".yaml", ".yml", ".toml", ".py", ".ipynb", ".html", ".htm", ".pdf", ".xml", ".log", ".sh",
    ".ini", ".cfg", ".rst", ".tex", ".doc", ".docx", ".xls", ".xlsx", ".pt", ".pth", ".ckpt", ".safetensors", ".onnx",
    ".pkl", ".pickle", ".sqlite", ".db", ".mp4", ".avi", ".jsonl",
)  # fmt: skip
_BY_SUFFIX = (
    ("dicom", DICOM_SUFFIXES),
    ("nifti", NIFTI_SUFFIXES),
    ("image", IMAGE_SUFFIXES),
    ("array", ARRAY_SUFFIXES),
    ("volume", VOLUME_SUFFIXES),
    ("container", CONTAINER_SUFFIXES),
    ("slide", SLIDE_SUFFIXES),
    ("zip", (".zip",)),
    ("table", TABLE_SUFFIXES),
)
_BEGINNINGS = {
    "image": (
        b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8",
        b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
    ),
    "array": (b"\x93NUMPY",),
    "volume": (b"NRRD000", b"ObjectType"),
    "container": (b"\x89HDF\r\n\x1a\n", b"MATLAB "),
}  # fmt: skip
"""Images: PNG, JPEG, TIFF, BigTIFF, GIF, JPEG 2000 and its bare codestream."""


def suffix_of(name: str) -> str:
    """The suffix that counts, lower case: ``.nii.gz`` whole, digits (parts of UIDs) not at all."""
    base = name.rsplit("/", 1)[-1].lower()
    if base.endswith(".nii.gz"):
        return ".nii.gz"
    stem, dot, last = base.rpartition(".")
    return "" if not dot or not stem or last.isdigit() or len(last) > 11 else "." + last


def by_suffix(name: str) -> str:
    """Kind of a file by its suffix, or empty where that says nothing."""
    suffix = suffix_of(name)
    return next((kind for kind, suffixes in _BY_SUFFIX if suffix in suffixes), "text" if suffix in TEXTS else "")


def by_content(path: str) -> str:
    """Kind of a file by its first bytes, or empty."""
    with open(path, "rb") as stream:
        head = stream.read(352)
    if head[128:132] == b"DICM":
        return "dicom"
    for kind, beginnings in _BEGINNINGS.items():
        if head.startswith(beginnings):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image"
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0":
        return "nifti"
    # A DICOM file may lack preamble and meta group; it then begins with an element of group 0008 (PS3.10 7).
    return "dicom" if head[:2] == b"\x08\x00" and head[3:4] == b"\x00" else ""


def instead(path: str) -> str:
    """What stands in a file that should hold an image, where that is a common accident; empty otherwise."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return ""
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: `git lfs pull` fetches it"
    if head.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML), not the file itself: the download failed or asked for a login"
    if head.startswith((b"<?xml", b"<error")):
        return "an XML message, not the file itself: the download failed"
    return ""
