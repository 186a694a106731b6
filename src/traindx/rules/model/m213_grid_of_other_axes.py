"""M213 grid-of-other-axes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import GridSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule

NAMES = {2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


@rule(
    "M213",
    "grid-of-other-axes",
    Severity.CRITICAL,
    needs=(GridSeen,),
    looked_at=requires(
        GridSeen, lambda grid, limits: grid.calls >= limits.calls, otherwise="too few calls of the kind were watched"
    ),
    calls=Threshold(3, "calls that all did so; one may be an augmentation that was drawn"),
    beyond=Threshold(0.2, "what a displacement may add to a grid of 0 to 1; one of -1 to 1 begins at -1"),
    outside=Threshold(0.5, "share of a grid outside the image in every call; a shift by half an image has as much"),
)
def grid_of_other_axes(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The grid of `grid_sample` has its axes in another order, or its coordinates in another unit.

    What it finds:
        A grid made of row and column indices where x (columns) comes first; a grid in pixels, or in 0 to 1, where
        -1 to 1 spans the image.
    Why it stops learning:
        The image is transposed, or read outside itself, before any displacement: a registration starts from a wrong
        pose, a spatial transformer cannot express the identity.
    Evidence it needs:
        GridSeen (a watched script).
    How it decides:
        Each component of the grid is correlated with each image axis. In all calls (at least `calls`) every component
        follows one axis upwards, and not the one that `grid_sample` reads from it; or every call has most of its
        coordinates (`outside`) beyond the image and reaches beyond 2; or every call spans 0 to 1. `demonstrated`.
    Remedy:
        Order the last axis x, y (, z), and scale by 2 / (size - 1) - 1.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        Images that are transposed on purpose, each and every one.
    References:
        PyTorch documentation of `torch.nn.functional.grid_sample`.
    """
    for grid in evidence.of(GridSeen):
        if grid.calls < limits.calls or not grid.order:
            continue
        right = tuple(reversed(range(grid.axes)))
        numbers = {"calls": grid.calls, "low": grid.low, "high": grid.high, "outside": grid.outside}
        names = NAMES[grid.axes]
        if grid.order != right:
            has, wanted = (", ".join(names[axis] for axis in order) for order in (grid.order, right))
            yield Found(
                variant="order",
                message=f"The grid's components run along {has} in all {grid.calls} calls; grid_sample reads them as "
                f"{wanted} (x first): the image is transposed even where nothing is to be moved.",
                standing=Standing.DEMONSTRATED,
                location=grid.where,
                numbers=numbers,
                remedy="Reverse the last axis of the grid, for example grid.flip(-1).",
            )
        elif grid.outside >= limits.outside and grid.least_high > 2:
            yield Found(
                variant="pixels",
                message=f"The grid's coordinates reach from {grid.low:.3g} to {grid.high:.3g}; grid_sample spans the "
                f"image by -1 to 1, so at least {grid.outside:.0%} of them lie outside it.",
                standing=Standing.DEMONSTRATED,
                location=grid.where,
                numbers=numbers,
                remedy="Scale each component: 2 * index / (size - 1) - 1.",
            )
        elif grid.low >= -limits.beyond and grid.high <= 1 + limits.beyond and grid.least_high >= 0.9:
            yield Found(
                variant="unit",
                message=f"The grid spans {grid.low:.2g} to {grid.high:.2g} in all {grid.calls} calls; grid_sample "
                "spans the image by -1 to 1, so only its last quarter is read.",
                standing=Standing.DEMONSTRATED,
                location=grid.where,
                numbers=numbers,
                remedy="Scale the grid from 0..1 to -1..1: grid * 2 - 1.",
            )
