"""What becomes of the outputs of a network in evaluation: who takes them, with which labels, which part of them."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class EvaluationOutputs(Observed):
    """Outputs of one network, called in evaluation from one line (``where``), followed until they were gone.

    Attributes:
        network: Class of the network.
        phase: ``validation``, ``inference`` or what else the call is.
        assigned: The name that the statement gives the output; empty where it has none.
        hooked: The network has hooks of the script's, so that its output may not be what is wanted.
        calls: Calls whose outputs were followed to their end.
        evaluations: Evaluations that they belong to: between two of them the network was trained.
        unused: Of these, calls of whose output no value was used.
        last_used: The used ones are the last calls of their evaluations alone.
        stale: Operations in between that took what a training step had computed, with its graph.
        stale_at: The line of the first of them.
        numbers: Operations that read a single number of a training step, or added it up.
        number_at: The line of the first of these.
    """

    network: str
    phase: str = "validation"
    assigned: str = ""
    hooked: bool = False
    calls: int = 0
    evaluations: int = 1
    unused: int = 0
    last_used: bool = False
    stale: int = 0
    stale_at: Location | None = None
    numbers: int = 0
    number_at: Location | None = None


class EvaluationPairs(Observed):
    """A line (``where``) at which outputs of a network meet tensors of a loader's batch in evaluation.

    A batch is known by its loader and its number in the pass; by the pass as well, where the loader shuffles.

    Attributes:
        network: Class of the network.
        function: The operation.
        same: Times that the network had been given the batch, or a part of it.
        other: Times that it had been given other batches.
        training: The tensors it meets are of a loader that trains.
        shuffled: They are of a loader that shuffles.
        loader: Where that loader was constructed.
    """

    network: str
    function: str
    same: int
    other: int
    training: bool = False
    shuffled: bool = False
    loader: Location | None = None


class FigureRegion(Observed):
    """A part of a network's output of which a single number was computed. ``where`` is the line that cuts it out.

    Attributes:
        network: Class of the network.
        share: Part of the image's area.
        contrast: Spread of the values in it over the spread of the whole output, the median of all calls.
        calls: Numbers that were computed of such a part.
        whole: Numbers that were computed of the whole output of the same calls.
    """

    network: str
    share: float
    contrast: float
    calls: int
    whole: int = 0


class OutputThreshold(Observed):
    """Outputs of a network in evaluation, as it gave them, compared with a number between 0 and 1 (``where``).

    Attributes:
        network: Class of the network.
        threshold: The number.
        calls: Comparisons.
        low: Least value that was compared.
        high: Greatest value that was compared.
    """

    network: str
    threshold: float
    calls: int
    low: float
    high: float


class RankedScore(Observed):
    """A score of a library's that depends on the order of the predictions; ``where`` is the line that gives them.

    Attributes:
        function: Function or class, for example ``BinaryAUROC``.
        calls: Times that it was given predictions there.
        samples: Samples in all.
        values: Different values of the predictions; empty where there are more than eight.
        labels: Different values of the labels.
        whole: Predictions are integers or truth values, which no score is.
    """

    function: str
    calls: int
    samples: int
    values: tuple[float, ...] = ()
    labels: int = 0
    whole: bool = False


class MaskGiven(Observed):
    """A mask that a network is given beside sequences. ``where`` is the line of the call.

    Attributes:
        network: Class of the network.
        argument: Name of the mask.
        sequence: Name of the argument with as many samples and steps.
        calls: Calls looked at.
        padded: Of these, calls in which sequences of several lengths end in repetitions of one value.
        constant: Calls in which the mask is the same and not zero everywhere.
        made: Where the mask was made, if it was by a function that fills it.
    """

    network: str
    argument: str
    sequence: str = ""
    calls: int = 0
    padded: int = 0
    constant: int = 0
    made: Location | None = None


class Accumulated(Observed):
    """A sum or list that a loop over batches adds to. ``where`` is the line, outside of all passes, where it begins.

    Attributes:
        name: Its name.
        several: It is a list.
        passes: Passes in which it was looked at.
        kept: Of these, those that began with all that the one before had left.
        first: What it held when it was first looked at: the sum, or the length of the list.
        last: What it held when it was first looked at in the last of these passes.
        used: The line that makes a figure of it.
        added: The line that adds to it.
    """

    name: str
    several: bool = False
    passes: int = 0
    kept: int = 0
    first: float = 0.0
    last: float = 0.0
    used: Location | None = None
    added: Location | None = None
