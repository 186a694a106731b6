"""Evidence about the model and its information path."""

from __future__ import annotations

from traindx.evidence.base import Record
from traindx.finding import Location


class InformationPath(Record):
    """How many numbers of one source can reach the output of the network, and where they are fewest.

    ``where`` is the line of the narrowest operation.

    Attributes:
        source: ``x_t``, a key of the batch, or ``all inputs``.
        full: Numbers in the output, per sample.
        numbers: Upper bound of the numbers that get through, per sample.
        complete: False if some operation could not be watched (compiled or custom code).
        operation: The narrowest operation.
        module: Its module path.
        shape: Shape of its output, without the batch axis.
        grid: Spatial grid there, where one can be read from the shapes.
        channels: Numbers a position of that grid, 0 where unknown.
        widened_at: The line where what is left is brought back to full size.
        widened_operation: The operation there.
        learned_after: True if learned mixing follows, so that the output is more than an interpolation of the grid.
        around: Change of the output for a change of the source while the narrow values are held fixed, relative to
            the change without holding; 0 means that there is no way around. NaN where it was not tried.
    """

    source: str
    full: int
    numbers: int
    complete: bool = True
    operation: str = ""
    module: str = ""
    shape: tuple[int, ...] = ()
    grid: tuple[int, ...] = ()
    channels: int = 0
    widened_at: Location | None = None
    widened_operation: str = ""
    learned_after: bool = False
    around: float = float("nan")


class HighFrequencyTransfer(Record):
    """What a network returns of noise in x_t that is too fine for the narrowest grid on its path.

    Attributes:
        prediction: What the network predicts: ``epsilon``, ``v`` or ``sample``.
        alpha_bar: Signal share at the timestep of the test.
        needed_gain: Amplitude that the prediction type needs of such noise: 1/sigma (epsilon), a/sigma (v), 0 (x0).
        gain: Amplitude of the network's response, whatever its form.
        recovered: Share of the noise's variance that can be read back from the response.
        ratio: Fine voxels a coarse one, along one axis.
    """

    prediction: str
    alpha_bar: float
    needed_gain: float
    gain: float
    recovered: float
    ratio: int


class SpanFloor(Record):
    """What part of the targets the network cannot express, whatever its weights.

    Attributes:
        prediction: ``epsilon``, ``v``, ``sample`` or ``regression``.
        share: Numbers that get through over numbers wanted.
        mean_alpha_bar: Mean of alpha bar over the timesteps of training; NaN without diffusion.
        detail: Mean square of the real targets outside the span (a lower bound where ``exact`` is False).
        variance: Mean square of the targets about their mean.
        floor: Smallest mean squared error of the network output, over all timesteps.
        ceiling_db: PSNR of the best representation of the real targets; infinite where nothing is lost.
        peak: Peak used for it.
        exact: True if the output is an interpolation of the grid, so that the span is known.
        targets: Number of targets measured.
    """

    prediction: str
    share: float
    mean_alpha_bar: float
    detail: float
    variance: float
    floor: float
    ceiling_db: float
    peak: float
    exact: bool
    targets: int


class ChannelReduction(Record):
    """A convolution or linear layer that takes many channels and gives few.

    Attributes:
        module: Module path.
        channels_in: Channels it takes.
        channels_out: Channels it gives.
        rank_in: Effective rank of what it takes, over positions.
        only_way_of: Sources that reach the output through this layer alone.
        is_head: True if no learned layer follows, so that its output is the network's own.
    """

    module: str
    channels_in: int
    channels_out: int
    rank_in: float
    only_way_of: tuple[str, ...] = ()
    is_head: bool = False


class InputEffect(Record):
    """How much the output of a network changes when one of its inputs is changed.

    Attributes:
        source: ``x_t``, ``time``, a key of the batch, ``all inputs``, or ``a <-> b`` for a swap of two.
        change: What was done: ``other sample``, ``zero``, ``flip``, ``spot`` (a bright spot on an even image), ``spot
            moved`` (the same spot elsewhere), ``swap``, ``other time``.
        effect: Root mean square change of the output over the output's own spread.
        reference: The same for replacing the main input (x_t, or everything) by another sample's.
        learned: The same for other weights: how much of the output is the learned part's, and not analytic.
        noise: The same for repeating the call unchanged.
        spatial: True if the input is an image or a volume.
        registered: True if its spatial shape is that of the target.
        trained: True if the model was trained.
        differs: False if the change left the input itself as it was (for example a flip of a symmetric image).
    """

    source: str
    change: str
    effect: float
    reference: float
    noise: float
    learned: float = float("nan")
    spatial: bool = False
    registered: bool = False
    trained: bool = False
    differs: bool = True


class HeadBounds(Record):
    """What values a bounded last operation lets the network's output reach, against the values it is trained on.

    ``where`` is the line of the bounded operation.

    Attributes:
        operation: The bounded operation (``tanh``, ``sigmoid``, ``clamp``, ...).
        module: Module path.
        low: Smallest value that can reach the comparison.
        high: Largest value.
        target_low: Smallest target value.
        target_high: Largest.
        share_outside: Share of target values outside.
        lost: Mean square distance of the targets to the reachable range, over their variance.
        compared_at: Where prediction and target are compared.
    """

    operation: str
    module: str
    low: float
    high: float
    target_low: float
    target_high: float
    share_outside: float
    lost: float
    compared_at: Location | None = None


class Comparison(Record):
    """A difference between what the network said and what it should have said, as the loss computes it.

    Attributes:
        operation: ``mse_loss``, ``sub``, ...
        prediction_shape: Shape of the operand that comes from the network.
        target_shape: Shape of the other one.
        result_shape: Shape of the result.
        is_loss: True for a function that exists to compare (``*_loss``), False for plain arithmetic.
        output_shape: Shape of the network's own output.
        wanted_shape: Shape of the case's target.
    """

    operation: str
    prediction_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    result_shape: tuple[int, ...]
    is_loss: bool
    output_shape: tuple[int, ...] = ()
    wanted_shape: tuple[int, ...] = ()


class SilentParameters(Record):
    """A module none of whose parameters receives a gradient from the loss.

    ``where`` is the definition of the module's class.

    Attributes:
        module: Module path.
        parameters: Numbers of parameters in it.
        total: Numbers of parameters in the model.
        ran: True if the module was called while the loss was computed.
        matters: True if changing these parameters changes the loss.
        random: True if they are drawn at random when the model is built.
        frozen: True if ``requires_grad`` is off.
        duplicate: True if an equal tensor elsewhere in the model is trained (a teacher, an average).
    """

    module: str
    parameters: int
    total: int
    ran: bool
    matters: bool
    random: bool
    frozen: bool
    duplicate: bool = False


class FrozenPart(Record):
    """A part of the model whose parameters are all frozen, over some losses in training mode.

    ``where`` is where its class is defined.

    Attributes:
        module: Its name in the model.
        parameters: Parameters in it.
        moved: Running statistics in it that changed, by name.
        random: Layers in it that draw at random in training mode.
        losses: Losses that were computed.
    """

    module: str
    parameters: int
    moved: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
    losses: int = 0
