"""What was measured in files on disk before any training: one record a subject and set, never one a file.

Each record holds counts, spreads and a few examples; the facts of every single file stay in the store that
:mod:`traindx.data` writes (``files.sqlite``). Examples are sorted by how far they are off, the worst first.
"""

from __future__ import annotations

from pydantic import Field

from traindx.evidence.base import Record
from traindx.finding import Frozen


class Example(Frozen):
    """One file, image, table row or pair that a count refers to.

    Attributes:
        name: Path relative to the data folder, with ``#item`` or ``:key`` behind it inside an array file.
        detail: What was measured in it, with its unit.
        value: The decisive number, NaN where there is none.
    """

    name: str
    detail: str = ""
    value: float = float("nan")

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


class Spread(Frozen):
    """Lowest, middle and highest of one quantity over the members of a set."""

    low: float
    median: float
    high: float

    @property
    def ratio(self) -> float:
        """Highest over lowest; infinite where the lowest is not positive."""
        return self.high / self.low if self.low > 0 else float("inf")


class Share(Frozen):
    """A value and how often it occurs."""

    value: str
    count: int


class FileCensus(Record):
    """Everything below the data folder.

    Attributes:
        root: The folder or file that was given.
        files: Files looked at (those of an unknown kind are in ``ignored``).
        readable: Files that gave at least one image, mask or table.
        unreadable: Files that should have and did not.
        not_images: Well-formed files without pixels, for example radiotherapy plans.
        not_read: Files of a kind that is read, which this installation or machine could not read.
        ignored: Files of a kind that is not read.
        images: Images and volumes (an array file may hold many, a DICOM file is one).
        masks: Masks and label volumes.
        bytes_read: Size of the files looked at.
        seconds: Time spent reading.
        formats: Readable files by kind.
        other_formats: Suffixes of the ignored files.
    """

    root: str
    files: int
    readable: int
    unreadable: int
    not_images: int = 0
    not_read: int = 0
    ignored: int = 0
    images: int = 0
    masks: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    formats: tuple[Share, ...] = ()
    other_formats: tuple[Share, ...] = ()


class UnreadableFiles(Record):
    """Files that could not be read, by reason.

    Attributes:
        files: Files looked at.
        unreadable: How many of them could not be read.
        examples: The files, with the reason.
        damaged: Files that were read although a part of them is missing or contradicts itself.
        damaged_examples: Those files, with what is wrong.
    """

    files: int
    unreadable: int
    examples: tuple[Example, ...] = ()
    damaged: int = 0
    damaged_examples: tuple[Example, ...] = ()


class HiddenFormat(Record):
    """Files whose suffix does not say what they are, so that a search by suffix misses them.

    Attributes:
        format: What they are.
        suffix: What their names end in; empty for no suffix at all.
        hidden: Number of such files.
        total: All files of this format.
        examples: Some of them.
    """

    format: str
    suffix: str
    hidden: int
    total: int
    examples: tuple[Example, ...] = ()


class ImageSet(Record):
    """A set of images or masks of one role, modality, format and place.

    Attributes:
        name: Unique name of the set.
        role: ``image`` or ``mask``.
        modality: DICOM modality code (``CT``, ``MR``, ``PT``, ``DX``, ...), or empty where nothing tells.
        count: Images, volumes or slices.
        files: Files they come from.
        shapes: Array shapes by frequency.
        dtypes: Pixel types by frequency.
        volumes: True if the members are volumes and not single images or slices.
        constant: Members in which every pixel has the same value.
        constant_examples: Some of them.
    """

    name: str
    role: str
    modality: str
    count: int
    files: int
    shapes: tuple[Share, ...] = ()
    dtypes: tuple[Share, ...] = ()
    volumes: bool = False
    constant: int = 0
    constant_examples: tuple[Example, ...] = ()


class GeometrySpread(Record):
    """Spacing and orientation over the members of a set (over series, for DICOM).

    Attributes:
        name: Name of the set.
        modality: Its modality.
        members: Members whose geometry is known.
        in_plane_mm: In-plane pixel size over the members.
        slice_mm: Distance between slices over the members; None for single images.
        anisotropy: Largest over smallest voxel edge of a member, over the members.
        orientations: Orientation codes (axes of the array in patient terms, for example ``LPS``) by frequency.
        oblique: Members whose axes are tilted against the patient's.
        oblique_degrees: The largest tilt.
        shapes: Number of different array shapes.
        examples: Members furthest from the median spacing.
        orientation_examples: Members of the rarer orientations.
    """

    name: str
    modality: str
    members: int
    in_plane_mm: Spread
    slice_mm: Spread | None = None
    anisotropy: Spread
    orientations: tuple[Share, ...] = ()
    oblique: int = 0
    oblique_degrees: float = 0.0
    shapes: int = 1
    examples: tuple[Example, ...] = ()
    orientation_examples: tuple[Example, ...] = ()


