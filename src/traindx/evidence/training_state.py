"""Evidence about what a training does besides training, and about prototypes and rates, asked of a case."""

from __future__ import annotations

from traindx.evidence.base import Record


class SplitDrawn(Record):
    """The division of the data, drawn several times in processes of different random state.

    Attributes:
        draws: Times it was drawn.
        differing: Times that it differed from the first one.
        moved: Share of the first division's validation names that another one trains on, the largest.
        patients: Names in all parts.
    """

    draws: int
    differing: int
    moved: float
    patients: int


class SelectorAnswers(Record):
    """What a selector of best checkpoints does with scores of two stages.

    Attributes:
        stages: Names of the two stages.
        first: Best score offered in the first stage.
        second: Scores offered in the second one, rising, all below ``first``.
        kept: Which of them it kept.
    """

    stages: tuple[str, str]
    first: float
    second: tuple[float, ...]
    kept: tuple[bool, ...]


class MonitorAnswers(Record):
    """What a gradient monitor says of norms whose meaning is known.

    Attributes:
        silent_on: Which bad norms it said nothing about (``nan``, ``inf``, ``vanished``, ``exploded``).
        asked: All that it was asked about.
        speaks_of_healthy: True if it also complains about a healthy norm.
    """

    silent_on: tuple[str, ...]
    asked: tuple[str, ...]
    speaks_of_healthy: bool


class LoadedWeights(Record):
    """Weights of another training, loaded into a fresh network by the case's own function.

    Attributes:
        network: Class name.
        tensors: Tensors of the network.
        offered: Tensors that were offered.
        arrived: Tensors of the network that equal an offered one afterwards.
        changed: Tensors of the network that changed.
        refused: The function raised instead of going on.
    """

    network: str
    tensors: int
    offered: int
    arrived: int
    changed: int
    refused: bool


class PrototypeSpread(Record):
    """How alike prototypes are after a short learning.

    Attributes:
        concepts: Number of concepts.
        each: Prototypes of each.
        within: Mean cosine of two prototypes of one concept.
        within_before: The same before learning.
        between: Mean cosine of prototypes of different concepts.
        monitored: What the case's own monitor reports; NaN where it has none.
        unused: Prototypes that are the nearest to no patch of their concept.
        busiest: Largest share of a concept's patches that one of its prototypes takes, mean over concepts.
        temperature: Temperature of the softmax.
    """

    concepts: int
    each: int
    within: float
    within_before: float
    between: float
    monitored: float
    unused: int
    busiest: float
    temperature: float


class RateProbe(Record):
    """The first steps of a case with its own learning rates, and with larger ones.

    Attributes:
        rates: Learning rate of each parameter group.
        reach: Largest distance a group can go in the planned steps, over the size of its weights: the mean relative
            update of the first steps times the number of steps.
        steps: Steps of the probe.
        planned: Steps that the case trains for.
        factors: Factors on the rates that were tried.
        falls: Relative fall of the loss of a frozen batch in the probe's steps, a value a factor; NaN where the loss
            was not finite.
    """

    rates: tuple[float, ...]
    reach: float
    steps: int
    planned: int
    factors: tuple[float, ...] = ()
    falls: tuple[float, ...] = ()
