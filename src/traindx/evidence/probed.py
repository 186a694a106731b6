"""What experiments on a running script measured: on captured calls of its networks, its loss and its steps."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class InputProbed(Observed):
    """How much the output of a network in a running script changes when one of its arguments is changed.

    Measured on a twin of the network whose zero-initialised layers and gates were drawn again, with the same random
    state in every call. ``where`` is the line of the call.

    Attributes:
        network: Class of the network.
        argument: Name of the argument, ``all inputs``, or ``a <-> b`` for a swap of two.
        change: ``other sample`` (the batch rolled by one), ``other values`` (everything moved and noise added),
            ``flip`` (left and right), ``spot`` (a bright spot on an even image), ``spot moved``, ``swap``.
        effect: Root mean square change of the output over the output's own spread.
        noise: The same for repeating the call with other random numbers.
        differs: False if the change left the argument as it was.
        training: True for a call with gradients.
        time: The argument holds one number a sample and is called as times are.
        single: All numbers of the argument are the same: a solver's time, written out for every sample.
        shape: Shape of the argument.
        dense: The output is an image or a volume.
        registered: The argument has the spatial shape of the output.
        lost_at: The line of the last operation that took something different and gave the same.
        lost_in: That operation.
        read: False if no operation took the argument at all.
    """

    network: str
    argument: str
    change: str
    effect: float
    noise: float = 0.0
    differs: bool = True
    training: bool = True
    time: bool = False
    single: bool = False
    shape: tuple[int, ...] = ()
    dense: bool = False
    registered: bool = False
    lost_at: Location | None = None
    lost_in: str = ""
    read: bool = True


class RandomnessProbed(Observed):
    """The same call in evaluation mode made twice with other random numbers. ``where`` is the line of the call.

    Attributes:
        network: Class of the network; it and all its parts are in evaluation mode.
        difference: Root mean square difference of the outputs over their spread; 0 for equal outputs.
        function: The first operation that took the same and gave something else.
        told: The source tells that operation a mode (or the call is not in the user's source).
        drawn_at: Its line.
        owner: The user's function or class that holds that line, in words of its source (``WordDropout.forward``).
        reads_mode: That function, or the condition around the line, reads something that is named for a mode.
        reads_method: What it reads is the method ``train`` itself, which is there in either mode.
        unregistered: The draw is made by a layer that the network does not hold, so that no mode reaches it.
        alone: It is in the ``forward`` of a layer with neither parameters nor layers of its own.
        arguments: What that function takes besides ``self``.
        rate: The layer keeps a number, or the function takes one, beside the tensor.
    """

    network: str
    difference: float
    function: str = ""
    told: bool = False
    drawn_at: Location | None = None
    owner: str = ""
    reads_mode: bool = False
    reads_method: bool = False
    unregistered: bool = False
    alone: bool = False
    arguments: int = 0
    rate: bool = False


class BatchProbed(Observed):
    """The same evaluation call with the first sample in the place of all others. ``where`` is the line of the call.

    Attributes:
        network: Class of the network; it and all its parts are in evaluation mode.
        samples: Samples of the batch.
        difference: Root mean square difference of what it gives for the first sample, over the spread.
        function: The first operation that took the same of the first sample and gave something else.
        owner: The user's function that holds its line.
        own: It is not a layer of a library that makes it.
        standardises: The line takes a mean and a standard deviation or variance.
        mixed_at: The line of that operation.
    """

    network: str
    samples: int
    difference: float
    function: str = ""
    owner: str = ""
    own: bool = False
    standardises: bool = False
    mixed_at: Location | None = None


class FutureProbed(Observed):
    """One token of a sequence changed, in a network that is asked for the next token at each position.

    ``where`` is the operation that first carries it to an earlier position; the call of the network where none does.

    Attributes:
        network: Class of the network, in evaluation mode.
        tokens: Length of the sequence.
        before: Root mean square change of what is given for earlier positions, over the spread of the output.
        at_all: The same of all positions.
        called: The line that calls the network.
    """

    network: str
    tokens: int
    before: float
    at_all: float
    called: Location | None = None


class TokensAsked(Observed):
    """A cross-entropy whose targets are as many integers as a sequence that the network was given.

    ``where`` is the line of the loss. What one changed token does is measured where the targets are the tokens given,
    at a position that the loss counts, and is None where that was not tried.

    Attributes:
        network: Class of the network.
        argument: Name of the argument that holds the tokens.
        counted: Targets that the loss does not ignore.
        equal: Share of them that are the token given at the same position.
        hidden: Share of all targets that the loss ignores.
        runs: Mean number of separate stretches of counted targets in a sequence.
        own: Root mean square change of what is given for the position of the changed token, over the output's spread.
        own_then: The same in the mode and with the random numbers of the script's own call.
        before: The same as ``own`` of earlier positions.
        after: The same of later positions.
        called: The line that calls the network.
    """

    network: str
    argument: str
    counted: int
    equal: float
    hidden: float = 0.0
    runs: float = 1.0
    own: float | None = None
    own_then: float | None = None
    before: float | None = None
    after: float | None = None
    called: Location | None = None


class StepProbed(Observed):
    """What an optimiser's step did to the loss of its own batch. ``where`` is the line of the backward pass.

    The batch is passed again through a twin of the network with the new weights, in the mode and random state of then,
    and the script's own operations from the output to the loss are repeated.

    Attributes:
        network: Class of the network.
        optimizer: Class of the optimiser.
        made: Where the optimiser was constructed.
        lr: Its largest learning rate.
        before: Loss before the step.
        after: Loss after it.
        moved: Root mean square change of the output over its spread; 0 if the step changed nothing.
        farther: Loss after steps 10, 100 and 1000 times as long, where this one hardly changed it; else ().
        owns: True if the optimiser holds at least one parameter of the network.
        alone: The iteration had one call of a network with gradients, one backward pass and one optimiser.
    """

    network: str
    optimizer: str
    made: Location | None = None
    lr: float = 0.0
    before: float
    after: float
    moved: float
    farther: tuple[float, ...] = ()
    owns: bool = True
    alone: bool = True


class OrderProbed(Observed):
    """What a loss makes of better and worse outputs. ``where`` is the line where output and target are compared.

    Attributes:
        network: Class of the network.
        function: The comparison.
        actual: Loss of the network's own output.
        perfect: Loss of an output that says exactly what the target says.
        shuffled: Loss of one that says what the target of another sample says.
        signed: The path multiplies by a tensor with negative entries (an advantage, a reward).
        alone: Only one optimiser is at work.
    """

    network: str
    function: str
    actual: float
    perfect: float
    shuffled: float
    signed: bool = False
    alone: bool = True


class GivenProbed(Observed):
    """Where the gradient of a loss at an output of a network is zero, against where the input was blanked.

    Input and output have the same shape. ``where`` is the operation that masks, or the backward pass.

    Attributes:
        network: Class of the network.
        ignored: Share of the output's values without gradient.
        blanked: Share of the input that holds one single value, exactly where the gradient is zero; 0 if the two do
            not coincide.
        known: The batch from the loader holds the input as it was before it was blanked, with other values there.
        told: The batch from the loader holds a mask of the same region (a part of the data, not drawn by the script).
        actual: The loss.
        identity: The loss of an output that repeats the input.
    """

    network: str
    ignored: float
    blanked: float = 0.0
    known: bool = False
    told: bool = False
    actual: float = 0.0
    identity: float = 0.0


class CoarseOutputProbed(Observed):
    """An output that is an up-sampled coarse grid, number for number. ``where`` is the interpolation.

    Attributes:
        network: Class of the network.
        coarse: Spatial shape before the interpolation.
        fine: After it.
        left_out: Mean square of the targets outside everything that the interpolation can give.
        variance: Variance of the targets.
    """

    network: str
    coarse: tuple[int, ...]
    fine: tuple[int, ...]
    left_out: float
    variance: float


class OverlapProbed(Observed):
    """What an overlap loss makes of outputs that miss one class. ``where`` is where output and target are multiplied.

    Attributes:
        network: Class of the network.
        classes: Channels of the output.
        perfect: Loss of an output that says exactly what the target says.
        wrong: Loss of one that says another class everywhere.
        shares: Share of the voxels of every class that was left out in turn.
        costs: What leaving it out adds to the loss.
    """

    network: str
    classes: int
    perfect: float
    wrong: float
    shares: tuple[float, ...]
    costs: tuple[float, ...]


class ViewsMerged(Observed):
    """Views that were encoded one by one by one network, and then reduced. ``where`` is the reduction.

    Attributes:
        network: Class of the module in which it happens; empty outside of one.
        views: How many.
        image: Shape of a view, channels first.
        reduction: Its name.
        training: With gradients.
    """

    network: str
    views: int
    image: tuple[int, ...]
    reduction: str
    training: bool = True


class PeakFromTarget(Observed):
    """A logarithm of an error over the largest value of an image of that very call. ``where`` takes the largest value.

    Attributes:
        peaks: The largest values, one a call.
        phase: ``validation``, or ``training`` for calls with gradients.
        logged: The line of the logarithm.
    """

    peaks: tuple[float, ...]
    phase: str = "validation"
    logged: Location | None = None
