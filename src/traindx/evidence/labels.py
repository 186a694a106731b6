"""Evidence about label maps in batches: which values they hold, and whether the loss leaves unlabelled voxels alone."""

from __future__ import annotations

from traindx.evidence.base import Record
from traindx.finding import Frozen


class ValueShare(Frozen):
    """A label value and the share of all voxels that have it."""

    value: float
    share: float


class BatchLabels(Record):
    """Values of the label maps in training batches, as the loader hands them over.

    Attributes:
        maps: Label maps looked at.
        values: Whole values that occur, with their share (at most 32, the commonest).
        declared: Values that the case declares as classes.
        ignored: Values that it declares as "not labelled".
        fractional: Share of the voxels whose value is not a whole number.
        fractional_examples: A few of those values.
    """

    maps: int
    values: tuple[ValueShare, ...]
    declared: tuple[float, ...]
    ignored: tuple[float, ...] = ()
    fractional: float = 0.0
    fractional_examples: tuple[float, ...] = ()


class UnlabelledGradient(Record):
    """The loss's gradient at the network's output, in voxels that are declared as not labelled and in the others.

    Attributes:
        term: Loss term, or ``total``.
        share: Share of the voxels that are not labelled.
        unlabelled: Mean absolute gradient of a voxel that is not labelled.
        labelled: Mean absolute gradient of a labelled voxel.
        channel: Output channel that a step downhill raises most in unlabelled voxels; -1 for an output of one channel
            that it lowers.
        agreement: Share of the unlabelled voxels in which it does.
        channels: Channels of the output.
    """

    term: str
    share: float
    unlabelled: float
    labelled: float
    channel: int
    agreement: float
    channels: int
