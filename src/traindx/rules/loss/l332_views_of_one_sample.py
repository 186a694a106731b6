"""L332 views-of-one-sample-not-paired."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import PairLossTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L332",
    "views-of-one-sample-not-paired",
    Severity.MAJOR,
    needs=(PairLossTried,),
    thing="losses on two views of every sample",
    gained=Threshold(0.02, "relative: what the right pairs must gain over the neighbours' at the least"),
)
def views_of_one_sample(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A contrastive loss does not ask the two views of one sample to be alike.

    What it finds:
        Positives that are other samples: views joined in another order than the table of partners expects, a mask of
        negatives that is shifted, a diagonal that was taken out after the indices were made.
    Why it stops learning:
        There is nothing in common to be found; the loss stays at the logarithm of the number of samples.
    Evidence it needs:
        PairLossTried (a watched script): the loss called in a child process with views that are the same vector for one
        sample and random directions for two.
    How it decides:
        Equal views do not cost less than the neighbours' by at least `gained`. The name says that the function
        contrasts views. `demonstrated`.
    Remedy:
        Join all first views, then all second ones, or make the table of partners for the order that is used.
    Trial it proposes:
        None; fix it.
    Known false positives:
        None known.
    References:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, equation 1.
    """
    for one in evidence.of(PairLossTried):
        if one.together < one.apart - limits.gained * max(abs(one.apart), 1e-6):
            continue
        yield Found(
            message=f"{one.function} does not ask the two views of a sample to be alike: with {one.samples} samples "
            f"whose views are identical it is {one.together:.3f}, with views given to the neighbour {one.apart:.3f}.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"together": one.together, "apart": one.apart, "samples": one.samples},
            remedy="Make the order in which the views are joined and the table of positives agree.",
        )
