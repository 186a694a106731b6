"""Figures: calibration, ranks, agreement of numbers, distances of sequences, doses, and neighbours."""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number, parts_of, words
from traindx.watch.probes.textbook.base import Trial, entry
from traindx.watch.probes.textbook.predictions import mean_of, roles

ROWS = 200


def _labels_and_chances(trial: Trial) -> tuple[str, str]:
    """Names of chances (N,) or (N, K), and of labels or hits (N,)."""
    trial.require(len(trial.arrays) == 2)
    floats = [n for n, one in trial.arrays.items() if one.is_floating_point() and bool((one != one.round()).any())]
    trial.require(len(floats) == 1)
    (labels,) = (n for n in trial.arrays if n not in floats)
    chances, known = trial.arrays[floats[0]], trial.arrays[labels]
    trial.require(chances.dim() in (1, 2) and known.dim() == 1 and len(chances) == len(known))
    trial.require(bool(chances.min() >= 0 and chances.max() <= 1) and bool((known == known.round()).all()))
    return floats[0], labels


def _confident(trial: Trial, chances: str, labels: str, confidence: float, right: float) -> dict[str, Any]:
    """Predictions of one confidence, of which a share is right."""
    torch = trial.torch
    hits = (torch.arange(ROWS) < round(right * ROWS)).long()
    if trial.arrays[chances].dim() == 1:
        return {chances: torch.full((ROWS,), confidence), labels: hits}
    count = int(trial.arrays[chances].shape[1])
    trial.require(count >= 2 and confidence > 1 / count)
    guess = torch.arange(ROWS) % count
    rows = torch.full((ROWS, count), (1 - confidence) / (count - 1))
    rows[torch.arange(ROWS), guess] = confidence
    return {chances: rows, labels: torch.where(hits.bool(), guess, (guess + 1) % count)}


@entry(
    "calibration-error-of-known-confidence",
    "figure",
    "expected calibration error",
    "is 0 where as many predictions are right as their confidence says, and the difference elsewhere",
    names={"ece", "calibrationerror", "expectedcalibration", "ecescore"},
    unless={"loss", "max", "mce", "ace", "static", "adaptive", "classwise", "sce", "brier", "soft"},
    remedy="sum over bins of (samples of the bin / samples) * |accuracy - mean confidence|.",
    source="Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3",
)
def calibration_error(trial: Trial) -> None:
    """Confidences and hits (N,), or probabilities (N, K) and labels."""
    chances, labels = _labels_and_chances(trial)
    right = mean_of(trial, **_confident(trial, chances, labels, 0.85, 0.85))
    wrong = mean_of(trial, **_confident(trial, chances, labels, 0.95, 0.55))
    scale = 100.0 if wrong > 2 else 1.0
    trial.expect(abs(right) < 0.02 * scale, "a confidence of 0.85, and 85 % of them right", f"{right:.4g} came out")
    trial.expect(
        abs(wrong - 0.4 * scale) < 0.02 * scale,
        "a confidence of 0.95, and 55 % of them right",
        f"{wrong:.4g} came out, by definition {0.4 * scale:g}",
    )


@entry(
    "brier-score-is-squared",
    "figure",
    "Brier score",
    "is 0 for sure and right probabilities, largest for sure and wrong ones, and grows with the square between",
    names={"brier", "brierscore", "brierloss"},
    unless={"skill", "integrated", "ipcw", "survival", "time", "censored", "ibs", "decomposition"},
    remedy="((probability - outcome) ** 2).mean().",
    source="Brier, Verification of Forecasts Expressed in Terms of Probability, 1950, eq. 2",
)
def brier(trial: Trial) -> None:
    """Probabilities (N,) of outcomes of zeros and ones, or (N, K) and labels."""
    torch = trial.torch
    chances, labels = _labels_and_chances(trial)
    many = trial.arrays[chances].dim() == 2
    count = int(trial.arrays[chances].shape[1]) if many else 2
    known = torch.arange(ROWS) % count

    def value(share: float) -> float:
        if not many:
            return mean_of(trial, **{chances: torch.where(known == 1, share, 1 - share), labels: known})
        rows = torch.zeros(ROWS, count)
        rows[torch.arange(ROWS), known] = share
        rows[torch.arange(ROWS), (known + 1) % count] += 1 - share
        return mean_of(trial, **{chances: rows, labels: known})

    right, middle, wrong = value(1.0), value(0.5), value(0.0)
    said = f"{right:.4g}, {middle:.4g} and {wrong:.4g} came out"
    trial.expect(abs(right) < 1e-4 and wrong > 0, "a probability of 1, 0.5 and 0 for the truth", said)
    trial.expect(abs(middle / wrong - 0.25) < 0.01, "a probability of 1, 0.5 and 0 for the truth", said)


