"""What steers a training: moving averages of weights, weights of classes and samples, and learning rates over time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number, words
from traindx.watch.probes.recorded import called
from traindx.watch.probes.textbook.base import Trial, entry

DECAYS = {"decay", "momentum", "alpha", "m", "tau", "beta", "rate", "polyak", "eta"}
COUNTERS = {"step", "steps", "updates", "iteration", "iter", "epoch", "num", "it", "counter"}
FAR = 10**6
AGAIN = {"restart", "restarts", "cycle", "cycles", "cyclic", "cyclical", "triangular", "plateau", "kl", "beta", "noise"}


Weights = Callable[[], list[Any]]
"""Tensors of one of two sets of weights, as they are now: a network's, or those that an object keeps by name."""


def _averaged(trial: Trial) -> tuple[Weights, Weights, dict[str, Any], list[tuple[str, float]]]:
    """Two sets of weights of one form (copies), the arguments that hold them, and what may be the share kept."""
    torch = trial.torch
    modules = {n: one for n, one in trial.call.args.items() if isinstance(one, torch.nn.Module) and n != "self"}
    owner = trial.call.args.get("self")
    changes: dict[str, Any] = {n: copy.deepcopy(one) for n, one in modules.items()}
    found: list[Weights] = []
    if owner is not None:
        twin = copy.deepcopy(owner)
        changes["self"] = twin
        held = {**getattr(twin, "__dict__", {}), **getattr(twin, "_modules", {})}
        found += [partial(_of_network, one) for one in held.values() if isinstance(one, torch.nn.Module)]
        found += [partial(_of_field, twin, name) for name, one in held.items() if _is_state(torch, one)]
        for name, one in getattr(twin, "__dict__", {}).items():
            if COUNTERS & set(words(name)) and type(one) is int:
                setattr(twin, name, FAR)
    found += [partial(_of_network, changes[n]) for n in modules]
    trial.require(len(found) == 2)
    shapes = [[tuple(one.shape) for one in weights()] for weights in found]
    count = min(map(len, shapes))
    trial.require(count > 0 and shapes[0][:1] == shapes[1][:1] and sorted(shapes[0]) == sorted(shapes[1]))
    trial.require(not any(one is other for one in found[0]() for other in found[1]()))
    numbers = [(n, one) for n, one in trial.numbers.items()]
    if owner is not None:
        numbers += [(n, float(one)) for n, one in getattr(owner, "__dict__", {}).items() if type(one) is float]
    decays = [(n, one) for n, one in numbers if DECAYS & set(words(n)) and 0 < one < 1]
    for name, one in trial.call.args.items():
        if COUNTERS & set(words(name)) and type(one) is int:
            changes[name] = FAR
    return found[0], found[1], changes, decays


def _of_network(network: Any) -> list[Any]:
    return list(network.parameters())


