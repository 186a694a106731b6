r"""What passed through a script's noising and sampling, in the terms of the checks of described cases.

The coefficients of every step were read off the tensors. Here they become those of x̂0 and ε̂ at the noise levels that
training has at the same time, and are held to the same exact steps as those of a described case. Since each step is
known to rounding error, what the loop would do with the exact denoiser of a Gaussian follows without running it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from traindx.evidence import Evidence, NotExamined, Record
from traindx.evidence.sampled import LineValue, LoopSeen, NoisedDraws, TableSeen
from traindx.evidence.sampling import SamplerClamp, SamplerRun, TimeArgument
from traindx.finding import Location

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from traindx.checks.diffusion.hypotheses import Chain

    Array = NDArray[np.float64]

LEVEL = 1e-3  # largest error of a training level against a table, in the amplitude of the signal
LINEAR = 1e-4  # residual of a step that is a function of input, output and noise
SAME = 1e-3
SUBJECT = "the sampling loop"
KINDS = ("epsilon", "v", "sample")


class UnclearError(Exception):
    """Why a loop cannot be judged."""


@dataclass(frozen=True)
class Schedule:
    """ᾱ by the entry of the script's own tables."""

    alphas: Array


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
        argument = _trained_time(one)
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


# -- the schedule -----------------------------------------------------------------------------------------------------


def _readings(table: TableSeen) -> Iterator[tuple[str, Array]]:
    """What ᾱ a vector of numbers may stand for, with the word in its name that says so."""
    import numpy as np

    values = np.asarray(table.values, dtype=float)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1 + 1e-6:
        return
    falling, rising = bool((np.diff(values) <= 1e-7).all()), bool((np.diff(values) >= -1e-7).all())
    name = table.name.lower()
    product = any(word in name for word in ("cumprod", "bar", "prod"))
    root, rest = "sqrt" in name, "minus" in name
    if falling and values[-1] < 0.5 * values[0]:
        yield ("named" if product and not root and not rest else ""), values
        yield ("named" if product and root and not rest else ""), values**2
    if rising and values[-1] > max(0.5, values[0]):
        yield ("named" if product and rest and not root else ""), 1 - values
        yield ("named" if product and rest and root else ""), 1 - values**2
    if values.max() < 1 and rising:
        yield "product", np.cumprod(1 - values)
    if values.min() > 0 and falling:
        yield "product", np.cumprod(values)


def _schedule(loop: LoopSeen, trained: NoisedDraws | None) -> Schedule | None:
    """ᾱ by entry: the reading that gives training's own levels, else one whose name says it, else one that pairs up."""
    import numpy as np

    if trained is not None and trained.index and trained.tables:
        index = np.asarray(trained.index)
        for table in trained.tables:
            for _, alphas in _readings(table):
                if index.max() < len(alphas):
                    error = np.abs(np.sqrt(np.clip(alphas[index], 0, None)) - np.asarray(trained.a)).max()
                    if error < LEVEL:
                        return Schedule(_clipped(alphas))
        return None
    found = [reading for table in loop.tables for reading in _readings(table)]
    named = [alphas for word, alphas in found if word == "named"]
    if named:
        return Schedule(_clipped(named[0]))
    for number, (word, one) in enumerate(found):  # two tables that are root and complement of each other
        for other_word, other in found[number + 1 :]:
            if "product" not in (word, other_word) and len(one) == len(other) and np.abs(one - other).max() < 1e-5:
                return Schedule(_clipped(one))
    return None


def _clipped(alphas: Array) -> Array:
    import numpy as np

    return np.clip(alphas, 0.0, 1.0)


def _kind(trained: NoisedDraws | None) -> str:
    """What the loss compares the output with; empty if that is unknown or none of the usual."""
    import numpy as np

    if trained is None or not trained.of_x0:
        return ""
    a, s = np.asarray(trained.a), np.asarray(trained.s)
    x0, noise = np.asarray(trained.of_x0), np.asarray(trained.of_noise)
    kinds = {"epsilon": (0 * a, 1 + 0 * a), "sample": (1 + 0 * a, 0 * a), "v": (-s, a), "flow": (-1 + 0 * a, 1 + 0 * a)}
    for kind, (first, second) in kinds.items():
        if np.abs(x0 - first).max() < SAME and np.abs(noise - second).max() < SAME:
            return kind
    return ""


def _preserving(trained: NoisedDraws) -> bool:
    import numpy as np

    return bool(np.abs(np.asarray(trained.a) ** 2 + np.asarray(trained.s) ** 2 - 1).max() < SAME)


