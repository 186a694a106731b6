"""Is every radiograph that the network is given a projection of its own target, as it lies?"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING, Literal

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.orientation import TURNS, correlation
from traindx.core.undisturbed import undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.projection import ViewMatch

if TYPE_CHECKING:
    from torch import Tensor

BATCHES = 2
MARGIN = 0.01  # of correlation; the same image rendered twice correlates by 1, a mirrored chest by up to 0.98
LEAST = 0.95  # another orientation must fit as its own projection does


@check(
    "view-match",
    "is every given radiograph the projection of its own target",
    needs=("projection.render", "projection.observed", "target"),
    gives=(ViewMatch,),
)
def view_match(ctx: CheckContext) -> None:
    """Render the targets and correlate with what is given, as it is and turned."""
    _split(ctx, "train")
    if ctx.case.val is not None:
        _split(ctx, "val")


def _split(ctx: CheckContext, split: Literal["train", "val"]) -> None:
    projection = ctx.case.projection
    assert projection is not None
    assert projection.observed is not None
    found: dict[str, list[tuple[float, float, str]]] = {}
    for batch in _first(ctx, split):
        target = ctx.target(batch)
        with undisturbed(ctx.seed), torch.no_grad():
            given = {view: projection.observed(batch, view) for view in projection.views}
            rendered = {view: projection.render(target, view) for view in projection.views}
        if _alike(rendered):
            reason = "the renderer gives the same image for every view"
            ctx.record(NotExamined(subject=f"radiographs of {split} beside their targets", reason=reason))
            return
        for view, images in given.items():
            for index, image in enumerate(images):
                found.setdefault(view, []).append(_fit(image, view, index, rendered))
    for view, fits in found.items():
        better = [how for own, best, how in fits if best >= LEAST and best > own + MARGIN]
        ctx.record(
            ViewMatch(
                where=defined_at(projection.observed),
                view=view,
                split=split,
                samples=len(fits),
                as_it_is=median(own for own, _, _ in fits),
                best=median(max(own, best) for own, best, _ in fits),
                margin=MARGIN,
                better=len(better),
                how=Counter(better).most_common(1)[0][0] if better else "",
            )
        )


def _first(ctx: CheckContext, split: Literal["train", "val"]) -> list[object]:
    """The first batches, fewer where there are not as many."""
    from traindx.errors import CaseError

    try:
        return list(ctx.batches(BATCHES, split))
    except CaseError:
        return list(ctx.batches(1, split))


def _alike(rendered: dict[str, Tensor]) -> bool:
    """True if two views are rendered as one: then nothing tells which of them a radiograph is."""
    return any(
        one.shape == other.shape and torch.allclose(one, other) for one, other in combinations(rendered.values(), 2)
    )


def _fit(image: Tensor, view: str, index: int, rendered: dict[str, Tensor]) -> tuple[float, float, str]:
    """Correlation as it is, the best of another orientation or view, and its name."""
    own = correlation(image, rendered[view][index])
    others = {how: correlation(turn(image), rendered[view][index]) for how, turn in TURNS.items()}
    others |= {
        f"the {name} view": correlation(image, images[index]) for name, images in rendered.items() if name != view
    }
    how = max(others, key=lambda name: others[name])
    return own, others[how], how