@entry(
    "top-k-counts-the-first-k",
    "figure",
    "accuracy of the first k guesses",
    "counts a label that is among the k largest scores, and no other",
    names={"topk", "topkaccuracy", "accuracytopk", "topkacc", "hitatk", "topkhit"},
    unless={
        "loss",
        "pool",
        "mask",
        "sparse",
        "gate",
        "gating",
        "route",
        "routing",
        "sample",
        "sampling",
        "filter",
        "filtering",
        "logits",
        "pooling",
        "indices",
        "select",
        "selection",
        "attention",
        "retrieval",
        "recall",
    },
    remedy="scores.topk(k).indices.eq(labels[:, None]).any(1).float().mean().",
    source="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015, section 4.1",
)
def top_k(trial: Trial) -> None:
    """Scores (N, K) and labels (N,): labels at the place k, and one behind; one k."""
    torch = trial.torch
    trial.require(len(trial.arrays) == 2)
    (scores,) = (n for n, one in trial.arrays.items() if one.dim() == 2 and one.is_floating_point())
    (labels,) = (n for n, one in trial.arrays.items() if one.dim() == 1 and not one.is_floating_point())
    ks = [int(one) for n, one in trial.numbers.items() if {"k", "topk"} & {*words(n), "".join(words(n))}]
    trial.require(len(ks) == 1 and ks[0] >= 2)
    k, count = ks[0], int(trial.arrays[scores].shape[1])
    trial.require(count > k + 1)
    made = torch.stack([torch.randperm(count, generator=trial.generator(i)).float() for i in range(24)])
    order = made.argsort(1, descending=True)
    inside, outside = (mean_of(trial, **{scores: made, labels: order[:, place]}) for place in (k - 1, k))
    trial.expect(
        inside > outside and abs(outside) < 1e-6,
        f"labels at place {k} of the scores, and at place {k + 1}",
        f"{inside:.4g} and {outside:.4g} came out",
    )


def _series(trial: Trial) -> tuple[str, str]:
    trial.require(len(trial.arrays) == 2)
    who = roles(trial)
    a, b = trial.arrays[who.prediction], trial.arrays[who.target]
    trial.require(a.is_floating_point() and b.is_floating_point() and a.shape == b.shape)
    trial.require(a.dim() == 1 or (a.dim() == 2 and a.shape[1] == 1))
    return who.prediction, who.target


