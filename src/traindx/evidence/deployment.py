"""Evidence about the path from the network to what is deployed and scored."""

from __future__ import annotations

from traindx.evidence.base import Record


class ModelSwap(Record):
    """What the prediction path returns when every network in it says noise instead of what it learned.

    Attributes:
        draws: Draws of noise.
        same: Share of the output's elements that are the same for every draw.
        same_mask: Share of the voxels whose class or thresholded value is the same for every draw; NaN where the target
            is no mask.
        low: Smallest value of any output.
        high: Largest value.
        planes: For each spatial axis, how many whole planes at its start and at its end are the same for every draw,
            image noise included: nothing that a network says arrives there.
        shape: Spatial shape of the output.
        value: Median value in these planes; NaN where there are none.
    """

    draws: int
    same: float
    same_mask: float
    low: float
    high: float
    planes: tuple[tuple[int, int], ...] = ()
    shape: tuple[int, ...] = ()
    value: float = float("nan")


class RepeatedValidation(Record):
    """One fixed model scored in several passes over the validation batches.

    Attributes:
        metric: Name of the metric.
        unit: Its unit.
        values: Mean of the metric over the batches, a value a pass.
        negligible: Difference of no importance that the metric declares.
        same_data: True if all passes saw the same targets (in whatever order).
        batches: Batches a pass.
        trained: True if the model was trained.
    """

    metric: str
    unit: str = ""
    values: tuple[float, ...] = ()
    negligible: float = 0.0
    same_data: bool = True
    batches: int = 0
    trained: bool = False


class RepeatedSelection(Record):
    """The figure that chooses the best checkpoint, for one fixed model, in several passes of the case's own validation.

    Attributes:
        figure: Name of the figure.
        values: A value a pass.
        models: The figure of two models whose weights were drawn from different seeds, in one random state.
    """

    figure: str
    values: tuple[float, ...]
    models: tuple[float, ...] = ()


class DeployedWeights(Record):
    """Which parameters the prediction path depends on, after training.

    Attributes:
        follows_trained: True if the prediction changes with the parameters that the optimiser moves.
        follows_others: True if it changes with parameters that it does not move.
        twins: Share of those others that have the shape of a trained one, each counted once: a copy of the network.
        unmoved: Share of them that are bit-identical to a fresh model's; NaN where that is not known.
        trained_moved: Share of the trained tensors that did move.
    """

    follows_trained: bool
    follows_others: bool
    twins: float
    unmoved: float
    trained_moved: float


class HardenedScore(Record):
    """An overlap metric of the predictions as they are, and of the masks they become.

    Attributes:
        metric: Name of the metric.
        as_is: Mean over samples.
        hardened: Mean over samples with the likeliest class, or a threshold of one half, in place of the values.
        samples: Number of samples.
    """

    metric: str
    as_is: float
    hardened: float
    samples: int
