"""D150 item-depends-on-earlier-items."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ItemAfterOthers
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D150",
    "item-depends-on-earlier-items",
    Severity.CRITICAL,
    needs=(ItemAfterOthers,),
    looked_at=requires(
        ItemAfterOthers,
        lambda seen, limits: seen.settled,
        otherwise="no data set gave the same item twice when it was made with the same random numbers",
    ),
    thing="data sets with an index that a loader reads",
    apart=Threshold(1e-3, "of an item's spread by which it differs: less is rounding"),
)
def item_depends_on_earlier_items(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An item is another one after other items were asked for, with the same random numbers.

    What it finds:
        A transform that stores the range, the mean or the reference of the first image and uses it for all later ones;
        a normalisation by figures that go on running from item to item; arrays that are normalised or augmented where
        the data set keeps them, so that the next time they are changed once more.
    Why it stops learning:
        Intensities depend on which image happened to come first (each worker has another one), and the validation, the
        next run and deployment have others again.
    Evidence it needs:
        ItemAfterOthers (a watched script that reads from a `DataLoader`): items made in a child process that is forked
        before the first one is read, all generators of random numbers set alike.
    How it decides:
        An item differs by more than `apart` after another item was made (or after it was made itself, where its values
        are changed in place), is the same again once everything is put back, and differs with one named entry alone
        left as the earlier item made it. The entry depends on which item that was, so a count or a curriculum is none.
        `demonstrated` where it is a number or a few that stay as the first item left them, and for values that are
        changed in place to others (not rearranged, as by a flip); `suspected` for an array that stays (a reference on
        purpose?), numbers that every item changes, and items that are trained on whose first draw stays for good. An
        array that every item replaces (mixing with the one before) is silence.
    Remedy:
        Keep what is computed from an image in a local variable, and compute what is meant for all images before the
        training, from the training set; copy arrays before they are changed.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A size that is meant to be that of the first image.
    References:
        None.
    """
    said: set[object] = set()
    for seen in evidence.of(ItemAfterOthers):
        if seen.how == "drawn-once" and not seen.trains:
            continue  # an evaluation that stays the same
        if not seen.how or seen.difference <= limits.apart or (seen.how == "running" and not seen.few):
            continue
        place = (seen.where, seen.name)
        if place in said:
            continue
        said.add(place)
        certain = seen.how == "in-place" or (seen.how == "kept" and seen.few)
        what = {
            "kept": f"{seen.name} stays as the item that came first has left it",
            "running": f"{seen.name} is changed by every item, and the next one is made with it",
            "drawn-once": f"what is drawn for it the first time stays in {seen.name or 'a store'} for good",
            "in-place": f"{seen.name} is changed where the data set keeps it, each time that the item is read",
        }[seen.how]
        yield Found(
            variant=seen.how,
            message=f"An item of {seen.dataset} depends on the items that were read before: {what} ({_proof(seen)}).",
            standing=Standing.DEMONSTRATED if certain else Standing.SUSPECTED,
            location=seen.where or seen.loader,
            numbers={"difference": seen.difference},
            remedy="Compute it anew for every item in a local variable, or once for the whole training set; change "
            "copies only.",
        )


def _proof(seen: ItemAfterOthers) -> str:
    if seen.how == "drawn-once":
        return f"other random numbers change it by {seen.difference:.2g} of its spread, but not once it was made"
    return (
        f"made again with the same random numbers, the item differs by {seen.difference:.2g} of its spread; put back, "
        "it is the same"
    )