@entry(
    "determination-of-known-errors",
    "figure",
    "coefficient of determination",
    "is 1 for perfect predictions, and 0 for the mean of the truth",
    names={"r2", "r2score", "rsquared", "rsquare", "determination"},
    unless={"loss", "adjusted", "r1", "unet", "u2", "clip"},
    remedy="1 - ((truth - prediction) ** 2).sum() / ((truth - truth.mean()) ** 2).sum().",
    source="Draper and Smith, Applied Regression Analysis, 1998, section 1.3",
)
def determination(trial: Trial) -> None:
    """Predictions and truth (N,), whose names tell which is which."""
    torch = trial.torch
    prediction, target = _series(trial)
    trial.require(roles(trial).certain)
    line = torch.linspace(-1, 3, 40)
    truth = (line**3 + 5).reshape(-1, *trial.arrays[target].shape[1:])
    noisy = truth + 2 * torch.sin(17 * truth)
    perfect, noise, mean = (
        mean_of(trial, **{prediction: one, target: truth}) for one in (truth, noisy, truth.mean() + 0 * truth)
    )
    expected = 1 - float((noisy - truth).square().sum() / (truth - truth.mean()).square().sum())
    trial.expect(abs(perfect - 1) < 1e-3, "perfect predictions", f"{perfect:.4g} came out")
    trial.expect(abs(mean) < 1e-2, "the mean of the truth as every prediction", f"{mean:.4g} came out")
    trial.expect(
        abs(noise - expected) < 1e-2, "predictions with errors", f"{noise:.4g} came out, by definition {expected:.4g}"
    )


@entry(
    "correlation-of-known-lines",
    "figure",
    "correlation",
    "is 1 for numbers that rise together along a line, and -1 where one falls",
    names={
        "pearson",
        "pearsonr",
        "spearman",
        "spearmanr",
        "pcc",
        "plcc",
        "srcc",
        "srocc",
        "pearsoncorrelation",
        "correlationcoefficient",
        "corrcoef",
    },
    unless={
        "loss",
        "matrix",
        "concordance",
        "ccc",
        "lin",
        "phase",
        "cross",
        "map",
        "distance",
        "intraclass",
        "squared",
        "abs",
        "matthews",
        "kendall",
        "partial",
        "auto",
    },
    remedy="Subtract both means; sum of products over the root of the product of both sums of squares.",
    source="Pearson, Note on Regression and Inheritance, 1895",
)
def correlation(trial: Trial) -> None:
    """Two series (N,), without order of roles."""
    torch = trial.torch
    first, second = trial.pair()
    a = trial.arrays[first]
    trial.require(a.dim() == 1 and a.is_floating_point() and trial.arrays[second].is_floating_point() and len(a) >= 3)
    line = torch.linspace(2, 9, 40) + torch.sin(torch.arange(40).float())
    mixed = line[torch.randperm(40, generator=trial.generator())]

    def value(one: Any, other: Any) -> float:
        return trial.value(**{first: one, second: other})

    up, down = value(line, 3 * line + 40), value(line, 7 - 2 * line)
    there, back = value(line, mixed), value(mixed, line)
    given = "a series, and the same times 3 plus 40, and 7 minus twice it"
    trial.expect(abs(up - 1) < 0.01 and abs(down + 1) < 0.01, given, f"{up:.4g} and {down:.4g} came out")
    trial.expect(
        abs(there - back) < 0.01, "two series, and the same in the other order", f"{there:.4g} and {back:.4g} came out"
    )


def _texts(trial: Trial) -> tuple[str, str]:
    found = [n for n, one in trial.call.args.items() if isinstance(one, str)]
    trial.require(len(found) == 2 and not trial.arrays)
    return found[0], found[1]


@entry(
    "edit-distance-of-known-words",
    "figure",
    "edit distance",
    "is 0 for equal texts, and counts one for each letter that is put in, left out or changed",
    names={"editdistance", "levenshtein", "levenshteindistance"},
    unless={"ratio", "normalized", "normalised", "similarity", "damerau", "weighted", "loss", "score"},
    remedy="d[i][j] = min(d[i-1][j] + 1, d[i][j-1] + 1, d[i-1][j-1] + (a != b)).",
    source="Levenshtein, Binary Codes Capable of Correcting Deletions, Insertions and Reversals, 1966",
)
def edit_distance(trial: Trial) -> None:
    """Two texts."""
    first, second = _texts(trial)
    for a, b, meant in (
        ("abcd", "abcd", 0),
        ("kitten", "sitting", 3),
        ("abc", "", 3),
        ("ab", "ba", 2),
        ("", "abcd", 4),
    ):
        got = number(trial.torch, trial.again(**{first: a, second: b}))
        trial.require(got is not None)
        shares = [meant / size for size in (len(a), len(b), max(len(a), len(b))) if size]
        trial.expect(got == meant or got in shares, f"{a!r} and {b!r}", f"{got:g} came out, by definition {meant}")


