"""Evidence about the outputs of a trained model."""

from __future__ import annotations

from traindx.evidence.base import Record


class OutputStatistics(Record):
    """Predictions of the deployment path beside their targets, over several validation samples.

    All figures are in the network units of the case; ``*_spread`` is the standard deviation over samples at a voxel,
    root mean square over voxels.

    Attributes:
        samples: Number of samples.
        prediction_mean: Mean of all predictions.
        target_mean: Mean of all targets.
        prediction_std: Standard deviation over the voxels of a sample, mean over samples.
        target_std: The same of the targets.
        prediction_spread: Spread over samples.
        target_spread: Spread over samples.
        prediction_low: 0.5th percentile.
        prediction_high: 99.5th percentile.
        target_low: 0.5th percentile.
        target_high: 99.5th percentile.
        at_low: Share of the predictions at their own minimum.
        at_high: Share at their own maximum.
        target_at_low: Share of the targets at their minimum.
        target_at_high: Share at their maximum.
        correlation: Pearson correlation of predictions and targets over all voxels.
        slope: Slope of the least-squares line target = slope * prediction + offset.
        offset: Its offset.
        to_mean_target: Root mean square distance of the predictions to the mean target, over the targets' own.
        to_constant: Root mean square distance of the predictions to the overall mean of the targets, over the
            targets' standard deviation.
        finite: Share of the predictions that are finite.
        levels: Distinct values among the predictions, counted up to 100.
        target_levels: Distinct values among the targets, counted up to 100.
    """

    samples: int
    prediction_mean: float
    target_mean: float
    prediction_std: float
    target_std: float
    prediction_spread: float
    target_spread: float
    prediction_low: float
    prediction_high: float
    target_low: float
    target_high: float
    at_low: float
    at_high: float
    target_at_low: float
    target_at_high: float
    correlation: float
    slope: float
    offset: float
    to_mean_target: float
    to_constant: float
    finite: float = 1.0
    levels: int = 100
    target_levels: int = 100


class OutputSpectrum(Record):
    """Energy of predictions and targets by spatial frequency, averaged over directions and samples.

    Attributes:
        frequencies: Middle of each band, as a share of the Nyquist frequency.
        prediction: Mean energy a coefficient of the predictions in each band.
        target: The same of the targets.
        residual: The same of prediction minus target.
        shares: Share of each band in the targets' energy (all coefficients, mean removed).
        coefficients: Number of coefficients in each band.
        samples: Number of samples.
    """

    frequencies: tuple[float, ...]
    prediction: tuple[float, ...]
    target: tuple[float, ...]
    residual: tuple[float, ...]
    shares: tuple[float, ...]
    coefficients: tuple[int, ...]
    samples: int
