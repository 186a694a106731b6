"""D152 field-of-shared-data-set."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import SharedBase
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D152",
    "field-of-shared-data-set",
    Severity.MAJOR,
    needs=(SharedBase,),
    thing="fields of a data set that are set through one of its subsets",
    settings=Threshold(2, "different values that are set for one field, of which the last one acts"),
)
def field_of_shared_data_set(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A field that is set through one subset of a data set changes the other subset as well.

    What it finds:
        `random_split` of one data set, then `validation.dataset.transform = plain`: both subsets hold the same object,
        so the training loses its augmentation (or the validation gets it).
    Why it stops learning:
        It learns without the augmentation that was meant, or is judged on augmented images.
    Evidence it needs:
        SharedBase (a watched script whose loaders read two subsets of one data set object).
    How it decides:
        Both loaders read a `Subset` of the same object, and a statement outside of loops sets a field of its `dataset`:
        `settings` different values through the two, or one value through what is named after validation or test.
        `demonstrated` where the statements are in functions that run when the second loader is read, above the line
        that runs; else `suspected`, since the function may be called anew before each pass.
    Remedy:
        Make two data sets, one a set of transforms, and a `Subset` of each with the indices of the split.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A value that is meant for both, set through the validation's name.
    References:
        PyTorch documentation, `torch.utils.data.random_split`: subsets refer to the data set, they do not copy it.
    """
    for seen in evidence.of(SharedBase):
        several = seen.values >= limits.settings
        through = " and ".join(f"{one}.dataset" for one in seen.through)
        what = (
            f"{through} are one object, so that the last of {seen.values} values acts in both"
            if several and len(seen.through) > 1
            else f"{through} is the object that the training reads, too"
        )
        yield Found(
            message=f"The field {seen.field} of {seen.dataset} is set for one subset and changes the other: {what}.",
            standing=Standing.DEMONSTRATED if seen.live else Standing.SUSPECTED,
            location=seen.where,
            numbers={"values": seen.values},
            remedy="Make a data set for each side, with its own transforms, and take subsets of these.",
        )
