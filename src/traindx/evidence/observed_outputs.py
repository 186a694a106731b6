"""What the loss of a training asks of the outputs of its networks."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class OutputAsked(Observed):
    """One output of a network that is trained, and the parts of it that a gradient ever came to.

    ``where`` is the line of the call. Iterations count in which a gradient came to any output of the call.

    Attributes:
        network: Class of the network.
        output: The output, as the script unpacks it, or its place.
        outputs: How many outputs the call has.
        looks: Iterations that were looked at.
        reached: Those in which a gradient came to this output.
        channels: Its channels; 0 where no axis is known to be one of channels.
        silent: Channels that vary and never got a gradient that is not zero.
        dropped: Their values never reach the loss, whatever they are, because a fixed index takes others.
        dropped_at: Where that is.
        told: A tensor of the batch has this output's shape, and varies in those channels.
        own: Numbers in parameters that an optimiser holds, which lead to this output and never got a gradient.
        read: In evaluation, an operation took the output (or those channels).
        read_at: Where.
        named: The function that makes the call reads the output by its name.
        again: The line that compares another output of the same shape a second time.
    """

    network: str
    output: str
    outputs: int = 1
    looks: int
    reached: int
    channels: int = 0
    silent: tuple[int, ...] = ()
    dropped: bool = False
    dropped_at: Location | None = None
    told: bool = False
    own: int = 0
    read: bool = False
    read_at: Location | None = None
    named: bool = True
    again: Location | None = None
