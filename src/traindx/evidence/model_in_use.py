"""Evidence about a model in use: guidance, uncertainty, selection, settings, pictures, conditions and updates."""

from __future__ import annotations

from traindx.evidence.base import Record


class GuidanceEffect(Record):
    """The same noise sampled with and without guidance, by an untrained network.

    Attributes:
        scale: Strength of guidance.
        change: Root mean square change of the samples, over the standard deviation of the unguided ones.
        gradient: Root mean square gradient of the energy at the unguided samples.
        energy_without: Energy of the unguided samples.
        energy_with: Energy of the guided samples.
        without: Smallest and largest value of the unguided samples.
        guided: Smallest and largest value of the guided samples.
        data: Smallest and largest value of the targets.
    """

    scale: float
    change: float
    gradient: float
    energy_without: float
    energy_with: float
    without: tuple[float, float]
    guided: tuple[float, float]
    data: tuple[float, float]


class UncertaintySeen(Record):
    """The case's own uncertainty of one batch.

    Attributes:
        largest: Largest value of the map.
        mean: Mean.
        pixels: Pixels of it.
    """

    largest: float
    mean: float
    pixels: int


class SelectionKey(Record):
    """What the best checkpoint is chosen by, and what validation produces.

    Attributes:
        key: Name of the figure.
        produced: Figures that a validation produces.
    """

    key: str
    produced: tuple[str, ...]


class SettingsRead(Record):
    """Which settings are asked for when the training they describe is built.

    Attributes:
        read: Settings that were asked for.
        unread: Settings that nothing asked for.
    """

    read: tuple[str, ...]
    unread: tuple[str, ...]


class PictureMarker(Record):
    """An image and a mask of one mark, as the case's pictures show them.

    Attributes:
        overlap: Intersection over union of the mark in the image and in the mask.
        turned: How the mask would have to be turned to lie on the image: ``""``, ``transposed``, ``flipped``,
            ``turned``; empty where no turn helps.
    """

    overlap: float
    turned: str


class ConditionRange(Record):
    """The range of one condition of the network over training batches.

    Attributes:
        condition: Key of the batch.
        low: 1st percentile.
        high: 99th percentile.
        distinct: Distinct values, at most 17.
    """

    condition: str
    low: float
    high: float
    distinct: int


class UpdateBudget(Record):
    """What an optimiser does with the steps of a whole training, asked of it alone with a parameter of its own.

    Attributes:
        calls: Times that its ``step`` was called.
        updates: Times that this changed the parameter.
        rate: The rate that the optimiser was given.
        spent: Sum over updates of the rate in effect, over ``calls`` times the given rate.
        last_rate: Rate in effect at the last call.
    """

    calls: int
    updates: int
    rate: float
    spent: float
    last_rate: float
