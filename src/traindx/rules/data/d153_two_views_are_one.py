"""D153 two-views-are-one."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_views import ViewsPaired
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D153",
    "two-views-are-one",
    Severity.CRITICAL,
    needs=(ViewsPaired,),
    looked_at=requires(
        ViewsPaired,
        lambda one, limits: one.batches >= limits.batches and one.samples >= limits.samples,
        otherwise="too few batches with two images of a sample were seen",
    ),
    thing="two images of a sample that one network sees",
    batches=Threshold(3, "batches; the first ones may be drawn before an augmentation begins"),
    samples=Threshold(12, "samples; two draws of a flip are the same for all of them once in 4000 times"),
    equal=Threshold(0.98, "of the samples, whose views are equal bit for bit"),
)
def two_views_are_one(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The two views of a sample that a network is to compare are one and the same image.

    What it finds:
        A transform that is called once and whose result is returned twice; a second view that is a copy of the first;
        a transform that begins with the same seed each time; two calls of which one takes the other's result.
    Why it stops learning:
        Views that are equal are alike whatever the network does: a contrastive, Siamese or consistency loss is
        satisfied without anything having been learned, or asks for nothing but that samples differ.
    Evidence it needs:
        ViewsPaired (a watched script): two image-like tensors of one shape in the batches of a training loader, of
        which a network is given as many in one iteration.
    How it decides:
        In at least `batches` batches, with `samples` samples or more, a share of `equal` has two views that are equal
        bit for bit, and a network is given both. Items are made again in a child process with other random numbers:
        where they are drawn, and hold one image twice each time, and where both go through one network that gives the
        same for both: `demonstrated`. Where the items are not drawn, or the network itself adds noise (dropout), one of
        the two is enough for `suspected`; so are views that go into two networks or two arguments and are drawn.
        Otherwise silent: a network that drops at random may be given one image twice on purpose.
    Remedy:
        Call the random transform once for each view.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A second modality that is filled with a copy of the first one, and encoded by the same network.
    References:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, section 2.1.
    """
    for one in evidence.of(ViewsPaired):
        if one.batches < limits.batches or one.samples < limits.samples or one.equal < limits.equal * one.samples:
            continue
        alike = one.how == "shared" and 0 < one.given == one.same
        if not alike and not one.drawn:
            continue
        first, second = one.parts
        drawn = ", although the item is drawn at random: made again with other numbers, it is another one" * bool(
            one.drawn
        )
        out = f"; {one.network} gives the same for both" * alike
        yield Found(
            variant=one.how,
            message=f"The two views in an item of {one.dataset}, {first} and {second}, are one image: in {one.equal} "
            f"of {one.samples} samples they are equal bit for bit{drawn}{out}.",
            standing=Standing.DEMONSTRATED if alike and one.drawn else Standing.SUSPECTED,
            location=one.made_at or one.item or one.where,
            numbers={"equal": one.equal, "samples": one.samples, "given": one.given, "same": one.same},
            remedy="Call the random transform once for each view, so that each has random numbers of its own.",
        )