@entry(
    "error-rate-of-known-texts",
    "figure",
    "error rate of words or letters",
    "is 0 for equal texts, and higher the more words differ",
    names={"wer", "cer", "worderror", "charactererror", "charerror", "worderrorrate"},
    unless={"loss", "accuracy", "batch", "corpus"},
    remedy="Edit distance over the length of the reference.",
    source="Jurafsky and Martin, Speech and Language Processing, section 16.5",
)
def error_rate(trial: Trial) -> None:
    """Two texts."""
    first, second = _texts(trial)
    texts = ("the cat sat on the mat", "the cat sat on the rug", "a dog ran off")
    rates = [number(trial.torch, trial.again(**{first: texts[0], second: one})) for one in texts]
    values = [one for one in rates if one is not None]
    trial.require(len(values) == 3)
    said = ", ".join(f"{one:.3g}" for one in values) + " came out"
    trial.expect(values[0] == 0 and values[0] < values[1] < values[2], "equal, similar and different texts", said)


@entry(
    "dose-that-a-share-receives",
    "figure",
    "dose-volume figure",
    "D(x) is the dose that x percent of the volume receive at least: low for D95, high for D2",
    names={"d95", "d98", "d99", "d2", "d5", "d90", "doseatvolume", "dosetovolume", "dosevolume"},
    unless={"conv2", "hausdorff", "hd95", "hd", "curve", "histogram", "plot", "loss", "conv", "2d"},
    remedy="np.percentile(dose[mask], 100 - x).",
    source="ICRU Report 83, 2010, section 3.7",
)
def dose_of_share(trial: Trial) -> None:
    """Doses from 0 to 100 in a mask that holds them all; x stands in the name, or is the only number."""
    torch = trial.torch
    digits = [int(word[1:]) for word in words(trial.call.name) if word[0] == "d" and word[1:].isdigit()]
    given = [one for one in trial.numbers.values() if 0 < one <= 100]
    level = float(digits[0]) if digits else given[0] if len(given) == 1 else 0.0
    trial.require(level in (2, 5, 90, 95, 98, 99))
    doses = [n for n in trial.arrays if "dose" in words(n)]
    trial.require(len(doses) == 1 and len(trial.arrays) in (1, 2))
    shape = trial.arrays[doses[0]].shape
    size = trial.arrays[doses[0]].numel()
    trial.require(size >= 200)
    changes = {doses[0]: torch.linspace(0, 100, size)[torch.randperm(size, generator=trial.generator())].reshape(shape)}
    for name in trial.arrays:
        if name != doses[0]:
            changes[name] = torch.ones(trial.arrays[name].shape)
    got = trial.value(**changes)
    trial.expect(
        abs(got - (100 - level)) < 2,
        "doses from 0 to 100, all equally often",
        f"{got:.4g} came out, by definition {100 - level:g}: {level:g} % receive that much or more",
    )


