"""Divergences and entropies of distributions over classes, and losses that draw one network to another."""

from __future__ import annotations

import itertools
import math
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.draws import drawn
from traindx.watch.probes.textbook.predictions import mean_of

ZERO = 2e-3  # of what distributions that differ cost; a smoothing constant stays below
STUDENTS = {"student", "stu", "s", "studentlogits", "ys", "logitss", "logitsstudent", "studentoutput", "outs"}
TEACHERS = {"teacher", "tea", "t", "teacherlogits", "yt", "logitst", "logitsteacher", "teacheroutput", "outt"}
NO_DIVERGENCE = {
    "annealing", "weight", "schedule", "beta", "gaussian", "normal", "standard", "prior", "vae", "latent", "posterior",
    "anneal", "coef", "reg", "sparsity", "uniform", "free", "policy", "approx", "dirichlet", "edl", "monte", "z",
}  # fmt: skip
OF_NORMALS = {
    "mu", "mus", "mean", "means", "m", "loc", "logvar", "lv", "var", "variance", "std", "stds", "sigma", "sd", "scale",
    "log", "z", "latent", "latents", "rho", "precision", "cov", "moments",
}  # fmt: skip


def form_of(trial: Trial, name: str) -> tuple[str, int] | None:
    """``chances``, ``logs`` or ``logits``, and the axis of classes (of logits the one at which it is by custom)."""
    torch = trial.torch
    given = trial.arrays[name]
    if not given.is_floating_point() or given.dim() < 1:
        return None
    for axis in dict.fromkeys((min(1, given.dim() - 1), given.dim() - 1)):
        sums = given.double().sum(axis)
        if bool(given.min() >= 0) and bool(torch.allclose(sums, torch.ones_like(sums), atol=1e-3)):
            return "chances", axis
        logs = given.double().logsumexp(axis)
        if bool(given.max() <= 1e-6) and bool(torch.allclose(logs, torch.zeros_like(logs), atol=1e-3)):
            return "logs", axis
    if bool(given.min() >= 0):
        return None  # no distribution, but perhaps on purpose
    return "logits", min(1, given.dim() - 1)


def in_form(trial: Trial, name: str, logits: Any) -> Any:
    """A distribution with these logits, as this argument has it."""
    form, axis = form_of(trial, name) or ("logits", 0)
    if form == "chances":
        return logits.softmax(axis)
    return logits.log_softmax(axis) if form == "logs" else logits


def _logits(trial: Trial, name: str, seed: int, size: float = 1.0) -> Any:
    shape = trial.arrays[name].shape
    return size * trial.torch.randn(shape, generator=trial.generator(seed))


def _pair(trial: Trial) -> tuple[str, str]:
    first, second = trial.pair()
    trial.require(not OF_NORMALS & {*_joined(first), *_joined(second)})
    forms = [form_of(trial, name) for name in (first, second)]
    trial.require(all(form is not None for form in forms) and trial.arrays[first].shape[-1] > 1)
    axes = {form[1] for form in forms if form is not None and form[0] != "logits"}
    trial.require(len(axes) <= 1)
    return first, second


@entry(
    "kl-of-classes",
    "loss",
    "Kullback-Leibler divergence of two distributions over classes",
    "is 0 between equal distributions, and positive between others",
    names={"kl", "kldiv", "kldivergence", "kullback", "klloss", "kld", "klcategorical", "categoricalkl"},
    unless=NO_DIVERGENCE,
    remedy="(p * (p.log() - q.log())).sum(axis of classes); F.kl_div takes log q first, and p.",
    source="Cover and Thomas, Elements of Information Theory, 2006, theorem 2.6.3",
)
def kl_of_classes(trial: Trial) -> None:
    """Both distributions in the form in which the script gives each of them: logits, probabilities or logarithms."""
    first, second = _pair(trial)
    p, q, r = (_logits(trial, first, seed, 1.5) for seed in range(3))

    def value(one: Any, other: Any) -> float:
        return mean_of(trial, **{first: in_form(trial, first, one), second: in_form(trial, second, other)})

    equal = [value(p, p), value(q, q)]
    others = [value(p, q), value(q, p), value(p, r), value(r, q), value(p, 0 * p), value(0 * p, p)]
    scale = max(abs(one) for one in others)
    trial.require(scale > 0)
    for got in equal:
        trial.expect(abs(got) < ZERO * scale, "two equal distributions", f"{got:.4g} came out")
    for got in others:
        trial.expect(got > 0, "two different distributions", f"{got:.4g} came out")


