"""Overlaps of boxes: what they are of equal boxes, of boxes that lie apart, and of one box in another.

The boxes are chosen so that the answer is the same whether four numbers are two corners, a corner and a size, or a
centre and a size, and in pixels or as parts of the image.
"""

from __future__ import annotations

from typing import Any

from traindx.watch.probes.functions.common import number, words
from traindx.watch.probes.textbook.base import Trial, entry, spoken
from traindx.watch.probes.textbook.forms import again, arguments, first_array, named_words, result

HERE, BESIDE, BELOW, ASKEW = (1, 1, 4, 4), (12, 1, 14, 4), (1, 12, 4, 14), (12, 12, 14, 14)
ACROSS_FIRST = (1, 4, 1, 4)
FARTHER = (16, 12, 18, 14)
CLOSE = (7, 7, 10, 10)  # the product of its distances along both axes from HERE is as much as an overlap of 1
WHOLE, HALF = (0, 0, 16, 16), (0, 0, 16, 8)
PIXELS, PART = 10.0, 0.05  # the unit of these numbers
OTHER_MODES = {"iof", "ios", "iomin", "intersection", "union", "mean_iou"}
NEAR = 0.03  # a pixel more or less of a box of 160
NAMES = {
    "iou", "ious", "boxiou", "bboxiou", "giou", "diou", "ciou", "eiou", "bboxoverlaps", "bboxoverlap", "boxoverlap",
    "boxoverlaps", "iouboxes", "intersectionoverunion", "generalizedboxiou", "iouloss", "giouloss", "diouloss",
    "ciouloss", "boxesiou", "jaccard", "jaccardoverlap", "computeoverlaps",
}  # fmt: skip
UNLESS = {
    "nms", "match", "matcher", "mask", "masks", "segm", "seg", "segmentation", "polygon", "rotated", "obb", "poly",
    "threshold", "assign", "assigner", "wh", "anchor", "anchors", "score", "coef",
    "self", "pixel", "track", "ap", "map", "tracker",
    "softjaccard", "3d", "class", "miou", "ltrb", "lrtb", "calibration", "aware", "sampler", "head", "branch",
}  # fmt: skip


def kind_of(trial: Trial) -> str:
    """Which overlap a function computes, by its name and by its arguments: iou, giou, diou or ciou."""
    spelled = spoken(trial.call.name)
    kind = next((one for one in ("giou", "diou", "ciou", "eiou") if {one, f"{one}loss"} & spelled), "")
    if "generalizedboxiou" in spelled or {"generalized", "generalised"} & spelled:
        kind = "giou"
    owner = getattr(trial.call.args.get("self"), "__dict__", {})
    for name, value in {**owner, **trial.call.args}.items():
        low = name.lower()
        if low in ("giou", "diou", "ciou") and value is True:
            kind = low
        if isinstance(value, str):
            trial.require(value.lower() not in OTHER_MODES)
            if value.lower() in ("giou", "diou", "ciou"):
                kind = value.lower()
    return kind or "iou"


