"""Diffusion: how much of the image and of the noise there is at each step, what undoes it, and guidance."""

from __future__ import annotations

import itertools
import linecache
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, parts_of, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.draws import drawn as called_with

NOISE = {"noise", "eps", "epsilon", "z", "e", "n", "noises"}
STEPS = {"t", "timestep", "timesteps", "time", "step", "steps", "ts"}
SAMPLERS = {
    "qsample", "addnoise", "forwarddiffusion", "noiseimages", "diffuse", "forwardprocess", "addnoiseto", "forwardnoise",
    "noiseimage", "perturb", "noisesample", "forwardsample", "diffuseforward",
}  # fmt: skip


def _steps(trial: Trial) -> str:
    """The only array of whole numbers, one a sample."""
    found = [name for name, one in trial.arrays.items() if one.dim() == 1 and not one.is_floating_point()]
    trial.require(len(found) == 1 and bool(STEPS & set(words(found[0]))))
    return found[0]


def _by(trial: Trial, choices: set[str], taken: set[str]) -> str:
    found = [name for name in trial.arrays if name not in taken and "".join(words(name)) in choices]
    trial.require(len(found) == 1)
    return found[0]


def _mixture(trial: Trial) -> tuple[str, str, str]:
    """Names of image, step and noise; the noise is "" where it is drawn inside."""
    steps = _steps(trial)
    noise = [n for n in trial.arrays if n != steps and NOISE & set(words(n))]
    images = [n for n in trial.arrays if n != steps and n not in noise]
    trial.require(len(images) == 1 and len(noise) <= 1)
    trial.require(trial.arrays[images[0]].dim() >= 2 and len(trial.arrays[images[0]]) == len(trial.arrays[steps]))
    trial.require(not noise or trial.arrays[noise[0]].shape == trial.arrays[images[0]].shape)
    return images[0], steps, noise[0] if noise else ""


def _shares(trial: Trial, times: Any) -> tuple[Any, Any]:
    """Shares of image and noise of every sample at these steps (one a sample), each (N, elements)."""
    torch = trial.torch
    image, steps, noise = _mixture(trial)
    shape = (len(times), *trial.arrays[image].shape[1:])
    x = 1.0 + torch.rand(shape, generator=trial.generator())
    n = 1.0 + torch.rand(shape, generator=trial.generator(1))

    def out(one: Any, other: Any) -> Any:
        result = trial.again(**{image: one, steps: times, **({noise: other} if noise else {})})
        found = [as_tensor(torch, part) for _, part in parts_of(result)]
        fitting = [part for part in found if part is not None and tuple(part.shape) == shape]
        trial.require(bool(fitting) and (len(fitting) == 1 or isinstance(result, tuple)))
        return fitting[0].double(), fitting[1].double() if len(fitting) > 1 else None

    if noise:
        given = {image: x, steps: times, noise: n}
        again = [_first_of(torch, called_with(trial, seed, **given)) for seed in (0, 1)]
        trial.require(all(one is not None for one in again) and bool(torch.equal(again[0], again[1])))  # noise on top
        still, _ = out(x, torch.zeros(shape))
        moved, _ = out(torch.zeros(shape), n)
        return (still / x).flatten(1), (moved / n).flatten(1)
    with_image, drawn = out(x, None)
    without, again = out(torch.zeros(shape), None)
    if drawn is None or again is None or not torch.equal(drawn, again):
        trial.require(without[0].numel() >= 200)  # the noise is not known, only its size
        spread = without.flatten(1).std(1, keepdim=True)
        return ((with_image - without) / x).flatten(1), spread.expand(len(times), without[0].numel())
    return ((with_image - without) / x).flatten(1), (without / drawn).flatten(1)


def _first_of(torch: Any, result: Any) -> Any:
    return as_tensor(torch, result[0] if isinstance(result, tuple) else result)


def _known_schedule(trial: Trial) -> bool:
    """True if the function reads what a schedule of variances is called."""
    code = trial.call.code
    last = max((line for *_, line in code.co_lines() if line), default=code.co_firstlineno)
    text = "".join(linecache.getline(code.co_filename, n) for n in range(code.co_firstlineno, last + 1)).lower()
    return "alpha" in text or "beta" in text