def _of_field(owner: Any, name: str) -> list[Any]:
    """Of the tensors that an object keeps under names, those that are no buffers: the statistics of a layer."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return [one for key, one in getattr(owner, name).items() if not str(key).endswith(buffers)]


def _is_state(torch: Any, value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, torch.Tensor) for one in value.values())


@entry(
    "moving-average-keeps-its-share",
    "optimisation",
    "moving average of weights",
    "keeps the larger share of the average, and leaves the network that is averaged as it is",
    names={
        "ema",
        "updateema",
        "emaupdate",
        "updateteacher",
        "momentumupdate",
        "updatetarget",
        "softupdate",
        "movingaverage",
        "updatemovingaverage",
        "updatemodelaverage",
        "emavariables",
        "polyak",
        "polyakupdate",
        "updatekey",
    },
    unless={
        "loss",
        "metric",
        "meter",
        "value",
        "codebook",
        "lr",
        "hard",
        "init",
        "load",
        "copy",
        "store",
        "restore",
        "build",
        "create",
        "get",
        "state",
        "apply",
        "scheduler",
        "swap",
        "sync",
    },
    remedy="average.mul_(decay).add_(parameter, alpha=1 - decay).",
    source="Tarvainen and Valpola, Mean teachers are better role models, 2017, eq. 1",
)
def keeps_its_share(trial: Trial) -> None:
    """Two sets of weights of one form: networks among the arguments or held by the object, or tensors by name."""
    torch = trial.torch
    _, _, changes, decays = _averaged(trial)
    trial.require(len(decays) == 1)
    decay = decays[0][1]

    def after(*levels: float) -> tuple[float, float]:
        first, second, changes, _ = _averaged(trial)
        with torch.no_grad():
            for weights, level in zip((first, second), levels, strict=True):
                for tensor in weights():
                    tensor.fill_(level)
        called(torch, trial.call.function, {**trial.call.args, **changes})
        a, b = (float(weights()[0].detach().double().mean()) for weights in (first, second))
        return a, b

    a, b = after(0.0, 1.0)
    given = f"weights of 0 and of 1, and a share of {decay:g}"
    still = a == 0.0 and b == 1.0
    trial.require(
        not still or ("self" not in changes and not any(type(one) is int for one in trial.call.args.values()))
    )
    trial.expect(not still, given, "neither of the networks changes")
    trial.expect(a == 0.0 or b == 1.0, given, f"both change, to {a:.4g} and {b:.4g}")
    kept = b if a == 0.0 else 1 - a
    trial.expect(
        min(abs(kept - decay), abs(kept - (1 - decay))) < 1e-3,
        given,
        f"the average keeps {kept:.4g} of itself",
    )
    off = max(abs(one - 1) for one in after(1.0, 1.0))
    trial.expect(off < 1e-3, "weights of 1 in both networks", f"the average is off by {off:.4g} then")
    trial.expect(
        kept >= 0.5 - 1e-6, given, f"the average keeps only {kept:.4g} of itself: it is replaced by the network"
    )


def _classes_of(trial: Trial) -> tuple[str, Any]:
    """The argument with labels of classes: a list, or an array with one axis."""
    found = []
    for name, one in trial.call.args.items():
        tensor = as_tensor(trial.torch, one)
        whole = type(one) is list and len(one) >= 4 and all(type(part) is int for part in one)
        if whole or (
            tensor is not None and tensor.dim() == 1 and len(tensor) >= 2 and bool((tensor == tensor.round()).all())
        ):
            found.append((name, one))
    trial.require(len(found) == 1)
    return found[0]


def _given(trial: Trial, name: str, values: list[int]) -> Any:
    original = trial.call.args[name]
    return list(values) if type(original) is list else trial.torch.tensor(values)


def _listed(trial: Trial, result: Any) -> list[float]:
    """Weights in the order of the classes."""
    if isinstance(result, dict):
        trial.require(all(type(key) is int or hasattr(key, "__index__") for key in result))
        result = [result[key] for key in sorted(result)]
    tensor = as_tensor(trial.torch, result)
    if tensor is not None:
        trial.require(tensor.dim() == 1)
        return [float(one) for one in tensor]
    trial.require(isinstance(result, list | tuple))
    values = [number(trial.torch, one) for one in result]
    trial.require(all(one is not None for one in values))
    return [float(one) for one in values if one is not None]


COUNTS = {"count", "counts", "freq", "freqs", "frequencies", "num", "numbers", "cls", "histogram", "hist", "frequency"}


@entry(
    "rarer-classes-weigh-more",
    "optimisation",
    "weights of classes",
    "gives rarer classes larger weights",
    names={
        "classweights",
        "classweight",
        "computeclassweight",
        "computeclassweights",
        "inversefrequency",
        "labelweights",
        "balancedweights",
        "cbweights",
        "lossweights",
    },
    unless={
        "loss",
        "sample",
        "samples",
        "sampler",
        "apply",
        "multi",
        "task",
        "layer",
        "init",
        "load",
        "pos",
        "set",
        "prior",
        "model",
        "frequencies",
    },
    remedy="total / (classes * count): the inverse of the frequency.",
    source="King and Zeng, Logistic Regression in Rare Events Data, 2001, section 4.2",
)
def rarer_weigh_more(trial: Trial) -> None:
    """Labels (N,) or counts (K,): classes in order of their rarity."""
    name, original = _classes_of(trial)
    weights = _listed(trial, trial.call.result)
    count = len(weights)
    trial.require(2 <= count <= 40 and len(original) >= count)
    counts = [(count - index) * 40 + 7 * index * index % 13 for index in range(count)]
    if COUNTS & set(words(name)):
        trial.require(len(original) == count)
        given = _given(trial, name, counts)
    else:
        known = sorted({int(one) for one in original})
        trial.require(known == list(range(len(known))) and len(known) <= count)
        line = [index for index in range(count) for _ in range(counts[index])]
        given = _given(trial, name, line)
    got = _listed(trial, trial.again(**{name: given}))
    trial.require(len(got) == count and all(math.isfinite(one) for one in got))
    order = sorted(range(count), key=lambda index: -counts[index])
    inside = [got[index] for index in order]
    trial.require(max(inside) > min(inside))
    common, rare = inside[0], inside[-1]
    trial.expect(
        rare > common,
        f"{max(counts)} samples of one class and {min(counts)} of another",
        f"their weights are {common:.4g} and {rare:.4g}",
    )


@entry(
    "positive-weight-grows-with-rarity",
    "optimisation",
    "weight of the positive class",
    "is negatives over positives: above 1 where positives are rare",
    names={"posweight", "positiveweight", "posweights", "positiveweights", "computeposweight"},
    unless={"loss", "neg", "apply", "anchor"},
    remedy="(labels == 0).sum() / (labels == 1).sum().",
    source="torch.nn.BCEWithLogitsLoss, pos_weight",
)
def positive_weight(trial: Trial) -> None:
    """Labels of zeros and ones, (N,) or (N, K), of which one in ten is positive; then one in two."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dim() in (1, 2) and bool(((given == 0) | (given == 1)).all()) and len(given) >= 4)

    def weights(every: int) -> Any:
        rows = (
            (torch.arange(200) % every == 0).float().reshape(-1, *[1] * (given.dim() - 1)).expand(200, *given.shape[1:])
        )
        result = trial.again(**{name: rows})
        found = as_tensor(torch, result)
        return torch.tensor(float(number(torch, result) or math.nan)) if found is None else found.double()

    rare, even = weights(10), weights(2)
    trial.require(bool(rare.isfinite().all() and even.isfinite().all()))
    trial.expect(
        bool((rare > even + 1e-6).all()),
        "labels of which one in ten is positive, and one in two",
        f"weights of {float(rare.reshape(-1)[0]):.4g} and {float(even.reshape(-1)[0]):.4g} came out",
    )