class Boxes:
    """Two arguments of boxes that are given others."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        known = {name: one for name, one in arguments(trial).items() if one.shape[-1] == 4}
        others = [one for name, one in arguments(trial).items() if name not in known and one.numel() > 4]
        trial.require(len(known) == 2 and not others)
        self.names = list(known)
        self.shapes = [tuple(one.shape) for one in known.values()]
        trial.require(all(1 <= len(shape) <= 3 for shape in self.shapes))
        values = [one.double() for one in known.values()]
        whole = [bool(((one == 0) | (one == 1)).all()) for one in values]
        trial.require(not any(whole) and any(bool((one[..., 2:] > 0).all()) for one in values))  # ends, or sizes
        largest = max(float(one.abs().max()) for one in values)
        trial.require(all(bool(one.isfinite().all()) for one in values))
        floating = all(one.dtype.is_floating_point for one in known.values())
        self.unit = PART if largest <= 1.5 and floating else PIXELS

    def made(self, first: Any, second: Any) -> tuple[Any, Any]:
        """Both arguments with one box each in every row."""
        torch = self.trial.torch
        rows = [torch.tensor(one, dtype=torch.float64) * self.unit for one in (first, second)]
        return rows[0].expand(*self.shapes[0]).clone(), rows[1].expand(*self.shapes[1]).clone()

    def overlap(self, first: Any, second: Any, *, finite: bool = True) -> Any:
        """What the function says of one box and another, all numbers that it gives."""
        a, b = self.made(first, second)
        found = result(self.trial, **{self.names[0]: a, self.names[1]: b}).double()
        self.trial.require(found.numel() > 0 and (not finite or bool(found.isfinite().all())))
        return found


@entry(
    "box-overlap",
    "figure",
    "overlap of boxes",
    "is 1 for equal boxes, 0 (or negative, if generalised) for boxes that lie apart, along one axis or along both, "
    "and 1/2 for a box and its half",
    names=NAMES,
    unless={*UNLESS, "loss", "losses", "iouloss"},
    universal=True,
    remedy="Intersection: (min of the ends - max of the starts).clamp(min=0) along each axis, before multiplying.",
    source="Rezatofighi et al., Generalized Intersection over Union, 2019, algorithm 1",
)
def box_overlap(trial: Trial) -> None:
    """Two arguments whose last axis has four entries; any number of rows, of which one value each or each pair."""
    kind = kind_of(trial)
    boxes = Boxes(trial)
    same = boxes.overlap(HERE, HERE)
    rows = max(_rows(shape) for shape in boxes.shapes)
    trial.require(same.numel() >= rows)  # no mean, sum or best of them
    half = trial.torch.stack([boxes.overlap(WHOLE, HALF), boxes.overlap(HALF, WHOLE)])
    apart = {"side by side": BESIDE, "one below the other": BELOW, "diagonally apart": ASKEW}
    found = {how: boxes.overlap(HERE, box) for how, box in apart.items()}
    trial.require(not _is_distances(found["side by side"], found["one below the other"]))
    if not _all_near(same, 1.0):  # x1, x2, y1, y2 is an order, too
        trial.require(not _all_near(boxes.overlap(ACROSS_FIRST, ACROSS_FIRST, finite=False), 1.0))
    trial.expect(_all_near(same, 1.0), "two equal boxes", f"{_most_off(same, 1.0):.3g} came out")
    for how, value in found.items():
        wrong = value.abs().max() > NEAR if kind == "iou" else value.max() > 0
        got = f"{_most_off(value, 0.0):.3g} came out"
        trial.expect(not bool(wrong), f"two boxes that lie {how}", got)
    if kind == "giou":
        far = boxes.overlap(HERE, FARTHER)
        trial.expect(
            bool((far < found["diagonally apart"]).all()) and bool((far >= -1 - NEAR).all()),
            "two boxes that lie apart, and the second still farther away",
            f"{float(found['diagonally apart'].max()):.3g} and then {float(far.max()):.3g} came out",
        )
    low = 0.5 - NEAR if kind in ("iou", "giou") else 0.3
    fits = bool(((half > low) & (half < 0.5 + NEAR)).all())
    trial.expect(fits, "a box and its half", f"{_most_off(half, 0.5):.3g} came out, by definition 0.5")
    _row_by_row(trial, boxes, same)


def _rows(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape[:-1]:
        count *= size
    return count


def _is_distances(beside: Any, below: Any) -> bool:
    """True if four numbers were taken for distances from a point to the four sides: those boxes always overlap."""
    expected = 25 / 130
    return bool(((beside - expected).abs() < 0.01).all() and ((below - expected).abs() < 0.01).all())


def _all_near(found: Any, value: float) -> bool:
    return bool(((found - value).abs() < NEAR).all())


def _most_off(found: Any, value: float) -> float:
    return float(found.reshape(-1)[(found - value).abs().argmax()])


def _row_by_row(trial: Trial, boxes: Boxes, same: Any) -> None:
    """Of several rows only the first is the other box: only its overlap is 1."""
    if len(boxes.shapes[0]) != 2 or boxes.shapes[0][0] < 2:
        return
    a, b = boxes.made(ASKEW, HERE)
    a[0] = b.reshape(-1, 4)[0]
    found = result(trial, **{boxes.names[0]: a, boxes.names[1]: b}).double()
    if found.shape[0] != len(a) or found.shape != same.shape:
        return
    fits = bool((found[0] > 0.9).all()) and bool((found[1:] < 0.5).all())
    trial.expect(
        fits,
        "boxes of which only the first is the same as the other ones",
        f"the first has {float(found[0].min()):.3g} and of the others one {float(found[1:].max()):.3g}",
    )


@entry(
    "box-overlap-loss",
    "loss",
    "loss of the overlap of boxes",
    "is least for equal boxes, more for a box and its half, and most for boxes that lie apart, wherever they do",
    names=NAMES,
    unless=UNLESS - {"aware"},
    universal=True,
    remedy="1 - IoU, with the intersection clamped at 0 along each axis before the product.",
    source="Rezatofighi et al., Generalized Intersection over Union, 2019",
)
def box_overlap_loss(trial: Trial) -> None:
    """As above, of functions that are called a loss."""
    trial.require(bool({"loss", "losses", "criterion"} & named_words(trial)))
    kind = kind_of(trial)
    boxes = Boxes(trial)
    same, half = boxes.overlap(HERE, HERE), boxes.overlap(WHOLE, HALF)
    trial.require(same.numel() in (1, _rows(boxes.shapes[0])))
    trial.expect(
        float(same.mean()) < float(half.mean()) - 1e-4,
        "two equal boxes, and a box and its half",
        f"the first costs {float(same.mean()):.3g}, the second {float(half.mean()):.3g}",
    )
    distances = _is_distances(1 - boxes.overlap(HERE, BESIDE), 1 - boxes.overlap(HERE, BELOW))
    if distances:
        return
    apart = {
        how: float(boxes.overlap(HERE, box).mean())
        for how, box in {"side by side": BESIDE, "one below the other": BELOW, "diagonally apart": ASKEW}.items()
    }
    for how, cost in apart.items():
        trial.expect(
            cost > float(half.mean()) + 1e-4,
            f"two boxes that lie {how}, and a box and its half",
            f"the first costs {cost:.3g}, the second {float(half.mean()):.3g}",
        )
    trial.expect(
        kind != "iou" or max(apart.values()) - min(apart.values()) < NEAR * max(1.0, abs(cost)),
        "boxes that lie apart in three directions",
        "they cost " + ", ".join(f"{one:.3g}" for one in apart.values()) + ", though no overlap is 0",
    )


@entry(
    "suppression-of-overlaps",
    "model",
    "non-maximum suppression",
    "keeps the best of two equal boxes, drops the other, and keeps a box that lies apart",
    names={
        "nms", "nonmaxsuppression", "nonmaximumsuppression", "nonmaxsuppress", "batchednms", "nmsboxes",
        "nonmaximalsuppression", "nonmaxsuppressionfast", "greedynms", "pynms", "cpunms", "nmscpu",
    },
    unless={"soft", "matrix", "edge", "edges", "canny", "heat", "heatmap", "peaks", "keypoint", "point", "simple",
            "mask", "masks", "rotated", "poly", "polygon", "merge", "weighted", "wbf", "diou", "iomin", "softnms"},
    universal=True,
    remedy="Sort by score, keep the first, and drop what overlaps it by more than the threshold; no overlap is 0.",
    source="torchvision.ops.nms",
)  # fmt: skip
def suppression(trial: Trial) -> None:
    """Boxes (N, 4) and scores (N,), or rows of both (N, 5); gives indices, flags or rows."""
    torch = trial.torch
    known = arguments(trial)
    for name, value in trial.numbers.items():
        parts = set(words(name))
        if {"thresh", "threshold", "iou", "overlap", "thr", "thres"} & parts:
            trial.require(0 < value < 0.95)
        if {"top", "max", "k", "limit", "topk", "keep", "num", "n"} & parts:
            trial.require(value >= 8)
    fours = [name for name, one in known.items() if one.dim() == 2 and one.shape[1] == 4 and len(one) >= 3]
    fives = [name for name, one in known.items() if one.dim() == 2 and one.shape[1] == 5 and len(one) >= 3]
    trial.require(len(fours) + len(fives) == 1)
    boxes = (fours or fives)[0]
    count = len(known[boxes])
    part = float(known[boxes][:, :4].abs().max()) <= 1.5 and known[boxes].dtype.is_floating_point
    unit = PART if part else PIXELS
    here, askew = (torch.tensor(one, dtype=torch.float64) * unit for one in (HERE, CLOSE))
    rows = here.repeat(count, 1)
    rows[2] = askew
    scores = torch.full((count,), 0.7, dtype=torch.float64)
    scores[1], scores[2] = 0.9, 0.8
    changes: dict[str, Any] = {}
    if fives:
        bounded = known[boxes][:, 4].double()
        trial.require(bool(((bounded >= 0) & (bounded <= 1)).all()))  # the last column is the score
        changes[boxes] = torch.cat([rows, scores[:, None]], 1)
    else:
        lines = {name: one for name, one in known.items() if name != boxes and tuple(one.shape) == (count,)}
        named = [
            name for name in lines if {"score", "scores", "conf", "confidence", "prob", "probs"} & set(words(name))
        ]
        trial.require(len(named) == 1 and known[named[0]].dtype.is_floating_point)
        changes = {boxes: rows, named[0]: scores}
        for name, one in lines.items():
            if name not in changes:
                changes[name] = one.double()[:1].expand(count).clone()
    trial.require(set(known) == set(changes))
    made = again(trial, **changes)
    kept = first_array(trial, made)
    if isinstance(made, tuple) and len(made) == 2 and (many := number(torch, made[1])) is not None:
        kept = kept[: int(many)]  # room for all, of which so many are meant
    if kept.dim() == 2 and kept.shape[1] >= 4:
        same = int(((kept[:, :4].double() - here).abs().max(1).values < unit / 4).sum())
        other = int(((kept[:, :4].double() - askew).abs().max(1).values < unit / 4).sum())
        best = True
    else:
        trial.require(kept.dim() == 1)
        if kept.dtype == torch.bool or (len(kept) == count and set(kept.tolist()) <= {0, 1} and count > 3):
            kept = kept.nonzero().reshape(-1)
        chosen = [round(float(one)) for one in kept]
        same, other, best = len([one for one in chosen if one != 2]), chosen.count(2), 1 in chosen
    trial.expect(
        best and same == 1,
        f"{count - 1} equal boxes, of which the second has the best score",
        f"{same} of them were kept" + ("" if best else ", and the best one was not"),
    )
    trial.expect(other == 1, "a box that lies diagonally apart from the others", "it was dropped")