# -- time --------------------------------------------------------------------------------------------------------------


def _line_through(timesteps: Sequence[float], values: Sequence[float]) -> tuple[float, float] | None:
    """Scale and offset of values that are an affine function of the timestep; None if they are not."""
    import numpy as np

    t, v = np.asarray(timesteps, float), np.asarray(values, float)
    if len(t) < 2 or np.ptp(t) == 0 or np.ptp(v) == 0:
        return None
    scale, offset = np.polyfit(t, v, 1)
    if np.abs(scale * t + offset - v).max() > 1e-4 * max(np.ptp(v), 1e-12):
        return None
    return float(scale), float(offset)


def _words(scale: float, offset: float, length: int) -> str:
    from traindx.core.time_convention import conventions

    for usual in conventions(length):
        if abs(usual.scale - scale) < 1e-5 * abs(scale) and abs(usual.offset - offset) < 1e-4 * abs(scale) + 1e-9:
            return usual.words
    return f"{scale:.4g} t {'+' if offset >= 0 else '-'} {abs(offset):.4g}"


def _trained_time(trained: NoisedDraws) -> TimeArgument | None:
    """What the network is told as time in training, by the entry of the tables that is picked there."""
    if not trained.index or not trained.times:
        return None
    line = _line_through(trained.index, trained.times)
    if line is None:
        return None
    length = len(trained.tables[0].values) if trained.tables else max(trained.index) + 1
    return TimeArgument(
        phase="training",
        source="watched",
        calls=len(trained.times),
        dtype=trained.time_dtype,
        low=min(trained.times),
        high=max(trained.times),
        distinct=len(set(trained.times)),
        convention=_words(*line, length),
        scale=line[0],
        offset=line[1],
        timestep_low=min(trained.index),
        timestep_high=max(trained.index),
        draws=len(trained.times),
        where=trained.where,
    )


def _told(loop: LoopSeen, trained: NoisedDraws | None, timesteps: Sequence[int]) -> tuple[float, ...]:
    """What the network is told as time in the loop: by what tells it in training, else an argument that moves along."""
    series = {one.name: one.values for one in loop.told}
    if trained is not None and trained.told_by:
        return series.get(trained.told_by, ())
    for name, values in series.items():
        if " of " not in name and len(set(values)) > 1:
            return values
    return ()


# -- a loop ------------------------------------------------------------------------------------------------------------


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
    line = _line_through(trained.index, trained.times) if trained.index and trained.times else None
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

    schedule = _schedule(loop, trained)
    if schedule is None and trained is None:
        return  # any iteration that refines an image by a network
    if schedule is None:
        raise UnclearError("its noise levels are no table that could be recognised")
    if trained is not None and not _preserving(trained):
        raise UnclearError("its noising does not preserve the variance")
    own = _timesteps(loop, schedule)
    times = _told(loop, trained, own or ())
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
    kind = _kind(trained)
    if kind not in KINDS:
        if kind or (trained is not None and trained.of_x0):
            raise UnclearError("what the network is trained to predict is not ε, v or x0")
        kind = _kind_of_loop(loop, schedule, own, following, usable)
        if not kind:
            raise UnclearError("it cannot be told what the network predicts")
    chain = _chain(loop, schedule, own, following, usable, kind)
    yield from _run(loop, chain, schedule, usable, own, trained)
    yield from _clamps(loop, schedule, own, kind, trained)


def _sampled_time(
    loop: LoopSeen, own: list[int], times: tuple[float, ...], length: int, trained: NoisedDraws | None
) -> Iterator[TimeArgument]:
    if not times:
        return
    line = _line_through(own, times[: len(own)])
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
        convention=_words(*line, length) if line is not None else "",
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
        line = _line_through(own, times[: len(own)])
        if line is not None:
            last = (times[-1] - line[1]) / line[0]
            if abs(last - round(last)) < 0.02 and round(last) >= 0:
                following[-1] = round(last)
    return following


