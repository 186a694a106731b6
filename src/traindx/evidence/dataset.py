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


class IntensitySpread(Record):
    """Grey values over the members of a set.

    Attributes:
        name: Name of the set.
        modality: Its modality.
        members: Members that are not constant.
        dynamic_range: 99th minus 1st percentile of a member, over the members.
        low: 1st percentile over the members.
        high: 99th percentile over the members.
        dtypes: Pixel types by frequency.
        dtype_range: Median dynamic range by pixel type.
        narrow_examples: Members of the smallest dynamic range.
        wide_examples: Members of the largest.
    """

    name: str
    modality: str
    members: int
    dynamic_range: Spread
    low: Spread
    high: Spread
    dtypes: tuple[Share, ...] = ()
    dtype_range: dict[str, float] = Field(default_factory=dict)
    narrow_examples: tuple[Example, ...] = ()
    wide_examples: tuple[Example, ...] = ()


class NonFiniteVoxels(Record):
    """NaN and infinite values, wherever tensors or files were looked at.

    Attributes:
        subject: What was looked at, for example ``images on disk`` or a batch key.
        members: Members looked at.
        affected: Members that hold at least one.
        examples: Those, with the number of such values.
    """

    subject: str
    members: int
    affected: int
    examples: tuple[Example, ...] = ()


class HounsfieldFacts(Record):
    """Whether CT values can be Hounsfield units (air -1000, water 0).

    Attributes:
        name: Name of the set.
        modality_from: ``header`` where a DICOM header says CT, ``name`` where only a file, key or folder name does.
        members: Images.
        without_rescale: DICOM images without RescaleSlope and RescaleIntercept.
        without_rescale_examples: Those.
        eight_bit: Images of 8 bits a pixel.
        eight_bit_examples: Those.
        padded: Images with values below -1100 HU, which no tissue and no air has.
        padded_share: Largest share of such pixels in one image.
        padding_values: Values found there, in HU, by frequency of images.
        padded_examples: The worst, with value and share.
        unit_interval: Images that fit into [-1, 1]: normalised already.
        unit_interval_examples: Those.
        no_air: Images whose lowest values (1st percentile) lie above -200 and that are neither 8-bit nor normalised.
        shifted: Of those, images that look like HU + 1024 (or + 1000): nothing negative, air near 0, tissue near 1000.
        no_air_examples: Those, with their percentiles.
    """

    name: str
    modality_from: str
    members: int
    without_rescale: int = 0
    without_rescale_examples: tuple[Example, ...] = ()
    eight_bit: int = 0
    eight_bit_examples: tuple[Example, ...] = ()
    padded: int = 0
    padded_share: float = 0.0
    padding_values: tuple[Share, ...] = ()
    padded_examples: tuple[Example, ...] = ()
    unit_interval: int = 0
    unit_interval_examples: tuple[Example, ...] = ()
    no_air: int = 0
    shifted: int = 0
    no_air_examples: tuple[Example, ...] = ()


class Polarity(Record):
    """Whether bright means dense throughout a set.

    Attributes:
        name: Name of the set.
        members: Images.
        monochrome1: DICOM images in which the lowest value is white (PhotometricInterpretation MONOCHROME1).
        monochrome2: DICOM images in which the lowest value is black.
        monochrome1_examples: Those of the first kind.
        opposite: Images whose thumbnail is the negative of the set's mean image.
        opposite_correlation: Correlation with the mean image at or below which an image counts as opposite.
        opposite_examples: Those, with their correlation.
    """

    name: str
    members: int
    monochrome1: int = 0
    monochrome2: int = 0
    monochrome1_examples: tuple[Example, ...] = ()
    opposite: int = 0
    opposite_correlation: float = 0.0
    opposite_examples: tuple[Example, ...] = ()


class BitDepth(Record):
    """Pixel depth of image files that common loaders turn into 8 bits.

    Attributes:
        name: Name of the set.
        members: Images.
        deep: Images of more than 8 bits in PNG or TIFF.
        above_255: Mean share of their pixels above 255, which a conversion to 8 bits by clipping makes white.
        largest: Largest value in them.
        shallow: 8-bit images in the same set.
        colour: Images with colour channels that differ from one another.
        palette: Images with a palette, whose values are indices and not grey.
        examples: Deep images, with their largest value.
        colour_examples: Colour or palette images.
    """

    name: str
    members: int
    deep: int = 0
    above_255: float = 0.0
    largest: float = 0.0
    shallow: int = 0
    colour: int = 0
    palette: int = 0
    examples: tuple[Example, ...] = ()
    colour_examples: tuple[Example, ...] = ()


class DisplayWindow(Record):
    """What a window leaves of the image: one stored in DICOM headers, or one that was burnt in.

    Attributes:
        name: Name of the set.
        modality: Its modality.
        windowed: Images whose header declares a window.
        inside: Median over them of the share of pixels (padding excluded) inside that window.
        starved: Images with less than a tenth inside.
        starved_examples: Those, with window and range of values.
        eight_bit: 8-bit images.
        saturated: Median over them of the share of pixels at the lowest and highest value together.
        burnt: 8-bit images with more than a quarter of their pixels at the highest value.
        burnt_examples: Those, with the shares.
        images: Images that are not constant and have a thousand pixels or more.
        coarse: Of those, images with fewer than ``coarse_levels`` different values.
        coarse_levels: That limit.
        coarse_examples: Those, with their number of values.
    """

    name: str
    modality: str
    windowed: int = 0
    inside: float = 1.0
    starved: int = 0
    starved_examples: tuple[Example, ...] = ()
    eight_bit: int = 0
    saturated: float = 0.0
    burnt: int = 0
    burnt_examples: tuple[Example, ...] = ()
    images: int = 0
    coarse: int = 0
    coarse_levels: int = 0
    coarse_examples: tuple[Example, ...] = ()


