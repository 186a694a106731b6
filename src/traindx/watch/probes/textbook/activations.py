"""What an overlap is computed of: shares of each class, or the raw output of a network.

Names do not matter here. Whatever compares predictions with classes and is least for the right ones, as long as it is
given probabilities, needs probabilities; unless it makes them itself. A sigmoid, a softmax, a threshold or a clamp
shows in what a function does with large numbers, and a softmax in what it does with a constant that is added to all
classes. A loss of logits is the less the surer a right prediction is, and an overlap of them is not.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.class_losses import ENTROPIES, OVERLAPS
from traindx.watch.probes.textbook.predictions import LOSSES, SURE, Classes, classes, mean_of, roles

OUTSIDE = 0.05  # share of the predictions beyond 0 and 1, and how far beyond: round-off and interpolation stay within
SAME = 1e-4  # relative difference of two values that are one
SHARES = (0.25, 0.5, 0.75)  # of the foreground
STEPS = (1 - 1e-6, 0.9, 0.6, 0.05)  # probabilities of the truth, from right to wrong


@entry(
    "overlap-of-shares",
    "loss",
    "overlap of predictions and labels",
    "is computed of probabilities, which a sigmoid or a softmax makes of the output of a network",
    names={*LOSSES, *OVERLAPS, *ENTROPIES, "focal"},
    unless={"wasserstein", "critic", "discriminator", "generator", "gan", "adversarial", "adv", "box", "boxes", "bbox"},
    universal=True,
    remedy="Apply torch.sigmoid, or torch.softmax(dim=1) for classes that exclude each other, before the overlap.",
    source="Milletari et al., V-Net, 2016, section 3; Drozdzal et al., 2016, eq. 1",
)
def overlap_of_shares(trial: Trial) -> None:
    """A prediction that learns and leaves 0 to 1, and labels."""
    who = roles(trial)
    given = trial.arrays[who.prediction]
    trial.require(who.prediction in trial.call.learned and given.is_floating_point())
    share = float(((given < -OUTSIDE) | (given > 1 + OUTSIDE)).double().mean())
    form = classes(trial)
    trial.require(share >= OUTSIDE and form.logits)
    _needs_probabilities(trial, replace(form, logits=False))
    if _activates(trial, form):
        return
    for foreground in SHARES:
        labels = _labels(trial, form, foreground)
        right, wrong = (form.loss(trial, labels, form.sure(trial, one)) for one in (labels, _others(form, labels)))
        trial.expect(
            right < wrong - SAME * max(abs(right), abs(wrong)),
            f"predictions from {float(given.min()):.3g} to {float(given.max()):.3g}, as in this run, which it takes "
            "for probabilities without a sigmoid or a softmax",
            f"it prefers wrong ones: {wrong:.3g} came out for them and {right:.3g} for right ones of the same size "
            f"({mean_of(trial):.3g} in this run)",
        )


def _labels(trial: Trial, form: Classes, foreground: float) -> Any:
    """Labels of which so many are of class 1 where there are two, and all classes as often where there are more."""
    labels = form.labels(trial)
    if form.kind != "binary":
        return labels
    line = trial.torch.arange(labels.numel()) < foreground * labels.numel()
    order = trial.torch.randperm(labels.numel(), generator=trial.generator(1))
    return line[order].reshape(labels.shape).long()


def _others(form: Classes, labels: Any) -> Any:
    return (labels + 1) % form.count


def _needs_probabilities(trial: Trial, chances: Classes) -> None:
    """Go on only with what is the less, the more probable the truth is."""
    labels = chances.labels(trial)
    values = [chances.loss(trial, labels, chances.prediction(trial, labels, share)) for share in STEPS]
    least = SAME * max(abs(value) for value in values)
    trial.require(all(after - before > least for before, after in pairwise(values)))


def _activates(trial: Trial, form: Classes) -> bool:
    """True if a function makes probabilities of what it is given, or decides, before it compares."""
    torch = trial.torch
    labels = form.labels(trial)
    signs = form.sure(trial, labels) / SURE
    chance = torch.rand(signs.shape, generator=trial.generator(2))
    mixed = signs * (0.5 + chance) * torch.where(chance < 0.7, 1.0, -1.0)

    def alike(one: Any, other: Any) -> bool:
        a, b = (form.loss(trial, labels, given) for given in (one, other))
        return abs(a - b) <= SAME * max(abs(a), abs(b), 1e-6)

    if form.kind != "binary":
        moved = 3 * torch.rand(labels.shape, generator=trial.generator(3)).unsqueeze(1)
        if alike(mixed, mixed + moved):
            return True
    return alike(40 * mixed, 80 * mixed)
