"""What an image shows where a map of labels has one value, beside what it shows where the map has others.

A structure that somebody drew has a look of its own, or at least a border at which the image changes. A region that
nobody drew in is a mixture of what the other values look like, and its border cuts through structures: what lies beside
a piece of 1 looks like 1, what lies beside a piece of 0 looks like 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

BINS = 48  # of equal counts
MOST = 1_500_000  # voxels of one map that are looked at: a block from its middle
LEAST_VOXELS = 200  # of a region
LEAST_PAIRS = 12  # of neighbours across a border, in each of several maps
SHARES = 201  # of the mixture that are tried
DEPTH = 0.03  # of the shorter side, two voxels at least: what is thinner is a seam between two others
LEAST_SIDE = 12


@dataclass(frozen=True)
class Region:
    """One value of one map, beside two groups of the others.

    Attributes:
        share: Of all voxels that have the value.
        deep: Of them that lie deeper in the region than a seam is wide.
        apart: Kolmogorov-Smirnov distance between the intensities of the two groups.
        mixture: The same between those of the value and the nearest mixture of both groups.
        part: Share of the second group in that mixture.
        pure: Distance to the nearer one of the two groups.
        follows: How far the two sides of the region's border look alike: 1 where what lies beside a group looks as much
            like it as the group does there, 0 where it looks the same beside both.
        edge: How much the image changes across the border of the region: 0 as inside of it, 1 as between both groups;
            None where these do not touch.
    """

    share: float
    deep: float
    apart: float
    mixture: float
    part: float
    pure: float
    follows: float
    edge: float | None


def region(image: Any, labels: Any, value: float, first: list[float], second: list[float]) -> Region | None:
    """None where one of them is too small, or where nothing touches.

    Args:
        image: Intensities.
        labels: Whole numbers, of the same shape.
        value: The one in question.
        first: Values of one group.
        second: Values of the other.
    """
    share = float((labels == value).mean())
    image, labels = _middle(image), _middle(labels)
    groups = [labels == value, np.isin(labels, first), np.isin(labels, second)]
    if any(int(one.sum()) < LEAST_VOXELS for one in groups):
        return None
    binned = _binned(image)
    counts = [np.bincount(binned[one], minlength=BINS).astype(np.float64) for one in groups]
    ours, one, other = (count / count.sum() for count in counts)
    parts = np.linspace(0.0, 1.0, SHARES)
    steps = np.abs(np.cumsum(ours)[None] - np.cumsum(parts[:, None] * other + (1 - parts[:, None]) * one, axis=1))
    distances = steps.max(axis=1)
    best = int(distances.argmin())
    looks = (other / np.maximum(one + other, 1e-12))[binned]  # how much each voxel looks like the second group
    beside = _across(looks, groups)
    if beside is None:
        return None
    inside, near_one, near_other, own_one, own_other, border, between = beside
    gap = own_other - own_one
    edge = (border - inside) / (between - inside) if between is not None and between > 1.1 * inside else None
    return Region(
        share=share,
        deep=_deep(groups[0]),
        apart=float(np.abs(np.cumsum(one) - np.cumsum(other)).max()),
        mixture=float(distances[best]),
        part=float(parts[best]),
        pure=float(min(distances[0], distances[-1])),
        follows=float((near_other - near_one) / gap) if gap > 0.05 else 0.0,
        edge=edge,
    )


def _middle(array: Any) -> Any:
    """A block from the middle of an array, of no more than so many numbers."""
    while array.size > MOST:
        axis = int(np.argmax(array.shape))
        length = array.shape[axis]
        keep = max(length * MOST // array.size, 1) if array.size < 2 * MOST else length // 2
        begin = (length - keep) // 2
        array = array[(slice(None),) * axis + (slice(begin, begin + keep),)]
    return array


def _binned(image: Any) -> Any:
    """The number of a bin for every voxel, bins of equal counts; what has one value is in one bin."""
    flat = np.asarray(image, np.float64).reshape(-1)
    some = flat[:: max(1, flat.size // 100_000)]
    edges = np.unique(np.quantile(some, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, flat, side="right").reshape(image.shape)


def _across(looks: Any, groups: list[Any]) -> tuple[float, float, float, float, float, float, float | None] | None:
    """Neighbours along all axes: how they look on both sides of a border, and how much that changes."""
    ours, one, other = groups
    sums: dict[str, list[float]] = {
        name: [0.0, 0.0] for name in ("inside", "one", "other", "own one", "own other", "border", "between")
    }

    def add(name: str, values: Any) -> None:
        sums[name][0] += float(values.sum())
        sums[name][1] += values.size

    for axis in range(looks.ndim):
        if looks.shape[axis] < LEAST_SIDE:  # a few slices far apart
            continue
        ahead, behind = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        change = np.abs(looks[ahead] - looks[behind])
        add("inside", change[ours[ahead] & ours[behind]])
        add("between", change[(one[ahead] & other[behind]) | (other[ahead] & one[behind])])
        for here, there in ((ahead, behind), (behind, ahead)):
            for name, group in (("one", one), ("other", other)):
                touching = ours[here] & group[there]
                add(name, looks[here][touching])
                add(f"own {name}", looks[there][touching])
                add("border", change[touching])
    if min(sums[name][1] for name in ("inside", "one", "other")) < LEAST_PAIRS:
        return None
    mean = {name: total / count for name, (total, count) in sums.items() if count >= LEAST_PAIRS}
    return (
        mean["inside"], mean["one"], mean["other"], mean["own one"], mean["own other"], mean["border"],
        mean.get("between"),
    )  # fmt: skip


def _deep(mask: Any) -> float:
    """The share of a region that is left when its border is taken away, as deep as a seam is wide."""
    sides = [size for size in mask.shape if size >= LEAST_SIDE]
    times = max(2, round(DEPTH * min(sides, default=LEAST_SIDE)))
    left = mask.copy()
    for _ in range(times):
        inner = left.copy()
        for axis, size in enumerate(mask.shape):
            if size < LEAST_SIDE:
                continue
            ahead, behind = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
            inner[ahead] &= left[behind]
            inner[behind] &= left[ahead]
        left = inner
    return float(left.sum()) / max(int(mask.sum()), 1)
