"""What was seen of a script as a whole: how it ran and ended, its phases, its networks and its loss over time.

Records of this and the ``observed_*`` files come from watching a run without touching it. Most of them are summaries
over the watched iterations; ``step`` is then the last iteration that contributed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from traindx.evidence.base import Record
from traindx.finding import Location


class Observed(Record):
    """A record written by the watched process.

    Attributes:
        snapshot: Number of the snapshot it belongs to; -1 for an event that is never superseded.
    """

    snapshot: int = -1


class SnapshotEnd(Observed):
    """Marks that every summary of a snapshot was written."""


class Ending(StrEnum):
    """How a script ended."""

    FINISHED = "finished"
    STOPPED = "stopped after the window"
    CRASHED = "crashed"
    EXITED = "left early"
    INTERRUPTED = "interrupted"
    HUNG = "made no progress"
    KILLED = "killed"
    NOT_STARTED = "could not be started"


class ScriptRun(Observed):
    """How a script ran and ended, as seen from outside.

    Attributes:
        target: Script or module.
        arguments: Its arguments.
        ending: How it ended.
        exit_code: Exit code of the process; negative for a signal.
        message: Exception type and text, signal name, or what it was waiting for.
        seconds: Wall time in seconds.
        signals: Signals that were needed to end it.
        orphans: Processes it left behind, which were ended.
        left_behind: What they were, as command lines.
        window_ended: The window ended before the script did, which ran on unwatched or was ended.
    """

    target: str
    arguments: tuple[str, ...] = ()
    ending: Ending
    exit_code: int = 0
    message: str = ""
    seconds: float = 0.0
    signals: tuple[str, ...] = ()
    orphans: int = 0
    left_behind: tuple[str, ...] = ()
    window_ended: bool = False


class IterationsSeen(Observed):
    """How much of the training was seen.

    Attributes:
        iterations: Optimiser iterations (with several optimisers, cycles of the first one).
        watched: How many of them were watched.
        seconds: Wall time from the first to the last iteration, in seconds.
        driven_by: What marks an iteration.
        optimizers: Number of optimisers that took a step.
        backwards: Backward passes in all.
    """

    iterations: int
    watched: int
    seconds: float = 0.0
    driven_by: Literal["optimiser", "backward", "nothing"] = "nothing"
    optimizers: int = 0
    backwards: int = 0


class LossSeries(Observed):
    """Values of the tensor on which ``backward`` was called at one line, one a call; ``where`` is that line.

    Attributes:
        iterations: Iteration of each call, thinned to at most 512 calls.
        values: Loss values before any gradient scaling.
        first_nonfinite: Iteration of the first value that was not finite; -1 for none.
        calls: Calls in all.
        scaled: True if the loss passed through a gradient scaler.
    """

    iterations: tuple[int, ...]
    values: tuple[float, ...]
    first_nonfinite: int = -1
    calls: int = 0
    scaled: bool = False


class NetworkCalls(Observed):
    """Calls of one network from one line of user code; ``where`` is that line.

    Attributes:
        network: Class name.
        made: Where the network was constructed.
        phase: ``training`` if gradients were enabled and something is learned from the output; ``auxiliary`` for calls
            without gradients whose output a loss or a trained network gets (teacher, generator); ``validation`` for
            those whose output goes nowhere of the kind, however often they take place; ``sampling`` for a burst in
            which a time-like argument changes from call to call; ``inference`` for all other calls of a script that
            makes no backward pass and no step.
        calls: Calls seen.
        iterations: Distinct iterations in which it was called.
        in_training_mode: Calls with ``network.training`` true.
        left_training_mode: Iteration of the first call in evaluation mode after calls in training mode; -1 for never.
        noisy: Names of dropout and batch-norm layers (at most 8) that were in training mode during these calls.
        quiet: Number of dropout and batch-norm layers that were in evaluation mode during these calls.
        with_dropout_only: Only dropout layers were in training mode (Monte-Carlo dropout).
        first_iteration: Iteration of the first call.
        last_iteration: Iteration of the last call.
        loader: Where the data loader that was read last before these calls was constructed.
        other_data: That loader is not one that feeds the training.
        with_gradients: Gradients were enabled in these calls.
    """

    network: str
    made: Location | None = None
    phase: Literal["training", "validation", "sampling", "auxiliary", "inference"]
    calls: int
    iterations: int
    in_training_mode: int = 0
    left_training_mode: int = -1
    noisy: tuple[str, ...] = ()
    quiet: int = 0
    with_dropout_only: bool = False
    first_iteration: int = -1
    last_iteration: int = -1
    loader: Location | None = None
    other_data: bool = False
    with_gradients: bool = False


class ModeSwitch(Observed):
    """A call of ``network.train()`` or ``network.eval()`` at one line; ``where`` is that line.

    Attributes:
        network: Class name.
        mode: What it was switched to.
        times: How often.
        last_iteration: Iteration of the last call.
        iterations_after: Training iterations that ran after the last switch, in that mode.
        iterations_before: Training iterations that ran in training mode before the first switch.
    """

    network: str
    mode: Literal["train", "eval"]
    times: int
    last_iteration: int = -1
    iterations_after: int = 0
    iterations_before: int = 0


class InputSeen(Observed):
    """One tensor argument of a network, channel by channel, at one line of user code and in one phase.

    Attributes:
        network: Class name.
        argument: Position or name, for example ``0`` or ``mask``.
        phase: As in :class:`NetworkCalls`.
        shape: Shape of the last one seen.
        dtype: Its type.
        low: 1st percentile of each channel (axis 1), over all calls looked at; one entry where there is no such axis.
        high: 99th percentile of each channel.
        distinct: Distinct values found in each channel, at most 17.
        nonfinite: Values that were not finite.
        calls: Calls looked at.
    """

    network: str
    argument: str
    phase: str
    shape: tuple[int, ...]
    dtype: str
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    distinct: tuple[int, ...] = ()
    nonfinite: int = 0
    calls: int = 0


class ObservedTime(Observed):
    """A time-like argument of a network: a number, or a tensor with one number a sample.

    Attributes:
        network: Class name.
        argument: Position or name.
        phase: As in :class:`NetworkCalls`.
        low: Least value.
        high: Greatest value.
        distinct: Distinct values seen, at most 64.
        integer: All values were whole numbers.
        dtype: Type of the argument.
        per_call: Most distinct values in one call.
        in_a_row: Most calls from that line in one iteration.
    """

    network: str
    argument: str
    phase: str
    low: float
    high: float
    distinct: int
    integer: bool
    dtype: str = ""
    per_call: int = 0
    in_a_row: int = 0


class SwallowedException(Observed):
    """An exception raised inside a torch call that never left the script; ``where`` is the user's line.

    Attributes:
        error: Type and text of the exception.
        function: The torch function.
        times: How often.
        iterations: Distinct watched iterations in which it happened and which went on.
        handler: The ``except`` that caught it, where it could be found.
    """

    error: str
    function: str
    times: int
    iterations: int
    handler: Location | None = None


class RankDifference(Observed):
    """Workers of a distributed training compared.

    Attributes:
        ranks: Ranks that reported.
        calls: Calls of the distributed network that all of them reported.
        same_batches: Share of these calls in which two ranks saw the same batch.
        weights_differ: Number of parameters that differ between ranks after the last compared iteration.
        buffers_differ: Number of buffers that differ.
        examples: Names of parameters that differ, at most 8.
    """

    ranks: tuple[int, ...]
    calls: int = 0
    same_batches: float = 0.0
    weights_differ: int = 0
    buffers_differ: int = 0
    examples: tuple[str, ...] = ()


class WrapperBypassed(Observed):
    """Calls with gradients of networks that a DistributedDataParallel holds; ``where`` is the line that goes past it.

    Attributes:
        through: Calls of the wrapper.
        past: Calls of the network that it holds, from ``where``.
        ranks: Processes of its group.
    """

    through: int
    past: int
    ranks: int = 1


class LayerBuiltInCall(Observed):
    """A layer with parameters that was constructed during a call of a network which does not keep it.

    ``where`` is the line that constructs it.

    Attributes:
        network: Class of the network that was called.
        layer: Class of the layer.
        calls: Layers made there.
        training: Those of them in calls with gradients.
        iterations: Iterations in which this happened.
    """

    network: str
    layer: str
    calls: int
    training: int = 0
    iterations: int = 0