@entry(
    "kl-of-two-normals",
    "loss",
    "Kullback-Leibler divergence of two normal distributions",
    "is 0 between equal ones, and positive between others",
    names={"kl", "normalkl", "kldiv", "kldivergence", "klgaussian", "gaussiankl", "klloss", "kld"},
    unless={"annealing", "schedule", "categorical", "beta"},
    remedy="0.5 * (logvar2 - logvar1 + (logvar1 - logvar2).exp() + (mean1 - mean2) ** 2 * (-logvar2).exp() - 1).",
    source="Kingma and Welling, 2014, appendix B; Nichol and Dhariwal, 2021, eq. 5",
)
def kl_of_two_normals(trial: Trial) -> None:
    """Two means and two log variances, told apart by their names."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 4)
    logs = [name for name in trial.arrays if {"logvar", "logvariance", "lv"} & _joined(name)]
    means = [name for name in trial.arrays if {"mu", "mean", "m", "mus"} & _joined(name) and name not in logs]
    trial.require(len(logs) == 2 and len(means) == 2)
    shape = trial.arrays[means[0]].shape
    trial.require(all(trial.arrays[name].shape == shape for name in (*logs, *means)))
    names = list(trial.arrays)
    order = sorted(means, key=names.index), sorted(logs, key=names.index)

    def value(m1: float, v1: float, m2: float, v2: float) -> float:
        given = dict(zip((*order[0], *order[1]), (m1, m2, v1, v2), strict=True))
        return mean_of(trial, **{name: torch.full(shape, one) for name, one in given.items()})

    moved = value(1, 0, 0, 0)
    for mean, log in ((0.0, 0.0), (1.0, 0.7), (-2.0, -1.0)):
        got = value(mean, log, mean, log)
        trial.expect(abs(got) < ZERO * max(abs(moved), 1e-9), "two equal distributions", f"{got:.4g} came out")
    others = [moved, value(0, 0, 1, 0), value(0, 1, 0, 0), value(0, 0, 0, 1), value(0, -1, 0, 1)]
    for got in others:
        trial.expect(got > 0, "two different distributions", f"{got:.4g} came out")
    ratios = sorted(one / moved for one in others[2:4])
    expected = [math.exp(-1), math.e - 2]
    trial.expect(
        all(abs(got - meant) < 0.03 for got, meant in zip(ratios, expected, strict=True)),
        "means that differ by 1, and then log variances that differ by 1",
        f"the second cost {ratios[0]:.3f} and {ratios[1]:.3f} of the first, by definition 0.368 and 0.718",
    )


def _joined(name: str) -> set[str]:
    said = [word.rstrip("0123456789") for word in words(name)]
    return {*said, *(a + b for a, b in itertools.pairwise(said))}


@entry(
    "js-symmetric",
    "loss",
    "Jensen-Shannon divergence",
    "is 0 between equal distributions, positive between others, and the same from both sides",
    names={"js", "jsd", "jsdiv", "jsdivergence", "jensen", "jensenshannon"},
    unless={"consistency", "mutual", "gan", "estimator", "dim"},
    remedy="The mean of the divergences of both from their mean distribution.",
    source="Lin, Divergence Measures Based on the Shannon Entropy, 1991, eq. 4.1",
)
def js_symmetric(trial: Trial) -> None:
    """Both in the form in which the script gives them."""
    first, second = _pair(trial)
    p, q = (_logits(trial, first, seed, 1.5) for seed in range(2))

    def value(one: Any, other: Any) -> float:
        return mean_of(trial, **{first: in_form(trial, first, one), second: in_form(trial, second, other)})

    equal, there, back = value(p, p), value(p, q), value(q, p)
    trial.expect(abs(equal) < ZERO * max(abs(there), 1e-6), "two equal distributions", f"{equal:.4g} came out")
    trial.expect(there > 0, "two different distributions", f"{there:.4g} came out")
    same = abs(there - back) < 1e-3 * max(abs(there), abs(back))
    trial.expect(same, "two distributions, and the same in the other order", f"{there:.4g} and {back:.4g} came out")


@entry(
    "mmd-of-samples",
    "loss",
    "maximum mean discrepancy",
    "is least between samples of one distribution, and does not depend on the order of the samples",
    names={"mmd", "mmdloss", "mmdrbf", "rbfmmd", "maximummean", "mkmmd"},
    unless={"linear", "conditional", "local", "lmmd", "joint", "weight"},
    remedy="k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean().",
    source="Gretton et al., A Kernel Two-Sample Test, 2012, eq. 5",
)
def mmd_of_samples(trial: Trial) -> None:
    """A sample and itself, and a sample that is moved away by three times the spread."""
    torch = trial.torch
    first, second = trial.pair()
    given = trial.arrays[first]
    trial.require(given.dim() == 2 and given.is_floating_point() and len(given) >= 4)
    x = torch.randn(given.shape, generator=trial.generator())
    y = torch.randn(given.shape, generator=trial.generator(1)) + 3.0

    def value(one: Any, other: Any) -> float:
        return mean_of(trial, **{first: one, second: other})

    same, apart = value(x, x), value(x, y)
    trial.expect(
        same < apart, "a sample and itself, and one that is moved away", f"{same:.4g} and {apart:.4g} came out"
    )
    turned = value(x, y.flip(0))
    near = abs(turned - apart) <= 1e-3 * max(abs(apart), 1e-6)
    trial.expect(near, "samples in another order", f"{turned:.4g} came out instead of {apart:.4g}")


@entry(
    "distillation-least-at-the-teacher",
    "loss",
    "distillation loss",
    "is least where the student equals the teacher",
    names={"distill", "distillation", "kd", "kdloss", "distillationloss", "distilloss", "knowledge"},
    unless={
        "feature",
        "features",
        "fitnet",
        "attention",
        "relation",
        "rkd",
        "dkd",
        "contrastive",
        "crd",
        "dino",
        "detection",
    },
    remedy="F.kl_div(log_softmax(student / T), softmax(teacher / T), reduction='batchmean') * T ** 2.",
    source="Hinton et al., Distilling the Knowledge in a Neural Network, 2015, eq. 2",
)
def least_at_the_teacher(trial: Trial) -> None:
    """Logits of both by name; the student equal, sharper, flatter, and moved."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    names = list(trial.arrays)
    student = [name for name in names if _about(name, STUDENTS)]
    teacher = [name for name in names if _about(name, TEACHERS) and name not in student]
    if len(student) != 1 or len(teacher) != 1:
        learned = [name for name in names if name in trial.call.learned]
        trial.require(len(learned) == 1)
        student, teacher = learned, [name for name in names if name not in learned]
    s, t = student[0], teacher[0]
    held = getattr(trial.call.args.get("self"), "__dict__", {})
    own = [n for n in [*trial.call.args, *held] if {"temp", "temperature", "center"} & set(words(n))]
    trial.require(not any({"teacher", "student", "center"} & set(words(n)) for n in own))  # sharpened on purpose
    forms = [form_of(trial, name) for name in (s, t)]
    trial.require(trial.arrays[s].shape == trial.arrays[t].shape and all(form is not None for form in forms))
    trial.require(len({form[1] for form in forms if form is not None}) == 1)
    known = _logits(trial, t, 0, 2.0)

    def value(logits: Any) -> float:
        return mean_of(trial, **{s: in_form(trial, s, logits), t: in_form(trial, t, known)})

    equal = value(known)
    other = torch.randn(known.shape, generator=trial.generator(1))
    for logits, what in (
        (2 * known, "sharper"),
        (0.5 * known, "flatter"),
        (known + other, "moved"),
        (-known, "opposed"),
    ):
        got = value(logits)
        trial.expect(
            equal <= got + 1e-5 * max(abs(got), 1e-3),
            f"a student that equals the teacher, and one that is {what}",
            f"{equal:.4g} and {got:.4g} came out",
        )


