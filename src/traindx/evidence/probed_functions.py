"""What experiments on the user's own functions measured: called in a child process, with arguments as they passed."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class InverseTried(Observed):
    """Two functions whose names say that one undoes the other. ``where`` is what the first one returns.

    Attributes:
        first: The function that was called.
        second: Its partner, which was given what the first one returned.
        named: The names say it of these two alone (``encode`` and ``decode``; not ``to_image`` and ``to_kspace``).
        shared: Arguments that both take besides the data.
        shape: Shape of what was passed in.
        error: Root mean square difference between what came back and what was passed in, over the spread of the latter.
        even: The same with all spatial sizes even; -1 where that was not tried.
        slope: Change of what came back over change of what was passed in, where that is one number; else 0.
        offset: Mean difference between what came back and what was passed in.
        rearranged: What came back are the same numbers in other places.
    """

    first: str
    second: str
    named: bool = False
    shared: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    error: float
    even: float = -1.0
    slope: float = 0.0
    offset: float = 0.0
    rearranged: bool = False


class LabelMapTried(Observed):
    """A function that gives labels other numbers, value by value. ``where`` is where it does so.

    Attributes:
        function: Its name.
        maps: Maps that were seen.
        values: Distinct values among them before.
        conflict: A value that became one thing in one map and another in the next, and both; empty where none did.
        declared: Entries of a table of replacements that the function has.
        wrong: A value, what the table makes of it, and what the function made of it; empty where none differs.
        merged: Values that the table keeps apart and the function does not.
    """

    function: str
    maps: int
    values: int
    conflict: tuple[float, ...] = ()
    declared: int = 0
    wrong: tuple[float, ...] = ()
    merged: int = 0


class PaddingTried(Observed):
    """A function that takes padded sequences and a mask of what is no padding. ``where`` is where the padding comes in.

    Attributes:
        function: Its name.
        mask: Name of the mask.
        value: What of it was looked at: a variable, or ``return``.
        padding: Change of it for each padded step whose content changes.
        content: Change of it for each other step whose content changes.
        rows: Sequences without padding.
        rows_padded: Sequences with some.
        reach: Share of the sequences without padding whose result follows their last step; -1 where that was not tried.
        reach_padded: The same for those with padding.
    """

    function: str
    mask: str
    value: str = "return"
    padding: float = 0.0
    content: float = 0.0
    rows: int = 0
    rows_padded: int = 0
    reach: float = -1.0
    reach_padded: float = -1.0


class PairLossTried(Observed):
    """A loss on two views of every sample. ``where`` is where it is defined.

    Attributes:
        function: Its name.
        samples: Samples.
        together: The loss of views that are the same for one sample and unlike for two.
        apart: The loss of the same views, the second ones given to the neighbour.
        actual: The loss of the views as they were.
    """

    function: str
    samples: int
    together: float
    apart: float
    actual: float


class MetricTried(Observed):
    """A figure, tried on predictions whose figure is known. ``where`` is what the function returns.

    Attributes:
        function: Its name.
        stands_for: What the name says.
        perfect: The figure of the target itself, in the form that suits the function best.
        actual: The figure of the prediction as it was.
        best: What a perfect prediction has by definition; 0 for decibels, like the one before.
        gain: For decibels: what half of the error gains; else 0.
    """

    function: str
    stands_for: str
    perfect: float
    actual: float
    best: float
    gain: float = 0.0


class AnchorsTried(Observed):
    """Boxes made from a list of aspect ratios. ``where`` is where they are made.

    Attributes:
        function: Its name.
        ratios: Aspect ratios that it was given.
        shapes: Different ratios of width and height among the boxes.
        boxes: Boxes.
    """

    function: str
    ratios: int
    shapes: int
    boxes: int


class ReshapeTried(Observed):
    """An array that was given two axes. ``where`` is the line.

    Attributes:
        function: The function in which it happens.
        expression: The call.
        shape: The new shape.
        rough: Mean step between neighbours along the smoother of the two axes, over the spread.
        other: The same if the numbers are read with the two axes in the other order.
        swapped: The array had these two axes already, in the other order.
    """

    function: str
    expression: str
    shape: tuple[int, ...]
    rough: float = 0.0
    other: float = 0.0
    swapped: bool = False


class SplitTried(Observed):
    """A function that returned items for training and for something else. ``where`` is what it returns.

    Attributes:
        function: Its name.
        part: The part that has most items in common with the training's; ``test and validation`` where only these have.
        items: Items of it.
        training: Items for training.
        shared: Items of the part that are among the other's.
        called: The line that called it.
        cases: Cases that the items of the validation (without one, of the test) are of, as their names say.
        shared_cases: Of these, cases that items for training are of, too.
        members: Items of the validation (or test).
        neighbours: Of these, items next to an item for training in the same case; -1 where no number says so.
        spoken: A word in their names says that they are cases, or slices of cases.
    """

    function: str
    part: str
    items: int
    training: int
    shared: int
    called: Location | None = None
    cases: int = 0
    shared_cases: int = 0
    members: int = 0
    neighbours: int = -1
    spoken: bool = False


class ReloadTried(Observed):
    """A network made a second time and given the state of the first. ``where`` sets what is not in the state.

    Attributes:
        network: Class of the network.
        owner: Class of the module that has the attributes.
        attributes: Attributes that had to be exchanged before both computed the same; empty if they do, or if that
            is not all.
        change: Root mean square difference of their outputs over the spread of the first one's.
    """

    network: str
    owner: str = ""
    attributes: tuple[str, ...] = ()
    change: float = 0.0


class MovedTried(Observed):
    """A function that moves an image and its mask, given one bright spot in both. ``where`` is where it moves them.

    Attributes:
        function: Its name.
        how: ``together`` where it is given both, ``one-by-one`` where it is called for one and then for the other,
            ``items`` for a whole item of a data set, whose class is the name.
        part: What is moved beside the image: ``mask``, ``points`` or ``boxes``.
        tries: Tries, with other random numbers each, in which the spot was to be seen in both results; for
            ``one-by-one`` in the second one as in the first.
        apart: Of these, tries in which it lay at different places.
        distance: The greatest distance in pixels.
    """

    function: str
    how: str
    part: str = "mask"
    tries: int
    apart: int
    distance: float = 0.0


class PlacesTried(Observed):
    """A function that draws a map from coordinates, beside one that reads them off. ``where`` is in the one to blame.

    Attributes:
        function: Its name.
        order: ``xy`` where the first coordinate moves a spot across the columns, ``yx`` where down the rows.
        named: The same as the names in the function say, "" where they say nothing.
        partner: A function that reads coordinates off maps of this size, "" where there is none.
        partner_order: Which axis its first coordinate follows.
        blamed: The one of the two whose own names contradict it, or the first.
    """

    function: str
    order: str
    named: str = ""
    partner: str = ""
    partner_order: str = ""
    blamed: str = ""


class LossArguments(Observed):
    """A function that is named for a loss and returns a number. ``where`` is a call of it.

    Attributes:
        function: Its name.
        predictions: Arguments that had a gradient.
        unread: One of these that its source reads nowhere, "" where there is none.
    """

    function: str
    predictions: int
    unread: str = ""


class ReadingTried(Observed):
    """A function that only reads by its name, and gives figures, called once more. ``where`` is the line that changes
    what it reads; else what it returns.

    Attributes:
        function: Its name.
        changes: The argument that it leaves as another one, or the attribute of its object, "" where there is none.
        how: What becomes of that, as a continuation of its name.
        reader: The function whose figure is another one afterwards; "" where that was not seen.
        before: That figure as it is without this call.
        after: The figure after it.
        read_at: Line of the caller that reads the argument afterwards; -1 where it is a default that every call shares,
            0 where it belongs to an object.
    """

    function: str
    changes: str = ""
    how: str = ""
    reader: str = ""
    before: float = 0.0
    after: float = 0.0
    read_at: int = 0


class ScoreTried(Observed):
    """A score of a classification, tried on predictions whose score is known. ``where`` is where it gets its value.

    Attributes:
        function: The function.
        score: What the name of the number says.
        ranks: It depends on the order of the predictions alone.
        classes: Classes.
        samples: Samples it was tried on, as many of every class.
        perfect: The score where every prediction is right, no two equally sure, as a share of 1.
        random: The score of the same predictions dealt to other samples.
        actual: The score that the script got.
        uneven: The score of predictions with more mistakes in one class than in the other; -1 where not tried.
        means: Another score that has this value by definition, where this one has not in any way of averaging.
    """

    function: str
    score: str
    ranks: bool = False
    classes: int = 2
    samples: int = 0
    perfect: float
    random: float
    actual: float
    uneven: float = -1.0
    means: str = ""


class WindowsTried(Observed):
    """A function that cuts an image into windows and one that puts windows together, tried with spots.

    ``where`` is the line that gives one name another value in the first than in the second; else what the second
    returns.

    Attributes:
        first: The function that cuts.
        second: The function that puts together; empty for one function with a network inside, which gave marks where
            its input differs from the ground.
        size: Size of the image along the axes that are cut.
        spoken: Their names speak of windows, patches or the like.
        spots: Spots that were tried, one at a time.
        misplaced: Of these, spots that came back elsewhere (or, of two functions, not at all).
        vanished: Of these, spots that did not come back, of one function.
        distance: The farthest that one came back from where it was, in pixels.
        uneven: Share of a constant image that does not come back with the value that most of it has.
        differs: A name that both functions give a value, each another one; empty where there is none.
        values: The two values.
    """

    first: str
    second: str
    size: tuple[int, ...]
    spoken: bool = False
    spots: int
    misplaced: int
    vanished: int = 0
    distance: float = 0.0
    uneven: float = 0.0
    differs: str = ""
    values: str = ""


class VectorsTried(Observed):
    """Items of two frames and the motion between them, made with other random numbers each time.

    ``where`` is the last line that gives the vectors their values in the innermost function that was given vectors that
    fit and returned some that do not.

    Attributes:
        dataset: Class of the data set.
        draws: Items in which it can be told whether the vectors fit the frames.
        broken: Of these, items whose vectors fit once all of them are turned, mirrored or scaled alike.
        turn: Median of the angle in degrees; 360 for a mirror image, 0.5 for another scale.
    """

    dataset: str
    draws: int
    broken: int
    turn: float = 0.0


class PairsByName(Observed):
    """Two lists of files that a data set keeps, whose names go together. ``where`` is the line that lists or keeps one.

    Attributes:
        dataset: Class of the data set.
        first: Attribute with the first list.
        second: Attribute with the second one.
        items: Entries of each.
        apart: Indices at which the two names have different keys.
        opened: Of a few of these, items that opened both files of their index.
        others: Of a few of these, items that opened one of them and another file of the second list.
        target: One of the two is a mask or a label by its names, and the other is not.
    """

    dataset: str
    first: str
    second: str
    items: int
    apart: int
    opened: int = 0
    others: int = 0
    target: bool = False