@entry(
    "neighbours-are-near",
    "model",
    "nearest neighbours",
    "finds the nearest points, and not the farthest",
    names={
        "knn",
        "knngraph",
        "nearestneighbors",
        "nearestneighbours",
        "kneighbors",
        "knnidx",
        "knnpoints",
        "getneighbors",
    },
    unless={
        "classifier",
        "loss",
        "accuracy",
        "predict",
        "monitor",
        "eval",
        "interpolate",
        "upsample",
        "feature",
        "features",
        "radius",
        "query",
        "score",
        "attention",
    },
    remedy="torch.cdist(x, x).topk(k + 1, largest=False).indices[:, 1:].",
    source="Cover and Hart, Nearest Neighbor Pattern Classification, 1967",
)
def neighbours_are_near(trial: Trial) -> None:
    """Points (N, D), (B, N, D) or (B, D, N), in two clusters far apart, to indices (N, k), (B, N, k) or (2, N k)."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.is_floating_point() and given.dim() in (2, 3))
    ks = [
        int(one) for n, one in trial.numbers.items() if {"k", "neighbors", "neighbours", "knn", "num"} & set(words(n))
    ]
    trial.require(len(ks) == 1 and ks[0] >= 1)
    k = ks[0]
    old = [one for _, part in parts_of(trial.call.result) if (one := as_tensor(torch, part)) is not None]
    old = [
        one
        for one in old
        if not one.is_floating_point() and one.dim() >= 2 and one.shape[-1] in (k, given.shape[-2] * k)
    ]
    trial.require(len(old) == 1)
    edges = old[0].dim() == 2 and old[0].shape[0] == 2 and old[0].shape[1] != k
    axis = given.dim() - 2
    if given.dim() == 3 and not edges and old[0].shape[1] == given.shape[2] != given.shape[1]:
        axis = 2
    points = int(given.shape[axis])
    trial.require(points >= 2 * k + 4 and (edges or old[0].shape[-2] == points))
    side = (torch.arange(points) % 2).float() * 100
    shape = [1] * given.dim()
    shape[axis] = points
    spots = torch.rand(given.shape, generator=trial.generator()) + side.reshape(shape)
    parts = [one for _, part in parts_of(trial.again(**{name: spots})) if (one := as_tensor(torch, part)) is not None]
    found = [one for one in parts if not one.is_floating_point() and one.dim() >= 2 and one.shape == old[0].shape]
    trial.require(len(found) == 1)
    indices = found[0].long()
    if edges:
        first, second = indices[0], indices[1]
    else:
        rows = indices.reshape(-1, points, k)[0]
        first, second = torch.arange(points)[:, None].expand(points, k).reshape(-1), rows.reshape(-1)
    trial.require(int(second.max()) < points and int(second.min()) >= 0 and int(first.max()) < points)
    share = float((side[first] == side[second]).double().mean())
    trial.expect(
        share > 0.99, "two clusters far apart", f"{100 * (1 - share):.0f} % of the neighbours lie in the other cluster"
    )


@entry(
    "adjacency-normalised-by-degree",
    "model",
    "normalised adjacency",
    "divides each edge by the degrees of its ends: no eigenvalue is larger than 1",
    names={
        "normalizeadj",
        "normalizeadjacency",
        "normadj",
        "normalizedadjacency",
        "adjnorm",
        "symnorm",
        "normalizegraph",
        "normalizedadj",
        "preprocessadj",
        "gcnnorm",
        "normalisedadjacency",
        "normaliseadjacency",
    },
    unless={"laplacian", "feature", "features", "cheb", "random"},
    remedy="D ** -0.5 @ (A + I) @ D ** -0.5.",
    source="Kipf and Welling, Semi-Supervised Classification with Graph Convolutional Networks, 2017, eq. 2",
)
def by_degree(trial: Trial) -> None:
    """A symmetric matrix of zeros and ones (N, N): the same form by rows, or by both sides."""
    torch = trial.torch
    name = trial.only()
    given = trial.arrays[name]
    trial.require(given.dim() == 2 and given.shape[0] == given.shape[1] >= 3)
    count = max(len(given), 8)
    made = (torch.rand(count, count, generator=trial.generator()) > 0.6).float().triu(1)
    made = made + made.t()
    made[0, 1:] = made[1:, 0] = 1.0  # one with many edges, and nobody without
    out = trial.tensor(**{name: made})
    trial.require(out.shape == made.shape and bool(out.isfinite().all()))
    largest = float(torch.linalg.eigvals(out.double()).abs().max())
    trial.expect(
        largest <= 1.01,
        f"a symmetric matrix of {count} nodes",
        f"the largest eigenvalue is {largest:.3f}: what passes through it grows with each layer",
    )