def _chain(
    loop: LoopSeen, schedule: Schedule, own: list[int], following: list[int | None], usable: list[int], kind: str
) -> Chain:
    """The steps as coefficients of x̂0 and ε̂, with a Gram matrix of unit noise and images of half that spread."""
    import numpy as np

    from traindx.checks.diffusion.formulas import written
    from traindx.checks.diffusion.hypotheses import Chain

    timesteps = np.array([own[step] for step in usable], dtype=np.int64)
    alpha = schedule.alphas[timesteps]
    a, s = np.sqrt(alpha), np.sqrt(1 - alpha)
    x, output = (np.array([series[step] for step in usable]) for series in (loop.of_x, loop.of_output))
    first, second = written(kind, a, s)
    count = len(usable)
    gram = np.zeros((count, 2, 2))
    gram[:, 0, 0], gram[:, 1, 1] = 0.25, 1.0
    return Chain(
        kind=kind,
        table=schedule.alphas,
        timesteps=timesteps,
        following=np.array([following[step] for step in usable], dtype=np.int64),
        last=np.zeros(count, dtype=bool),
        p=x * a + output * first,
        q=x * s + output * second,
        n=np.array([loop.of_noise[step] for step in usable]),
        offset=np.zeros(count),
        gram=gram,
        alpha_in_x0=np.full(count, np.nan),
    )


def _kind_of_loop(
    loop: LoopSeen, schedule: Schedule, own: list[int], following: list[int | None], usable: list[int]
) -> str:
    """What the loop takes the output for: the reading in which it is exact, else the one whose x̂0 it computes."""
    import numpy as np

    from traindx.checks.diffusion import hypotheses
    from traindx.checks.diffusion.formulas import read

    misfits = {}
    for kind in KINDS:
        misfits[kind] = float(hypotheses.exact(_chain(loop, schedule, own, following, usable, kind)).misfit.max())
    best = min(misfits, key=lambda kind: misfits[kind])
    if misfits[best] < SAME:
        return best
    votes = dict.fromkeys(KINDS, 0)
    for line in loop.lines:
        if line.step < len(own) and 0 < schedule.alphas[own[line.step]] < 1 and line.of_noise == 0:
            alpha = schedule.alphas[own[line.step]]
            for kind in ("epsilon", "v"):
                pair = read(kind, np.sqrt(alpha), np.sqrt(1 - alpha))[0]
                votes[kind] += _close(line, pair)
    kind = max(votes, key=lambda one: votes[one])
    return kind if votes[kind] >= 2 else ""


def _close(line: LineValue, pair: Any) -> bool:
    wanted = (float(pair[0]), float(pair[1]))
    size = max(1.0, abs(wanted[0]), abs(wanted[1]))
    return abs(line.of_x - wanted[0]) < SAME * size and abs(line.of_output - wanted[1]) < SAME * size


def _run(
    loop: LoopSeen,
    chain: Chain,
    schedule: Schedule,
    usable: list[int],
    own: list[int],
    trained: NoisedDraws | None,
) -> Iterator[Record]:
    import numpy as np

    from traindx.checks.diffusion import hypotheses
    from traindx.checks.diffusion.formulas import MISTAKES

    with np.errstate(all="ignore"):
        steps = hypotheses.exact(chain)
        explained: dict[str, Any] = {}
        if float(steps.misfit.max()) >= hypotheses.SEEK_ABOVE:
            shift_misfit, shift = hypotheses.shifted(chain)
            target_misfit, _ = hypotheses.other_target(chain, steps.misfit)
            ranking, elsewhere = (
                hypotheses.mistakes(chain, steps.misfit),
                hypotheses.mistakes_elsewhere(chain, steps.misfit),
            )
            best = ranking if ranking[0][1] <= 1.5 * elsewhere[0][1] + 1e-6 else elsewhere
            fitting = {mistake.name for mistake, misfit in best if misfit <= 1.5 * best[0][1] + 1e-6}
            alike = [mistake for mistake in MISTAKES if mistake.name in fitting]
            named, place = _line_of(loop, alike, chain, usable)
            explained = {
                **{f"misfit_as_{kind}": hypotheses.as_type(chain, kind, steps.misfit) for kind in KINDS},
                "misfit_shifted": shift_misfit,
                "shift": shift,
                "misfit_other_target": target_misfit,
                "misfit_mistake": ranking[0][1],
                "misfit_mistake_elsewhere": elsewhere[0][1],
                "mistake": named.name if named else "",
                "mistake_is": named.words if named else "",
                "mistake_should_be": named.right if named else "",
                "mistake_where": place,
            }
        transitions = hypotheses.transitions(chain, steps)
    worst = int(np.argmax(steps.misfit))
    data = (trained.data_mean, trained.data_sd) if trained is not None else (0.0, 1.0)
    first = float(schedule.alphas[own[0]])
    yield SamplerRun(
        where=_result_line(loop, usable[worst]),
        timesteps=tuple(int(step) for step in chain.timesteps),
        table_length=len(schedule.alphas),
        prediction=chain.kind,
        batch=loop.batch,
        dimensions=loop.dimensions,
        dtype=loop.dtype,
        resolution=loop.resolution,
        stochastic=bool((chain.n > 0).any()),
        order=loop.order,
        judged=512,
        misfit=float(steps.misfit.max()),
        worst_step=worst,
        residual=max(loop.residual[step] for step in usable),
        start_mean=loop.start_mean,
        start_sd=loop.start_sd,
        start_alpha_bar=first,
        start_expected_sd=float((first * data[1] ** 2 + 1 - first) ** 0.5),
        starts_from_noise=False,
        call_where=loop.where,
        **explained,
        **_distribution(chain, steps),
    )
    yield transitions


