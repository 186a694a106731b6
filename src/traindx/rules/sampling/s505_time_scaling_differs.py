"""S505 time-scaling-differs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import SamplerRun, TimeArgument
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.sampling._cause import THRESHOLDS, explains, number, runs_with


@rule(
    "S505",
    "time-scaling-differs",
    Severity.CRITICAL,
    needs=(TimeArgument,),
    looked_at=requires(
        TimeArgument, lambda time, limits: time.phase == "sampling", otherwise="no time was read off the sampling loop"
    ),
    noticeable=Threshold(
        0.01, "of the range of times in training; the embeddings of neighbouring percent are told apart"
    ),
    negligible=Threshold(
        0.0005, "half a timestep in 1000, for example t / T against t / (T-1), which differ by one step at the far end"
    ),
    unseen_chance=Threshold(1e-6, "chance that uniform draws would have missed the unseen timesteps"),
    **THRESHOLDS,
)
def time_scaling_differs(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The network is told the time in one form while it trains and in another while it samples.

    What it finds:
        Raw timesteps in the sampling loop of a network that was trained with t / T (or the reverse), a time that counts
        from another end or is a step off, a time that never changes, timesteps that training never draws.
    Why it stops learning:
        A time embedding is an ordinary input: outside the range it was trained on it says nothing, so the network
        denoises for a noise level that is not there.
    Evidence it needs:
        TimeArgument of training and of sampling (check *time-input*); SamplerRun (check *sampler*) for the timestep
        that the loop's own arithmetic is at.
    How it decides:
        What sampling passes for a timestep against what training passes for it, over all timesteps, relative to the
        range
        in training: above `noticeable` it is demonstrated, above `negligible` suspected. A fault of time alone leaves
        every transition exact, so S501 and S502 are silent on it.
    Remedy:
        Normalise the time in one function that the loss and the sampling loop both call.
    Trial it proposes:
        `time-as-in-training` with the scale and offset that bring the passed values to those of training.
    Known false positives:
        A network that normalises its time itself, by the values it gets, would be indifferent.
    References:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, appendix B (the embedding).
    """
    sides = {record.phase: record for record in evidence.of(TimeArgument)}
    training, sampling = sides.get("training"), sides.get("sampling")
    if sampling is None:
        return
    runs = evidence.of(SamplerRun)
    if sampling.calls > 2 and sampling.distinct == 1 and (training is None or training.distinct > 1):
        yield _never_changes(sampling)
        return
    shifted = runs_with(evidence, limits, "time")
    shift = _shift_of(shifted[0], limits) if shifted else 0
    if training is not None and math.isfinite(training.scale) and math.isfinite(sampling.scale):
        yield from _compare(training, sampling, shift, runs[0].table_length if runs else 0, limits)
        yield from _never_drawn(training, sampling, limits)
    elif shift:
        yield _shifted(sampling, shift, runs[0].table_length)


def _shift_of(run: SamplerRun, limits: Limits) -> int:
    """By how much the loop's own timesteps are above the told ones; the median where that changes along the loop."""
    return run.shift if explains(run, run.misfit_shifted, limits) else run.other_table_shift


def _compare(
    training: TimeArgument, sampling: TimeArgument, shift: int, length: int, limits: Limits
) -> Iterator[Found]:
    """Sampling passes ``scale * (t - shift) + offset`` where its own arithmetic is at timestep t."""
    last = max(length - 1, int(max(training.timestep_high, sampling.timestep_high)), 1)
    scale, offset = sampling.scale, sampling.offset - sampling.scale * shift
    span = abs(training.scale) * last
    error = max(abs(scale * step + offset - training.scale * step - training.offset) for step in (0, last)) / span
    if error <= limits.negligible:
        return
    severe = error > limits.noticeable
    factor = training.scale / scale
    move = training.offset - factor * offset
    if shift and abs(scale - training.scale) < 1e-9:
        says = (
            f"The sampling loop's own arithmetic is {abs(shift)} timestep{'s' if abs(shift) > 1 else ''} "
            f"{'above' if shift > 0 else 'below'} the time it tells the network."
        )
    else:
        says = (
            f"The network gets time as {training.convention or 'another form'} in training "
            f"({number(training.low)} to {number(training.high)}) and as {sampling.convention} in sampling "
            f"({number(sampling.low)} to {number(sampling.high)})."
        )
    yield Found(
        message=says,
        standing=Standing.DEMONSTRATED if severe else Standing.SUSPECTED,
        severity=None if severe else Severity.MINOR,
        location=sampling.where,
        numbers={
            "training_low": training.low,
            "training_high": training.high,
            "sampling_low": sampling.low,
            "sampling_high": sampling.high,
            "error_of_range": error,
            "scale": factor,
            "offset": move,
        },
        remedy=f"Pass {training.convention or 'the time as in training'} to the network in the sampling loop"
        + (f" (training: {training.where})." if training.where else "."),
        proposals=(Proposal(treatment="time-as-in-training", parameters={"scale": factor, "offset": move}),),
    )


def _shifted(sampling: TimeArgument, shift: int, length: int) -> Found:
    return Found(
        message=f"The sampling loop's own arithmetic is {abs(shift)} timesteps {'above' if shift > 0 else 'below'} "
        "the time "
        "it tells the network.",
        location=sampling.where,
        numbers={"shift": shift, "timesteps": length},
        remedy="Tell the network the timestep whose ᾱ the loop uses.",
        severity=Severity.MINOR,
    )


def _never_changes(sampling: TimeArgument) -> Found:
    return Found(
        message=f"The network is told the same time, {number(sampling.low)}, in all {sampling.calls} calls of the "
        "sampling "
        "loop.",
        standing=Standing.DEMONSTRATED,
        location=sampling.where,
        numbers={"value": sampling.low, "calls": sampling.calls, "dtype": sampling.dtype},
        remedy="Pass the time of each step; an integer division (t // T) of timesteps gives 0 throughout.",
    )


def _never_drawn(training: TimeArgument, sampling: TimeArgument, limits: Limits) -> Iterator[Found]:
    """Timesteps visited in sampling, far outside what many draws in training showed."""
    seen = training.timestep_high - training.timestep_low
    whole = max(training.timestep_high, sampling.timestep_high) - min(training.timestep_low, sampling.timestep_low)
    if training.draws < 8 or whole <= 0 or training.distinct < 2:
        return
    chance = training.draws * (seen / whole) ** (training.draws - 1)
    if seen / whole < 1 and chance < limits.unseen_chance:
        yield Found(
            message=f"Training drew timesteps {training.timestep_low:.0f} to {training.timestep_high:.0f} in "
            f"{training.draws} draws, but sampling visits {sampling.timestep_low:.0f} to {sampling.timestep_high:.0f}.",
            location=sampling.where,
            numbers={
                "trained_low": training.timestep_low,
                "trained_high": training.timestep_high,
                "sampled_low": sampling.timestep_low,
                "sampled_high": sampling.timestep_high,
                "draws": training.draws,
            },
            remedy="Draw training timesteps from the whole range that sampling visits.",
            severity=Severity.MAJOR,
        )