@entry(
    "rarer-samples-drawn-more",
    "optimisation",
    "weights of samples for a sampler",
    "gives samples of rarer classes larger weights, one weight a sample",
    names={
        "sampleweights",
        "sampleweight",
        "samplerweights",
        "samplesweights",
        "weightsforbalanced",
        "makeweights",
        "samplingweights",
        "balancedweights",
        "weightsforsampler",
    },
    unless={"loss", "class", "apply", "normalize"},
    remedy="(1 / counts)[labels].",
    source="torch.utils.data.WeightedRandomSampler",
)
def rarer_drawn_more(trial: Trial) -> None:
    """Labels (N,) as a list or an array."""
    name, original = _classes_of(trial)
    result = _listed(trial, trial.call.result)
    trial.require(len(result) == len(original) and len(result) >= 8)
    known = sorted({int(one) for one in original})
    trial.require(len(known) >= 2 and known == list(range(len(known))))
    labels = [0] * 60 + [1] * 20 + [one for one in known[2:] for _ in range(10)]
    got = _listed(trial, trial.again(**{name: _given(trial, name, labels)}))
    trial.expect(len(got) == len(labels), f"{len(labels)} samples", f"{len(got)} weights came out")
    trial.require(max(got) > min(got))
    trial.expect(
        got[60] > got[0],
        "60 samples of one class and 20 of another",
        f"their weights are {got[0]:.4g} and {got[60]:.4g}",
    )