@entry(
    "noised-image-keeps-its-energy",
    "sampling",
    "sample of the forward process",
    "mixes image and noise with shares whose squares sum to 1, one pair of shares for each sample",
    names=SAMPLERS,
    unless={"flow", "velocity", "sigma", "ve", "edm", "karras", "rectified", "speckle", "gaussian", "mask", "cold"},
    random=True,
    remedy="sqrt(alpha_bar[t]) * x + sqrt(1 - alpha_bar[t]) * noise, both shaped (N, 1, 1, 1).",
    source="Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 4",
)
def keeps_its_energy(trial: Trial) -> None:
    """The image alone and the noise alone, at the recorded steps."""
    trial.require(_known_schedule(trial))
    _, steps, noise = _mixture(trial)
    times = trial.arrays[steps]
    a, b = _shares(trial, times)
    trial.require(bool(a.isfinite().all() and b.isfinite().all()))
    for share, what in ((a, "the image"), (b, "the noise")):
        uneven = float((share.amax(1) - share.amin(1)).max())
        trial.expect(
            uneven < 0.01, f"steps {_listed(times)}", f"{what} has shares that differ by {uneven:.3g} within a sample"
        )
    energy = (a.mean(1).square() + b.mean(1).square()).tolist()
    worst = max(energy, key=lambda one: abs(one - 1))
    index = energy.index(worst)
    near = 0.02 if noise else 0.2
    trial.expect(
        abs(worst - 1) < near,
        f"step {int(times[index])}",
        f"{float(a[index].mean()):.3f} of the image and {float(b[index].mean()):.3f} of the noise came out: "
        f"the squares sum to {worst:.3f}",
    )
    for index in (0, len(times) - 1):
        step = times[index : index + 1]
        alone, _ = _shares(trial, step.repeat(len(times)))
        trial.expect(
            abs(float(alone[index].mean() - a[index].mean())) < 0.01,
            f"step {int(step)} beside other steps",
            f"{float(a[index].mean()):.3f} of the image came out, and {float(alone[index].mean()):.3f} where all "
            "samples are at this step",
        )


def _listed(times: Any) -> str:
    return ", ".join(str(int(one)) for one in times[:4])


