"""Terms of adversarial training: where scores are drawn to, and penalties of gradients."""

from __future__ import annotations

import copy
from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.predictions import mean_of, result_of

CRITICS = {"d", "disc", "dis", "discriminator", "critic", "netd"}


@entry(
    "discriminator-loss-parts-real-and-fake",
    "loss",
    "loss of a discriminator",
    "draws scores of real and of generated samples in opposite directions",
    names={
        "dloss",
        "lossd",
        "discloss",
        "discriminatorloss",
        "hinged",
        "hingedloss",
        "dhinge",
        "hingediscriminator",
        "criticloss",
        "losshinge",
        "discriminatorhinge",
        "dishinge",
        "losshingedis",
        "hingeloss",
        "wganloss",
        "wassersteinloss",
        "lsgandis",
        "lossdis",
        "hingelossd",
        "ganhinge",
        "advloss",
        "adversarialloss",
        "ganloss",
    },
    unless={"generator", "gen", "g", "feature", "penalty", "matching", "gp"},
    remedy="relu(1 - real).mean() + relu(1 + fake).mean().",
    source="Lim and Ye, Geometric GAN, 2017; Goodfellow et al., Generative Adversarial Nets, 2014, eq. 1",
)
def parts_real_and_fake(trial: Trial) -> None:
    """Scores of both kinds by name, near 0, and each of them a little higher."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    real = trial.need("real", "reallogits", "dreal", "logitsreal", "realpred", "realscore", "realscores", "true")
    fake = trial.need("fake", "fakelogits", "dfake", "logitsfake", "fakepred", "fakescore", "generated")
    trial.require(
        real != fake and not {"image", "images", "img", "imgs", "samples", "x"} & {*words(real), *words(fake)}
    )
    a, b = trial.arrays[real], trial.arrays[fake]
    chances = all(bool(one.min() >= 0 and one.max() <= 1) for one in (a, b))
    middle = 0.5 if chances else 0.0

    def value(high: float, low: float) -> float:
        return mean_of(trial, **{real: torch.full(a.shape, middle + high), fake: torch.full(b.shape, middle + low)})

    base, more_real, more_fake = value(0, 0), value(0.2, 0), value(0, 0.2)
    first, second = more_real - base, more_fake - base
    trial.require(first != 0 and second != 0)  # one that is detached, or shown only
    trial.expect(
        first * second < 0,
        "higher scores of real samples, and higher scores of generated ones",
        f"the loss changes by {first:.3g} and by {second:.3g}: both are drawn the same way",
    )
    if "hinge" in words(trial.call.name) and not chances:
        trial.expect(first < 0, "higher scores of real samples", f"the loss rises by {first:.3g}")


def _linear(trial: Trial, size: float) -> tuple[Any, Any]:
    """A critic that is linear in all values of a sample, with a gradient of this norm; and its parameter."""
    torch = trial.torch
    weight = torch.nn.Parameter(torch.tensor(float(size)))

    class Linear(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any, *rest: Any, **more: Any) -> Any:
            flat = x.reshape(len(x), -1)
            return weight * flat.sum(1, keepdim=True) / flat.shape[1] ** 0.5

    return Linear(), weight


@entry(
    "gradient-penalty-of-known-slope",
    "loss",
    "gradient penalty",
    "is 0 for a critic whose gradient has a norm of 1 over all values of a sample, and has a gradient of its own",
    names={"gradientpenalty", "gradpenalty", "gppenalty", "gploss", "wgangp", "gradientpen"},
    unless={"r1", "r2", "zero", "centered", "divergence", "div", "lipschitz"},
    remedy="gradients.flatten(1).norm(2, dim=1), with create_graph=True.",
    source="Gulrajani et al., Improved Training of Wasserstein GANs, 2017, eq. 3",
)
def penalty_of_known_slope(trial: Trial) -> None:
    """A critic among the arguments is replaced by a linear one; a penalty that is least at 0 is another definition."""
    torch = trial.torch
    networks = [name for name, one in trial.call.args.items() if isinstance(one, torch.nn.Module) and name != "self"]
    owner = trial.call.args.get("self")
    held = {**getattr(owner, "__dict__", {}), **getattr(owner, "_modules", {})}
    inside = [n for n, one in held.items() if isinstance(one, torch.nn.Module) and CRITICS & set(words(n))]
    trial.require(len(networks) == 1 or (not networks and len(inside) == 1))
    trial.require(len([one for one in trial.arrays.values() if one.dim() > 1]) >= 2)

    def replaced(critic: Any) -> dict[str, Any]:
        if networks:
            return {networks[0]: critic}
        twin = copy.copy(owner)
        if isinstance(twin, torch.nn.Module):
            twin.__dict__["_modules"] = dict(held["_modules"])
        setattr(twin, inside[0], critic)
        return {"self": twin}

    def value(size: float) -> float:
        critic, _ = _linear(trial, size)
        return mean_of(trial, **replaced(critic))

    none, half, one, two = (value(size) for size in (0.0, 0.5, 1.0, 2.0))
    trial.require(two > 0)
    if none < half < one < two and none < 1e-4 * two:  # centred at zero
        return
    trial.expect(
        one < 1e-3 * max(two, 1e-9),
        "a linear critic with gradients of norm 1, and of norm 2",
        f"{one:.4g} and {two:.4g} came out: the norm is not taken over all values of a sample",
    )
    critic, weight = _linear(trial, 2.0)
    result = result_of(trial, replaced(critic))
    result = result[0] if isinstance(result, tuple) else result
    trial.require(isinstance(result, torch.Tensor))
    grown = torch.autograd.grad(result.sum(), weight, allow_unused=True)[0] if result.requires_grad else None
    trial.expect(
        grown is not None and float(grown) > 0,
        "a critic with gradients of norm 2",
        "the penalty itself has no gradient: it never changes the critic",
    )


@entry(
    "r1-penalty-grows-with-the-square",
    "loss",
    "R1 penalty",
    "is the squared norm of the gradient at real samples: four times as large for twice the gradient",
    names={"r1", "r1reg", "r1loss", "r1penalty", "r1regularization"},
    random=True,  # the recorded samples have no graph, so that the call cannot be made again as it was
    remedy="grad.pow(2).flatten(1).sum(1).mean(), with create_graph=True.",
    source="Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, eq. 9",
)
def r1_grows_with_the_square(trial: Trial) -> None:
    """Scores and the samples that they are made of."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    names = list(trial.arrays)
    images = [name for name in names if trial.arrays[name].dim() >= 3 and trial.arrays[name].numel() > 16]
    scores = [name for name in names if name not in images]
    trial.require(len(images) == 1 and len(scores) == 1)
    shape, out = trial.arrays[images[0]].shape, trial.arrays[scores[0]].shape
    trial.require(len(out) >= 1 and out[0] == shape[0] and trial.arrays[scores[0]].numel() == shape[0])

    def value(size: float) -> float:
        x = torch.rand(shape, generator=trial.generator()).requires_grad_(True)
        return mean_of(trial, **{images[0]: x, scores[0]: (size * x.flatten(1).sum(1)).reshape(out)})

    once, twice = value(1.0), value(2.0)
    trial.expect(
        once > 0 and abs(twice / once - 4) < 0.05,
        "scores with a gradient, and with one of twice the size",
        f"{once:.4g} and {twice:.4g} came out",
    )