class LabelValue(Frozen):
    """One value of a set of masks.

    Attributes:
        value: The value.
        share: Share of all voxels.
        masks: Masks that contain it.
    """

    value: float
    share: float
    masks: int


class MaskValues(Record):
    """Values in a set of masks.

    Attributes:
        name: Name of the set.
        masks: Masks looked at.
        values: Integer values (at most 64).
        declared: Values that the task, the command line or ``dataset.json`` declares; empty where nothing does.
        ignored: The value declared as "not labelled", or None.
        declared_by: Who declared them.
        fractional: Masks with values that are not integers.
        fractional_examples: Those.
        many_values: Masks whose values lie between two main ones, as interpolation or lossy compression leaves them.
        many_values_examples: Those, with the number of values.
        empty: Masks without foreground.
        empty_examples: Those.
        full: Masks without background.
        full_examples: Those.
        tiny: Masks with foreground of at most ``tiny_voxels`` voxels.
        tiny_voxels: That limit.
        tiny_examples: Those.
        undeclared_examples: Masks with values that are not declared, with the values and their share.
    """

    name: str
    masks: int
    values: tuple[LabelValue, ...] = ()
    declared: tuple[float, ...] = ()
    ignored: float | None = None
    declared_by: str = ""
    fractional: int = 0
    fractional_examples: tuple[Example, ...] = ()
    many_values: int = 0
    many_values_examples: tuple[Example, ...] = ()
    empty: int = 0
    empty_examples: tuple[Example, ...] = ()
    full: int = 0
    full_examples: tuple[Example, ...] = ()
    tiny: int = 0
    tiny_voxels: int = 0
    tiny_examples: tuple[Example, ...] = ()
    undeclared_examples: tuple[Example, ...] = ()


class LabelColumn(Record):
    """One column of a label table.

    Attributes:
        table: The table's file.
        column: Its header, or ``column=value`` for one class of a column of names.
        type: ``binary``, ``category`` or ``number``.
        rows: Rows with a value.
        empty: Rows without.
        values: Distinct values by frequency (at most 20).
        distinct: Number of distinct values (counted up to 1000).
        positives: Rows that are positive, for binary columns and classes.
        by_split: ``split -> (positives, rows)``, where splits are known.
        declared: True if the table was given as a label table and not just found in the folder.
    """

    table: str
    column: str
    type: str
    rows: int
    empty: int = 0
    values: tuple[Share, ...] = ()
    distinct: int = 0
    positives: int = 0
    by_split: dict[str, tuple[int, int]] = Field(default_factory=dict)
    declared: bool = False


class BoxTable(Record):
    """Boxes of a table against the images they belong to.

    Attributes:
        table: The table's file.
        boxes: Boxes.
        images: Images with at least one box.
        unit: ``relative`` (to width and height) or ``pixel``, as most boxes say.
        other_unit: Boxes that can only be of the other unit.
        other_unit_examples: Those.
        not_finite: Boxes with a coordinate that is missing or not a number.
        not_finite_examples: Those.
        outside: Boxes that reach beyond the image (by more than one pixel, or 1 %).
        outside_examples: Those.
        swapped: Boxes whose second corner lies before the first.
        swapped_examples: Those.
        no_area: Boxes without width or height.
        no_area_examples: Those.
        as_width_height: Swapped boxes that would be valid if the last two columns were width and height.
        size_known: Boxes whose image size is known.
        median_area: Median share of the image that a box covers.
        classes: Boxes by class.
        repeated: Boxes that repeat another one of the same image and class.
        repeated_examples: Those.
    """

    table: str
    boxes: int
    images: int
    unit: str = "pixel"
    other_unit: int = 0
    other_unit_examples: tuple[Example, ...] = ()
    not_finite: int = 0
    not_finite_examples: tuple[Example, ...] = ()
    outside: int = 0
    outside_examples: tuple[Example, ...] = ()
    swapped: int = 0
    swapped_examples: tuple[Example, ...] = ()
    no_area: int = 0
    no_area_examples: tuple[Example, ...] = ()
    as_width_height: int = 0
    size_known: int = 0
    median_area: float = float("nan")
    classes: tuple[Share, ...] = ()
    repeated: int = 0
    repeated_examples: tuple[Example, ...] = ()


class BoxesOnMap(Record):
    """Boxes drawn on a network's coarse map.

    Attributes:
        table: The table's file.
        map_size: Cells along each side of the map.
        stated: True if the size was given and is not a default.
        boxes: Valid boxes.
        vanished: Boxes that contain no cell centre: drawn by nearest neighbour they leave nothing.
        vanished_by_class: ``class -> (vanished, boxes)``.
        examples: The smallest of them, with their size in cells.
    """

    table: str
    map_size: int
    stated: bool
    boxes: int
    vanished: int
    vanished_by_class: dict[str, tuple[int, int]] = Field(default_factory=dict)
    examples: tuple[Example, ...] = ()


class LabelBoxAgreement(Record):
    """Whether labels and boxes of one class agree.

    Attributes:
        name: Class.
        positives: Images labelled positive.
        positives_without_box: Of those, images without a box of the class.
        boxed: Images with a box of the class.
        boxed_but_negative: Of those, images labelled negative.
        without_box_examples: Positive images without a box.
        negative_examples: Negative images with one.
    """

    name: str
    positives: int
    positives_without_box: int
    boxed: int
    boxed_but_negative: int
    without_box_examples: tuple[Example, ...] = ()
    negative_examples: tuple[Example, ...] = ()


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