@entry(
    "noised-image-fades",
    "sampling",
    "sample of the forward process",
    "is nearly the image at the first step, and has less of it at later ones",
    names=SAMPLERS,
    unless={"flow", "velocity", "rectified", "speckle", "gaussian", "cold"},
    random=True,
    remedy="alpha_bar is the cumulative product of 1 - beta, with beta growing from 0.0001.",
    source="Ho et al., Denoising Diffusion Probabilistic Models, 2020, section 4",
)
def fades(trial: Trial) -> None:
    """The first step, and the largest one that was recorded."""
    torch = trial.torch
    trial.require(_known_schedule(trial))
    _, steps, _ = _mixture(trial)
    times = trial.arrays[steps]
    last = int(times.max())
    trial.require(last >= 5)
    line = torch.tensor(sorted({0, last // 4, last // 2, last}))
    line = torch.cat([line, line[-1:].repeat(max(0, len(times) - len(line)))])
    a, _ = _shares(trial, line.to(times.dtype))
    shares = a.mean(1).tolist()[:4]
    text = ", ".join(f"{one:.3f}" for one in shares)
    trial.expect(shares[0] > 0.9, "step 0", f"{shares[0]:.3f} of the image came out")
    falls = all(later < earlier + 1e-4 for earlier, later in itertools.pairwise(shares)) and shares[-1] < shares[0]
    trial.expect(falls, f"steps {_listed(line)}", f"{text} of the image came out: it does not fade")


@entry(
    "noise-prediction-undone",
    "sampling",
    "image predicted from the noise",
    "is the image again where the noise is the true one",
    names={
        "predictstart",
        "predictxstart",
        "predictx0",
        "predictstartfrom",
        "predx0",
        "predxstart",
        "predictnoise",
        "predicteps",
        "predictepsfrom",
        "x0from",
        "xstartfrom",
        "getx0",
    },
    unless={"loop", "model", "sample"},
    remedy="(x_t - sqrt(1 - alpha_bar[t]) * noise) / sqrt(alpha_bar[t]).",
    source="Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 4 solved for x_0",
)
def undone(trial: Trial) -> None:
    """The function beside ``q_sample`` (and ``predict_v``) of the same object."""
    torch = trial.torch
    owner = trial.call.args.get("self")
    mix = next((getattr(owner, n) for n in ("q_sample", "add_noise") if callable(getattr(owner, n, None))), None)
    trial.require(mix is not None and len(trial.arrays) == 3)
    said = set(words(trial.call.name))
    steps = _steps(trial)
    noisy = _by(trial, {"xt", "noisy", "x", "sample", "xnoisy", "noisyx"}, {steps})
    (other,) = (name for name in trial.arrays if name not in (steps, noisy))
    times = trial.arrays[steps]
    shape = trial.arrays[noisy].shape
    trial.require(not times.is_floating_point() and len(times) == len(shape and trial.arrays[noisy]))
    low = torch.full_like(times, max(int(times.max()) // 4, 1))
    start = 1.6 * torch.rand(shape, generator=trial.generator()) - 0.8
    noise = torch.randn(shape, generator=trial.generator(1))
    mixed: Any = mix(start, low, noise)  # type: ignore[misc]
    trial.require(isinstance(mixed, torch.Tensor))
    wants_noise = bool({"noise", "eps", "epsilon"} & said) and not {"start", "xstart", "x0"} & _before_from(trial)
    about = set(words(other))
    if about & NOISE and not wants_noise:
        given, expected, what = noise, start, "image"
    elif about & {"v"} and not wants_noise:
        make = getattr(owner, "predict_v", None)
        trial.require(callable(make))
        given, expected, what = make(start, low, noise), start, "image"  # type: ignore[misc]
    elif wants_noise and about & {"x0", "start", "xstart", "pred"}:
        given, expected, what = start, noise, "noise"
    else:
        trial.require(False)
        return
    got = trial.tensor(**{noisy: mixed, steps: low, other: given})
    trial.require(got.shape == expected.shape)
    off = float((got.double() - expected.double()).abs().mean())
    trial.expect(
        off < 0.01 + 0.02 * float(expected.abs().mean()),
        f"an image with noise at step {int(low[0])}, and the true {' '.join(words(other))}",
        f"the {what} that comes out is off by {off:.3g} on average",
    )


def _before_from(trial: Trial) -> set[str]:
    said = words(trial.call.name)
    return set(said[: said.index("from")]) if "from" in said else set(said)


@entry(
    "posterior-of-the-noiseless-path",
    "sampling",
    "posterior of the forward process",
    "has the share of the image of the step before as its mean where there is no noise",
    names={"qposterior", "qposteriormean", "posteriormean"},
    remedy="beta sqrt(alpha_bar_prev) / (1 - alpha_bar) x_0 + (1 - alpha_bar_prev) sqrt(alpha) / (1 - alpha_bar) x_t.",
    source="Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 7",
)
def posterior(trial: Trial) -> None:
    """``q_sample`` of the same object without noise, at a step and the one before."""
    torch = trial.torch
    owner = trial.call.args.get("self")
    mix = getattr(owner, "q_sample", None)
    trial.require(callable(mix) and len(trial.arrays) == 3)
    steps = _steps(trial)
    start = _by(trial, {"x0", "start", "xstart", "predxstart"}, {steps})
    (noisy,) = (name for name in trial.arrays if name not in (steps, start))
    times = trial.arrays[steps]
    shape = trial.arrays[noisy].shape
    trial.require(not times.is_floating_point() and trial.arrays[start].shape == shape and int(times.max()) >= 4)
    now = torch.full_like(times, max(int(times.max()) // 16, 2))
    x = 1.6 * torch.rand(shape, generator=trial.generator()) - 0.8
    zero = torch.zeros(shape)
    at, before = mix(x, now, zero), mix(x, now - 1, zero)  # type: ignore[misc]
    result = trial.again(**{start: x, noisy: at, steps: now})
    mean = as_tensor(torch, result[0] if isinstance(result, tuple) else result)
    trial.require(mean is not None and mean.shape == shape)
    got: Any = mean
    off = float((got.double() - before.double()).abs().max())
    trial.expect(
        off < 1e-4,
        f"an image without noise at step {int(now[0])}",
        f"its mean is off by {off:.3g} from the image at step {int(now[0]) - 1}",
    )


@entry(
    "guidance-of-equal-predictions",
    "sampling",
    "guidance without a classifier",
    "changes nothing where both predictions are equal, and moves away from the unconditional one otherwise",
    names={"cfg", "guidance", "guided", "classifierfree", "applyguidance", "guide"},
    unless={"model", "denoiser", "sample", "loss", "grad", "mask", "embed", "embedding", "project", "apg", "rescale"},
    remedy="uncond + w * (cond - uncond).",
    source="Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6",
)
def guidance(trial: Trial) -> None:
    """Both predictions by name, at the recorded weight."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    names = list(trial.arrays)
    without = [n for n in names if {"uncond", "unconditional", "null", "uc", "uncondition"} & set(words(n))]
    trial.require(len(without) == 1)
    (cond,) = (n for n in names if n not in without)
    trial.require({"cond", "conditional", "text", "c", "condition"} & set(words(cond)) != set())
    shape = trial.arrays[cond].shape
    trial.require(shape == trial.arrays[without[0]].shape)
    one, other = (torch.randn(shape, generator=trial.generator(seed)) for seed in (0, 1))
    equal = trial.tensor(**{cond: one, without[0]: one})
    trial.require(equal.shape == shape)
    off = float((equal - one).abs().max())
    trial.expect(off < 1e-3, "two equal predictions", f"another one came out, off by up to {off:.3g}")
    apart = trial.tensor(**{cond: one, without[0]: other})
    along = float(((apart - other) * (one - other)).sum() / (one - other).square().sum())
    trial.expect(
        along >= 0, "two predictions", f"{along:.3g} of the way from the unconditional to the conditional one came out"
    )
