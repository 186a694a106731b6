"""What was measured of masks, label columns and boxes on disk: one record a subject and set, never one a file."""

from __future__ import annotations

from pydantic import Field

from traindx.evidence.base import Record
from traindx.evidence.dataset import Example, Share
from traindx.finding import Frozen


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
        folders: True if there is no table, and the labels are names of folders.
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
    folders: bool = False


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
        other_size: Images that have another size than the file of the boxes gives for them.
        other_size_examples: Those.
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
    other_size: int = 0
    other_size_examples: tuple[Example, ...] = ()
    repeated: int = 0
    repeated_examples: tuple[Example, ...] = ()


class PointTable(Record):
    """Landmarks of a table against the images they belong to.

    Attributes:
        table: The table's file.
        points: Landmarks whose image is known.
        images: Images with at least one.
        unit: ``relative`` (to width and height) or ``pixel``.
        outside: Landmarks that lie more than a pixel beyond their image.
        outside_examples: Those.
        as_exchanged: Landmarks outside that would lie inside with x and y exchanged.
        not_numbers: Landmarks with a coordinate that is no number.
        not_numbers_examples: Those.
    """

    table: str
    points: int
    images: int
    unit: str = "pixel"
    outside: int = 0
    outside_examples: tuple[Example, ...] = ()
    as_exchanged: int = 0
    not_numbers: int = 0
    not_numbers_examples: tuple[Example, ...] = ()


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
