"""Samples that are mixed: labels are mixed as the images are, and distributions stay distributions."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.draws import drawn

DRAWS = 8  # of random numbers: a box at a border comes in most
OFF = 0.02  # of a share: what is left of round-off, and of a box in whole pixels that is counted well


@entry(
    "mixed-labels-follow-the-images",
    "data",
    "mixing of samples",
    "gives the label of each image a weight that equals its share of the mixed image",
    names={"mixup", "cutmix", "mixupdata", "cutmixdata", "fmix", "resizemix", "snapmix", "mixcut"},
    unless={"loss", "criterion", "manifold", "model", "train", "apply", "accuracy", "collate", "snapmix"},
    random=True,
    remedy="One permutation for images and labels; lam = 1 - area of the clipped box / area of the image.",
    source="Zhang et al., mixup, 2018, eq. 1; Yun et al., CutMix, 2019, eq. 1",
)
def labels_follow(trial: Trial) -> None:
    """Images whose every value is the number of their class, (N, C, H, W) or (N, ...), and labels of classes."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    labels = [
        n
        for n, one in trial.arrays.items()
        if {"y", "target", "targets", "label", "labels", "lbl", "t"} & set(words(n))
    ]
    trial.require(len(labels) == 1)
    (image,) = (n for n in trial.arrays if n not in labels)
    x, y = trial.arrays[image], trial.arrays[labels[0]]
    trial.require(x.dim() >= 2 and x.is_floating_point() and len(x) == len(y) >= 2 and y.dim() in (1, 2))
    count = len(x)
    one_hot = y.dim() == 2 and y.shape[1] > 1
    columns = int(y.shape[1]) if one_hot else max(int(y.max()) + 1, 2)
    classes = torch.arange(count) % columns
    given = torch.nn.functional.one_hot(classes, columns).float() if one_hot else classes.reshape(y.shape)
    pictures = classes.float().reshape(-1, *[1] * (x.dim() - 1)).expand(x.shape).contiguous()
    mixed_at_all = False
    for seed in range(DRAWS):
        result = drawn(trial, seed, **{image: pictures, labels[0]: given})
        trial.require(isinstance(result, tuple | list) and len(result) >= 2)
        parts = [as_tensor(torch, part) for part in result]
        mixed: Any = parts[0]
        trial.require(mixed is not None and mixed.shape == x.shape)
        shares = mixed.double().flatten(1).mean(1)
        meant = _meant(trial, result, parts, count, columns)
        mixed_at_all = mixed_at_all or bool((shares - classes).abs().max() > OFF)
        off = float((shares - meant).abs().max())
        index = int((shares - meant).abs().argmax())
        trial.expect(
            off < OFF * max(columns - 1, 1) + 1e-4,
            "images whose every value is the number of their class",
            f"one of them has a mean of {float(shares[index]):.3f}, and its labels one of {float(meant[index]):.3f}",
        )
    trial.require(mixed_at_all)


def _meant(trial: Trial, result: Any, parts: Any, count: int, columns: int) -> Any:
    """The mean class of every sample as its labels say: two labels and a weight, or a weight for every class."""
    torch = trial.torch
    soft = [one for one in parts[1:] if one is not None and tuple(one.shape) == (count, columns)]
    weights = [one for part in result if (one := number(torch, part)) is not None]
    if len(soft) == 1 and not weights:
        return (soft[0].double() * torch.arange(columns)).sum(1)
    hard = [one for one in parts[1:] if one is not None and one.numel() == count and not one.is_floating_point()]
    pairs = (
        [(one.double() * torch.arange(columns)).sum(1) for one in soft]
        if len(soft) == 2
        else [one.reshape(-1).double() for one in hard]
    )
    each = [
        one
        for one in parts[1:]
        if one is not None and one.is_floating_point() and one.numel() == count and one.dim() == 1
    ]
    trial.require(len(pairs) == 2 and len(weights) + len(each) == 1)
    weight: Any = weights[0] if weights else each[0].double()
    return weight * pairs[0] + (1 - weight) * pairs[1]


@entry(
    "smoothed-labels-sum-to-one",
    "data",
    "smoothing of labels",
    "returns a distribution over the classes, whose largest part is the label",
    names={
        "smoothlabels",
        "smoothlabel",
        "labelsmoothing",
        "smoothonehot",
        "labelsmooth",
        "smoothedlabels",
        "onehotsmooth",
    },
    unless={"loss", "criterion", "ce", "cross", "entropy", "bce"},
    remedy="onehot * (1 - eps) + eps / classes.",
    source="Szegedy et al., Rethinking the Inception Architecture, 2016, section 7",
)
def smoothed_labels(trial: Trial) -> None:
    """Labels as numbers or columns to rows (N, K)."""
    name = trial.only()
    given = trial.arrays[name]
    out = trial.result()
    trial.require(out.dim() == 2 and out.shape[1] >= 3 and out.is_floating_point() and len(out) == len(given))
    known = given.long().reshape(-1) if given.numel() == len(given) else given.argmax(1)
    columns = given.dim() == 2 and given.shape[1] == out.shape[1]
    trial.require(columns or (given.numel() == len(given) and not given.is_floating_point()))
    trial.require(not columns or bool((given.double().sum(1) == 1).all()))
    trial.require(int(known.max()) < out.shape[1])
    sums = out.double().sum(1)
    off = float((sums - 1).abs().max())
    trial.expect(off < 1e-3, "labels of classes", f"rows sum to {float(sums[(sums - 1).abs().argmax()]):.4g}")
    right = bool((out.argmax(1) == known).all())
    trial.expect(right, "labels of classes", "the largest part of a row is another class than the label")
    trial.expect(float(out.min()) >= -1e-6, "labels of classes", f"{float(out.min()):.3g} came out")
