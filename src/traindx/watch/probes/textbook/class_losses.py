"""Losses of classes and masks: what they prefer, what a probability costs, and what they must not depend on."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from functools import partial
from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.predictions import Classes, bare, classes, in_one_form, is_loss, mean_of, roles

ORDER = 1e-4  # relative difference below which two losses are alike
MOST_ROWS = 8  # of a batch, from its first to its last
RATIO = 0.03  # of a ratio of logarithms; constants that keep a logarithm finite stay below
OVERLAPS = {"dice", "tversky", "jaccard", "iou", "lovasz", "lovaz", "dsc", "gdl", "softdice"}
ENTROPIES = {"bce", "crossentropy", "ce", "xent", "nll", "logloss"}
POINTWISE = {*OVERLAPS, *ENTROPIES, "focal", "mse", "mae", "l1", "l2", "huber", "smoothl1", "charbonnier", "rmse"}
OTHERS = {
    "box", "boxes", "bbox", "giou", "diou", "ciou", "contrastive", "clip", "distill", "distillation", "kd", "domain",
    "adv", "adversarial", "gan", "generator", "discriminator", "boundary", "surface", "ohem", "topk", "hard",
    "consistency", "entropyloss", "unsup", "pseudo", "mutual", "nt", "info", "sup", "temporal",
}  # fmt: skip


@entry(
    "class-loss-prefers-the-truth",
    "loss",
    "loss of predicted classes",
    "is lower where predictions are right than where they are wrong",
    names={*OVERLAPS, *ENTROPIES, "focal"},
    unless=OTHERS,
    universal=True,
    remedy="Return one minus the overlap, or the negative logarithm of the probability of the right class.",
    source="Milletari et al., V-Net, 2016, eq. 3; Lin et al., Focal Loss, 2017, eq. 5",
)
def prefers_the_truth(trial: Trial) -> None:
    """Perfect, half wrong, and all wrong predictions, of classes dealt at random."""
    trial.require(is_loss(trial))
    in_one_form(classes(trial), lambda form: _prefers(trial, form))


def _prefers(trial: Trial, form: Classes) -> None:
    labels = form.labels(trial)
    wrong = (labels + 1) % form.count
    half = trial.torch.where(trial.torch.arange(labels.numel()).reshape(labels.shape) % 2 == 0, labels, wrong)
    best, middle, worst = (form.loss(trial, labels, form.sure(trial, one)) for one in (labels, half, wrong))
    scale = max(abs(best), abs(middle), abs(worst), 1e-12)
    said = f"{best:.4g}, {middle:.4g} and {worst:.4g} came out"
    trial.expect(worst - best > ORDER * scale, f"right, half wrong and wrong predictions {form.given}", said)
    trial.expect(middle - best > ORDER * scale, f"right, half wrong and wrong predictions {form.given}", said)


@entry(
    "dice-loss-of-known-overlap",
    "loss",
    "Dice loss",
    "is one minus twice the common part over the sum of both: 0 for a perfect mask",
    names={"dice", "softdice", "dsc"},
    unless={*OTHERS, "log", "cosh", "generalized", "generalised", "gdl", "focal", "power", "pow", "ce", "bce", "combo"},
    remedy="1 - (2 * (p * t).sum() + eps) / (p.sum() + t.sum() + eps).",
    source="Milletari et al., V-Net, 2016, eq. 3",
)
def dice_of_known_overlap(trial: Trial) -> None:
    """Binary masks of one size, of which half is common; squared denominators agree there."""
    trial.require(is_loss(trial) and bare(trial.call) <= {"dice", "dsc", "coef", "coefficient", "softdice"})
    owner = getattr(trial.call.args.get("self"), "__dict__", {})
    trial.require(not any("jaccard" in str(name).lower() and value for name, value in owner.items()))  # asked for
    in_one_form(classes(trial), lambda form: _overlaps(trial, form))


def _overlaps(trial: Trial, form: Classes) -> None:
    torch = trial.torch
    trial.require(form.kind == "binary")
    size = math.prod(form.shape[1:])
    trial.require(size >= 16)
    line = torch.arange(size)
    whole = line < size - size % 4
    known = ((line % 4 < 2) & whole).long().expand(form.shape[0], -1).reshape(form.shape)
    moved = ((line % 4 > 0) & (line % 4 < 3) & whole).long().expand(form.shape[0], -1).reshape(form.shape)
    trial.require(int(moved.sum()) == int(known.sum()) == 2 * int((moved * known).sum()))
    perfect, half = (form.loss(trial, known, form.sure(trial, one)) for one in (known, moved))
    smoothing = 2.0 / size  # of a constant of one
    for got, meant, what in ((perfect, 0.0, "the mask itself"), (half, 0.5, "a mask of which half is common")):
        near = min(abs(got - meant), abs(got + 1 - meant))  # minus the overlap is as good
        trial.expect(near < 0.02 + smoothing, f"{what} {form.given}", f"{got:.3f} came out, by definition {meant:g}")


@entry(
    "cross-entropy-of-known-probabilities",
    "loss",
    "cross-entropy",
    "grows with the negative logarithm of the probability that is given to the truth",
    names=ENTROPIES,
    unless={
        *OTHERS,
        "smooth",
        "smoothing",
        "smoothed",
        "focal",
        "surv",
        "cox",
        "gaussian",
        "gauss",
        "robust",
        "poly",
        "generalized",
        "symmetric",
        "ordinal",
        "margin",
        "gce",
        "sce",
        "normal",
        "bootstrap",
        "bootstrapping",
        "adjusted",
        "adjustment",
        "temperature",
        "arcface",
        "prior",
    },
    remedy="Take the logarithm of the probability once: no activation twice, and both classes of a binary loss.",
    source="Goodfellow et al., Deep Learning, 2016, section 3.13",
)
def entropy_of_known_probabilities(trial: Trial) -> None:
    """Every pixel has the same probability of its truth, so that weights and means cancel in the ratio."""
    trial.require(is_loss(trial) and not OVERLAPS & set(words(trial.call.name)) and len(bare(trial.call)) <= 2)
    form = classes(trial)
    trial.require(form.kind != "columns" and not _is_smoothed(trial))
    for label in range(min(form.count, 3)):
        in_one_form(form, partial(_costs, trial, label))


def _is_smoothed(trial: Trial) -> bool:
    """True if labels are smoothed or scores are divided, wherever that stands."""
    owner = trial.call.args.get("self")
    modules = list(owner.modules()) if isinstance(owner, trial.torch.nn.Module) else [owner]
    held = [pair for one in modules for pair in getattr(one, "__dict__", {}).items()]
    for name, value in [*trial.numbers.items(), *held]:
        said = set(words(name))
        if isinstance(value, int | float) and value and ("smoothing" in said or "smooth" in said):
            return True
        if {"temperature", "temp", "tau", "margin"} & said:
            return True
    node = definition_of(trial.call.code)
    text = ast.unparse(node) if node is not None else ""
    return "label_smoothing" in text or "temperature" in text


def _costs(trial: Trial, label: int, form: Classes) -> None:
    labels = trial.torch.full_like(form.labels(trial), label)
    high, low = (form.loss(trial, labels, form.prediction(trial, labels, share)) for share in (0.9, 0.6))
    if max(abs(high), abs(low)) < 1e-9:  # weighed by the share of a class, of which there is none
        return
    expected = math.log(0.9) / math.log(0.6)
    trial.require(low != 0)
    ratio = high / low
    trial.expect(
        abs(ratio - expected) < RATIO,
        f"labels of {label} that have a probability of 0.9, and then of 0.6, {form.given}",
        f"the first costs {ratio:.3f} of the second, by definition {expected:.3f}",
    )


@entry(
    "focal-loss-of-known-probabilities",
    "loss",
    "focal loss",
    "weighs the cross-entropy of every element by (1 - p) ** gamma, where p is the probability of its own truth",
    names={"focal", "focalloss"},
    unless={
        *OTHERS,
        *OVERLAPS,
        "heatmap",
        "gaussian",
        "centernet",
        "quality",
        "varifocal",
        "tversky",
        "asymmetric",
        "frequency",
        "unified",
        "hybrid",
    },
    universal=True,
    remedy="Keep the cross-entropy of every element (reduction='none'), and weigh it before it is averaged.",
    source="Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4",
)
def focal_of_known_probabilities(trial: Trial) -> None:
    """Easy and hard elements alone, and both together."""
    trial.require(is_loss(trial) and not OVERLAPS & set(words(trial.call.name)))
    gamma = _gamma(trial)
    trial.require(not _is_smoothed(trial))
    in_one_form(classes(trial), lambda form: _focuses(trial, form, gamma))


def _focuses(trial: Trial, form: Classes, gamma: float) -> None:
    torch = trial.torch
    trial.require(form.kind != "columns" and 0 < gamma < 6)
    for label in (1, 0) if form.kind == "binary" else (1,):
        labels = torch.full_like(form.labels(trial), label)
        chance = torch.where(torch.arange(labels.numel()).reshape(labels.shape) % 2 == 0, 0.9, 0.4)
        easy, hard, both = (form.loss(trial, labels, form.prediction(trial, labels, p)) for p in (0.9, 0.4, chance))
        if max(abs(easy), abs(hard)) < 1e-9:
            continue  # alpha is 0 or 1
        trial.require(hard > 0)
        expected = math.log(0.9) / math.log(0.4) * (0.1 / 0.6) ** gamma
        trial.expect(
            abs(easy / hard / expected - 1) < 0.1,
            f"labels of {label} that have a probability of 0.9, and then of 0.4, {form.given}",
            f"the first costs {easy / hard:.4f} of the second, by definition {expected:.4f} for a gamma of {gamma:g}",
        )
        trial.expect(
            abs(both / ((easy + hard) / 2) - 1) < 0.05,
            "elements of which one half has a probability of 0.9 and one half of 0.4",
            f"{both:.4g} came out, while both halves alone cost {easy:.4g} and {hard:.4g}: "
            "the weight is made of a mean and not of every element",
        )


def _gamma(trial: Trial) -> float:
    numbers = {name: value for name, value in trial.numbers.items() if {"gamma", "focusing"} & set(words(name))}
    if not numbers:
        owner = getattr(trial.call.args.get("self"), "__dict__", {})
        for name, value in owner.items():
            if {"gamma", "focusing"} & set(words(name)) and isinstance(value, int | float):
                numbers[name] = float(value)
    trial.require(len(numbers) == 1)
    return next(iter(numbers.values()))


@entry(
    "label-smoothing-costs-overconfidence",
    "loss",
    "cross-entropy with smoothed labels",
    "is least where the prediction is the smoothed label, and higher where it is surer",
    names={
        "labelsmoothing",
        "labelsmooth",
        "smoothingloss",
        "smoothce",
        "smoothcrossentropy",
        "celabelsmooth",
        "smoothingcrossentropy",
        "lsr",
        "smoothed",
        "smoothcross",
        "smoothingcross",
    },
    unless={"kl", "smoothl1", "scheduler", "dice"},
    universal=True,
    remedy="(1 - eps) * nll + eps * (the mean of the negative log probabilities of all classes).",
    source="Szegedy et al., Rethinking the Inception Architecture, 2016, section 7",
)
def smoothing_costs_overconfidence(trial: Trial) -> None:
    """Needs the share that is smoothed, by name."""
    owner = getattr(trial.call.args.get("self"), "__dict__", {})
    words_of = {"smoothing", "eps", "epsilon", "smooth", "ls", "labelsmoothing"}
    found = {v for k, v in [*trial.numbers.items(), *owner.items()] if words_of & set(words(k)) and _is_share(v)}
    trial.require((len(found) == 1 and is_loss(trial)) or "crossentropy" in "".join(words(trial.call.name)))
    share = float(next(iter(found)))
    form = classes(trial)
    trial.require(form.kind == "index" and form.logits)
    labels = form.labels(trial)
    best = 1 - share + share / form.count
    smoothed, surer, none = (
        form.loss(trial, labels, form.prediction(trial, labels, p)) for p in (best, 1 - 1e-8, 1 / form.count)
    )
    said = f"{surer:.4g} and {smoothed:.4g} came out"
    trial.expect(surer > smoothed, f"sure predictions, and such of a probability of {best:.3g}", said)
    trial.expect(
        none > smoothed,
        "predictions that prefer no class, and such that prefer the truth",
        f"{none:.4g} and {smoothed:.4g} came out",
    )


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0.005 <= value <= 0.5


@entry(
    "loss-without-order",
    "loss",
    "loss of a batch",
    "does not depend on the order of its samples",
    names=POINTWISE,
    unless={
        *OTHERS,
        "weighted",
        "gradient",
        "grad",
        "sequence",
        "seq",
        "time",
        "ctc",
        "smoothness",
        "pairwise",
        "reg",
        "regularization",
        "regularizer",
    },
    universal=True,
    remedy="Look for an index that should stand for every sample, or a reduction over the wrong axis.",
    source="the mean of losses of samples has no order",
)
def without_order(trial: Trial) -> None:
    """Both arguments in another order of samples; a result with one number a sample follows them.

    A statement that takes some of the samples on purpose (the first half, which has labels) is not asked: another order
    brings others into its place.
    """
    torch = trial.torch
    trial.require(is_loss(trial))
    who = roles(trial)
    given, target = trial.arrays[who.prediction], trial.arrays[who.target]
    trial.require(given.dim() >= 1 and target.dim() >= 1 and len(given) == len(target) >= 2)
    before = mean_of(trial)
    trial.require(not _of_some_rows(trial, who.prediction, who.target, before))
    for shift in range(1, min(len(given), 4)):
        order = torch.arange(len(given)).roll(shift)
        after = mean_of(trial, **{who.prediction: given[order], who.target: target[order]})
        trial.expect(
            abs(after - before) <= max(1e-4 * max(abs(before), abs(after)), 1e-6),
            "the samples of the batch in another order",
            f"{after:.5g} came out instead of {before:.5g}",
        )


def _of_some_rows(trial: Trial, prediction: str, target: str, before: float) -> bool:
    """Several samples count, and others do not. One alone that counts is an index that stands for a batch."""
    given, wanted = trial.arrays[prediction], trial.arrays[target]
    size, counted = len(given), 0
    rows = sorted({round(share * (size - 1) / (MOST_ROWS - 1)) for share in range(MOST_ROWS)})
    for row in rows:
        changed = [array.clone() for array in (given, wanted)]
        for array in changed:
            array[row] = array[(row + 1) % size]
        counted += mean_of(trial, **{prediction: changed[0], target: changed[1]}) != before
    return 1 < counted < len(rows) or (counted == 1 and size == 2)


@entry(
    "ignored-labels-do-not-count",
    "loss",
    "loss with a label that is ignored",
    "does not depend on what is predicted where the label is ignored",
    names={*ENTROPIES, *OVERLAPS, "focal"},
    unless=OTHERS,
    universal=True,
    remedy="Select the elements that count before anything is summed or averaged.",
    source="torch.nn.CrossEntropyLoss, ignore_index",
)
def ignored_labels(trial: Trial) -> None:
    """Needs an ``ignore_index`` among the arguments or the attributes, and labels as numbers."""
    torch = trial.torch
    trial.require(is_loss(trial))
    owner = getattr(trial.call.args.get("self"), "__dict__", {})
    known = [v for k, v in [*trial.numbers.items(), *owner.items()] if {"ignore", "ignored"} & set(words(k))]
    known = [int(value) for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    trial.require(len(set(known)) == 1)
    who = roles(trial)
    target = trial.arrays[who.target]
    ignored = target == known[0]
    if bool(ignored.any()) and not bool(ignored.all()):
        raw = target.clone()
        raw[ignored] = 0
    else:
        raw = target
    call_form = classes(Trial(torch, replace(trial.call, args={**trial.call.args, who.target: raw})))
    trial.require(call_form.kind in ("index", "index1"))
    labels = call_form.labels(trial)
    void = torch.arange(labels.numel()).reshape(labels.shape) % 3 == 0
    there = labels.clone()
    there[void] = known[0]
    right = call_form.sure(trial, labels)
    other = call_form.sure(trial, torch.where(void, (labels + 1) % call_form.count, labels))
    target_given = there.unsqueeze(1) if call_form.kind == "index1" else there
    first, second = (
        mean_of(trial, **{call_form.roles.prediction: one, call_form.roles.target: target_given})
        for one in (right, other)
    )
    trial.expect(
        abs(first - second) <= 1e-4 * max(abs(first), abs(second), 1e-6),
        f"other predictions where the label is {known[0]}, which is ignored",
        f"{second:.4g} came out instead of {first:.4g}",
    )
