"""What a file is: by its suffix where that is plain, by its first bytes where it is not."""

from __future__ import annotations

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ARRAY_SUFFIXES = (".npy", ".npz")
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
    ("table", TABLE_SUFFIXES),
)


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
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff" or head[:4] in (b"II*\0", b"MM\0*"):
        return "image"
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0":
        return "nifti"
    if head[:6] == b"\x93NUMPY":
        return "array"
    # A DICOM file may lack preamble and meta group; it then begins with an element of group 0008 (PS3.10 7).
    if head[:2] == b"\x08\x00" and head[3:4] == b"\x00":
        return "dicom"
    return ""