def _about(name: str, choices: set[str]) -> bool:
    said = words(name)
    return bool(choices & {*said, *(a + b for a, b in itertools.pairwise(said))})


@entry(
    "consistency-lower-where-equal",
    "loss",
    "consistency loss",
    "is lower where both predictions are equal than where they contradict each other",
    names={"consistency", "consistencyloss"},
    unless={
        "cycle",
        "cyclic",
        "geometric",
        "temporal",
        "photometric",
        "inverse",
        "weight",
        "rampup",
        "ramp",
        "smooth",
        "model",
        "training",
        "identity",
        "depth",
        "flow",
        "jacobian",
        "get",
        "epoch",
    },
    remedy="Compare both predictions with each other, not with their mean or their sum.",
    source="Tarvainen and Valpola, Mean teachers are better role models, 2017, eq. 2",
)
def lower_where_equal(trial: Trial) -> None:
    """Sure predictions of both, equal and opposed."""
    first, second = _pair(trial)
    logits = 4 * _logits(trial, first, 0)

    def value(one: Any) -> float:
        return mean_of(trial, **{first: in_form(trial, first, one), second: in_form(trial, second, logits)})

    equal, opposed = value(logits), value(-logits)
    trial.expect(equal <= opposed, "equal predictions, and opposed ones", f"{equal:.4g} and {opposed:.4g} came out")