STEP = {"step", "it", "iter", "iteration", "epoch", "current", "cur", "i", "t", "currentstep", "globalstep",
        "currentepoch", "stepnum", "curiter", "curepoch", "e", "x"}  # fmt: skip
TOTAL = {"total", "max", "num", "epochs", "iters", "tmax", "training", "decay", "iterations", "steps", "final"}


@entry(
    "rate-falls-after-its-peak",
    "optimisation",
    "schedule of learning rates",
    "rises to one peak, falls after it, and is never negative",
    names={
        "lrlambda",
        "getlr",
        "cosinelr",
        "cosineschedule",
        "warmupcosine",
        "cosinewarmup",
        "polylr",
        "lrpoly",
        "cosinedecay",
        "lrschedule",
        "cosineannealing",
        "warmuplr",
        "lrcosine",
        "linearwarmup",
        "warmuplinear",
        "lrscheduler",
        "lrfn",
        "cosineanneal",
    },
    unless={
        "momentum",
        "wd",
        "ema",
        "kl",
        "beta",
        "rampup",
        "ramp",
        "restart",
        "restarts",
        "cycle",
        "cyclic",
        "cyclical",
        "optimizer",
        "noam",
        "find",
        "finder",
        "temperature",
        "current",
    },
    remedy="warm-up: base * step / warmup; then low + (base - low) * (1 + cos(pi * progress)) / 2.",
    source="Loshchilov and Hutter, SGDR, 2017, eq. 5",
)
def falls_after_its_peak(trial: Trial) -> None:
    """A function of the step; the planned steps stand among its arguments, or in names that it reads."""
    steps = [
        n
        for n in trial.numbers
        if STEP & {*words(n), "".join(words(n))} and not TOTAL & (set(words(n)) - {"steps", "num"})
    ]
    names = [n for n in steps if not {"warmup", "total", "max"} & set(words(n))]
    trial.require(len(names) == 1 and not trial.arrays)
    trial.require(not AGAIN & set(words(trial.call.code.co_qualname)))  # its class says that it rises again
    function = trial.call.function
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    inside = {name: cell.cell_contents for name, cell in cells}
    outside = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    owner = getattr(trial.call.args.get("self"), "__dict__", {})
    known = {**outside, **owner, **inside, **trial.call.args}
    whole = {n: one for n, one in known.items() if type(one) in (int, float) and n != names[0]}
    totals = [
        one
        for n, one in whole.items()
        if TOTAL & set(words(n)) and not {"warmup", "warm"} & set(words(n)) and one >= 10
    ]
    trial.require(len(set(totals)) == 1)
    total = int(totals[0])
    by_epoch = {"epoch", "e"} & set(words(names[0])) != set()
    units = {word for n, one in whole.items() if one == totals[0] for word in words(n)}
    trial.require(not units & ({"step", "steps", "iter", "iters", "iterations"} if by_epoch else {"epoch", "epochs"}))
    trial.require(total <= 10**7)
    line = sorted({round(total * index / 64) for index in range(64)} | {1, total - 1})
    kind = type(trial.call.args[names[0]])
    rates = [trial.value(**{names[0]: kind(step)}) for step in line]
    low, high = min(rates), max(rates)
    trial.require(high > 0)
    given = f"steps from 0 to {total}"
    trial.expect(low >= -1e-9 * high, given, f"{low:.3g} came out at step {line[rates.index(low)]}")
    trial.require(high - low > 0.2 * high)
    peak = max(index for index, one in enumerate(rates) if one >= high * (1 - 1e-9))
    rises = [index for index in range(peak, len(rates) - 1) if rates[index + 1] > rates[index] * (1 + 1e-6) + 1e-12]
    trial.expect(
        not rises,
        given,
        f"after its peak of {high:.3g} it rises again at step {line[rises[0] + 1] if rises else 0}",
    )
    trial.expect(
        rates[-1] < 0.9 * high or peak == len(rates) - 1, given, f"{rates[-1]:.3g} is left at the end, of {high:.3g}"
    )
    before = [rates[index] for index in range(peak) if rates[index + 1] < rates[index] * (1 - 1e-6)]
    trial.expect(not before, given, f"it falls before its peak at step {line[peak]}")
