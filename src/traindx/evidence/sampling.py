r"""What was measured of a diffusion case: its schedule, its training input and its sampling loop under an exact
denoiser.

Notation: :math:`x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon`. Timesteps are indices into the
case's ``alphas_cumprod``. A *misfit* is the root mean square difference between what a sampler's step returned and
what a formula would have returned from the same input, relative to the root mean square of the latter; 0 is a perfect
match.
"""

from __future__ import annotations

from traindx.evidence.base import Record
from traindx.finding import Location

NAN = float("nan")


class ScheduleTable(Record):
    """The noise schedule of a case.

    Attributes:
        timesteps: T, the length of the table.
        alpha_bar_first: ᾱ at index 0 (least noise).
        alpha_bar_last: ᾱ at index T-1.
        lowest: Smallest ᾱ.
        highest: Largest ᾱ.
        finite: False if there is a NaN or an infinity in it.
        rises: How often ᾱ goes up from one timestep to the next.
        largest_rise: By how much at most.
        stalls: How often it stays the same.
        product_error: Largest ``|ᾱ - Π(1-β)|``; NaN where the case gives no betas.
        product_error_at: Timestep of that.
        sampling_error: Largest difference between the square roots of the training and the sampling table; NaN where
            there is one table only.
        sampling_error_at: Timestep of that.
        prediction: Declared output of the network.
        starts_from_noise: Sampling is declared to start from pure noise.
    """

    timesteps: int
    alpha_bar_first: float
    alpha_bar_last: float
    lowest: float
    highest: float
    finite: bool = True
    rises: int = 0
    largest_rise: float = 0.0
    stalls: int = 0
    product_error: float = NAN
    product_error_at: int = -1
    sampling_error: float = NAN
    sampling_error_at: int = -1
    prediction: str = "epsilon"
    starts_from_noise: bool = True


class TimeArgument(Record):
    r"""What the network receives as time: ``value = scale * timestep + offset`` where it can be decoded.

    ``where`` is the user's line that calls the network; in sampling the innermost one that training does not share.

    Attributes:
        phase: ``training`` (recorded while ``loss`` ran, or ``denoise`` where the loss tells nothing) or ``sampling``.
        source: ``loss``, ``denoise`` or ``sample``.
        calls: Calls of the network that were recorded.
        dtype: Of the argument.
        shape: Of the argument at the first call.
        batch: Number of samples in that call.
        low: Smallest value received.
        high: Largest.
        distinct: Number of distinct values.
        convention: The form in words, for example ``t / 1000``; empty where it could not be decoded.
        scale: See above; NaN where it could not be decoded.
        offset: See above.
        timestep_low: Smallest decoded timestep.
        timestep_high: Largest.
        draws: Number of timesteps drawn (calls times samples).
    """

    phase: str
    source: str
    calls: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    batch: int = 1
    low: float = NAN
    high: float = NAN
    distinct: int = 0
    convention: str = ""
    scale: float = NAN
    offset: float = NAN
    timestep_low: float = NAN
    timestep_high: float = NAN
    draws: int = 0


