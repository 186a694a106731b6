"""D141 for windows: what was cut and put together is not what it was."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import WindowsTried
from traindx.evidence.probed_pieces import PiecesTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D141",
    "partner-does-not-invert",
    Severity.CRITICAL,
    needs=(WindowsTried,),
    thing="functions that cut an image into windows and put windows together",
    off=Threshold(0.25, "of the spots that come back elsewhere; the edge of an image may be left out on purpose"),
    level=Threshold(0.05, "of a constant image that comes back with another value"),
)
def windows_put_back_elsewhere(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An image that is cut into windows and put together is not what it was, with no network between.

    What it finds:
        Windows that are cut with one stride and put back with another; rows and columns of windows exchanged; overlaps
        that are added and not averaged; windows that leave gaps.
    Why it stops learning:
        The network learns on windows, and that is fine; whole images are put together wrongly, so the figure of the
        whole image and the deployment are wrong.
    Evidence it needs:
        WindowsTried (a watched script): two functions that one function calls, the first of which gives windows and the
        second of which takes what has their shape and gives back the size of the image.
    How it decides:
        Pictures with one spot each pass through both in a child process. `off` of the spots come back more than 2.5
        pixels away or not at all: `demonstrated`. Of a constant image more than `level` comes back with another value:
        `demonstrated` where spots are misplaced, too, or the names speak of windows, else `suspected`. Functions that
        cut at random places are not tried.
        A function that is given a network and an image, and gives back something of its size, is tried with a network
        that marks what differs from the ground of its input: `off` of the spots come back elsewhere: `demonstrated`;
        not at all, or with an uneven ground: `suspected`.
    Remedy:
        Give both functions one stride and one padding, count how often each pixel was covered, and divide by that.
    Trial it proposes:
        None; fix it.
    Known false positives:
        An assembly that leaves out a wide margin on purpose.
    References:
        None.
    """
    pairs = [found for seen in evidence.of(WindowsTried) if seen.second for found in _of_two(seen, limits)]
    yield from pairs
    told = {one.function for one in evidence.of(PiecesTried) if one.faithful > 0.99 or one.shift or one.uncovered}
    for seen in evidence.of(WindowsTried):
        # The function that calls the two has a network inside; every voxel of it may have been told apart already.
        if not seen.second and not pairs and seen.first not in told:
            yield from _with_network_inside(seen, limits)


def _of_two(seen: WindowsTried, limits: Limits) -> Iterator[Found]:
    apart, gaps = seen.misplaced / max(seen.spots, 1) >= limits.off, seen.uneven > limits.level
    if not apart and not gaps:
        return
    ways = [f"{seen.misplaced} of {seen.spots} spots come back elsewhere or not at all"] if apart else []
    ways += [f"{seen.uneven:.0%} of a constant image come back with another value"] if gaps else []
    size = " x ".join(str(one) for one in seen.size)
    differs = f"; {seen.differs} is {seen.values} in the two" if seen.differs else ""
    yield Found(
        variant="windows",
        message=f"{seen.second} does not put together what {seen.first} cuts: of an image of {size}, passed from "
        f"one to the other with no network between, {' and '.join(ways)}{differs}.",
        standing=Standing.DEMONSTRATED if apart or seen.spoken else Standing.SUSPECTED,
        location=seen.where,
        numbers={"misplaced": seen.misplaced, "spots": seen.spots, "uneven": seen.uneven},
        remedy="Use one stride and one padding in both, and divide by how often each pixel is covered.",
    )


def _with_network_inside(seen: WindowsTried, limits: Limits) -> Iterator[Found]:
    apart, lost = seen.misplaced >= limits.off * seen.spots, seen.vanished >= limits.off * seen.spots
    gaps = seen.uneven > limits.level and seen.spoken
    if not apart and not lost and not gaps:
        return
    ways = [f"{seen.misplaced} of {seen.spots} spots come back elsewhere (by {seen.distance:.0f} pixels at most)"]
    ways = ways if apart else []
    ways += [f"{seen.vanished} of {seen.spots} spots do not come back"] if lost else []
    ways += [f"{seen.uneven:.0%} of a level image come back with another value"] if gaps else []
    yield Found(
        variant="network-inside",
        message=f"{seen.first} does not give back an image as it lies: with a network in place that only marks what it "
        f"sees, {' and '.join(ways)}.",
        standing=Standing.DEMONSTRATED if apart else Standing.SUSPECTED,
        location=seen.where,
        numbers={"misplaced": seen.misplaced, "vanished": seen.vanished, "uneven": seen.uneven},
        remedy="Undo after the network what was done to places before it: windows, flips, transposed axes, padding.",
    )