@entry(
    "entropy-of-known-distributions",
    "loss",
    "entropy of a distribution over classes",
    "is largest for the uniform distribution, and 0 for a sure one",
    names={"entropy", "shannon", "predictiveentropy", "softmaxentropy"},
    unless={
        "cross",
        "loss",
        "crossentropy",
        "relative",
        "regularization",
        "regularizer",
        "reg",
        "neg",
        "negative",
        "min",
        "bonus",
        "conditional",
        "mutual",
        "joint",
        "weight",
        "coef",
        "image",
        "map",
        "normalized",
        "local",
        "kl",
        "bce",
        "binary",
        "spectral",
        "sample",
        "approximate",
        "permutation",
        "minimization",
        "maximization",
        "penalty",
        "ce",
    },
    remedy="-(p * p.log()).sum(axis of classes).",
    source="Cover and Thomas, Elements of Information Theory, 2006, theorem 2.6.4",
)
def entropy_of_known(trial: Trial) -> None:
    """Uniform, uneven and sure distributions in the form that the script gives."""
    name = trial.only()
    form = form_of(trial, name)
    trial.require(form is not None and trial.arrays[name].dim() >= 2)
    axis = form[1] if form is not None else 1
    logits = _logits(trial, name, 0)
    sure = 30.0 * (logits == logits.amax(axis, keepdim=True)).float()
    flat, uneven, none = (mean_of(trial, **{name: in_form(trial, name, one)}) for one in (0 * logits, logits, sure))
    said = f"{flat:.4g}, {uneven:.4g} and {none:.4g} came out"
    given = "uniform, uneven and sure distributions"
    trial.expect(flat > uneven > none, given, said)
    trial.expect(abs(none) < 0.01 * abs(flat), given, said)


@entry(
    "reparameterised-spread",
    "model",
    "sample of a normal distribution by its mean and log variance",
    "has this mean, and exp(logvar / 2) as its standard deviation",
    names={
        "reparameterize",
        "reparameterise",
        "reparametrize",
        "reparam",
        "reparameterization",
        "reparametrise",
        "reparametrization",
        "samplegaussian",
        "samplez",
        "samplelatent",
        "rsample",
        "reparameterizationtrick",
    },
    unless={"bernoulli", "gumbel", "conv", "block", "rep", "deploy"},
    random=True,
    remedy="mu + (0.5 * logvar).exp() * torch.randn_like(mu).",
    source="Kingma and Welling, Auto-Encoding Variational Bayes, 2014, section 2.4",
)
def reparameterised_spread(trial: Trial) -> None:
    """Mean and log variance (or standard deviation) by name; in training mode."""
    torch = trial.torch
    mean = trial.need("mu", "mean", "mus", "zmean", "zmu", "means", "m")
    others = [name for name in trial.arrays if name != mean]
    trial.require(len(others) == 1)
    said = _joined(others[0])
    logs = {"logvar", "logvariance", "lnvar", "logv", "zlogvar"}
    kind = (
        "logvar"
        if logs & said
        else "logstd"
        if {"logstd"} & said
        else "std"
        if {"std", "sigma", "stddev"} & said
        else ""
    )
    trial.require(bool(kind) and (kind != "std" or "log" not in words(others[0])))
    shape = (4096 // max(1, trial.arrays[mean][0].numel()) + 64, *trial.arrays[mean].shape[1:])
    trial.require(trial.arrays[mean].shape == trial.arrays[others[0]].shape)
    if kind == "std":
        trial.require(bool(trial.arrays[others[0]].min() > 0))
    given = {"logvar": 2.0, "logstd": 1.0, "std": math.e}[kind]
    scales = [
        one for n, one in trial.numbers.items() if {"temperature", "temp", "scale", "noise", "eps"} & set(words(n))
    ]
    trial.require(all(one == 1 for one in scales))
    owner = trial.call.args.get("self")
    centre = torch.full(shape, 5.0)
    if isinstance(owner, torch.nn.Module):
        made = drawn(trial, 0, training=True, **{mean: centre, others[0]: torch.full(shape, given)})
    else:
        made = trial.again(**{mean: centre, others[0]: torch.full(shape, given)})
    sample = as_tensor(torch, made[0] if isinstance(made, tuple) else made)
    trial.require(sample is not None)
    values: Any = sample
    trial.require(tuple(values.shape) == shape and float(values.std()) > 0)
    middle, spread = float(values.double().mean()), float(values.double().std())
    what = f"a mean of 5 and a {others[0]} of {given:.3g}"
    trial.expect(abs(middle - 5) < 0.5, what, f"the mean is {middle:.2f}")
    trial.expect(abs(spread / math.e - 1) < 0.15, what, f"the standard deviation is {spread:.2f} and not {math.e:.2f}")
