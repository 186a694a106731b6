"""What was seen of the items that a loader hands out, by their content."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class ItemsSeen(Observed):
    """Items of one data loader, compared by some hundred values of each; ``where`` is the line that made the loader.

    Blank items, and those that are not finite, are left out. *Followed* items are known by the index that the sampler
    drew and came at least three times; what is said of their drift counts only those that were *alike*.

    Attributes:
        dataset: Class of the data set.
        item: Where its ``__getitem__`` is defined.
        trains: Batches of this loader were followed by backward passes.
        batches: Batches looked at that hold at least two items; where indices are known, two different ones.
        indexed: Of these, batches whose indices are known.
        one_item: Of these, batches in which all items have one and the same content.
        one_items: Different contents among those batches.
        drawn: Items looked at in all.
        contents: Different contents among them.
        indices: Different indices among them.
        followed: Items that came at least three times.
        alike: Of these, items that were the same every time up to scale and offset (correlation of at least 0.999).
        transformed: Of the followed items, those that came in another form (correlation below 0.9 with the first time).
        by_index: Two of these, each made in a child of its own from one random state, differ: an item is a form of
            something that the index chooses, and not made up anew; None where that was not tried.
        sightings: The most often that one of them came.
        growing: Items whose spread was larger every time.
        shrinking: Items whose spread was smaller every time.
        rising: Items whose mean was larger every time.
        falling: Items whose mean was smaller every time.
        factor: Median of last over first spread.
        shift: Median of the way of the mean from first to last, over the first spread.
        changed_at: Where they drift, the line after which memory that the data set holds was another when some items
            were made once more in a forked child.
    """

    dataset: str
    item: Location | None = None
    trains: bool = False
    batches: int = 0
    indexed: int = 0
    one_item: int = 0
    one_items: int = 0
    drawn: int = 0
    contents: int = 0
    indices: int = 0
    followed: int = 0
    alike: int = 0
    transformed: int = 0
    by_index: bool | None = None
    sightings: int = 0
    growing: int = 0
    shrinking: int = 0
    rising: int = 0
    falling: int = 0
    factor: float = 1.0
    shift: float = 0.0
    changed_at: Location | None = None


class WorkerGenerator(Observed):
    """A generator that a data set draws from, of which every worker gets a copy; ``where`` is where items are made.

    Attributes:
        loader: The line that made the loader.
        dataset: Class of the data set.
        name: Attribute that holds the generator, as it is written in the data set.
        type: Class of the generator.
        workers: Worker processes of the loader.
        passes: Passes over the loader begun.
        persistent: Workers, and with them their copies, live on from one pass to the next.
        renewed: Something sees to it that copies differ: a ``worker_init_fn``, or code that makes, seeds or moves on
            the generator where an item is made, or asks there which worker it runs in.
        trains: Batches of this loader were followed by backward passes.
    """

    loader: Location | None = None
    dataset: str
    name: str
    type: str
    workers: int
    passes: int
    persistent: bool = False
    renewed: bool = False
    trains: bool = False


class WorkersBegun(Observed):
    """Random numbers that workers begin with, tried in child processes; ``where`` sets their state, or draws from it.

    Attributes:
        loader: The line that made the loader.
        dataset: Class of the data set.
        prepares: Name of the ``worker_init_fn``.
        workers: Worker processes of the loader.
        passes: Passes over the loader begun.
        alike: Generators that items are drawn with and that two workers begin with, and leave, in the same state.
        again: Those that the first worker begins two passes with in the same state.
        trains: Batches of this loader were followed by backward passes.
    """

    loader: Location | None = None
    dataset: str
    prepares: str
    workers: int
    passes: int
    alike: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    trains: bool = False


class PartsSeen(Observed):
    """Parts of a loader's items; ``where`` is the line that made the loader.

    Attributes:
        dataset: Class of the data set.
        item: Where its ``__getitem__`` is defined.
        trains: Batches of this loader were followed by backward passes.
        made_at: The line in the making of an item after which the relation was broken, where it was found.
    """

    dataset: str
    item: Location | None = None
    trains: bool = False
    made_at: Location | None = None


class BoxesSeen(PartsSeen):
    """Boxes in the batches of a loader, read as two corners.

    Attributes:
        key: Where in the batch they are.
        boxes: How many were looked at.
        crossed: Of these, boxes whose second corner lies before the first one on an axis.
        gap: Least width or height, signs left out, over the median; near 0 for rows that are no pairs of corners.
        ratio: Median size of the crossed ones over that of the others.
    """

    key: str
    boxes: int
    crossed: int
    gap: float
    ratio: float = 1.0


class SidesSeen(PartsSeen):
    """Landmarks of a training loader against those of a loader that is not augmented.

    Attributes:
        items: Items looked at.
        mirrored: Items in which every three landmarks run the other way round.
        kept: Items in which they run as usual.
        landmarks: Landmarks of an item.
        pairs: Pairs of landmarks that change places when the figure is mirrored; 0 for one that is not symmetric.
    """

    items: int
    mirrored: int
    kept: int
    landmarks: int
    pairs: int


class MaskOnImage(PartsSeen):
    """How much of an image's variance the regions of its mask explain.

    Attributes:
        items: Items looked at.
        explained: Median share that an item's own mask explains.
        by_other: The same for the mask of another item of the batch.
        reference: The same as ``explained`` for a loader that does not train and whose masks lie on their images; 0 if
            there is none.
        low: Items whose own mask explains less than a quarter of the reference.
        turned: Of these, items whose mask explains it as it should once it is flipped or turned.
    """

    items: int
    explained: float
    by_other: float
    reference: float = 0.0
    low: int = 0
    turned: int = 0


class PlacesOnMirrored(Observed):
    """Items of a loader whose image came back mirrored, and a part of them that says places. ``where`` is the loader.

    Attributes:
        dataset: Class of the data set.
        part: Name of the part (boxes, points, landmarks).
        mirrored: Pairs of sightings of one item whose images are mirror images of each other.
        stayed: Of these, pairs in which the places are the same to the last digit.
        made_at: Where the items are made.
        trains: The loader feeds the training.
    """

    dataset: str
    part: str
    mirrored: int
    stayed: int
    made_at: Location | None = None
    trains: bool = False


class LabelsResampled(Observed):
    """A map of three or more whole numbers that was resampled by interpolation. ``where`` is the line of the call.

    Attributes:
        function: What resampled it.
        how: The interpolation, as the library is told it.
        values: The labels.
        voxels: Voxels of the results that were looked at.
        invented: Of these, voxels with a label that the nearest neighbour has nowhere within two voxels.
        between: Of these, voxels whose value is no label at all.
        looks: Calls that were looked at.
    """

    function: str
    how: str
    values: tuple[float, ...]
    voxels: int
    invented: int
    between: int = 0
    looks: int = 1


class SharedItems(Observed):
    """Items of a loader that does not train, against those of the loader that was training when they were read.

    ``where`` is the line that made the loader.

    Attributes:
        dataset: Class of its data set.
        contents: Different items that were looked at; 0 where those of either loader hold too few values to be told
            apart.
        shared: Of these, items that are equal to a training item in some hundred values.
        training: Different training items that were looked at.
        divided_at: The line that assigns the names from which both loaders are made, where there is one.
        name: What the loader is assigned to, "" where that is not known.
        dataset_at: The line that assigns the data set that the loader is given.
    """

    dataset: str
    contents: int
    shared: int
    training: int
    name: str = ""
    dataset_at: Location | None = None
    divided_at: Location | None = None


class StageInputs(Observed):
    """Intensities of the samples that a network gets at one line; ``where`` is the line of the call.

    Attributes:
        network: Class of the network.
        made: Where it was constructed.
        phase: See :class:`.evidence.observed.NetworkCalls`.
        shape: Shape of a sample.
        samples: Samples that were looked at.
        again: Samples with a mean and a deviation that a sample of an earlier call had, to the sixth digit.
        mean: Median of their means.
        spread: Median of their standard deviations.
        least_spread: The least of these.
        most_spread: The greatest.
        largest_off: The greatest distance of a mean from 0 or a deviation from 1.
        off: Share of the samples with such a distance above 0.1.
        given_at: The line that assigns the argument.
    """

    network: str
    made: Location | None = None
    phase: str
    shape: tuple[int, ...]
    samples: int
    again: int = 0
    mean: float
    spread: float
    least_spread: float
    most_spread: float
    largest_off: float
    off: float
    given_at: Location | None = None


class IntegerRange(Observed):
    """Arithmetic on small integers in the making of an item. ``where`` is the line; without one, none was out of range.

    Attributes:
        items: Items that were made again line by line.
        expression: The expression, as it is written.
        dtype: Type that it is computed in.
        how: ``arithmetic``, ``cast`` or ``written`` (into a part of an array).
        share: Share of the values that are not what they are in double precision.
    """

    items: int
    expression: str = ""
    dtype: str = ""
    how: str = ""
    share: float = 0.0


class ReadingOrder(Observed):
    """A loader in random order; ``where`` is the line that made it.

    Attributes:
        dataset: Class of its data set.
        trains: Its batches are trained on.
        read: Batches that were noted.
        drops_labels: The loop that reads it names everything but the first part of a batch ``_``.
        collects: The loop collects what it computes.
        read_at: The line of the loop.
    """

    dataset: str
    trains: bool = False
    read: int = 0
    drops_labels: bool = False
    collects: bool = False
    read_at: Location | None = None


class BatchClasses(Observed):
    """Class labels in the batches of a loader that were looked at; ``where`` is the line that made it.

    Attributes:
        in_order: It reads the items one after the other, as the data set has them.
        trains: Its batches were followed by backward passes.
        batches: Batches with one whole number an item, of six items or more.
        pure: Those in which one class has 95 % of the items.
        classes: Classes that occurred in any.
        leading: Classes that led in any.
    """

    in_order: bool = False
    trains: bool = False
    batches: int = 0
    pure: int = 0
    classes: int = 0
    leading: int = 0


class ClassesAsked(Observed):
    """Classes of the items that a network learns from, and of those that an evaluation asks for; ``where`` asks.

    Attributes:
        classes: Outputs for classes that the network has.
        training: Items of each class that losses with gradients were given.
        training_whole: All items of at least one pass were counted; otherwise those of the batches looked at.
        training_batches: Batches of six items or more among them.
        training_mixed: Of these, batches of two classes or more.
        evaluation: Items of each class that evaluation was given.
        evaluation_whole: All of at least one pass were counted.
        on_purpose: What the program calls a protocol in which classes are new on purpose.
        divided_at: The line that divides the data, where it was found.
    """

    classes: int
    training: tuple[tuple[int, int], ...]
    training_whole: bool
    training_batches: int
    training_mixed: int
    evaluation: tuple[tuple[int, int], ...]
    evaluation_whole: bool
    on_purpose: str = ""
    divided_at: Location | None = None


class HeatMapsSeen(PartsSeen):
    """Patches of the images at the peaks of their heat maps: how much of their variation their mean over items keeps.

    Attributes:
        items: Items looked at.
        landmarks: Heat maps an item.
        own: Share that is kept at the peaks, median over landmarks.
        transposed: The same at the places with rows and columns exchanged.
        mirrored: The same at mirrored places, left to right or upside down, whichever is more.
    """

    items: int
    landmarks: int
    own: float
    transposed: float
    mirrored: float


class ItemAfterOthers(Observed):
    """One item of a data set, made fresh and after other items with the same random numbers, in a child process.

    ``where`` is the line that writes what carries the difference; without one, where items are made.

    Attributes:
        dataset: Class of the data set.
        settled: The item was the same each time that it was made fresh, so that it can be compared.
        how: What it depends on: ``kept`` (something that the first item left and that stays), ``running`` (something
            that every item changes), ``in-place`` (values that the data set holds, which its own making changes),
            ``drawn-once`` (its own first making: with other random numbers it is the same then, and was another one
            before), or empty where it is the same.
        name: What carries the difference; the item is as it was fresh with this alone put back.
        few: It is one number or a few of them, not an array.
        difference: Root mean square difference between the item after others and fresh, over its spread.
        loader: The line that made the loader.
        trains: Batches of this loader were followed by backward passes.
    """

    dataset: str
    settled: bool
    how: str = ""
    name: str = ""
    few: bool = False
    difference: float = 0.0
    loader: Location | None = None
    trains: bool = False


class SameCaseTwice(Observed):
    """Raw cases of a data set that is evaluated on, made into items by it and by the data set of the training.

    Tried in a child process, and only where nothing is drawn for the values and both items show the same places.
    ``where`` is the first line that gives a name another number in a function that has its namesake in the training.

    Attributes:
        training: Class of the data set that is trained on.
        dataset: Class of the other one.
        loader: The line that made the loader of the other one.
        cases: Cases that were tried.
        levels: No case was, but pictures of one value each (this many), since the items show other places.
        shape: Shape of an image.
        least: The least root mean square difference of the two items of a case, over the larger spread.
        channels_turned: The three channels of the one are those of the other in reverse order.
        slope: Median slope of the values in training over those here.
        mean: Median mean of the images here.
        spread: Median standard deviation of the images here.
        mean_in_training: Median mean of the same cases as the training's data set gives them.
        spread_in_training: Their median standard deviation.
        name: The name and its function.
        value: The number that it holds here.
        value_in_training: The number that it holds there.
        targets: Labels of an item (whole numbers, or maps of few values) that could be compared.
        targets_apart: Of these, labels that are others for every case, whatever the training draws.
        target: The first of these, by its place in an item.
        unread: The other loader was not read before the watching ended; what it is for is not known.
    """

    training: str
    dataset: str
    loader: Location | None = None
    cases: int
    levels: int = 0
    shape: tuple[int, ...]
    least: float
    channels_turned: bool = False
    slope: float = 1.0
    mean: float
    spread: float
    mean_in_training: float
    spread_in_training: float
    name: str = ""
    value: str = ""
    value_in_training: str = ""
    targets: int = 0
    targets_apart: int = 0
    target: str = ""
    unread: bool = False


class SharedCases(Observed):
    """Which cases the items of an evaluation are of, by what two data sets keep of them (paths, names, identifiers).

    ``where`` is the line that made the loader of the evaluation.

    Attributes:
        dataset: Class of its data set.
        cases: Cases that its items are of.
        shared: Of these, cases that items of the training are of, too.
        members: Items of the evaluation.
        neighbours: Of these, items next to a training item in the same case; -1 where no number says so.
        spoken: A word in their names says that they are cases, or slices of cases.
        divided_at: The line that assigns the names from which both loaders are made, where there is one.
        unread: The other loader was not read before the watching ended; what it is for is not known.
    """

    dataset: str
    cases: int
    shared: int
    members: int
    neighbours: int = -1
    spoken: bool = False
    divided_at: Location | None = None
    unread: bool = False


class NamesNumbered(Observed):
    """Tables from names to numbers that two data sets keep under one name. ``where`` is the line that makes one.

    Attributes:
        dataset: Class of the data set of an evaluation.
        training: Class of the one that is trained on.
        loader: The line that made the loader of the evaluation.
        name: Attribute with the table in which names differ; empty where none does.
        common: Names that both have.
        apart: Of these, names with two numbers.
        names: Names of the evaluation's table.
        names_in_training: Names of the training's.
        unread: The other loader was not read before the watching ended; what it is for is not known.
    """

    dataset: str
    training: str
    loader: Location | None = None
    name: str = ""
    common: int = 0
    apart: int = 0
    names: int = 0
    names_in_training: int = 0
    unread: bool = False


class PartsStandardised(Observed):
    """Arrays that two data sets keep under one name, compared with mean 0 and deviation 1; ``where`` keeps the array.

    Attributes:
        dataset: Class of the data set of an evaluation.
        training: Class of the one that is trained on.
        loader: The line that made the loader of the evaluation.
        name: Attribute that is exactly standardised in both; empty where none is.
        over: Over what: each column, each channel, all values.
        rows: Rows of the evaluation's.
        rows_in_training: Rows of the training's.
        arrays: Arrays that could be asked.
        unread: The other loader was not read before the watching ended; what it is for is not known.
    """

    dataset: str
    training: str
    loader: Location | None = None
    name: str = ""
    over: str = ""
    rows: int = 0
    rows_in_training: int = 0
    arrays: int = 0
    unread: bool = False


class SharedBase(Observed):
    """A field of a data set, set through one of two subsets that loaders read. ``where`` is the last such statement.

    Attributes:
        dataset: Class of the data set.
        field: The field.
        through: What it is set through, as it is written before ``.dataset``.
        values: Different values that are set, as they are written.
        live: All statements are in functions that ran when the second subset was about to be read, above their line.
    """

    dataset: str
    field: str
    through: tuple[str, ...]
    values: int
    live: bool = False
