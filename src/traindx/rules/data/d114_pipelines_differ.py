"""D114 pipelines-differ."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import SameCaseTwice, StageInputs
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D114",
    "pipelines-differ",
    Severity.CRITICAL,
    needs=(SameCaseTwice,),
    thing="data sets of the training and of the evaluation that keep cases in the same form",
    apart=Threshold(0.1, "of the spread, in every case: figures of two parts of one collection differ by less"),
    about=Threshold(1.4, "of the slope, either way: the figures of another collection may be meant"),
    moved=Threshold(0.3, "of the spread, by which the mean lies elsewhere: likewise"),
)
def pipelines_differ(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """One and the same raw case has other intensities as an item of the evaluation than as an item of the training.

    What it finds:
        Another window of Hounsfield units, a division or a normalisation that one side lacks, the statistics of another
        data set, channels in another order, targets in other numbers (a mask of 0 and 255 on one side).
    Why it stops learning:
        The network is tested, or used, on intensities that it was never trained on; the training loss is fine.
    Evidence it needs:
        SameCaseTwice (a watched script with a data set for training and one for evaluation, both of which keep an entry
        an index): entries of the one, put into the other in a child process. StageInputs where there is one.
    How it decides:
        The two items show the same places (each value of the one goes with one value of the other), nothing is drawn
        for the values, and in every case they differ by more than `apart` of the spread. What the network is given in
        evaluation must be nearer to what the evaluation's data set gives than to the training's, in mean and spread, or
        the script normalises later. `demonstrated` where that was seen, and the difference is more than a slope within
        `about` and a mean within `moved`; else `suspected`. Where the items show other places (another crop or size),
        pictures of one value each take the place of those that are kept or read, and what becomes of that value is
        compared. Values that are drawn anew each time are silence. Three channels in reverse order are `suspected`,
        since the means of an image do not tell whether the script puts them right. So are labels that have other
        numbers, each its own.
    Remedy:
        Build both data sets with one preprocessing, and keep only the random part apart.
    Trial it proposes:
        None; fix it.
    Known false positives:
        An evaluation on another modality, which is normalised to be comparable.
    References:
        Isensee et al., nnU-Net, Nature Methods 2021: the preprocessing is stored and used again in inference.
    """
    for seen in evidence.of(SameCaseTwice):
        if seen.targets_apart:
            yield Found(
                variant="targets",
                message=f"{seen.dataset} gives another target than {seen.training} does for the same raw case: "
                f"item{seen.target} differs in each of {seen.cases} cases, while the images show the same places.",
                standing=Standing.SUSPECTED,
                location=seen.loader,
                numbers={"targets": seen.targets, "apart": seen.targets_apart},
                remedy="Number the classes, and make masks, in one way for training and evaluation.",
            )
        if seen.least <= limits.apart:
            continue
        fed = [
            one
            for one in evidence.of(StageInputs)
            if one.phase in ("validation", "inference") and tuple(one.shape) == tuple(seen.shape)
        ]
        here = [_off(one, seen.mean, seen.spread) for one in fed]
        there = [_off(one, seen.mean_in_training, seen.spread_in_training) for one in fed]
        turned = seen.channels_turned
        if fed and not turned and not any(a < b for a, b in zip(here, there, strict=True)):
            continue  # what is done after the loader makes them alike
        moved = abs(seen.mean - seen.mean_in_training) / max(seen.spread, seen.spread_in_training, 1e-12)
        mild = turned or (1 / limits.about <= seen.slope <= limits.about and moved <= limits.moved)
        kind = "channels in another order" if turned else "other intensities"
        tried = f"{seen.cases} cases through both, the same places"
        if seen.levels:
            tried = f"{seen.levels} pictures of one value each through both"
        how = f"; {seen.name} is {seen.value}, in training {seen.value_in_training}" if seen.name else ""
        yield Found(
            message=f"{seen.dataset} gives the network {kind} than {seen.training} does for the same raw "
            f"case: mean {seen.mean:.3g} and deviation {seen.spread:.3g}, in training {seen.mean_in_training:.3g} and "
            f"{seen.spread_in_training:.3g} ({tried}){how}.",
            standing=Standing.DEMONSTRATED if fed and not mild and not seen.unread else Standing.SUSPECTED,
            location=seen.where or seen.loader,
            numbers={
                "apart": seen.least,
                "mean": seen.mean,
                "spread": seen.spread,
                "mean_in_training": seen.mean_in_training,
                "spread_in_training": seen.spread_in_training,
            },
            remedy="Use one preprocessing for training and evaluation.",
        )


def _off(stage: StageInputs, mean: float, spread: float) -> float:
    """How far the samples of a stage are from a mean and a deviation, in deviations and powers of e."""
    scale = max(spread, stage.spread, 1e-12)
    return abs(stage.mean - mean) / scale + abs(math.log(max(stage.spread, 1e-12) / max(spread, 1e-12)))
