"""What was seen of optimisers, their groups, gradients, clipping, gradient scaling and learning-rate schedules."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class OptimizerSeen(Observed):
    """An optimiser that was constructed; ``where`` is the line that did.

    Attributes:
        optimizer: Class name.
        steps: Steps it took.
        stepped: Line of the last ``step`` call.
        backward: Line of the ``backward`` call that came last before a step.
        lrs: Learning rate of each group at the end.
        first_lrs: Learning rate of each group at the first step.
        parameters: Number of parameter tensors.
        adaptive: Steps are normalised by the gradient's size (Adam and its kin), so a constant factor in the loss
            or in clipping does not matter.
        never_zeroed: Pairs of steps between which a backward pass added to the gradients of the first.
        zeroed: Pairs of steps between which these were zeroed, replaced or overwritten. A pair that was not looked at,
            or without a backward pass (gradients from ``torch.autograd.grad``), is neither.
        backwards_per_step: Backward passes before each step, most recent 64.
        leaked: Steps that contained backward passes left over from before an epoch's end, and more of them than usual.
        lost: Backward passes whose gradients were zeroed before any step.
        accumulation: Most frequent number of backward passes a step.
        bare: Steps between which and the last backward pass before them the gradients were zeroed.
        wasted: Backward passes whose gradients were zeroed before any step, of lines some of whose passes were used.
        used: Backward passes from these lines that a step used.
        wasted_at: Where they were zeroed.
        renews: The line that made it had made another for the same parameters, which took steps.
        planned: Steps that it will take in all, as the loops around its second step say; 0 where they do not.
        passes: Rounds of the outer one of these loops.
        plan_is_exact: No other loop lies around these, which would multiply the number.
        base_lr: Greatest rate of any group when it was constructed.
        highest_lr: Greatest rate of any group that acted in a step.
        alive: The last step, counted from 1, in which the rate of some group was more than a thousandth of that.
        rate_set: The one line of the sources that sets a rate by hand, where there is one.
    """

    optimizer: str
    steps: int = 0
    stepped: Location | None = None
    backward: Location | None = None
    lrs: tuple[float, ...] = ()
    first_lrs: tuple[float, ...] = ()
    parameters: int = 0
    adaptive: bool = False
    never_zeroed: int = 0
    zeroed: int = 0
    backwards_per_step: tuple[int, ...] = ()
    leaked: int = 0
    lost: int = 0
    accumulation: int = 1
    bare: int = 0
    wasted: int = 0
    used: int = 0
    wasted_at: Location | None = None
    renews: bool = False
    planned: int = 0
    passes: int = 0
    plan_is_exact: bool = False
    base_lr: float = 0.0
    highest_lr: float = 0.0
    alive: int = 0
    rate_set: Location | None = None


class ParameterGroupSeen(Observed):
    """One parameter group, over the watched iterations; ``where`` is the optimiser's construction.

    Attributes:
        optimizer: Class name.
        group: Index.
        number: Of the optimiser, in order of construction: one line may make several, as for folds.
        name: Common prefix of its parameters' names.
        lr: Last learning rate.
        largest_lr: Greatest learning rate seen.
        parameters: Number of tensors.
        elements: Number of elements.
        gradient_norms: Norm of the group's gradient at the watched iterations.
        update_ratios: Median over its weight tensors of ``|update| / |weight|``, at the watched iterations.
        unchanged: Share of weight elements that were bit-identical after a step although their gradient was not 0.
        moved: ``|w_end - w_start| / |w_start|`` over the run, median over its weight tensors.
    """

    optimizer: str
    group: int
    number: int = 0
    name: str = ""
    lr: float = 0.0
    largest_lr: float = 0.0
    parameters: int = 0
    elements: int = 0
    gradient_norms: tuple[float, ...] = ()
    update_ratios: tuple[float, ...] = ()
    unchanged: float = 0.0
    moved: float = 0.0


class WeightDecaySeen(Observed):
    """Weight decay that is added to the gradients of one group; ``where`` is the optimiser's construction.

    Attributes:
        optimizer: Class name.
        group: Index.
        decay: Coefficient λ of the penalty λ/2 |w|², whose gradient λw is added to that of the loss.
        shares: ``λ |w| / |g|`` of the whole group at the watched iterations, where g is the gradient of the loss.
        first_norm: ``|w|`` at the first of these.
        last_norm: ``|w|`` at the last.
    """

    optimizer: str
    group: int
    decay: float
    shares: tuple[float, ...]
    first_norm: float
    last_norm: float


class OutputsDropped(Observed):
    """Steps that several calls of a network from one line came before; ``where`` is the backward pass.

    Attributes:
        network: Class of the network, in training mode and with gradients.
        steps: Such steps.
        calls: Calls before them.
        learned: Of these, calls whose output a backward pass reached.
        last_alone: Steps for which that was the last call, and no other.
        called: The line that calls the network.
    """

    network: str
    steps: int
    calls: int
    learned: int
    last_alone: int = 0
    called: Location | None = None


class ParameterSeen(Observed):
    """One parameter of a network that was trained; ``where`` is the line that made its module.

    Attributes:
        name: Name with the network's class in front, for example ``UNet.enc1.conv.weight``.
        network: Class of the outermost module.
        network_made: Where that was constructed.
        module: Class of the module that owns it.
        shape: Its shape.
        trainable: ``requires_grad`` at the end.
        in_optimizer: Some optimiser that took a step holds it, or held it and is gone.
        called: Its module was called in a training iteration with gradients enabled.
        registered: It belongs to a network reachable from a module the script called (False: kept in a plain list).
        gradient_seen: Watched iterations in which it had a gradient that was not zero.
        gradient_missing: Watched iterations in which it had none, or zeros only.
        gradient_zero: Zeros were seen: the graph of the loss reaches it.
        gradient_rms: Median root mean square of its gradient.
        moved: ``|w_end - w_start| / |w_start|``.
        by_hand: No optimiser holds it, and its values changed all the same: the script updates it.
        loaded: Its values came from a file.
        output_used: It got no gradient, and the output of its layer was seen to reach the loss all the same (True), or
            was followed and did not (False); None if it was not followed.
        cut: Line at which the gradient of that output ends.
        depth: Order in which its module was called in the forward pass, 0 first.
        written_out: Its module's class is the script's own, which made this very parameter, and no layer of a library.
        alike: All its rows, of which there are four or more with at least two numbers each, are equal.
    """

    name: str
    network: str
    module: str
    alike: bool = False
    network_made: Location | None = None
    shape: tuple[int, ...] = ()
    trainable: bool = True
    in_optimizer: bool = False
    called: bool = False
    registered: bool = True
    gradient_seen: int = 0
    gradient_missing: int = 0
    gradient_zero: bool = False
    gradient_rms: float = 0.0
    moved: float = 0.0
    by_hand: bool = False
    loaded: bool = False
    output_used: bool | None = None
    cut: Location | None = None
    depth: int = -1
    written_out: bool = False


class GradientSeries(Observed):
    """Norm of all gradients of an optimiser just before its steps; ``where`` is the step.

    Attributes:
        iterations: Watched iterations.
        norms: Euclidean norm over all parameters, unscaled.
        nonfinite: Watched iterations in which it was not finite.
    """

    iterations: tuple[int, ...] = ()
    norms: tuple[float, ...] = ()
    nonfinite: int = 0


class ClippingSeen(Observed):
    """Gradient clipping at one line; ``where`` is that line.

    Attributes:
        function: ``norm`` or ``value``.
        limit: The limit given.
        calls: Calls looked at.
        active: Share of these in which something was clipped.
        norms: Norms before clipping.
        scaled: Calls made while the gradients were still multiplied by the gradient scaler's factor.
        scale: That factor at the last such call.
        after_step: Calls made after the optimiser's step of the same iteration instead of before.
        before_backward: Calls at which no parameter had a gradient, and which a step with gradients followed.
        adaptive: The parameters belong to an optimiser that normalises its steps.
        empty: Calls that were given no parameter at all.
        empty_at_last: The last call was one of them.
    """

    function: str
    limit: float
    empty: int = 0
    empty_at_last: bool = False
    calls: int = 0
    active: float = 0.0
    norms: tuple[float, ...] = ()
    scaled: int = 0
    scale: float = 1.0
    after_step: int = 0
    before_backward: int = 0
    adaptive: bool = False


class ScalerSeen(Observed):
    """A gradient scaler; ``where`` is the line of its ``step`` call.

    Attributes:
        steps: Steps asked for.
        skipped: Steps it left out because gradients were not finite.
        longest_skip: Longest run of steps left out.
        scales: Scale at the watched iterations.
        updates: Calls of ``update``.
        made: Where it was constructed.
        enabled: False for a scaler that does nothing.
        unscaled_backward: Backward passes of a loss that did not go through ``scale`` although the scaler steps.
    """

    steps: int
    skipped: int
    longest_skip: int = 0
    scales: tuple[float, ...] = ()
    updates: int = 0
    made: Location | None = None
    enabled: bool = True
    unscaled_backward: int = 0


class SchedulerSeen(Observed):
    """A learning-rate schedule; ``where`` is the line of its ``step`` call.

    Attributes:
        scheduler: Class name.
        made: Where it was constructed.
        calls: Calls of ``step``.
        before_optimizer: Calls made before the optimiser's very first step.
        optimizer_steps: Steps its optimiser took.
        per_iteration: Called about once an iteration.
        horizon: Number of calls it was constructed for (``T_max``, ``total_steps``, the last milestone), 0 if none.
        warmup: Calls during which the rate rises, where known, else 0.
        lrs: Learning rate of the first group after each call, most recent 256 and thinned.
        lowest: Least learning rate seen.
        highest: Greatest learning rate seen.
        last: Last learning rate seen.
        epochs: Passes over the training data begun while it was in use, 0 where unknown.
        iterations_per_epoch: Optimiser iterations a pass, 0 where unknown.
        base: Learning rate of the first group when the optimiser was constructed.
        moved_by_others: The rate changed without this schedule: another one, or the script, sets it.
        position: Step of the schedule that it stands at; fewer than the calls where it is called with a number.
        counts_batches: Its length is computed from the number of batches, as the source of its construction says.
        step_not_reached: It was never stepped, but a source of the script has a line that does so.
        idle_calls: Calls since whose predecessor its optimiser took no step, and another one did.
        of: Where its optimiser was constructed.
        first_change: Calls after which a rate that falls in stairs first changes, 0 for any other schedule.
    """

    scheduler: str
    made: Location | None = None
    calls: int = 0
    before_optimizer: int = 0
    optimizer_steps: int = 0
    per_iteration: bool = False
    horizon: int = 0
    warmup: int = 0
    lrs: tuple[float, ...] = ()
    lowest: float = 0.0
    highest: float = 0.0
    last: float = 0.0
    epochs: int = 0
    iterations_per_epoch: int = 0
    base: float = 0.0
    moved_by_others: bool = False
    position: int = 0
    counts_batches: bool = False
    step_not_reached: bool = False
    idle_calls: int = 0
    of: Location | None = None
    first_change: int = 0


class PlateauSeen(Observed):
    """A schedule that waits for a figure to stop improving; ``where`` is the line that constructs it.

    Attributes:
        scheduler: Class name.
        mode: ``min`` or ``max``.
        given: What its ``step`` is given, as it is written.
        steps: Calls of ``step``.
        reductions: Calls that lowered the rate.
        at_best: Of these, calls at which the figure was the best so far in the other direction.
        first_rate: Rate before the first call.
        last_rate: Rate after the last one.
        counts: What its ``step`` is given is one more at each call.
        stepped: Where it is stepped first.
    """

    scheduler: str
    mode: str
    given: str
    steps: int
    reductions: int
    at_best: int
    first_rate: float
    last_rate: float
    counts: bool = False
    stepped: Location | None = None


class PlainTensorSeen(Observed):
    """A tensor with a gradient that is a plain attribute of a module; ``where`` is the line that sets it.

    The record without names says how many modules were looked at.

    Attributes:
        owner: Class of the module.
        name: The attribute.
        modules: Modules that were looked at.
        computed: It is the result of operations on a parameter, and not a leaf.
        in_optimizer: Some optimiser holds it, or what it was computed from.
        gradients: Looks at which it, or what it was computed from, had a gradient that is not zero.
        iterations: Iterations from the first look at this very tensor to the last.
        changed: Its values changed.
    """

    owner: str
    name: str
    modules: int = 0
    computed: bool = False
    in_optimizer: bool = False
    gradients: int = 0
    iterations: int = 0
    changed: bool = False


class AccumulationSeen(Observed):
    """Steps before which one line made several backward passes; ``where`` is that line.

    Only where one optimiser takes steps.

    Attributes:
        optimizer: Class name.
        scales: Its step is as long as the gradient, as that of SGD is; that of Adam is not.
        passes: Most frequent number of backward passes before a step.
        steps: Steps looked at.
        usual: Of these, steps with that number.
        apart: Steps before which every pass was of an input of its own.
        read: Steps before which every pass came with one batch of a data loader.
        kept: Steps that used the gradients as the last pass had left them: neither clipped nor divided.
        means: Steps of which every loss is a mean, or a ratio of sums, and no sum.
        hooked: Hooks, or a gradient given to ``backward``, may have changed gradients where it is not seen.
        common: Factor of the whole loss, down to its first sum of terms.
        largest: Greatest factor of any term.
        total: Sum of the factors of all terms.
        divided: Some constant in the loss is one over the number of passes.
        named: What the running functions call an accumulation and is that number; "" where there is nothing.
        tested: What a step waits for, ``n`` of ``if i % n == 0``, and is that number; "" where there is nothing.
        compensated: Some line of the sources divides something else than a figure by that number.
        rate: Greatest rate of any group at these steps.
        momentum: Momentum of the optimiser.
        stepped: Line of the step.
    """

    optimizer: str
    scales: bool
    passes: int
    steps: int
    usual: int
    apart: int
    read: int
    kept: int
    means: int
    hooked: bool
    common: float
    largest: float
    total: float
    divided: bool
    named: str = ""
    tested: str = ""
    compensated: bool = False
    rate: float = 0.0
    momentum: float = 0.0
    stepped: Location | None = None
