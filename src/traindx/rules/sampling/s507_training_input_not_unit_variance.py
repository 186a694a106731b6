"""S507 training-input-not-unit-variance."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import TrainingInput
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.sampling._cause import number


@rule(
    "S507",
    "training-input-not-unit-variance",
    Severity.MAJOR,
    needs=(TrainingInput,),
    power_error=Threshold(0.1, "of a² + s² = 1; six standard errors are asked for besides"),
    signal_error=Threshold(0.05, "of the amplitude a = sqrt(ᾱ); six standard errors are asked for besides"),
    smallest_sd=Threshold(0.1, "CT in [-1, 1] has 0.2 to 0.7; at 0.1 a tenth of the schedule holds all of the image"),
    largest_sd=Threshold(
        3.0, "z-scored images have 1; at 3 the image shows through until the last tenth of the schedule"
    ),
)
def training_input_not_unit_variance(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What the network sees in training is not √ᾱ·x0 + √(1−ᾱ)·ε, or its data is far from unit variance.

    What it finds:
        A noised sample whose signal and noise do not share unit power (a forgotten root, noise that is added without
        scaling the image), whose signal does not belong to its timestep, or targets of so small or large a spread that
        the schedule's noise levels lie in the wrong place.
    Why it stops learning:
        The loop assumes the exact mixture: with another one, x̂0 and ε̂ computed from the network's answer are wrong by
        the same factors at every step. With data of a small spread nearly all timesteps are pure noise to the network.
    Evidence it needs:
        TrainingInput (check *training-input*): x_t of the loss, regressed on its own target.
    How it decides:
        |a² + s² − 1| above `power_error`, or |a − √ᾱ| above `signal_error`, each beyond six standard errors:
        demonstrated. Standard deviation of the targets outside `smallest_sd` to `largest_sd`: suspected.
    Remedy:
        x_t = √ᾱ·x0 + √(1−ᾱ)·ε; scale the data to a standard deviation between 0.3 and 1.
    Trial it proposes:
        None that is generic.
    Known false positives:
        A loss that changes its target first (augmentation, a residual to an earlier stage) is regressed on the wrong
        image; the signal is then small, but the power is still right.
    References:
        Song et al., Score-Based Generative Modeling through SDEs, ICLR 2021 (variance preserving). Chen, On the
        Importance of Noise Scheduling for Diffusion Models, 2023.
    """
    seen = evidence.of(TrainingInput)[-1]
    unpowered = seen.power_error > max(limits.power_error, 6 * seen.power_error_resolution)
    # The target may not be what is noised (a residual, an augmented copy): then a is low, and power alone can tell.
    off_signal = seen.signal_error > max(limits.signal_error, 6 * seen.signal_error_resolution)
    if unpowered:
        yield Found(
            message=f"The noisy image in training is {number(abs(seen.signal_found))}·x0 plus noise where √ᾱ is "
            f"{number(seen.signal_expected)} (timestep {seen.signal_error_at}), and at worst a² + s² is "
            f"{number(seen.power_sum)} instead of 1: it is not √ᾱ·x0 + √(1−ᾱ)·ε."
            if off_signal
            else f"Signal and noise in the training input have a² + s² = {number(seen.power_sum)} instead of 1.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={
                "power_sum": seen.power_sum,
                "signal_found": seen.signal_found,
                "signal_expected": seen.signal_expected,
                "timestep": seen.signal_error_at,
            },
            remedy="x_t = √ᾱ·x0 + √(1−ᾱ)·ε with the roots, in the loss and in every add_noise.",
        )
    elif off_signal:
        yield Found(
            message=f"The noisy image in training holds {number(seen.signal_found)}·x0 at timestep "
            f"{seen.signal_error_at}, "
            f"where √ᾱ is {number(seen.signal_expected)}: noise level and timestep do not belong together, or what is "
            "noised is not the target.",
            location=seen.where,
            numbers={
                "signal_found": seen.signal_found,
                "signal_expected": seen.signal_expected,
                "timestep": seen.signal_error_at,
            },
            remedy="Noise the target itself, with the ᾱ of the timestep that the network is told.",
        )
    if not limits.smallest_sd <= seen.data_sd <= limits.largest_sd:
        yield Found(
            message=f"The targets have a standard deviation of {number(seen.data_sd)}; the noise schedule is made "
            "for about "
            f"1, so "
            f"{'almost every timestep is pure noise' if seen.data_sd < 1 else 'the image is hardly ever hidden'}.",
            location=seen.where,
            numbers={"data_sd": seen.data_sd, "data_mean": seen.data_mean},
            remedy="Scale the targets to a standard deviation between 0.3 and 1, or shift the schedule by as much.",
            severity=Severity.MINOR,
        )
