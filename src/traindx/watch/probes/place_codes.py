"""From which voxel each voxel of a result comes: random codes of two levels go in, and are compared with what is out.

A function that acts voxel by voxel makes one value of all high voxels and one of all low ones, whatever it does to
values. A voxel that follows the code of another one lies elsewhere; one that never changes was not covered; one that
follows its own code with another contrast was weighted otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

CODES = 4  # random ones, each with its complement: chance follows all of them in 1 of 16 voxels
EQUAL = 0.02  # of the contrast: sums of a float32 in any order, and of a float16, stay below
FOLLOWED = 0.4  # correlation with the code at a place; the largest of all by chance is .2 for the blocks below
WHOLLY = 0.95  # correlation with the code at a place that is the only source
SIDES = {2: 8, 3: 5}  # of a block whose source is looked for
BLOCKS = 12
REACH = 24  # voxels to every side
LEAST_IN_BLOCK = 0.3
LINE = 6  # voxels in a row: fewer are left out by what cleans a map


@dataclass(frozen=True)
class Judged:
    """One map, compared with the codes.

    Attributes:
        faithful: Share of voxels that follow their own code, all with the same two values.
        moved: Share of those that change with some code, and not with their own.
        uncovered: Share of those that never change.
        uneven: Share of those that follow their own code with other values.
        factor: Median of their contrast over the usual one.
        shift: From where the moved ones come, in voxels along every axis; empty where that is not known.
        shifts: How many such shifts there are among the blocks that were looked at.
        explained: Share of the blocks of moved voxels in which the source was found.
        begins: The covered part begins at the first voxel of every axis.
        ends: Along which axes it is not covered at the last voxel, somewhere.
        box: Sides of the covered part, where that is one box.
        frame: What is not covered is a frame, equally wide at both ends of every axis.
        turned: The whole map follows the code mirrored or with axes exchanged.
    """

    faithful: float
    moved: float
    uncovered: float
    uneven: float
    factor: float = 1.0
    shift: tuple[int, ...] = ()
    shifts: int = 0
    explained: float = 0.0
    begins: bool = True
    ends: tuple[int, ...] = ()
    box: tuple[int, ...] = ()
    frame: bool = False
    turned: str = ""

    @property
    def wrong(self) -> float:
        """Share of voxels that are not what they should be."""
        return 1.0 - self.faithful


def codes(sides: tuple[int, ...], count: int = CODES) -> Any:
    """Random codes, each followed by its complement, of shape (2 count, *sides)."""
    drawn = np.random.default_rng(7).integers(0, 2, (count, *sides), dtype=np.uint8).astype(bool)
    return np.stack([one for code in drawn for one in (code, ~code)])


def judged(values: Any, given: Any) -> Judged | None:
    """Compare one map with the codes; None where it does not show the code at all.

    Args:
        values: The map in every run, of shape (runs, *sides).
        given: The codes of the runs, of the same shape.
    """
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        return None
    highest, lowest = values.max(0), values.min(0)
    width = float(highest.max() - lowest.min())
    if width <= 0:
        return None
    near = 1e-4 * width
    changes = highest - lowest > near
    if changes.mean() < 0.05:
        return None
    high_low, high_high = _range(values, given)
    low_low, low_high = _range(values, ~given)
    own = changes & (high_high - high_low <= near) & (low_high - low_low <= near)
    turned = ""
    if own.mean() < 0.2:
        turned = _turned(values, given)
    if not own.any():
        return Judged(
            0, float(changes.mean()), float((~changes).mean()), 0, turned=turned, **_moved(values, given, changes)
        )
    high, low = float(np.median(high_high[own])), float(np.median(low_low[own]))
    contrast = high - low
    if abs(contrast) <= near:
        return None
    even = own & (abs(high_high - high) <= EQUAL * abs(contrast)) & (abs(low_low - low) <= EQUAL * abs(contrast))
    own &= (high_high - low_low) * contrast > 0  # one in 16 of what lies elsewhere follows the complement by chance
    uneven, moved = own & ~even, changes & ~own
    factors = (high_high - low_low)[uneven] / contrast
    return Judged(
        faithful=float(even.mean()),
        moved=float(moved.mean()),
        uncovered=float((~changes).mean()),
        uneven=float(uneven.mean()),
        factor=float(np.median(factors)) if factors.size else 1.0,
        turned=turned,
        **(_moved(values, given, moved) if moved.any() else {}),
        **(_uncovered(changes) if not changes.all() else {}),
    )


def _range(values: Any, where: Any) -> tuple[Any, Any]:
    """Smallest and largest value of every voxel over the runs in which its code is so."""
    return np.where(where, values, np.inf).min(0), np.where(where, values, -np.inf).max(0)


# -- what was moved ----------------------------------------------------------------------------------------------------


def _moved(values: Any, given: Any, moved: Any) -> dict[str, Any]:
    """From where moved voxels come, block by block."""
    side = SIDES.get(moved.ndim, 5)
    found: list[tuple[int, ...]] = []
    looked = 0
    for corner in _blocks(moved, side):
        looked += 1
        source = _source(values, given, moved, corner, side)
        if source is not None:
            found.append(source)
    if not looked or not found:
        return {}
    usual = max(set(found), key=found.count)
    return {"shift": usual, "shifts": len(set(found)), "explained": len(found) / looked}


def _blocks(moved: Any, side: int) -> list[tuple[int, ...]]:
    """Corners of some blocks in which much was moved, over the whole map."""
    corners = list(itertools.product(*(range(0, max(1, size - side + 1), side) for size in moved.shape)))
    full = []
    for corner in corners:
        part = moved[tuple(slice(at, at + side) for at in corner)]
        if part.mean() >= LEAST_IN_BLOCK:
            full.append(corner)
    step = max(1, len(full) // BLOCKS)
    return full[::step][:BLOCKS]


def _source(values: Any, given: Any, moved: Any, corner: tuple[int, ...], side: int) -> tuple[int, ...] | None:
    """How far from its place the code lies that a block follows; None where it follows none, or one to both sides."""
    own = tuple(slice(at, at + side) for at in corner)
    first = [max(0, at - REACH) for at in corner]
    around = tuple(
        slice(low, min(size, at + side + REACH)) for low, at, size in zip(first, corner, moved.shape, strict=True)
    )
    total, weight = 0.0, 0.0
    for value, code in zip(values[0::2], given[0::2], strict=True):
        piece = np.where(moved[own], value[own] - _middle(values, own), 0.0)
        total = total + _correlation(np.where(code[around], 1.0, -1.0), piece)
        weight += float(np.abs(piece).sum())
    if weight <= 0:
        return None
    score = np.asarray(total) / weight
    here = tuple(at - low for at, low in zip(corner, first, strict=True))
    if not all(at < size for at, size in zip(here, score.shape, strict=True)):
        return None
    at_home = float(score[here])
    others = score.copy()
    others[here] = 0
    place = np.unravel_index(int(np.argmax(np.abs(others))), others.shape)
    best = abs(float(others[place]))
    shift = tuple(int(p) - h for p, h in zip(place, here, strict=True))
    opposite = tuple(h - one for h, one in zip(here, shift, strict=True))
    inside = all(0 <= at < size for at, size in zip(opposite, score.shape, strict=True))
    if best < FOLLOWED or best < 0.8 * abs(at_home) or (inside and abs(float(score[opposite])) > 0.5 * best):
        return None
    return shift


def _middle(values: Any, where: tuple[slice, ...]) -> Any:
    """Between a code and its complement."""
    part = values[(slice(None), *where)]
    return (part.max(0) + part.min(0)) / 2


def _correlation(whole: Any, piece: Any) -> Any:
    """Sum of products of a piece with every place of a larger array that holds it all."""
    sides = whole.shape
    turned = np.fft.rfftn(whole) * np.conj(np.fft.rfftn(piece, sides, axes=tuple(range(len(sides)))))
    full = np.fft.irfftn(turned, sides, axes=tuple(range(len(sides))))
    return full[tuple(slice(0, size - own + 1) for size, own in zip(sides, piece.shape, strict=True))]


def _turned(values: Any, given: Any) -> str:
    """How the whole map is mirrored, or which axes are exchanged; empty if neither."""
    for name, turn in _turns(given.ndim - 1, given.shape[1:]):
        agree = [_agreement(value, turn(code)) for value, code in zip(values[0::2], given[0::2], strict=True)]
        if min(agree) >= WHOLLY:
            return name
    return ""


def _turns(axes: int, sides: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    for order in itertools.permutations(range(axes)):
        if tuple(sides[axis] for axis in order) != sides:
            continue
        for count in range(axes + 1):
            for flips in itertools.combinations(range(axes), count):
                if order == tuple(range(axes)) and not flips:
                    continue
                ways = [f"with axes {', '.join(map(str, order))}"] if order != tuple(range(axes)) else []
                ways += [f"mirrored along axis {', '.join(map(str, flips))}"] if flips else []
                yield " and ".join(ways), lambda code, o=order, f=flips: np.flip(code.transpose(o), f)


def _agreement(value: Any, code: Any) -> float:
    """Correlation of a map with a code."""
    value, sign = value - value.mean(), np.where(code, 1.0, -1.0)
    spread = float(np.abs(value).sum())
    return abs(float((value * sign).sum())) / spread if spread > 0 else 0.0


# -- what was not covered ----------------------------------------------------------------------------------------------


def _uncovered(changes: Any) -> dict[str, Any]:
    axes = range(changes.ndim)
    found = [np.flatnonzero(changes.any(tuple(one for one in axes if one != axis))) for axis in axes]
    first, last = [int(one[0]) for one in found], [int(one[-1]) + 1 for one in found]
    inner = changes[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    margins = [(a, size - b) for a, b, size in zip(first, last, changes.shape, strict=True)]
    whole = bool(inner.all())
    return {
        "begins": not any(first),
        "ends": tuple(axis for axis in axes if not changes.take(-1, axis).all()),
        "box": tuple(b - a for a, b in zip(first, last, strict=True)) if whole else (),
        "frame": whole and all(abs(a - b) <= 1 for a, b in margins),
    }


def solid(changes: Any) -> bool:
    """What never changes lies together: some of it in a row."""
    still = ~changes
    for axis in range(still.ndim):
        size = still.shape[axis]
        if size < LINE:
            continue
        rows = [still.take(range(at, size - LINE + 1 + at), axis) for at in range(LINE)]
        if bool(np.logical_and.reduce(rows).any()):
            return True
    return False
