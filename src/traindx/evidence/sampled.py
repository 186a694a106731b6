r"""What passed through a script's own noising and sampling: coefficients and times, read off the tensors.

Notation as in :mod:`traindx.evidence.sampling`. A *level* is the pair (a, s) of :math:`x_t = a x_0 + s \epsilon`.
"""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Frozen, Location


class TableSeen(Frozen):
    """A vector of numbers out of which the script picked entries by index.

    Attributes:
        name: What it was called where it was picked from; empty if unknown.
        values: Its entries.
    """

    name: str = ""
    values: tuple[float, ...]


class TimesTold(Frozen):
    """Numbers that an argument of the network, or a module, was given along a loop.

    Attributes:
        name: Of the argument, or the module's class and the line that made it.
        dtype: Type of the numbers.
        values: One a call of the network.
    """

    name: str
    dtype: str = ""
    values: tuple[float, ...]


class LineValue(Frozen):
    """What a line computed between two calls of the network: ``of_x x + of_output output + of_noise z``, exactly.

    Attributes:
        step: Index of the call before it.
        where: The line.
        of_x: Coefficient of the network's input.
        of_output: Coefficient of its output.
        of_noise: Root of the sum of squares of the coefficients of fresh noise.
    """

    step: int
    where: Location
    of_x: float
    of_output: float
    of_noise: float = 0.0


class ClampOnTheWay(Frozen):
    """A clamp between two calls of the network.

    Attributes:
        where: The line.
        of_x: Coefficient of x in what was clamped, as far as it was linear; NaN if it was not.
        of_output: Coefficient of the output in it.
        low: Smallest value it let through.
        high: Largest.
        changed: Largest share of values that it changed in one step.
        step: Index of the step whose coefficients are given.
    """

    where: Location
    of_x: float
    of_output: float
    low: float
    high: float
    changed: float
    step: int


class NoisedDraws(Observed):
    r"""Noisy inputs of a network in training, each as :math:`x_t = a x_0 + s \epsilon` to rounding error.

    The noise is a tensor that torch drew, and :math:`x_0` one that the script held. ``where`` is the call of the
    network.

    Attributes:
        network: Class of the network.
        made: Where it was constructed.
        a: Coefficient of x0, one entry a draw.
        s: Coefficient of the noise.
        times: What the network was told as time; empty if nothing was.
        told_by: Which argument, or which module, was told.
        time_dtype: Type of it.
        index: Entry of the schedule's tables that was picked; empty if none was.
        tables: These tables.
        of_x0: Coefficient of x0 in what the loss compares the output with; empty if unknown.
        of_noise: Coefficient of the noise in it.
        compared_at: The line of that comparison.
        data_low: Smallest value of x0.
        data_high: Largest.
        data_mean: Mean of x0.
        data_sd: Its standard deviation.
    """

    network: str
    made: Location | None = None
    a: tuple[float, ...] = ()
    s: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    told_by: str = ""
    time_dtype: str = ""
    index: tuple[int, ...] = ()
    tables: tuple[TableSeen, ...] = ()
    of_x0: tuple[float, ...] = ()
    of_noise: tuple[float, ...] = ()
    compared_at: Location | None = None
    data_low: float = 0.0
    data_high: float = 0.0
    data_mean: float = 0.0
    data_sd: float = 0.0


class LoopSeen(Observed):
    r"""Calls of one network after one another, each input a linear function of the input and output before it.

    ``where`` is the call of the network.

    Attributes:
        network: Class of the network.
        made: Where it was constructed.
        of_x: Coefficient of the input in the next input, one entry a step (a step lies between two calls).
        of_output: Coefficient of the output; outputs of several calls with one input are added up.
        of_noise: Standard deviation of fresh noise.
        residual: Root mean square of what is left, relative to the next input.
        order: Outputs that a step depends on, at most.
        followed_by: 1 where something that is no function of these was added at the end of a step (guidance).
        told: What was told numbers, and which.
        picked: Entries that were picked in each step, as (number of the table, entry).
        tables: These tables.
        lines: What lines computed.
        clamps: Clamps on the way.
        made_by: The line whose value became the next input.
        batch: Samples.
        dimensions: Spatial dimensions.
        dtype: Floating type of the input.
        resolution: Its machine epsilon.
        start_mean: Mean of the first input.
        start_sd: Its standard deviation.
        calls: Calls of the network in all.
    """

    network: str
    made: Location | None = None
    of_x: tuple[float, ...] = ()
    of_output: tuple[float, ...] = ()
    of_noise: tuple[float, ...] = ()
    residual: tuple[float, ...] = ()
    order: int = 1
    followed_by: tuple[int, ...] = ()
    told: tuple[TimesTold, ...] = ()
    picked: tuple[tuple[tuple[int, int], ...], ...] = ()
    tables: tuple[TableSeen, ...] = ()
    lines: tuple[LineValue, ...] = ()
    clamps: tuple[ClampOnTheWay, ...] = ()
    made_by: Location | None = None
    batch: int = 1
    dimensions: int = 0
    dtype: str = "float32"
    resolution: float = 1.2e-7
    start_mean: float = 0.0
    start_sd: float = 1.0
    calls: int = 0
