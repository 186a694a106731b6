"""How are boxes drawn on the map, where does the box term push, and how hard do terms pull on positives?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.batches import rows_of
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence import InOrder, NotExamined
from traindx.evidence.regions import BoxDirection, BoxesDrawn, ClassWeighting

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case_parts import Regions

BATCHES = 8
LIT = 10.0  # logits: a probability of 0.99995, as certain as a network gets
EASY = math.log(0.05 / 0.95)  # a negative that is told well: cross entropy pulls on it a tenth as hard as at one half
FAINT = 0.05  # logits to either side: right in order, and short of any margin


@check(
    "box-regions",
    "how boxes are drawn on the map, and where the box term pushes",
    needs=("regions",),
    gives=(BoxDirection, BoxesDrawn),
)
def box_regions(ctx: CheckContext) -> None:
    """Draw the boxes of some training batches, and follow the box term at maps that are known."""
    regions = ctx.case.regions
    assert regions is not None
    batches = ctx.batches(BATCHES, "train")
    _drawn(ctx, regions, batches)
    _direction(ctx, regions, batches)


def _drawn(ctx: CheckContext, regions: Regions, batches: list[Any]) -> None:
    count = alone = vanished = 0
    smallest = math.nan
    size = (0, 0)
    for batch in batches:
        drawn = regions.drawn(batch).detach()
        size = (int(drawn.shape[2]), int(drawn.shape[3]))
        for number, given in enumerate(regions.boxes(batch)):
            boxes = torch.as_tensor(given)
            count += len(boxes)
            for concept in torch.unique(boxes[:, 0]).long().tolist():
                mine = boxes[boxes[:, 0] == concept]
                if len(mine) != 1:
                    continue
                alone += 1
                if float(drawn[number, concept].sum()) == 0:
                    vanished += 1
                    _, x0, y0, x1, y1 = mine[0].tolist()
                    side = min((x1 - x0) * size[1], (y1 - y0) * size[0])
                    smallest = side if math.isnan(smallest) else min(smallest, side)
    if count:
        ctx.record(
            BoxesDrawn(
                where=defined_at(regions.drawn),
                boxes=count,
                vanished=vanished,
                alone=alone,
                smallest=smallest,
                map_size=size,
            )
        )


def _regions_of(regions: Regions, batch: Any) -> tuple[Tensor, Tensor]:
    """Cells that a box touches, from the boxes themselves and not from how the loss draws them; and boxes a pair."""
    drawn = regions.drawn(batch)
    touched = torch.zeros_like(drawn, dtype=torch.bool)
    count = torch.zeros(drawn.shape[:2], dtype=torch.long)
    rows, columns = drawn.shape[2:]
    for number, boxes in enumerate(regions.boxes(batch)):
        for concept, x0, y0, x1, y1 in torch.as_tensor(boxes).tolist():
            k = int(concept)
            top, left = max(0, math.floor(y0 * rows)), max(0, math.floor(x0 * columns))
            touched[number, k, top : math.ceil(y1 * rows), left : math.ceil(x1 * columns)] = True
            count[number, k] += 1
    return touched, count


def _direction(ctx: CheckContext, regions: Regions, batches: list[Any]) -> None:
    pairs = several = 0
    raised = inside = outside = 0.0
    blank: list[float] = []
    single: list[float] = []
    crowded: list[float] = []
    faint: list[float] = []
    for batch in batches:
        touched, count = _regions_of(regions, batch)
        there = (count > 0) & (~touched).flatten(2).any(dim=2)
        if not bool(there.any()):
            continue
        with undisturbed(ctx.seed), torch.enable_grad():
            maps = (0.01 * torch.randn(touched.shape, device=touched.device)).requires_grad_()
            value = regions.loss(maps, batch)
            if not value.requires_grad:
                reason = "the term does not depend on the maps it is given"
                ctx.record(NotExamined(subject="the direction of the box term", reason=reason))
                return
            step = -torch.autograd.grad(value, maps, allow_unused=True)[0]
        mean_in = (step * touched).sum((2, 3)) / touched.sum((2, 3)).clamp_min(1)
        mean_out = (step * ~touched).sum((2, 3)) / (~touched).sum((2, 3)).clamp_min(1)
        moved = there & (step.abs().amax((2, 3)) > 0)
        pairs += int(moved.sum())
        raised += float(((mean_in > mean_out) & moved).sum())
        inside += float(mean_in[moved].sum())
        outside += float(mean_out[moved].sum())
        several += int((count > 1).sum())
        with torch.no_grad():
            blank.append(float(regions.loss(torch.zeros_like(step), batch)))
            for rows, values in _by_crowding(count):
                part = _cut(batch, rows, len(count))
                lit = torch.where(touched[rows], LIT, -LIT).to(step)
                values_of = single if values == "single" else crowded
                values_of.append(float(regions.loss(lit, part)))
                if values == "single":
                    faint.append(float(regions.loss(lit * FAINT / LIT, part)))
    if not pairs:
        ctx.record(NotExamined(subject="the direction of the box term", reason="no box moves any logit"))
        return
    record = BoxDirection(
        where=defined_at(regions.loss),
        term=regions.term,
        pairs=pairs,
        raised=raised / pairs,
        inside=inside / pairs,
        outside=outside / pairs,
        several=several,
        at_blank=_mean(blank),
        at_truth_single=_mean(single),
        at_truth_several=_mean(crowded),
        below_margin=_mean(faint),
    )
    ctx.record(record)
    if record.raised == 1:
        said = f"a step downhill raises the map inside boxes against outside in all {pairs} pairs looked at"
        ctx.record(InOrder(subject=f"direction of the box term {regions.term!r}", detail=said))


def _by_crowding(count: Tensor) -> list[tuple[list[int], str]]:
    """Rows with one box a concept at most (and at least one), and rows with several boxes of a concept."""
    most = count.amax(dim=1)
    found = [((most == 1).nonzero().flatten().tolist(), "single"), ((most > 1).nonzero().flatten().tolist(), "several")]
    return [(rows, name) for rows, name in found if rows]


def _cut(batch: Any, rows: list[int], size: int) -> Any:
    """The chosen samples of a batch, where boxes may be a list with a tensor an image."""
    if isinstance(batch, Mapping):
        return {key: _cut(value, rows, size) for key, value in batch.items()}
    # tensors that have the batch's own length each are several inputs, and not one an image
    inputs = isinstance(batch, list | tuple) and all(
        isinstance(item, torch.Tensor) and item.ndim and len(item) == size for item in batch
    )
    if isinstance(batch, list | tuple) and len(batch) == size and not inputs:
        return type(batch)(batch[row] for row in rows)
    return rows_of(batch, rows, size)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@check(
    "class-weighting",
    "how hard terms pull on positives and on negatives",
    needs=("regions", "loss", "target"),
    gives=(ClassWeighting,),
)
def class_weighting(ctx: CheckContext) -> None:
    """Let the network answer with one number everywhere, and compare the gradients of positives and negatives."""
    case = ctx.case
    assert case.regions is not None
    model = ctx.fresh_model()
    sums: dict[tuple[str, int], list[float]] = {}
    for batch in ctx.batches(BATCHES, "train"):
        truth = ctx.target(batch).flatten(2).amax(dim=2) > 0
        easy = _pulls(ctx, model, batch, truth, EASY)
        for term, pull in _pulls(ctx, model, batch, truth, 0.0).items():
            for k in range(truth.shape[1]):
                kept = sums.setdefault((term, k), [0.0, 0.0, 0.0, 0.0, 0.0])
                mine = truth[:, k]
                kept[0] += float(pull[mine, k].sum())
                kept[1] += int(mine.sum())
                kept[2] += float(pull[~mine, k].sum())
                kept[3] += int((~mine).sum())
                kept[4] += float(easy[term][~mine, k].sum()) if term in easy else math.nan
    names = case.regions.concepts
    for (term, k), (positive, positives, negative, negatives, easily) in sums.items():
        if positives and negatives and positive > 0 and negative > 0:
            ctx.record(
                ClassWeighting(
                    where=defined_at(case.loss),
                    term=term,
                    concept=names[k] if k < len(names) else str(k),
                    positives=int(positives),
                    samples=int(positives + negatives),
                    ratio=(positive / positives) / (negative / negatives),
                    easy=easily / negative,
                )
            )


def _pulls(ctx: CheckContext, model: Any, batch: Any, truth: Tensor, logit: float) -> dict[str, Tensor]:
    """Gradient of every term at maps of one logit, summed over each map and without its sign, ``(B, K)``."""
    said: list[Tensor] = []

    def answer(_module: Any, _args: Any, output: Tensor) -> Tensor:
        said.append(torch.full_like(output, logit).detach().requires_grad_())
        return said[-1]

    handle = model.register_forward_hook(answer)
    try:
        with undisturbed(ctx.seed), torch.enable_grad():
            terms = ctx.case.loss_terms(model, batch)
    finally:
        handle.remove()
    found = {}
    for term, value in terms.items():
        if not value.requires_grad or len(said) != 1 or said[0].shape[:2] != truth.shape:
            continue
        gradient: Tensor | None = torch.autograd.grad(value, said, retain_graph=True, allow_unused=True)[0]
        if gradient is not None:
            found[term] = gradient.flatten(2).sum(dim=2).abs()
    return found
