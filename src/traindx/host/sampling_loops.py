r"""What passed through a script's noising and sampling, in the terms of the checks of described cases.

The coefficients of every step were read off the tensors. Here they become those of x̂0 and ε̂ at the noise levels that
training has at the same time, and are held to the same exact steps as those of a described case. Since each step is
known to rounding error, what the loop would do with the exact denoiser of a Gaussian follows without running it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from traindx.evidence import Evidence, NotExamined, Record
from traindx.evidence.sampled import LineValue, LoopSeen, NoisedDraws
from traindx.evidence.sampling import SamplerClamp, TimeArgument
from traindx.host.sampling_schedule import (
    KINDS,
    Schedule,
    line_through,
    preserving,
    schedule_of,
    told_as_time,
    trained_kind,
    trained_time,
    words_of,
)
from traindx.host.sampling_steps import chain_of, close_to, kind_of_loop, run_of

LINEAR = 1e-4  # residual of a step that is a function of input, output and noise
SUBJECT = "the sampling loop"


class UnclearError(Exception):
    """Why a loop cannot be judged."""


def sampling_loops(evidence: Evidence, elsewhere: Sequence[NoisedDraws] = ()) -> Iterator[Record]:
    """Records of the checks' kinds that follow from what passed through noising and sampling.

    Args:
        evidence: Of the run with the loops.
        elsewhere: How networks were trained in other runs; counts for those that this run does not train.
    """
    own, loops = evidence.of(NoisedDraws), evidence.of(LoopSeen)
    trained_here = {one.network for one in own}
    draws = [*own, *(one for one in elsewhere if one.network not in trained_here)]
    told = set()
    for one in draws:
        argument = trained_time(one)
        if argument is not None and any(_trained_as(draws, loop) is one for loop in loops):
            yield argument
    for loop in loops:
        trained = _trained_as(draws, loop)
        found = list(_judged(loop, trained))
        for record in found:
            key = (type(record), record.where, getattr(record, "subject", ""))
            if isinstance(record, TimeArgument | NotExamined) and key in told:
                continue
            told.add(key)
            yield record


def _trained_as(draws: Sequence[NoisedDraws], loop: LoopSeen) -> NoisedDraws | None:
    """The training of a loop's network: made at the same line, else the only one of its class (an average of it)."""
    same = [one for one in draws if one.network == loop.network]
    made = [one for one in same if one.made == loop.made]
    return made[0] if made else same[0] if len(same) == 1 else None


def _timesteps(loop: LoopSeen, schedule: Schedule) -> list[int] | None:
    """The entry that each step's own arithmetic is at: of those it picks, the one with most noise; None without.

    Entries for a call without a step after it (the last) are not known.
    """
    found = []
    for picked in loop.picked:
        entries = [
            index if index >= 0 else index + len(loop.tables[number].values)
            for number, index in picked
            if len(loop.tables[number].values) in (len(schedule.alphas), len(schedule.alphas) + 1)
        ]
        entries = [entry for entry in entries if entry < len(schedule.alphas)]
        if not entries:
            return None
        found.append(min(entries, key=lambda entry: schedule.alphas[entry]))
    return found


def _decoded(values: Sequence[float], trained: NoisedDraws, length: int) -> list[int] | None:
    """Timesteps out of what the network is told, as training tells them."""
    line = line_through(trained.index, trained.times) if trained.index and trained.times else None
    if line is None:
        return None
    steps = [(value - line[1]) / line[0] for value in values]
    whole = all(abs(step - round(step)) < 0.02 and -0.5 < step < length - 0.5 for step in steps)
    return [round(step) for step in steps] if whole else None


def _judged(loop: LoopSeen, trained: NoisedDraws | None) -> Iterator[Record]:
    try:
        yield from _compared(loop, trained)
    except UnclearError as reason:
        yield NotExamined(subject=SUBJECT, reason=str(reason), where=loop.where)


