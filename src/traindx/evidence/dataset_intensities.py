"""What was measured of the voxels' values in files on disk: one record a subject and set, never one a file."""

from __future__ import annotations

from pydantic import Field

from traindx.evidence.base import Record
from traindx.evidence.dataset import Example, Share, Spread


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
