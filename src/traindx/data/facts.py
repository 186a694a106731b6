"""The facts of one image, volume or mask: a flat, compact row that is sent from workers and kept on disk."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any


@dataclass(slots=True)
class Facts:
    """What was measured in one image. Values are in rescaled units (HU for CT) unless their name says otherwise.

    Attributes:
        path: File, relative to the data folder.
        item: Index inside an array file, -1 for the whole file.
        key: Array key inside an ``.npz``.
        kind: ``dicom``, ``nifti``, ``array`` or ``image``.
        role: ``image`` or ``mask``.
        role_from: ``header``, ``name`` or ``content``.
        modality: DICOM modality code, or empty.
        modality_from: ``header`` or ``name``, or empty.
        collection: Folder without digits, split and role: members of one collection are compared with one another.
        name: What tables call it: file name without suffix, or the identifier stored beside an array.
        case_key: What it shares with its mask or image.
        pair_scope: File in which its counterpart lies, or empty.
        patient: Patient identifier, or empty. ``study``, ``series``, ``sop`` likewise.
        split: Split as folders or arrays say.
        height: Rows of a 2-D image; size of the last but one axis of a volume. ``width`` likewise.
        bits: Bits stored.
        photometric: Photometric interpretation, ``palette`` or ``colour`` for image files.
        burned_in: 1 where the header says that text is burnt into the pixels.
        rescaled: 1 if a rescale slope and intercept were present, 0 if not, -1 where the format has none.
        levels: Number of distinct values (of the sample, for floating-point volumes).
        below_air: Share of values below -1100. ``below_value`` is the most frequent of them.
        at_min: Share of values equal to the lowest one. ``at_max`` likewise.
        window_inside: Share of values inside the declared window; NaN where none is declared.
        spacing: In-plane mm (two) and distance between slices; NaN where unknown.
        thickness: DICOM SliceThickness in mm.
        orient: Orientation code of the array axes, DICOM patient terms.
        oblique: Tilt of the axes against the patient's, in degrees.
        affine: Twelve little-endian float64, voxel to LPS mm, array axes order; empty where unknown.
        position: Slice position along its normal, in mm. ``normal`` is that direction, rounded.
        label_values: JSON ``{value: voxels}`` of masks.
        fractional: 1 if a mask has values that are not integers.
        digest: Hash of the pixels.
        thumb: 32 x 32 thumbnail, uint8.
        damage: What is wrong with a file that could be read all the same.
        identifiers: Kind and value of what the header says of the patient; never kept, see
            :mod:`traindx.data.privacy`.
        histogram: Grey-value histogram of a CT image over :data:`traindx.data.pixels.HU_EDGES`; added up by the
            workers and not kept.
    """

    path: str
    item: int = -1
    key: str = ""
    kind: str = ""
    role: str = ""
    role_from: str = ""
    modality: str = ""
    modality_from: str = ""
    collection: str = ""
    name: str = ""
    case_key: str = ""
    pair_scope: str = ""
    patient: str = ""
    study: str = ""
    series: str = ""
    sop: str = ""
    split: str = ""
    shape: str = ""
    height: int = 0
    width: int = 0
    dtype: str = ""
    bits: int = 0
    photometric: str = ""
    burned_in: int = 0
    rescaled: int = -1
    vmin: float = 0.0
    p01: float = 0.0
    p25: float = 0.0
    p50: float = 0.0
    p75: float = 0.0
    p99: float = 0.0
    vmax: float = 0.0
    levels: int = 0
    voxels: int = 0
    nonfinite: int = 0
    at_min: float = 0.0
    at_max: float = 0.0
    above_255: float = 0.0
    below_air: float = 0.0
    below_value: float = 0.0
    window_center: float = float("nan")
    window_width: float = float("nan")
    window_inside: float = float("nan")
    spacing0: float = float("nan")
    spacing1: float = float("nan")
    spacing2: float = float("nan")
    thickness: float = float("nan")
    orient: str = ""
    oblique: float = float("nan")
    affine: bytes = b""
    position: float = float("nan")
    normal: str = ""
    label_values: str = ""
    fractional: int = 0
    digest: bytes = b""
    thumb: bytes = b""
    damage: str = ""
    histogram: list[int] | None = None
    identifiers: tuple[tuple[str, str], ...] = ()

    @property
    def set_name(self) -> str:
        """The set this image is compared with: role, modality or key, format and folder."""
        what = self.modality or self.key
        sizes = self.shape.split("x")
        if self.kind in ("nifti", "volume"):  # three slices are a volume, three channels of a picture are none
            flat = sum(size != "1" for size in sizes[:3]) <= 2
        else:
            flat = self.kind == "dicom" or sum(size not in ("1", "3", "4") for size in sizes) <= 2
        parts = (self.role, what, "2D" if flat else "3D", self.kind, self.collection)
        return " ".join(part for part in parts if part)


PASSING = ("histogram", "identifiers")
"""Fields that are handed on and not kept."""

COLUMNS = (*(item.name for item in fields(Facts) if item.name not in PASSING), "set_name")
row: Any = attrgetter(*COLUMNS)


@dataclass(slots=True)
class Report:
    """What became of one file.

    Attributes:
        path: Relative to the data folder.
        status: ``read``, ``unreadable``, ``not-image``, ``table`` or ``ignored``.
        kind: Kind of content.
        size: Bytes on disk.
        reason: Why it could not be read, or what it is instead of an image.
        identifiers: What headers say of patients, to be kept out of everything that is written.
        rows: One tuple an image, in the order of :data:`COLUMNS`.
    """

    path: str
    status: str
    kind: str = ""
    size: int = 0
    reason: str = ""
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    identifiers: set[tuple[str, str]] = field(default_factory=set)
