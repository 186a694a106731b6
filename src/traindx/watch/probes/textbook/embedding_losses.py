"""Losses on embeddings: which samples they draw together, and what they must not depend on."""

from __future__ import annotations

import copy
from typing import Any

from traindx.watch.probes.functions.common import words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.predictions import is_loss, mean_of

CONTRASTS = {"contrastive", "infonce", "ntxent", "nxent", "simclr", "supcon", "supervisedcontrastive", "nce", "clip"}
LEAST_ROWS = 4
SAME = 1e-4


def _rows(trial: Trial, count: int, width: int, seed: int = 0) -> Any:
    made = trial.torch.randn(count, width, generator=trial.generator(seed))
    return made / made.norm(dim=1, keepdim=True)


@entry(
    "triplet-loss-prefers-the-positive",
    "loss",
    "triplet loss",
    "is lower where the anchor is near the positive and far from the negative than the other way round",
    names={"triplet", "tripletloss", "tripletmargin"},
    unless={"hard", "batch", "mining", "miner", "semi", "generator", "gan", "quadruplet", "magnet"},
    remedy="relu(distance(anchor, positive) - distance(anchor, negative) + margin); similarities the other way round.",
    source="Schroff et al., FaceNet, 2015, eq. 2",
)
def prefers_the_positive(trial: Trial) -> None:
    """Anchor, positive and negative by name."""
    trial.require(len(trial.arrays) == 3 and is_loss(trial))
    anchor = trial.need("anchor", "anchors", "a", "emba", "query", "q", "f1", "x1", "anc", "anch")
    positive = trial.need("positive", "positives", "pos", "p", "embp", "xp")
    negative = trial.need("negative", "negatives", "neg", "n", "embn", "xn")
    shape = trial.arrays[anchor].shape
    trial.require(len(shape) == 2 and all(one.shape == shape for one in trial.arrays.values()))
    base, other = _rows(trial, *shape), _rows(trial, len(trial.arrays[anchor]), int(shape[1]), seed=1)
    near = base + 0.1 * other
    right = mean_of(trial, **{anchor: base, positive: near, negative: -base + 0.1 * other})
    wrong = mean_of(trial, **{anchor: base, positive: -base + 0.1 * other, negative: near})
    trial.expect(
        right < wrong,
        "anchors near their positives, and then near their negatives",
        f"{right:.4g} and {wrong:.4g} came out",
    )


