"""D154 unannotated-trained-as-class."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_labels import LabelsMerged
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D154",
    "unannotated-trained-as-class",
    Severity.CRITICAL,
    needs=(LabelsMerged,),
    looked_at=requires(
        LabelsMerged,
        lambda one, limits: len(one.values) > 2 and (one.value < 0 or one.items >= limits.made),
        otherwise="no label maps of three values or more were read",
    ),
    thing="values of label maps that items hold as one",
    made=Threshold(2, "items; in one the region may lie where nothing is cut out"),
    share=Threshold(0.1, "of the voxels; structures of 3D data cover less, and what is not annotated mostly more"),
    deep=Threshold(0.4, "of the region, deeper than a seam that is left between two classes, as in trimaps of pets"),
    mixture=Threshold(0.05, "Kolmogorov-Smirnov distance; within .01 where a region was cut at random from the rest"),
    pure=Threshold(0.1, "distance to both of the others, else it is a second number for one of them: left and right"),
    apart=Threshold(0.3, "distance between the others: where they look alike, everything looks like their mixture"),
    follows=Threshold(
        0.75, "1 where annotation ends anywhere; the blurred border of a structure reaches .5, rarely .7"
    ),
    edge=Threshold(0.2, "0 where annotation ends anywhere; a structure half-way between the others has .25 and more"),
    beside=Threshold(40, "the highest class beside 255, which is by convention what is to be ignored"),
    ignored=Threshold(0.05, "of the voxels under 255; a thin seam around objects is less and does little"),
)
def unannotated_trained_as_class(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A value of the label maps that stands for what was not annotated is made one with a class.

    What it finds:
        Maps of 0, 1 and 2 = not labelled that become ``label > 0``, ``np.clip(label, 0, 1)``, ``label == 1``; 255 of
        masks whose classes are small numbers.
    Why it stops learning:
        Half of the target is then one class whatever the image shows there. The network learns to answer with a
        constant where it is not sure, and figures that are computed with the same target praise it for that.
    Evidence it needs:
        LabelsMerged (a watched script): items are made again in a child process from maps in which one value is
        written as another one, and compared bit for bit; the images of the same items are compared with the maps.
    How it decides:
        In at least `made` items nothing changes when the value is written as another one, and something does when it
        is written as a third. So there is nothing in an item, no mask and no weight, by which the voxels could be left
        out later. Then the value must be no structure of its own. Where the project says so (``ignore_index = 2``,
        "2: unlabelled" in a source, a configuration or beside the data): `demonstrated`. `suspected` where the image
        says so: the region covers `share` of the voxels and is no seam (`deep`); its intensities are a `mixture` of
        those under the other values, which differ (`apart`) and of which neither alone would do (`pure`); and what
        lies beyond its border goes on in it (`follows`), so that the border is no edge of the image (`edge`). And
        where 255 stands beside classes of no more than `beside` and covers `ignored`. A comment at the line that says
        that values are put together is believed.
    Remedy:
        Keep the value, and leave its voxels out of every loss and figure.
    Trial it proposes:
        None; what the loss is to leave out, the script has to say.
    Known false positives:
        A region of interest whose outside is meant to be background although the same structures go on there.
    References:
        Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010 (255); Çiçek et al., 3D U-Net, MICCAI
        2016, section 2 (a label for what is not annotated, and a weight of 0 for it).
    """
    for one in evidence.of(LabelsMerged):
        if one.value < 0 or one.meant or one.items < limits.made:
            continue
        convention = (
            one.value == 255
            and one.share >= limits.ignored
            and all(other <= limits.beside for other in one.values if other != 255)
        )
        seen = _seen(one, limits)
        if not (one.declared or seen or convention):
            continue
        others = _listed(one.told_from)
        yield Found(
            variant="declared" if one.declared else "seen" if seen else "convention",
            severity=Severity.CRITICAL if one.share >= limits.share else Severity.MAJOR,
            message=f"{one.dataset} makes label {one.value:g} one with {one.into:g}, and nothing in its items tells "
            f"them apart ({one.items} items, made with {one.into:g} written for {one.value:g}, are bit-identical); "
            f"{_why(one, seen)}",
            standing=Standing.DEMONSTRATED if one.declared else Standing.SUSPECTED,
            location=one.where,
            numbers={
                "share": one.share,
                "mixture": one.mixture,
                "apart": one.apart,
                "follows": one.follows,
                "told from": others,
            },
            remedy=f"Keep {one.value:g} apart and leave these voxels out of every loss and figure: valid = label != "
            f"{one.value:g}, or ignore_index.",
        )


def _seen(one: LabelsMerged, limits: Limits) -> bool:
    """The image says that the region is no structure."""
    return (
        one.pictures >= limits.made
        and one.share >= limits.share
        and one.deep >= limits.deep
        and one.apart >= limits.apart
        and one.mixture <= limits.mixture
        and one.pure >= limits.pure
        and one.follows >= limits.follows
        and (one.edge is None or one.edge <= limits.edge)
    )


def _why(one: LabelsMerged, seen: bool) -> str:
    covers = f"{one.value:g} covers {one.share:.0%} of the voxels"
    looks = (
        f"looks like a mixture of {one.into:g} and {_listed(one.told_from)} (Kolmogorov-Smirnov distance "
        f"{one.mixture:.3f}; those two differ by {one.apart:.2f}), and structures go on across its border, which is no "
        "edge in the image"
    )
    if one.declared:
        return (
            f"but {one.declared} says that {one.value:g} is not annotated. It covers {one.share:.0%} of the voxels"
            + (f" and {looks}." if seen else ".")
        )
    if seen:
        return f"{covers}, {looks}: it reads as not annotated."
    return f"{covers}; beside classes of small numbers 255 is by convention what is to be ignored."


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
