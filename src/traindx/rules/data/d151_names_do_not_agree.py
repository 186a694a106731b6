"""D151 names-do-not-agree."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import PairsByName
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D151",
    "names-do-not-agree",
    Severity.CRITICAL,
    needs=(PairsByName,),
    thing="data sets with two lists of files whose names go together",
    mixed=Threshold(0.02, "of the items whose two names differ, two at least: one may be misnamed"),
)
def names_do_not_agree(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An item is made of two files whose names belong to two cases.

    What it finds:
        Lists of images and of masks that are made one by one with `glob` or `listdir`, which give names in no order;
        one list sorted as text (`2` after `10`) and the other by number; one list that was shuffled or cut alone.
    Why it stops learning:
        The target is that of another image; the loss falls to what can be said without looking.
    Evidence it needs:
        PairsByName (a watched script that reads from a `DataLoader`): what its data set keeps, read in a child process.
    How it decides:
        Two lists with a path an item have the same keys (names without the words for image, mask and the like, else
        their numbers), each key once, and no file in common; at `mixed` of the indices the keys differ. `demonstrated`
        where such items were made and opened both files of their index, one of which is a mask or a label by its names;
        `suspected` where the files that are opened could not be seen, or neither is (images that are unpaired on
        purpose); silence where an item opens other files than its index has.
    Remedy:
        Sort both lists by one key, or make the name of the one from that of the other, and check that both agree.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Lists that are paired at random on purpose, of images that have partners.
    References:
        Python documentation, `glob.glob` and `os.listdir`: the order is arbitrary.
    """
    for seen in evidence.of(PairsByName):
        if seen.apart < max(2.0, limits.mixed * seen.items) or seen.others > seen.opened:
            continue
        made = f" ({seen.opened} such items opened both files of their index)" if seen.opened else ""
        yield Found(
            message=f"{seen.first} and {seen.second} of {seen.dataset} have the same names in another order: at "
            f"{seen.apart} of {seen.items} indices they belong to two cases{made}.",
            standing=Standing.DEMONSTRATED if seen.opened and seen.target else Standing.SUSPECTED,
            location=seen.where,
            numbers={"apart": seen.apart, "items": seen.items},
            remedy="Sort both lists by one key, or make the name of the one from that of the other.",
        )