class SamplerRun(Record):
    """One run of the user's sampling loop with the network replaced by the exact denoiser of known Gaussians.

    ``where`` is the user's line that makes the next x (the scheduler call, where a library does the arithmetic).

    Attributes:
        timesteps: Training timesteps that the network was told, in order.
        table_length: T.
        prediction: Output convention that the denoiser answered in.
        batch: Samples in the batch.
        dimensions: Spatial dimensions of x.
        dtype: Floating type that the loop computed in.
        resolution: Its machine epsilon.
        stochastic: Fresh noise was added between network calls.
        noise_seen: That noise could be read, so transitions are exact; else they are estimated.
        order: Network outputs that one step depends on (1: DDIM, DDPM; more: multistep solvers).
        judged: Voxels that were compared.
        misfit: Worst transition against the exact one from ᾱ[t] to ᾱ[next t] (the last one to ᾱ = 1 or ᾱ_0).
        worst_step: Index of the worst transition.
        misfit_as_epsilon: The same, if the network's output were read as ε.
        misfit_as_v: If it were read as v.
        misfit_as_sample: If it were read as x0.
        misfit_shifted: If the loop's own timesteps were ``told + shift``.
        shift: Best such shift, not 0.
        misfit_other_target: If each step went from ᾱ[t] to whatever ᾱ fits it best.
        misfit_other_table: If the whole chain followed another ᾱ table, each step going where the next one starts.
        other_table_timestep: Timestep at which that table differs most from training's; -1 if unknown.
        other_table_alpha_bar: ᾱ of that table there.
        other_table_off_timesteps: Distance of that table's levels from whole timesteps of training's, at worst: near 0
            if the loop is simply at other timesteps than it tells.
        other_table_shift: Median of these timesteps minus the told ones.
        misfit_mistake: If the known mistake named below were made.
        mistake: Formula that fits best among the known mistakes.
        mistake_is: That formula in words.
        mistake_should_be: The right formula.
        misfit_mistake_elsewhere: The same mistake with a free ᾱ to step to.
        told_alpha_error: ``|sqrt(ᾱ used) - sqrt(ᾱ[t])|`` at worst, where the ᾱ inside the loop's x̂0 could be read off.
        residual: Part of the worst step that no linear formula in x, the outputs and the noise explains, relative.
        statistical_error: Standard error of a misfit where noise was estimated; 0 where transitions are exact.
        final_alpha_bar: ᾱ that the last step ended at, measured.
        nonfinite_step: First step whose result was not finite; -1 if none.
        start_mean: Mean of the first x.
        start_sd: Its standard deviation.
        start_expected_sd: What training shows at that timestep.
        start_alpha_bar: ᾱ at the first timestep.
        starts_from_noise: Declared.
        deviation: Largest difference, over voxels, of the final output from the closed form along these timesteps.
        deviation_rms: Root mean square of it.
        mean: Mean of one of the Gaussians.
        sd: Its standard deviation.
        output_mean: Mean of the output on its voxels, for a start of mean 0 (of the sample, where noise is added).
        output_sd: Standard deviation of the output, for a start of unit variance (of the sample, where noise is added).
        expected_mean: Mean that a correct loop gives with these timesteps.
        expected_sd: The same for the standard deviation.
        post_processed: The output is not the last x0 itself: something was done to it afterwards.
        mistake_where: The user's line that computes the wrong quantity.
        mistake_symbol: The variable it is assigned to, where it could be read.
        call_where: The user's line that calls the network.
    """

    timesteps: tuple[int, ...]
    table_length: int
    prediction: str
    batch: int = 1
    dimensions: int = 3
    dtype: str = "float64"
    resolution: float = 0.0
    stochastic: bool = False
    noise_seen: bool = True
    order: int = 1
    judged: int = 0
    misfit: float = 0.0
    worst_step: int = 0
    misfit_as_epsilon: float = NAN
    misfit_as_v: float = NAN
    misfit_as_sample: float = NAN
    misfit_shifted: float = NAN
    shift: int = 0
    misfit_other_target: float = NAN
    misfit_other_table: float = NAN
    other_table_timestep: int = -1
    other_table_alpha_bar: float = NAN
    other_table_off_timesteps: float = NAN
    other_table_shift: int = 0
    misfit_mistake: float = NAN
    mistake: str = ""
    mistake_is: str = ""
    mistake_should_be: str = ""
    misfit_mistake_elsewhere: float = NAN
    told_alpha_error: float = NAN
    residual: float = 0.0
    statistical_error: float = 0.0
    final_alpha_bar: float = NAN
    nonfinite_step: int = -1
    start_mean: float = NAN
    start_sd: float = NAN
    start_expected_sd: float = NAN
    start_alpha_bar: float = NAN
    starts_from_noise: bool = True
    deviation: float = NAN
    deviation_rms: float = NAN
    mean: float = NAN
    sd: float = NAN
    output_mean: float = NAN
    output_sd: float = NAN
    expected_mean: float = NAN
    expected_sd: float = NAN
    post_processed: bool = False
    mistake_where: Location | None = None
    mistake_symbol: str = ""
    call_where: Location | None = None


