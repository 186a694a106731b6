"""D141 for a network that is run on pieces: what is put together is not the same function of every voxel."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_pieces import PiecesTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D141",
    "partner-does-not-invert",
    Severity.CRITICAL,
    needs=(PiecesTried,),
    thing="functions that run a network on pieces of an image",
    moved=Threshold(0.01, "of the voxels; one row of voxels along one side of 64 is 0.016"),
    explained=Threshold(0.5, "of the blocks that were looked at: filters and the removal of small parts leave none"),
    right=Threshold(0.1, "of the voxels, that are in place beside moved ones; beside which `explained` is enough"),
    all_explained=Threshold(0.8, "of the blocks, where next to nothing is in place"),
    uncovered=Threshold(0.002, "of the voxels: one row of pixels of 512"),
    uneven=Threshold(0.01, "of the voxels; rounding of sums stays below 2 % of the contrast"),
)
def pieces_put_together_wrongly(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network is run on pieces of an image, and the whole is not what it gives of the pieces.

    What it finds:
        Pieces that are put back beside their place, in another order or along other axes; padding that is taken off at
        the wrong side; borders and gaps that no piece covers; overlaps that are added up and not divided.
    Why it stops learning:
        Training on pieces is right, so its figures are; whole volumes, which count, are wrong.
    Evidence it needs:
        PiecesTried (a watched script): the function is called again in a child process with a network that acts voxel
        by voxel, and with random codes of two levels in place of the image. Whatever is done to intensities, weights
        and decisions, the result must then be one and the same function of every voxel's own code.
    How it decides:
        More than `moved` of the voxels follow the code of another voxel, which is found for `explained` of the blocks
        that were looked at where `right` of the voxels follow their own, else for `all_explained` of them:
        `demonstrated`. More than `uncovered` never change, in rows, and not as a frame of one width, not as an argument
        asks for, not by a mask that is given: `demonstrated`. A decision that comes out otherwise where pieces overlap
        although the network says the same everywhere: `demonstrated`. More than `uneven` of the voxels follow their own
        code with another contrast, of one channel without negative values: `suspected`, as the caller may divide; sums
        of logits do no harm. The map as a whole is mirrored or transposed: `suspected`, as it may be wanted so. Of a
        map that is not returned, all of this is `suspected`. Whole slices, and pieces that are cut at random, are not
        tried.
    Remedy:
        Write each piece where it was cut, let the last one end with the image, count how often each voxel is covered,
        and divide by that. Test it with a network that returns its input.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A region that is left out on purpose, begins at the first voxel, and is given nowhere as an argument.
    References:
        None.
    """
    for seen in evidence.of(PiecesTried):
        size = " x ".join(str(side) for side in seen.size)
        numbers = {"moved": seen.moved, "uncovered": seen.uncovered, "uneven": seen.uneven, "faithful": seen.faithful}
        how = _moved(seen, limits) or _left_out(seen, limits) or _weighted(seen, limits)
        if how is None:
            continue
        message, standing, remedy = how
        written = (
            f" Pieces are written at line {seen.written}."
            if seen.written and seen.where and (seen.where.line != seen.written)
            else ""
        )
        yield Found(
            variant="pieces",
            message=f"{seen.function} does not put pieces together as they were cut: with a network in place that acts "
            f"voxel by voxel, {message} ({seen.pieces} pieces of a map of {size}).{written}",
            standing=standing if seen.returned else Standing.SUSPECTED,
            location=seen.where,
            numbers=numbers,
            remedy=remedy,
        )


def _moved(seen: PiecesTried, limits: Limits) -> tuple[str, Standing, str] | None:
    if seen.moved < limits.moved:
        return None
    remedy = "Write each piece where it was cut: what is cut off at its first side moves its first voxel as well."
    if seen.turned:
        return f"the map is {seen.turned}", Standing.SUSPECTED, remedy
    enough = limits.explained if seen.faithful >= limits.right else limits.all_explained
    if not seen.shift or seen.explained < enough:
        return None
    away = ", ".join(f"{one:+d}" for one in seen.shift)
    several = f"and {seen.shifts - 1} other distances " if seen.shifts > 1 else ""
    return (
        f"{seen.moved:.0%} of the voxels hold what belongs to another one ({away} {several}away)",
        Standing.DEMONSTRATED,
        remedy,
    )


def _left_out(seen: PiecesTried, limits: Limits) -> tuple[str, Standing, str] | None:
    on_purpose = seen.frame or not seen.begins or seen.asked or seen.other_arrays or seen.scattered
    if seen.uncovered < limits.uncovered or on_purpose or seen.faithful < 1 - seen.uncovered - limits.moved:
        return None
    return (
        f"{seen.uncovered:.1%} of the voxels never change, whatever it gives: no piece covers them",
        Standing.DEMONSTRATED,
        "Let the last piece along every axis end with the image: {*range(0, size - patch + 1, stride), size - patch}.",
    )


def _weighted(seen: PiecesTried, limits: Limits) -> tuple[str, Standing, str] | None:
    remedy = "Count how often each voxel is covered, or sum the weights there, and divide by that."
    if seen.other_arrays or seen.faithful + seen.uneven < 1 - limits.moved:
        return None
    if seen.uneven_at_half >= limits.uneven:
        return (
            f"{seen.uneven_at_half:.0%} of the voxels are decided otherwise although it says .43 everywhere",
            Standing.DEMONSTRATED,
            remedy,
        )
    may_be_logits = seen.signed or seen.channels > 1  # sums of which have the sign, and the largest, of their mean
    if seen.uneven < limits.uneven or may_be_logits or seen.whole_values or not seen.returned:
        return None
    return (
        f"{seen.uneven:.0%} of the voxels hold its value times another factor ({seen.factor:.2f})",
        Standing.SUSPECTED,
        remedy,
    )
