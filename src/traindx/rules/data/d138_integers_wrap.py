"""D138 integers-wrap-round."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import IntegerRange
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D138",
    "integers-wrap-round",
    Severity.CRITICAL,
    needs=(IntegerRange,),
    looked_at=requires(
        IntegerRange, lambda seen, limits: seen.items > 0, otherwise="no item could be made again line by line"
    ),
    thing="data sets with an index",
    wrapped=Threshold(1e-3, "share of the values; overflow has no innocent cause in an image"),
)
def integers_wrap_round(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Arithmetic on small integers leaves their range on the way from a file to a batch, or to a figure.

    What it finds:
        ``image - mean`` on unsigned 8-bit images, where what is darker than the mean wraps round to white; a product or
        a sum in 8 or 16 bits; ``(image).astype("uint8")`` of an image in [0, 1], which leaves zeros and ones, and the
        same where it is written into ``np.zeros_like(volume)`` of a volume of integers.
    Why it stops learning:
        Dark becomes bright: the image is broken at every dark place, and looks like an image all the same.
    Evidence it needs:
        IntegerRange (a watched script on Linux): items of a data set made once more, line by line, in a child process,
        and so are calls of the user's functions that were given images of small integers.
    How it decides:
        Every sum, difference and product of arrays in the user's lines is computed again in double precision. More than
        a share of `wrapped` of the integer result differs from it, or a cast, or an array of
        integers that many fractions are written into, leaves two values of many: `demonstrated`.
    Remedy:
        Convert to float before computing: ``image.astype(np.float32) - mean``.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Hashes and checksums of whole arrays.
    References:
        NumPy documentation, "Data types: overflow errors".
    """
    for seen in evidence.of(IntegerRange):
        if seen.share <= limits.wrapped:
            continue
        what = "wrap round" if seen.how == "arithmetic" else "are lost"
        doing = "written into an array of" if seen.how == "written" else "computed in"
        yield Found(
            variant=seen.how,
            message=f"`{seen.expression}` is {doing} {seen.dtype}: {100 * seen.share:.1f} % of the values {what}.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"share": seen.share},
            remedy="Convert to a floating type first.",
        )
