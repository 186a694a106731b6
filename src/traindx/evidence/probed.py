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
    """

    network: str
    difference: float
    function: str = ""
    told: bool = False
    drawn_at: Location | None = None