def _compared(loop: LoopSeen, trained: NoisedDraws | None) -> Iterator[Record]:
    import numpy as np

    schedule = schedule_of(loop, trained)
    if schedule is None and trained is None:
        return  # any iteration that refines an image by a network
    if schedule is None:
        raise UnclearError("its noise levels are no table that could be recognised")
    if trained is not None and not preserving(trained):
        raise UnclearError("its noising does not preserve the variance")
    own = _timesteps(loop, schedule)
    times = told_as_time(loop, trained, own or ())
    decoded = _decoded(times, trained, len(schedule.alphas)) if trained is not None and times else None
    if own is None:
        if decoded is None:
            raise UnclearError("it cannot be told at which timestep each step is")
        own = decoded[: len(loop.of_x)]
    # The last call has no step after it: its timestep is what the network is told there, shifted as at the other calls.
    yield from _sampled_time(loop, own, times, len(schedule.alphas), trained)
    following = _following(loop, own, times)
    if len(own) > 2 and not all(later < earlier for earlier, later in pairwise(own)):
        raise UnclearError("its timesteps go up and down (a solver with stages, or resampling)")
    usable = [
        step
        for step in range(len(own))
        if loop.residual[step] < max(LINEAR, 20 * loop.resolution)
        and np.isfinite(loop.of_x[step])
        and np.isfinite(loop.of_output[step])
        and following[step] is not None
        and 0 < schedule.alphas[own[step]] < 1
    ]
    known = sum(bool(np.isfinite(x)) for x in loop.of_x)  # of the rest every value was clamped
    if len(usable) < 2 or len(usable) < 0.5 * known:
        raise UnclearError("its steps are no linear function of input, output and noise")
    kind = trained_kind(trained)
    if kind not in KINDS:
        if kind or (trained is not None and trained.of_x0):
            raise UnclearError("what the network is trained to predict is not ε, v or x0")
        kind = kind_of_loop(loop, schedule, own, following, usable)
        if not kind:
            raise UnclearError("it cannot be told what the network predicts")
    chain = chain_of(loop, schedule, own, following, usable, kind)
    yield from run_of(loop, chain, schedule, usable, own, trained)
    yield from _clamps(loop, schedule, own, kind, trained)


def _sampled_time(
    loop: LoopSeen, own: list[int], times: tuple[float, ...], length: int, trained: NoisedDraws | None
) -> Iterator[TimeArgument]:
    if not times:
        return
    line = line_through(own, times[: len(own)])
    constant = len(set(times)) == 1
    if line is None and not constant:
        return
    name = trained.told_by if trained is not None else ""
    dtype = next((one.dtype for one in loop.told if one.name == name), "")
    yield TimeArgument(
        phase="sampling",
        source="watched",
        calls=len(times),
        dtype=dtype,
        batch=loop.batch,
        low=min(times),
        high=max(times),
        distinct=len(set(times)),
        convention=words_of(*line, length) if line is not None else "",
        scale=line[0] if line is not None else float("nan"),
        offset=line[1] if line is not None else float("nan"),
        timestep_low=min(own),
        timestep_high=max(own),
        draws=len(times),
        where=loop.where,
    )


def _following(loop: LoopSeen, own: list[int], times: tuple[float, ...]) -> list[int | None]:
    """The timestep that the next step is at."""
    following: list[int | None] = [*own[1:], None]
    if len(times) == len(own) + 1:
        line = line_through(own, times[: len(own)])
        if line is not None:
            last = (times[-1] - line[1]) / line[0]
            if abs(last - round(last)) < 0.02 and round(last) >= 0:
                following[-1] = round(last)
    return following


def _clamps(
    loop: LoopSeen, schedule: Schedule, own: list[int], kind: str, trained: NoisedDraws | None
) -> Iterator[SamplerClamp]:
    """Clamps of x̂0 against the range of training's images."""
    import numpy as np

    from traindx.checks.diffusion.formulas import read

    if trained is None or trained.data_high <= trained.data_low:
        return
    for clamp in loop.clamps:
        if clamp.step >= len(own) or not np.isfinite(clamp.of_x):
            continue
        alpha = float(schedule.alphas[own[clamp.step]])
        line = LineValue(step=clamp.step, where=clamp.where, of_x=clamp.of_x, of_output=clamp.of_output)
        if not 0 < alpha < 1 or not close_to(line, read(kind, np.sqrt(alpha), np.sqrt(1 - alpha))[0]):
            continue
        width = trained.data_high - trained.data_low
        # Images are known by mean, spread and range; a uniform spread outside the bounds is the least that is lost.
        cut = max(clamp.low - trained.data_low, 0.0) + max(trained.data_high - clamp.high, 0.0)
        if cut > 0.02 * width:
            continue  # how many voxels lie there is not known here
        yield SamplerClamp(
            low=clamp.low,
            high=clamp.high,
            role="x0",
            altered=0.0,
            data_low=trained.data_low,
            data_high=trained.data_high,
            where=clamp.where,
        )