class SamplerTransitions(Record):
    """The transitions of one :class:`SamplerRun`, each as ``x_next = p x̂0 + q ε̂ + offset + n z``; length = steps.

    Attributes:
        timesteps: Timestep told to the network at each step.
        alpha_bar: ᾱ there.
        alpha_bar_next: ᾱ that the next step starts from (1 after the last).
        alpha_bar_reached: ᾱ that the step went to, as measured (p squared, where the formula is right).
        timestep_reached: Training timestep whose ᾱ is nearest to that.
        p: Coefficient of the predicted x0; must be sqrt(alpha_bar_next).
        q: Coefficient of the predicted noise.
        n: Standard deviation of the fresh noise; q² + n² must be 1 - alpha_bar_next.
        misfit: Against the exact transition.
    """

    timesteps: tuple[int, ...]
    alpha_bar: tuple[float, ...]
    alpha_bar_next: tuple[float, ...]
    alpha_bar_reached: tuple[float, ...]
    timestep_reached: tuple[int, ...]
    p: tuple[float, ...]
    q: tuple[float, ...]
    n: tuple[float, ...]
    misfit: tuple[float, ...]


class PredictionCheck(Record):
    """Which output the training loss asks for. ``where`` is the line that calls the network in the loss.

    Attributes:
        declared: What the case says.
        trained: The type whose exact value the loss rewards most; empty where it could not be told.
        loss_epsilon: Loss when the network returns the exact ε.
        loss_v: When it returns the exact v.
        loss_sample: When it returns the exact x0.
        loss_zero: When it returns zeros.
        draws: Noised samples behind these.
    """

    declared: str
    trained: str = ""
    loss_epsilon: float = NAN
    loss_v: float = NAN
    loss_sample: float = NAN
    loss_zero: float = NAN
    draws: int = 0


class SamplerClamp(Record):
    """A clamp inside the sampling loop. ``where`` is its line.

    Attributes:
        low: Lower bound; -inf if none.
        high: Upper bound.
        role: What is clamped: ``x0`` (the predicted x0 or the final output) or ``state`` (the noisy x).
        calls: How often it was reached.
        altered: Share of voxels that it changed although the value was one that training shows.
        target_outside: Share of the case's target voxels that lie outside the bounds (role ``x0``).
        target_rmse: Root mean square error that this clamp alone forces on the targets.
        data_low: Smallest target value.
        data_high: Largest.
        library: True if the clamp is inside a library that the line calls.
    """

    low: float
    high: float
    role: str
    calls: int = 1
    altered: float = 0.0
    target_outside: float = 0.0
    target_rmse: float = 0.0
    data_low: float = NAN
    data_high: float = NAN
    library: bool = False


class TrainingInput(Record):
    r"""The noisy input of the network in training, regressed on the target: ``x_t = a x0 + s z``.

    ``where`` is the user's line that calls the network.

    Attributes:
        draws: Noised samples.
        data_mean: Mean of the targets.
        data_sd: Their standard deviation.
        data_low: Smallest target value.
        data_high: Largest.
        input_sd_low: Smallest standard deviation of an x_t.
        input_sd_high: Largest.
        power_error: Largest ``|a² + s² - 1|`` over the draws; 0 for a variance-preserving process.
        power_error_resolution: Its statistical error there (one standard error).
        power_sum: ``a² + s²`` at that draw.
        signal_error: Largest ``|a - sqrt(ᾱ[t])|`` where the timestep could be decoded; NaN otherwise.
        signal_error_resolution: Its statistical error.
        signal_error_at: Timestep of that.
        signal_found: a at that draw.
        signal_expected: sqrt(ᾱ[t]) at that draw.
    """

    draws: int
    data_mean: float
    data_sd: float
    data_low: float
    data_high: float
    input_sd_low: float = NAN
    input_sd_high: float = NAN
    power_error: float = NAN
    power_error_resolution: float = NAN
    power_sum: float = NAN
    signal_error: float = NAN
    signal_error_resolution: float = NAN
    signal_error_at: int = -1
    signal_found: float = NAN
    signal_expected: float = NAN


class OneStep(Record):
    """After training: x0 predicted in one step from a noised truth, against the whole sampling loop.

    ``where`` is the user's line that calls the network in sampling.

    Attributes:
        timesteps: Timesteps at which a truth was noised.
        noise_levels: ``sqrt(1-ᾱ)`` there.
        one_step_mse: Mean squared error of the predicted x0.
        sampled_mse: Mean squared error of the sampled x0.
        mean_mse: Mean squared error of the mean of the training targets, a trivial baseline.
        peak: Data range for decibels.
        samples: Number of validation samples.
    """

    timesteps: tuple[int, ...]
    noise_levels: tuple[float, ...]
    one_step_mse: tuple[float, ...]
    sampled_mse: float
    mean_mse: float
    peak: float
    samples: int = 1
