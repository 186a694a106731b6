"""A loop's steps as coefficients of x̂0 and ε̂, held to the exact ones, and the line that a mistake is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from traindx.evidence import Record
from traindx.evidence.sampled import LineValue, LoopSeen, NoisedDraws
from traindx.evidence.sampling import SamplerRun
from traindx.finding import Location
from traindx.host.sampling_schedule import KINDS, SAME, Schedule

if TYPE_CHECKING:
    from traindx.checks.diffusion.hypotheses import Chain


def chain_of(
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


def kind_of_loop(
    loop: LoopSeen, schedule: Schedule, own: list[int], following: list[int | None], usable: list[int]
) -> str:
    """What the loop takes the output for: the reading in which it is exact, else the one whose x̂0 it computes."""
    import numpy as np

    from traindx.checks.diffusion import hypotheses
    from traindx.checks.diffusion.formulas import read

    misfits = {}
    for kind in KINDS:
        misfits[kind] = float(hypotheses.exact(chain_of(loop, schedule, own, following, usable, kind)).misfit.max())
    best = min(misfits, key=lambda kind: misfits[kind])
    if misfits[best] < SAME:
        return best
    votes = dict.fromkeys(KINDS, 0)
    for line in loop.lines:
        if line.step < len(own) and 0 < schedule.alphas[own[line.step]] < 1 and line.of_noise == 0:
            alpha = schedule.alphas[own[line.step]]
            for kind in ("epsilon", "v"):
                pair = read(kind, np.sqrt(alpha), np.sqrt(1 - alpha))[0]
                votes[kind] += close_to(line, pair)
    kind = max(votes, key=lambda one: votes[one])
    return kind if votes[kind] >= 2 else ""


def close_to(line: LineValue, pair: Any) -> bool:
    """True if a line computed these two coefficients, of input and output."""
    wanted = (float(pair[0]), float(pair[1]))
    size = max(1.0, abs(wanted[0]), abs(wanted[1]))
    return abs(line.of_x - wanted[0]) < SAME * size and abs(line.of_output - wanted[1]) < SAME * size


def run_of(
    loop: LoopSeen,
    chain: Chain,
    schedule: Schedule,
    usable: list[int],
    own: list[int],
    trained: NoisedDraws | None,
) -> Iterator[Record]:
    """The run as the checks of described cases write it, and how its steps join up."""
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
            if mistake.value is not None and close_to(line, mistake.value(chain.kind, a, s)):
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
