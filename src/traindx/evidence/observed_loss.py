"""What was seen of a loss: its terms, recovered from the arithmetic of scalars, and the calls it is made of."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class LossTermSeen(Observed):
    """One addend of a loss, found by following scalar ``+``, ``-``, ``*`` and ``/`` back from ``backward``.

    Attributes:
        name: Name of the variable it was assigned to, or the expression, as the user's source has it.
        backward: The line of the ``backward`` call, which identifies the loss.
        origin: Where the term itself was computed; ``where`` is the line at which it enters the sum.
        function: Last operation of the term, for example ``mse_loss`` or ``mean``.
        weight: Product of all factors between the sum and the term, at the last watched iteration.
        first_weight: The same at the first watched iteration.
        values: Unweighted values at the watched iterations (not finite where unknown).
        meets_data: The term compares with a tensor that carries no gradient (a target); False for regularisers.
        sums: The term adds up elements without dividing by their number (``reduction="sum"``).
        of_derivatives: The term is computed from derivatives of a network (the residual of a differential equation, a
            gradient penalty).
        extents: Least and greatest number of elements, times their weight, that it added up at one iteration; where
            these differ much, values of two iterations cannot be compared.
        gradient_iterations: Iterations at which the gradients of all terms were taken apart.
        gradient_norms: Norm of the gradient of the weighted term with respect to all parameters.
        gradient_shares: Its share in the sum of such norms over all terms.
        cosines: Cosine between its gradient and that of the sum of the other terms.
    """

    name: str
    backward: Location | None = None
    origin: Location | None = None
    function: str = ""
    weight: float = 1.0
    first_weight: float = 1.0
    values: tuple[float, ...] = ()
    meets_data: bool = False
    sums: bool = False
    of_derivatives: bool = False
    extents: tuple[float, float] = (1.0, 1.0)
    gradient_iterations: tuple[int, ...] = ()
    gradient_norms: tuple[float, ...] = ()
    gradient_shares: tuple[float, ...] = ()
    cosines: tuple[float, ...] = ()


class PaddedTargetsSeen(Observed):
    """Endings of the targets of sequences, beside what the network is given there; ``where`` is the loss.

    Attributes:
        argument: Name of the argument that holds the sequences.
        batches: Batches that were compared.
        rows: Sequences in them.
        counted: Targets that the loss does not ignore.
        padded: Those that repeat one number up to the end of their sequence, without the first of them, while the
            network is given one and the same thing there; 0 if that number also occurs elsewhere.
        number: That number, -1 if there is none.
        lengths: Different lengths of such endings.
        classes: Different numbers before them.
    """

    argument: str
    batches: int
    rows: int
    counted: int
    padded: int = 0
    number: int = -1
    lengths: int = 0
    classes: int = 0


class TokenOffset(Observed):
    """Targets of a cross-entropy beside the tokens that the network was given; ``where`` is the line of the loss.

    Positions are those of the output that a target is held against.

    Attributes:
        network: Class of the network.
        argument: Name of the argument that holds the tokens.
        batches: Batches that were compared.
        same: Greatest share, over batches, of the counted targets that are the token at their position.
        following: The same of the next token.
        second: Least share of those that are the token after the next.
    """

    network: str
    argument: str
    batches: int
    same: float
    following: float
    second: float


class TermReachSeen(Observed):
    """Whether a step uses what one term of a loss gives to weights; ``where`` is the line that computes the term.

    Attributes:
        name: Name of the term, as the user's source has it.
        used: Backward passes of which a step moved weights that the term reaches.
        unused: Those whose step moved only weights that the term does not reach, while its own gradients were cleared
            or belong to no optimiser.
        held: Some optimiser holds weights that it reaches.
        weights: What the names of the weights that it reaches begin with.
    """

    name: str
    used: int = 0
    unused: int = 0
    held: bool = True
    weights: str = ""


class ConstantTerm(Observed):
    """Something added to a loss that carries no gradient although its value changes; ``where`` is the addition.

    Attributes:
        how: ``number`` if a Python number was added (``.item()``), ``tensor`` for a tensor without gradient.
        cut: Where the gradient was cut (``.item()``, ``.detach()``, ``no_grad``), where it is known.
        values: Values added at the watched iterations.
        totals: Values of the sum.
        name: The operand in the user's source, where it could be read.
    """

    how: str
    cut: Location | None = None
    values: tuple[float, ...] = ()
    totals: tuple[float, ...] = ()
    name: str = ""


class LossCall(Observed):
    """A loss function of torch called from one line.

    Attributes:
        function: Name, for example ``cross_entropy``.
        made: Where the library module that called it was constructed, if one did.
        phase: ``training`` or ``evaluation``.
        calls: Calls looked at.
        reduction: ``mean``, ``sum`` or ``none``.
        prediction_shape: Shape of the first argument.
        target_shape: Shape of the second.
        prediction_from: Last activation the prediction went through (``softmax``, ``sigmoid`` ...), or "".
        activation: Where that activation is applied; where its layer was constructed, if a layer applies it.
        applied: Where it is applied in any case.
        prediction_low: Least value of the prediction.
        prediction_high: Greatest value of the prediction.
        target_low: Least value of the target.
        target_high: Greatest value of the target.
        target_values: Distinct values of a target that holds few whole numbers, at most 16.
        target_share: Share of each of them, in the same order.
        outside: Share of target values outside the closed range of the prediction's activation.
        lost: Mean square distance of the target to that range, over the target's variance.
        classes: Classes of a classification loss, else 0.
        first_value: Value of the first call.
        values: Values of the calls looked at.
        weighted: Class weights were given.
        normalised_over: Axis of the prediction that its softmax ran over, if it was not moved since; else -1.
    """

    function: str
    made: Location | None = None
    phase: str = "training"
    calls: int = 0
    reduction: str = "mean"
    prediction_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    prediction_from: str = ""
    activation: Location | None = None
    applied: Location | None = None
    prediction_low: float = 0.0
    prediction_high: float = 0.0
    target_low: float = 0.0
    target_high: float = 0.0
    target_values: tuple[float, ...] = ()
    target_share: tuple[float, ...] = ()
    outside: float = 0.0
    lost: float = 0.0
    classes: int = 0
    first_value: float = 0.0
    values: tuple[float, ...] = ()
    weighted: bool = False
    normalised_over: int = -1


class TargetSeen(Observed):
    """A tensor without gradient that meets a prediction in the arithmetic of a loss written by hand.

    Attributes:
        function: The operation, for example ``mul``.
        prediction_from: Last activation of the prediction, or "".
        shape: Shape of the target.
        prediction_shape: Shape of the prediction.
        result_shape: Shape of the result, larger than both if the two were broadcast against each other.
        low: Least value of the target.
        high: Greatest value.
        values: Distinct values where they are few whole numbers, at most 16.
        share: Share of each of them.
        calls: Calls looked at.
        explicit: The user added or expanded an axis of one operand on purpose (``unsqueeze``, ``None`` index).
    """

    function: str
    prediction_from: str = ""
    shape: tuple[int, ...] = ()
    prediction_shape: tuple[int, ...] = ()
    result_shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 0.0
    values: tuple[float, ...] = ()
    share: tuple[float, ...] = ()
    calls: int = 0
    explicit: bool = False


class ActivationChain(Observed):
    """An activation applied to the output of another one; ``where`` is the second activation.

    Attributes:
        first: Name of the first activation.
        second: Name of the second.
        first_where: Where the first is applied.
        phase: ``training`` or ``evaluation``.
        low: Least output of the second.
        high: Greatest output of the second.
        calls: Calls looked at.
    """

    first: str
    second: str
    first_where: Location | None = None
    phase: str = "training"
    low: float = 0.0
    high: float = 0.0
    calls: int = 0


class SingleClassSoftmax(Observed):
    """A softmax over an axis of length one, whose output is 1 whatever goes in; ``where`` is the call.

    One that is over a longer axis in other calls is none, nor is attention to the only key there is.

    Attributes:
        shape: Shape of its input.
        axis: The axis.
        weights: The result was multiplied with something else: it weights items.
        calls: Calls looked at.
    """

    shape: tuple[int, ...]
    axis: int = -1
    weights: bool = False
    calls: int = 0


class ClampSeen(Observed):
    """A clamp, clip or hard activation with finite bounds; ``where`` is the user's line.

    Attributes:
        function: Name of the function.
        low: Lower bound, minus infinity where there is none.
        high: Upper bound.
        calls: Calls looked at.
        with_gradient: Calls whose input required a gradient.
        hidden: At every call, layers of the same network followed.
        on_bounds: Mean share of elements outside or on the bounds.
        gradient_lost: Mean share of the gradient's norm that arrives at the clamp and does not pass it.
        gradient_calls: Calls at which the arriving gradient was measured.
        input_low: 1st percentile of what goes in.
        input_high: 99th percentile.
        before_log: The result goes into a logarithm, a square root or a division: a guard, not a range.
        reaches_loss: A gradient arrived here in at least one watched iteration.
        first_on_bounds: Share on the bounds at the first call looked at.
        last_on_bounds: Share on the bounds at the last call looked at.
        target_outside: Share of the values of the target it is compared with that lie outside the bounds; -1 unknown.
        target_lost: Mean square distance of that target to the bounds, over its variance.
        target_low: Least value of that target.
        target_high: Its greatest value.
        loss_calls: Calls whose result was averaged or added up to a term of the loss, without a step between.
        loss_share: Share of the elements above the bound, in the later half of those calls.
        loss_weight: Share of these elements in the sum of all before the clamp.
    """

    function: str
    low: float
    high: float
    calls: int = 0
    with_gradient: int = 0
    hidden: bool = False
    on_bounds: float = 0.0
    gradient_lost: float = 0.0
    gradient_calls: int = 0
    input_low: float = 0.0
    input_high: float = 0.0
    before_log: bool = False
    reaches_loss: bool = False
    first_on_bounds: float = 0.0
    last_on_bounds: float = 0.0
    target_outside: float = -1.0
    target_lost: float = 0.0
    target_low: float = 0.0
    target_high: float = 0.0
    loss_calls: int = 0
    loss_share: float = 0.0
    loss_weight: float = 0.0


class NonFiniteOrigin(Observed):
    """The first operation that turned finite values into values that are not; ``where`` is the user's line.

    Attributes:
        function: The operation.
        made: Where the library module that applied it was constructed.
        input_low: Least value of its input.
        input_high: Greatest value of its input.
        share: Share of its output that is not finite.
        direction: ``forward``; or ``backward`` if the operation's gradient is not finite at its (finite) input.
        loss: The loss of that iteration.
    """

    function: str
    made: Location | None = None
    input_low: float = 0.0
    input_high: float = 0.0
    share: float = 0.0
    direction: str = "forward"
    loss: float = 0.0


class LossCutOff(Observed):
    """``backward`` called, at ``where``, on a leaf: a tensor that is not the result of any operation.

    Attributes:
        passes: How often.
        cut: Where a number with a gradient was last taken out of its graph before.
        how: By what (``data``, ``detach``, ``item``).
    """

    passes: int
    cut: Location | None = None
    how: str = ""