@entry(
    "labelled-embeddings-lower-in-clusters",
    "loss",
    "loss on embeddings with labels",
    "is lower where samples of one label lie together than where samples of different labels do",
    names={
        "triplet",
        "supcon",
        "supervisedcontrastive",
        "contrastive",
        "batchhard",
        "npair",
        "metric",
        "nca",
        "center",
    },
    unless={
        "generator",
        "gan",
        "mining",
        "miner",
        "image",
        "text",
        "clip",
        "pixel",
        "temporal",
        "moco",
        "queue",
        "unsup",
        "invert",
        "adversarial",
    },
    remedy="Pairs of one label are the positive ones: labels[:, None] == labels[None, :].",
    source="Khosla et al., Supervised Contrastive Learning, 2020, eq. 2",
)
def lower_in_clusters(trial: Trial) -> None:
    """Embeddings (N, D) or (N, views, D) and labels (N,)."""
    torch = trial.torch
    trial.require(is_loss(trial) and len(trial.arrays) == 2)
    (labels,) = (name for name, one in trial.arrays.items() if one.dim() == 1 and not one.is_floating_point())
    (rows,) = (name for name in trial.arrays if name != labels)
    given = trial.arrays[rows]
    trial.require(given.is_floating_point() and given.dim() in (2, 3) and len(given) == len(trial.arrays[labels]))
    count, width = max(len(given), 8), int(given.shape[-1])
    count -= count % 4
    trial.require(width >= 4 and ("center" not in words(trial.call.name)))
    known = torch.arange(count) % (count // 4)
    spots = _rows(trial, max(count, 8), width, seed=1)

    def value(grouped: Any) -> float:
        made = spots[grouped] + 0.1 * _rows(trial, count, width, seed=2)
        made = made / made.norm(dim=1, keepdim=True)
        if given.dim() == 3:
            made = made.unsqueeze(1).repeat(1, int(given.shape[1]), 1)
            made = made + 0.02 * torch.randn(made.shape, generator=trial.generator(3))
            made = made / made.norm(dim=2, keepdim=True)
        return mean_of(trial, **{rows: made, labels: known})

    together, apart = value(known), value(torch.arange(count) // 4)  # groups of four that share no label
    trial.expect(
        together < apart,
        "embeddings in clusters of one label, and in clusters of different labels",
        f"{together:.4g} and {apart:.4g} came out",
    )


@entry(
    "contrastive-loss-without-order",
    "loss",
    "contrastive loss of a batch",
    "does not depend on the order of the samples",
    names=CONTRASTS,
    unless={"queue", "memory", "moco", "temporal", "bank", "cpc", "local", "dense", "pixel"},
    remedy="Positives follow their samples: the diagonal of the similarities between two views.",
    source="Chen et al., SimCLR, 2020, eq. 1; Khosla et al., 2020, eq. 2",
)
def contrast_without_order(trial: Trial) -> None:
    """Two views, or views and labels, all in another order of samples."""
    torch = trial.torch
    trial.require(is_loss(trial) and len(trial.arrays) == 2)
    counts = {len(one) for one in trial.arrays.values() if one.dim()}
    trial.require(len(counts) == 1 and all(one.dim() for one in trial.arrays.values()))
    trial.require(not any(one.dim() == 2 and one.shape[0] == one.shape[1] for one in trial.arrays.values()))  # products
    count = counts.pop()
    trial.require(count >= LEAST_ROWS and max(one.dim() for one in trial.arrays.values()) >= 2)
    trial.require(trial.undrawn())  # pairs that are drawn by place are others in another order
    before = mean_of(trial)
    for seed in range(2):
        order = torch.randperm(count, generator=trial.generator(seed))
        after = mean_of(trial, **{name: one[order] for name, one in trial.arrays.items()})
        trial.expect(
            abs(after - before) <= max(SAME * abs(before), 1e-5),
            "the samples of the batch in another order",
            f"{after:.5g} came out instead of {before:.5g}",
        )


@entry(
    "temperature-divides",
    "loss",
    "contrastive loss with a temperature",
    "is lower at a lower temperature where the views of every sample agree: similarities are divided by it",
    names=CONTRASTS,
    unless={"scale", "moco", "queue", "memory", "debiased", "hard"},
    remedy="similarity / temperature.",
    source="Chen et al., SimCLR, 2020, eq. 1",
)
def temperature_divides(trial: Trial) -> None:
    """Two views that agree, and a temperature below 1 among the arguments or attributes."""
    torch = trial.torch
    trial.require(is_loss(trial) and len(trial.arrays) == 2)
    (first, a), (second, b) = trial.arrays.items()
    trial.require(a.dim() == 2 and a.shape == b.shape and len(a) >= LEAST_ROWS and a.shape[1] >= 8)
    said = {"temperature", "temp", "tau", "t"}
    owner = trial.call.args.get("self")
    inside = [k for k, v in getattr(owner, "__dict__", {}).items() if said & set(words(k)) and isinstance(v, float)]
    given = [name for name in trial.numbers if said & set(words(name)) and isinstance(trial.call.args[name], float)]
    trial.require(len(inside) + len(given) == 1 and (not inside or owner is not None))
    now = getattr(owner, inside[0]) if inside else trial.numbers[given[0]]
    trial.require(0 < now < 1)
    rows = _rows(trial, len(a), int(a.shape[1]))
    view = rows + 0.1 * torch.randn(rows.shape, generator=trial.generator(1))

    def value(temperature: float) -> float:
        changes: dict[str, Any] = {first: rows, second: view}
        if inside:
            changes["self"] = copy.copy(owner)
            setattr(changes["self"], inside[0], temperature)
        else:
            changes[given[0]] = temperature
        return mean_of(trial, **changes)

    low, high = value(0.2), value(0.8)
    trial.expect(
        low < high, "views that agree, at a temperature of 0.2 and of 0.8", f"{low:.4g} and {high:.4g} came out"
    )


@entry(
    "pair-loss-depends-on-the-label",
    "loss",
    "contrastive loss of pairs",
    "prefers near pairs for one label and far pairs for the other",
    names={"contrastive", "contrastiveloss", "siamese"},
    unless={"sup", "supervised", "info", "nt", "clip", "text", "image"},
    remedy="y * d ** 2 + (1 - y) * relu(margin - d) ** 2.",
    source="Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping, 2006, eq. 4",
)
def depends_on_the_label(trial: Trial) -> None:
    """Two sets of embeddings and labels of zeros and ones; which of them means alike is a convention."""
    torch = trial.torch
    trial.require(is_loss(trial) and len(trial.arrays) == 3)
    labels = [
        name for name, one in trial.arrays.items() if one.numel() == len(one) and bool(((one == 0) | (one == 1)).all())
    ]
    trial.require(len(labels) == 1)
    first, second = (name for name in trial.arrays if name != labels[0])
    a, y = trial.arrays[first], trial.arrays[labels[0]]
    trial.require(a.dim() == 2 and a.shape == trial.arrays[second].shape and len(a) == len(y))
    rows = _rows(trial, *a.shape)
    away = rows + 0.1 * _rows(trial, len(a), int(a.shape[1]), seed=1)

    def likes_near(label: float) -> float:
        near, far = (
            mean_of(trial, **{first: rows, second: one, labels[0]: torch.full_like(y, label)}) for one in (away, -rows)
        )
        return far - near

    zero, one = likes_near(0), likes_near(1)
    trial.require(zero != 0 or one != 0)  # a margin that is below either distance
    trial.expect(
        zero * one <= 0 and not (zero == 0 and one < 0) and not (one == 0 and zero < 0),
        "near and far pairs of label 0, and of label 1",
        f"far pairs cost {zero:.3g} more at 0 and {one:.3g} more at 1",
    )