class SeriesGeometry(Record):
    """How the slices of DICOM series fit together.

    Attributes:
        series: Series of at least three slices with positions.
        uneven: Series whose slice distances differ: slices are missing.
        uneven_examples: Those, with the smallest and the largest distance in mm.
        repeated: Series with two slices at one place.
        repeated_examples: Those.
        disordered: Series whose file names, sorted, do not follow the slice positions.
        disordered_examples: Those.
        mixed: Series whose slices differ in size, pixel spacing or orientation.
        mixed_examples: Those.
        thickness_differs: Series whose SliceThickness is not the distance between slices.
        thickness_examples: Those, with both figures in mm.
    """

    series: int
    uneven: int = 0
    uneven_examples: tuple[Example, ...] = ()
    repeated: int = 0
    repeated_examples: tuple[Example, ...] = ()
    disordered: int = 0
    disordered_examples: tuple[Example, ...] = ()
    mixed: int = 0
    mixed_examples: tuple[Example, ...] = ()
    thickness_differs: int = 0
    thickness_examples: tuple[Example, ...] = ()


class PairGeometry(Record):
    """Whether masks lie on the grid of their images.

    Attributes:
        pairs: Pairs compared.
        shape_differs: Pairs of different array shape.
        shape_examples: Those, with both shapes.
        spacing_differs: Pairs of the same shape whose voxel sizes differ.
        spacing_examples: Those, with both spacings.
        orientation_differs: Pairs of the same shape whose axes point to different sides of the patient.
        orientation_examples: Those, with both codes.
        displaced: Pairs of the same shape, spacing and orientation whose corners lie apart.
        displaced_examples: Those, with the largest corner distance; ``value`` is that distance in voxels.
    """

    pairs: int
    shape_differs: int = 0
    shape_examples: tuple[Example, ...] = ()
    spacing_differs: int = 0
    spacing_examples: tuple[Example, ...] = ()
    orientation_differs: int = 0
    orientation_examples: tuple[Example, ...] = ()
    displaced: int = 0
    displaced_examples: tuple[Example, ...] = ()


class PairCensus(Record):
    """Which images, masks, table rows and boxes have their counterpart.

    Attributes:
        left: What was looked for, for example ``mask``.
        right: Its counterpart, for example ``image``.
        total: How many of ``left`` there are.
        missing: How many of them have no counterpart.
        declared: True if the task or a table given by name says that each must have one.
        examples: Those without.
    """

    left: str
    right: str
    total: int
    missing: int
    declared: bool = False
    examples: tuple[Example, ...] = ()


class LayoutFacts(Record):
    """How the files of a folder were understood to belong together.

    Attributes:
        key: The public layout that was recognised or chosen, empty for none.
        title: Its name.
        lines: What was understood, a sentence each: images, masks, tables, splits.
        unclear: What was not, a sentence each with what to say.
    """

    key: str = ""
    title: str = ""
    lines: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


class SplitOverlap(Record):
    """What two splits share, for one kind of identity.

    Attributes:
        identity: ``patient``, ``study``, ``series``, ``case``, ``pixels`` (identical) or ``near-duplicate``.
        splits: Sizes of the splits in images.
        members: Different identities looked at.
        shared: Identities that occur in two splits or more (pairs, for near-duplicates).
        images: Images concerned.
        usable: False if the identity tells nothing (one placeholder for everybody).
        examples: Shared identities with the splits they are in; ``value`` is the correlation for near-duplicates.
    """

    identity: str
    splits: dict[str, int] = Field(default_factory=dict)
    members: int = 0
    shared: int = 0
    images: int = 0
    usable: bool = True
    examples: tuple[Example, ...] = ()


class Copies(Record):
    """Images that occur more than once.

    Attributes:
        identity: ``pixels`` (identical) or ``near-duplicate``.
        images: Images compared.
        groups: Groups of copies (pairs, for near-duplicates).
        copies: Images beyond the first of each group.
        different_labels: Groups whose members carry different labels or masks.
        examples: Groups; ``value`` is the correlation for near-duplicates.
    """

    identity: str
    images: int
    groups: int
    copies: int
    different_labels: int = 0
    examples: tuple[Example, ...] = ()
