"""Evidence about metrics and what a figure of merit is worth."""

from __future__ import annotations

from traindx.evidence.base import Record


class PeakProbe(Record):
    """The peak that a PSNR-like metric uses, inferred from predictions of known error.

    Attributes:
        metric: Name of the metric.
        peak: Inferred peak, in network units.
        peak_halved: Inferred peak for targets of half the range: the same for a fixed peak.
        range_low: Smallest value of the data.
        range_high: Largest value.
        declared: True if the range was declared by the case or follows from its normaliser.
        measured_low: Smallest target value measured.
        measured_high: Largest target value measured.
        offset_db: 20 log10(peak / range): what the figures are too high by.
        samples: Targets measured.
    """

    metric: str
    peak: float
    peak_halved: float
    range_low: float
    range_high: float
    declared: bool
    measured_low: float
    measured_high: float
    offset_db: float
    samples: int


class ReferenceScores(Record):
    """A metric's values for predictions whose order is known.

    Attributes:
        metric: Name of the metric.
        higher_is_better: Its declared direction.
        perfect: The target itself.
        near: The target with noise of 5 % of its standard deviation (classes: 2 % of them flipped).
        shuffled: Another sample's target.
        constant: The mean of the targets everywhere.
        inverted: The target upside down in value.
        corrupted: The shuffled prediction with one voxel far outside the range.
    """

    metric: str
    higher_is_better: bool
    perfect: float
    near: float
    shuffled: float
    constant: float
    inverted: float
    corrupted: float = float("nan")


class BaselineScore(Record):
    """What a trivial predictor reaches under a metric, so that no figure stands alone.

    Attributes:
        name: ``mean of the training targets``, ``constant``, ``zeros``, ``another sample``, ``nearest neighbour``,
            ``copy of <key>``, or ``model``.
        metric: Name of the metric.
        unit: Its unit.
        higher_is_better: Its direction.
        values: One value a validation sample.
        informed: False for predictors that know nothing of anatomy (zeros, constant).
    """

    name: str
    metric: str
    unit: str = ""
    higher_is_better: bool = True
    values: tuple[float, ...] = ()
    informed: bool = True

    @property
    def mean(self) -> float:
        """Mean over the samples."""
        return sum(self.values) / len(self.values) if self.values else float("nan")


class SharedSamples(Record):
    """Validation samples that are also handed out for training, bit by bit.

    Attributes:
        train: Training samples looked at.
        val: Validation samples looked at.
        shared: Validation samples that are among them.
        complete: True if both splits were read to their end.
    """

    train: int
    val: int
    shared: int
    complete: bool