def _distribution(chain: Chain, steps: Any) -> dict[str, float]:
    """Mean and spread at the last step that was seen, with the exact denoiser of one Gaussian in the network's place.

    For x ~ N(mean, variance) at one level, x̂0 = m + k (x - a m) and ε̂ = (x - a x̂0) / s are linear, so both the loop's
    own steps and the exact ones carry a Gaussian on in closed form.
    """
    import numpy as np

    m, sd = 0.3, 0.2
    alpha, _ = chain.levels()

    def carried(p: Any, q: Any, n: Any) -> tuple[float, float]:
        level = float(alpha[0])
        mean, variance = level**0.5 * m, level * sd**2 + 1 - level
        for step in range(len(alpha)):
            a, s = float(alpha[step]) ** 0.5, float(1 - alpha[step]) ** 0.5
            k = a * sd**2 / (a**2 * sd**2 + s**2)
            slope, shift = k, m - k * a * m
            slope_noise, shift_noise = (1 - a * slope) / s, -a * shift / s
            gain = float(p[step]) * slope + float(q[step]) * slope_noise
            mean = gain * mean + float(p[step]) * shift + float(q[step]) * shift_noise
            variance = gain**2 * variance + float(n[step]) ** 2
        return mean, float(np.sqrt(max(variance, 0.0)))

    fresh = np.minimum(chain.n, np.sqrt(np.clip(1 - steps.after, 0, None)))
    output, expected = carried(chain.p, chain.q, chain.n), carried(steps.signal, steps.direction, fresh)
    if not np.isfinite([*output, *expected]).all():
        return {}
    return {
        "mean": m,
        "sd": sd,
        "output_mean": output[0],
        "output_sd": output[1],
        "expected_mean": expected[0],
        "expected_sd": expected[1],
    }


def _line_of(
    loop: LoopSeen, alike: Sequence[Any], chain: Chain, usable: list[int]
) -> tuple[Any | None, Location | None]:
    """The mistake whose very value some line computed at nearly every step, with that line."""
    import numpy as np

    from traindx.checks.diffusion.formulas import OUTPUT_AS_NOISE

    steps: dict[tuple[str, Location], set[int]] = {}
    looked_at = {line.step for line in loop.lines if line.step in usable}
    for line in loop.lines:
        if line.step not in usable:
            continue
        alpha = float(chain.table[chain.timesteps[usable.index(line.step)]])
        a, s = np.sqrt(alpha), np.sqrt(1 - alpha)
        for mistake in alike:
            if mistake.value is not None and _close(line, mistake.value(chain.kind, a, s)):
                steps.setdefault((mistake.name, line.where), set()).add(line.step)
    # At one noise level many products look alike; only the line that computes the mistake does so at all of them.
    throughout = [key for key, found in steps.items() if len(found) >= 0.8 * len(looked_at)]
    if throughout:
        name, place = max(throughout, key=lambda key: len(steps[key]))
        return next(mistake for mistake in alike if mistake.name == name), place
    unwritten = [mistake for mistake in alike if mistake.name == OUTPUT_AS_NOISE]  # no line needs to compute it
    return next(iter([*unwritten, *alike]), None), None


def _result_line(loop: LoopSeen, step: int) -> Location | None:
    """The line whose value became the next input: the last whose coefficients are the step's."""
    for line in reversed(loop.lines):
        same = abs(line.of_x - loop.of_x[line.step]) < SAME and abs(line.of_output - loop.of_output[line.step]) < SAME
        if line.step == step and same:
            return line.where
    same_step = [line for line in loop.lines if abs(line.of_x - loop.of_x[line.step]) < SAME]
    found = [line for line in same_step if abs(line.of_output - loop.of_output[line.step]) < SAME]
    return found[-1].where if found else loop.made_by or loop.where


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
        if not 0 < alpha < 1 or not _close(line, read(kind, np.sqrt(alpha), np.sqrt(1 - alpha))[0]):
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
