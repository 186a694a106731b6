"""M214 stages-fed-differently."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ItemsSeen, StageInputs
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M214",
    "stages-fed-differently",
    Severity.CRITICAL,
    needs=(StageInputs,),
    looked_at=requires(
        StageInputs,
        lambda seen, limits: seen.phase in ("validation", "inference") and seen.samples >= limits.stage_samples,
        otherwise="too few inputs of a validation were seen",
    ),
    stage_samples=Threshold(8, "samples of each stage"),
    standardised=Threshold(0.02, "of a spread of 1: mean and deviation of an image that was standardised by itself"),
    otherwise=Threshold(0.1, "of a spread of 1, by which at least half of the other stage's images differ from that"),
    blank=Threshold(1e-6, "spread of an input that is no image"),
    about=Threshold(0.6, "of a spread of 1, about that of standardised images: random gains are 0.7 to 1.4 as a rule"),
    same=Threshold(1e-3, "change of an item's spread or mean from the first time that it came to the last"),
    scale=Threshold(20, "between the spreads of the two stages; 255 for a division that was forgotten"),
)
def stages_fed_differently(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Validation gives the network images that were normalised in another way than in training.

    What it finds:
        Training images normalised by the intensity statistics of the data set, validation images each by its own mean
        and deviation (or the other way round); a division by 255 on one side alone.
    Why it stops learning:
        The network is tested on intensities that it was never shown; the training loss is fine.
    Evidence it needs:
        StageInputs (a watched script): mean and deviation of each sample that a network gets, by line.
    How it decides:
        For calls of one network with samples of one shape: all of one stage have mean 0 and deviation 1 within
        `standardised`, and at least half of the other stage's differ from that by more than `otherwise`; or the
        spreads differ by more than a factor of `scale` between every two samples of the two stages. At least
        `stage_samples` samples each. `demonstrated`. Where training images are about 0 and 1 as a whole, this is said
        only if its items are the same each time that they are read: a random gain and offset after the standardisation
        would look alike. Patches of a volume that was standardised as a whole have another
        shape than the volume and are left alone.
    Remedy:
        Take the same preprocessing for both, with the statistics that were stored for training.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Validation on another kind of images, which are standardised to be comparable.
    References:
        Isensee et al., nnU-Net, Nature Methods 2021: global statistics for CT, each image's own for other modalities.
    """
    seen = list(evidence.of(StageInputs))
    for one in seen:
        if one.phase not in ("validation", "inference") or one.samples < limits.stage_samples:
            continue
        for other in seen:
            alike = (other.network, other.made, other.shape) == (one.network, one.made, one.shape)
            alike = alike and other.samples >= limits.stage_samples
            if other.phase != "training" or not alike:
                continue
            if _standardised(one, limits) and other.off >= 0.5 and other.largest_off > limits.otherwise:
                if _may_be_augmented(other, limits) and not _items_stay(other, evidence, limits):
                    continue
                kind = "each image is standardised by itself here and is not in training"
            elif _standardised(other, limits) and one.off >= 0.5 and one.largest_off > limits.otherwise:
                kind = "in training each image is standardised by itself, and here it is not"
            elif min(one.most_spread, other.most_spread) < limits.blank:
                continue  # a call with zeros, to warm up or to count
            elif one.least_spread > limits.scale * other.most_spread:
                kind = f"their spread is {one.least_spread / max(other.most_spread, 1e-12):.0f} times that of training"
            elif other.least_spread > limits.scale * one.most_spread:
                kind = f"the spread in training is {other.least_spread / max(one.most_spread, 1e-12):.0f} times theirs"
            else:
                continue
            yield Found(
                message=f"{one.network} gets other images in {one.phase} than in training: {kind} (median mean and "
                f"deviation {one.mean:.2f} and {one.spread:.2f}, in training {other.mean:.2f} and {other.spread:.2f}).",
                standing=Standing.DEMONSTRATED,
                location=one.given_at or one.where,
                numbers={
                    "mean": one.mean,
                    "spread": one.spread,
                    "mean_in_training": other.mean,
                    "spread_in_training": other.spread,
                },
                remedy="Use one preprocessing for training and validation.",
            )
            break


def _may_be_augmented(seen: StageInputs, limits: Limits) -> bool:
    """Intensities about those of standardised images: a random gain and offset after it would give the same."""
    return abs(seen.mean) <= limits.about and 1 / (1 + limits.about) <= seen.spread <= 1 + limits.about


def _items_stay(seen: StageInputs, evidence: Evidence, limits: Limits) -> bool:
    """Samples, or items of a loader that trains, were the same when they came again: nothing is drawn for them."""
    return seen.again >= limits.stage_samples or any(
        items.trains
        and items.followed >= limits.stage_samples
        and items.alike == items.followed
        and abs(items.factor - 1) < limits.same
        and items.shift < limits.same
        for items in evidence.of(ItemsSeen)
    )


def _standardised(seen: StageInputs, limits: Limits) -> bool:
    return seen.largest_off <= limits.standardised
