"""What was seen of single calls whose arguments may mean something else than was intended."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class GridSeen(Observed):
    """Calls of ``grid_sample`` from one line.

    Attributes:
        calls: Calls looked at.
        order: Image axis (0 is the first spatial one) that each component of the grid follows, component 0 first,
            if every call had the same order and every component followed one axis upwards; else empty.
        axes: Number of spatial axes.
        outside: Least share, over the calls, of coordinates outside [-1, 1].
        low: Least coordinate over all calls.
        high: Greatest coordinate over all calls.
        least_high: Least, over the calls, of the greatest coordinate of any component.
    """

    calls: int
    axes: int
    order: tuple[int, ...] = ()
    outside: float = 0.0
    low: float = 0.0
    high: float = 0.0
    least_high: float = 0.0


class IntegerIndexSeen(Observed):
    """A tensor that is indexed with a vector of integers as long as the indexed axis.

    Attributes:
        calls: Calls looked at.
        binary: Calls in which the index held zeros and ones and nothing else, and both of them.
        length: Length of the axis in the last of them.
        other: Calls from the same line with an index of another length, or of more values.
    """

    calls: int
    binary: int = 0
    length: int = 0
    other: int = 0


class GradientNormSeen(Observed):
    """The norm of a gradient that was taken with respect to an input; ``where`` is the line of the norm.

    Attributes:
        taken: Line of ``torch.autograd.grad``.
        calls: Calls looked at.
        shape: Shape of the gradient.
        axes: Axes that the norm runs over.
        left: Elements of one sample that the norm leaves apart.
        per_sample: The differentiated output had one number a sample.
        graph: The gradient was itself to be differentiated.
    """

    calls: int
    taken: Location | None = None
    shape: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    left: int = 1
    per_sample: bool = False
    graph: bool = False


class LossStateSeen(Observed):
    """A tensor that a loss without parameters keeps; ``where`` is the line that constructs the loss.

    Attributes:
        loss: Class.
        attribute: Name of the tensor.
        calls: Calls looked at.
        first_shape: Shape before the first call.
        last_shape: Shape after the last call.
        rewritten: Calls after which its values were other ones than before.
        as_batch: Calls after which its first axis had the length of the batch and had not before.
        rewritten_at: Line that last assigned it, where the source tells.
    """

    loss: str
    attribute: str
    calls: int
    first_shape: tuple[int, ...] = ()
    last_shape: tuple[int, ...] = ()
    rewritten: int = 0
    as_batch: int = 0
    rewritten_at: Location | None = None


class DiscardedResult(Observed):
    """A call that changes nothing, and whose result no name takes; ``where`` is the statement.

    Attributes:
        function: What is called, as the source has it.
        calls: Times it was seen to run; 0 if the source alone tells.
        result: Type of the result.
    """

    function: str
    calls: int = 0
    result: str = "tensor"


class IdleStatement(Observed):
    """A statement that does nothing of what it says; ``where`` is it.

    Attributes:
        form: ``not-called`` (a method is named), ``no-such-flag`` (a misspelt ``requires_grad``), ``module-flag``
            (``requires_grad`` of a module whose weights take gradients all the same), ``shared-attribute`` (set on the
            data set of one part of a split, and again on that of another part, which is the same), ``compared`` (a
            comparison that nobody uses), ``method-overwritten`` (a method gets a value in its place), ``near-name``
            (a field that nothing reads, named nearly as one that there is), ``option-later`` (an option that is read
            when the object is made, set afterwards), ``size-field`` (a layer's number of features, which does not
            change its weight), ``group-field`` (set on an optimiser, whose groups have it), ``overwritten`` (a name
            gets another value before anything reads what was computed for it).
        source: Its source.
        detail: What there is instead: the field that was meant, the shape of the weight, the entry of the group, what
            was computed first.
    """

    form: str
    source: str
    detail: str = ""


class UnreadOutput(Observed):
    """A method calls a part of its object, and nothing reads the name that the result gets; ``where`` is the call.

    Attributes:
        part: The attribute that is called.
        name: The name that nothing reads.
    """

    part: str
    name: str


class KeptFigure(Observed):
    """A figure by which a state is kept; ``where`` compares it.

    Attributes:
        figure: Its name.
        keeps: ``lower`` or ``higher``: what the comparison takes for an improvement.
        better: What its name says is an improvement, "" where it does not.
        by: Source of the comparison, or the callback.
    """

    figure: str
    keeps: str
    better: str = ""
    by: str = ""


class ArgumentTried(Observed):
    """Calls without gradients, one right after the other, that differ in one argument; ``where`` is the first of them.

    Attributes:
        network: Class of the network.
        argument: Name of the argument, or its position.
        values: The two values, where they are numbers.
        pairs: Pairs of calls that differ in it alone.
        same: Pairs whose outputs are the same, bit by bit.
        probed: The script made one call in training, and an experiment repeated it with 0 and with 1 and the same
            random numbers; ``where`` is then the line of ``forward`` that reads the argument first.
    """

    network: str
    argument: str
    values: tuple[str, str] = ("", "")
    pairs: int = 0
    same: int = 0
    probed: bool = False


class ContractSeen(Observed):
    """Calls from one line of a library's function of which it is known what it expects; ``where`` is the line.

    Attributes:
        contract: Key in :data:`traindx.evidence.contracts.CONTRACTS`.
        function: What was called.
        calls: Calls looked at that could have shown it.
        broken: Calls in which what is expected did not hold.
        given: What was given in the last of these; completes "is given …".
        sizes: Different sizes of the axis in question in these calls, where the contract is about an axis.
        made: Line that constructed the module that was called.
    """

    contract: str
    function: str
    calls: int
    broken: int = 0
    given: str = ""
    sizes: int = 0
    made: Location | None = None
