"""What was seen of state that comes from outside: checkpoints, seeds, configuration files, data loaders."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class WeightsLoaded(Observed):
    """A call of ``load_state_dict`` on a network; ``where`` is the user's line.

    Attributes:
        network: Class name.
        tensors: Tensors of the network.
        offered: Tensors in the mapping that was given.
        matched: Tensors whose name and shape agree.
        missing: Tensors of the network that the mapping lacks.
        unexpected: Tensors of the mapping that the network lacks.
        changed: Tensors of the network whose values are different after the call.
        strict: The ``strict`` argument.
        looked_at: The user's code read the returned ``missing_keys`` or ``unexpected_keys``.
        examples_missing: At most 4 names.
        examples_unexpected: At most 4 names.
        file: Name of the file the tensors were read from, where known.
        in_file: Tensors in that file, 0 where unknown.
        arrived: Tensors of that file whose values are in the network after the call.
        trained: The network was trained afterwards.
        iteration: Iterations before it.
        weights: Weights that were loaded and looked at again before the next backward pass; 0 where there was none.
        undone: Of these, weights that had other values by then, without another load.
        as_drawn: Weights of the network that this load leaves out, and that no load has filled and no optimiser holds.
        made_here: The network was constructed by the script, and is no copy of another.
    """

    network: str
    tensors: int
    offered: int
    matched: int
    missing: int = 0
    unexpected: int = 0
    changed: int = 0
    strict: bool = True
    looked_at: bool = False
    examples_missing: tuple[str, ...] = ()
    examples_unexpected: tuple[str, ...] = ()
    file: str = ""
    in_file: int = 0
    arrived: int = 0
    trained: bool = False
    iteration: int = 0
    weights: int = 0
    undone: int = 0
    as_drawn: int = 0
    made_here: bool = False


class CheckpointRead(Observed):
    """A file read by ``torch.load``; ``where`` is the user's line.

    Attributes:
        file: Its name.
        parts: Top-level keys, at most 16.
        tensors: Tensors in it.
        arrived: Tensors whose values were in some network when they were compared, -1 if they never were.
        trained: Of these, before a training: those in layers that an optimiser has; -1 where that was not asked.
        compared: When: right before the first backward pass after the file was read (``training``); in a script
            without any, when a network was called for the first time (``a call``), the best of several; "" for never.
        optimizer_state: It holds the state of an optimiser.
        optimizer_restored: Some optimiser's ``load_state_dict`` was called afterwards.
        scheduler_state: It holds the state of a learning-rate schedule.
        scheduler_restored: Some schedule's ``load_state_dict`` was called afterwards.
        saved_lr: Learning rate in the saved optimiser state, -1 where unknown.
        resumed_lr: Learning rate of the first step after it, -1 where unknown.
        epoch: Saved epoch or step counter, -1 where unknown.
        epoch_read: The script read that counter.
    """

    file: str
    parts: tuple[str, ...] = ()
    tensors: int = 0
    arrived: int = -1
    trained: int = -1
    compared: str = ""
    optimizer_state: bool = False
    optimizer_restored: bool = False
    scheduler_state: bool = False
    scheduler_restored: bool = False
    saved_lr: float = -1.0
    resumed_lr: float = -1.0
    epoch: int = -1
    epoch_read: bool = False


class StateReused(Observed):
    """A result of ``state_dict()`` that was loaded again later on; ``where`` is the line that loads.

    A ``copy.copy`` of it, or a mapping with some of its tensors, counts as the result itself; a clone does not.

    Attributes:
        network: Class of the network that it was loaded into.
        taken: The line that called ``state_dict()``.
        parameters: Parameters that were offered to the network.
        shared: Number of them that lie in the very memory of the parameter they are loaded into.
        changed: The values in it are others than when it was taken.
        steps: Steps of optimisers between taking and loading.
        loads: How often it happened at these two lines.
    """

    network: str
    taken: Location | None = None
    parameters: int = 0
    shared: int = 0
    changed: bool = False
    steps: int = 0
    loads: int = 1


class SeedsSeen(Observed):
    """Which random generators were seeded before the first iteration.

    Attributes:
        torch: ``torch.manual_seed`` or its like was called.
        numpy: ``numpy.random.seed`` was called.
        python: ``random.seed`` was called.
        places: Where.
    """

    torch: bool = False
    numpy: bool = False
    python: bool = False
    places: tuple[Location, ...] = ()


class SplitSeen(Observed):
    """A data set divided at random; ``where`` is the user's line.

    Attributes:
        function: ``random_split``, ``permutation`` and so on.
        lengths: Sizes of the parts.
        seeded: The generator in use had been seeded.
        checkpoints: The script reads or writes checkpoints, so another process will draw another split.
    """

    function: str
    lengths: tuple[int, ...] = ()
    seeded: bool = False
    checkpoints: bool = False


class ConfigFile(Observed):
    """A YAML, JSON or TOML file read as configuration; ``where`` is the user's line that read it.

    Attributes:
        file: Path as the user would open it.
        keys: Number of leaf keys.
        read: Number of them that were read.
        unread: Dotted names of leaf keys with a number or truth value that nothing read and that no loaded source
            file of the user's mentions, at most 32.
        lines: Line of each of them in the file, 0 where it could not be found.
        values: Their values, as text.
        in_bulk: Parts that were handed on as a whole (``**config``), whose keys count as read.
    """

    file: str
    keys: int
    read: int
    unread: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    values: tuple[str, ...] = ()
    in_bulk: tuple[str, ...] = ()


class ActingSetting(Observed):
    """A number of a configuration file that nothing asks for, and another that acts under its name.

    ``where`` is where other parameters of the class that holds it are handed on, or the line that made the object.

    Attributes:
        name: Dotted name in the file.
        value: Its value there.
        acting: The value that the object holds.
        owner: Class of the object.
        file: The configuration file.
        line: Line in it, 0 where it could not be found.
    """

    name: str
    value: float
    acting: float
    owner: str
    file: str
    line: int = 0


class LoaderSeen(Observed):
    """A data loader; ``where`` is the line that made it.

    Attributes:
        dataset: Class name.
        item: Where its ``__getitem__`` is defined.
        batches: Batches a pass, -1 where it has no length.
        batch_size: Samples a batch.
        shuffled: It draws in random order.
        drops_last: It drops an incomplete last batch.
        samples: Samples that its sampler draws in a pass, -1 where that has no length.
        workers: Worker processes.
        passes: Passes begun.
        read: Batches read.
        nonfinite: Batches looked at that held values which are not finite.
        nonfinite_key: Where in the batch.
        looked_at: Batches looked at.
        trains: Batches of this loader were followed by backward passes.
        in_order: Every pass begins with the same items.
        deepest: Batches read in the pass that went furthest.
    """

    dataset: str
    in_order: bool = False
    deepest: int = 0
    item: Location | None = None
    batches: int = -1
    batch_size: int = 0
    shuffled: bool = False
    drops_last: bool = False
    samples: int = -1
    workers: int = 0
    passes: int = 0
    read: int = 0
    nonfinite: int = 0
    nonfinite_key: str = ""
    looked_at: int = 0
    trains: bool = False


class SuppressedEvidence(Observed):
    """Something that keeps faults from being seen; ``where`` is the user's line.

    Attributes:
        what: ``warnings`` or ``except``.
        detail: What is silenced.
        hidden: Messages that were hidden by it during the run, at most 4.
    """

    what: str
    detail: str = ""
    hidden: tuple[str, ...] = ()


class IgnoredOption(Observed):
    """A library warned that it takes no notice of something it was given; ``where`` is the user's line that called it.

    Attributes:
        message: What it said, at most 200 characters.
        library: The package whose code said it.
        times: How often.
    """

    message: str
    library: str = ""
    times: int = 1


class StatisticsSeen(Observed):
    """A network with running statistics, in no optimiser, called without gradients in evaluation mode.

    ``where`` is the line of the first such call.

    Attributes:
        network: Its class.
        written: Where its weights are written to in place, if that was seen.
        looks: Later calls at which it was compared with the first one.
        weights_moved: Largest relative change of a weight tensor since.
        statistics_moved: A running mean or variance changed.
        at_start_values: All of them have the values that they are constructed with (mean 0, variance 1).
    """

    network: str
    written: Location | None = None
    looks: int = 0
    weights_moved: float = 0.0
    statistics_moved: bool = False
    at_start_values: bool = False


class DropoutSeen(Observed):
    """Dropout layers made at one line, in training mode in a network that is trained; ``where`` is that line.

    Attributes:
        layer: Class of the layers.
        rate: Probability of dropping.
        layers: How many places of the network hold one.
        keeps: The line speaks of keeping.
    """

    layer: str
    rate: float
    layers: int = 1
    keeps: bool = False


class NormScaleSeen(Observed):
    """The scale of a normalisation layer at its first call, before any step. ``where`` drew it at random, if known.

    Attributes:
        layer: Class of the layer.
        name: The parameter.
        mean: Mean of its values.
        spread: Their standard deviation.
        output_spread: Standard deviation of what the layer gave, which is about 1 where the scale is.
    """

    layer: str
    name: str
    mean: float
    spread: float
    output_spread: float


class SpectralNormSeen(Observed):
    """Layers under spectral norm that were called in evaluation mode and never before in training mode.

    ``where`` is the line that calls the function in which they are used.

    Attributes:
        layers: How many.
        largest: The largest singular value among their normalised weights; 1 where the estimate has settled.
    """

    layers: int
    largest: float


class DeclaredSettings(Observed):
    """Settings of one form that the script's sources declare, and those of them that nothing reads, at most 32.

    Attributes:
        form: ``option`` of a command line, ``field`` of a data class, ``constant`` or ``parameter`` of a function.
        declared: Numbers and truth values that are declared in this form.
        names: Those that nothing reads.
        values: Their values or defaults, as source text.
        places: Where each is declared; of a parameter that is overwritten, where.
        overwritten: The value that a parameter is given before anything reads it, "" for none.
        passed: A call in the sources gives it a value.
    """

    form: str
    declared: int
    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    places: tuple[Location, ...] = ()
    overwritten: tuple[str, ...] = ()
    passed: tuple[bool, ...] = ()


class CopySeen(Observed):
    """A network that no optimiser holds, and one of its class and shapes that one does; ``where`` writes the copy.

    Attributes:
        network: Class of both.
        made: Line that made the copy, where known.
        used: Line that first called it without gradients.
        steps: Iterations since both were known.
        looks: Steps that moved the network and after which the copy was looked at.
        stills: Those after which the copy was what it had been.
        rates: Share of the distance to the network that the copy went at each of the others, the last 64.
        late: Its median over the second half of them.
        misfit: Median share of the copy's movement that is no movement towards the network.
        source_moved: Distance that the network went since, relative to its weights.
        share: Share of that way that the copy has gone.
        calls: Calls of the copy without gradients that were seen.
        judged: Some of them are of a validation or a sampling loop.
        source_judged: The network itself is called in a validation or a sampling loop.
        helps: Some outputs of the copy enter a loss.
    """

    network: str
    made: Location | None = None
    used: Location | None = None
    steps: int = 0
    looks: int = 0
    stills: int = 0
    rates: tuple[float, ...] = ()
    late: float = 0.0
    misfit: float = 0.0
    source_moved: float = 0.0
    share: float = 0.0
    calls: int = 0
    judged: bool = False
    source_judged: bool = False
    helps: bool = False


class FrozenSeen(Observed):
    """A part of a network without a weight that takes gradients, in training mode; ``where`` froze it, or calls it.

    Attributes:
        network: Class of the network.
        part: Name of the part in it.
        parameters: Numbers in it.
        looks: Later calls of the network at which it was looked at.
        iterations: Optimiser iterations between the first and the last of them.
        statistics_moved: Largest change of a running mean between them, in standard deviations of its features.
        used_before: Its statistics were not those that it is constructed with: it was trained or loaded.
        thawed: Its weights changed meanwhile, or took gradients at another call.
    """

    network: str
    part: str
    parameters: int = 0
    looks: int = 0
    iterations: int = 0
    statistics_moved: float = 0.0
    used_before: bool = False
    thawed: bool = False


class SamplerSeen(Observed):
    """A ``WeightedRandomSampler`` of a data loader; ``where`` is the line that made it.

    Attributes:
        items: Items of the data set, -1 where it has no length.
        weights: Weights that it was given.
        natural: Share of the rarest class among the items, -1 where the labels are not known.
        drawn: Share of that class among what the weights draw.
        classes: Classes that occur.
    """

    items: int = -1
    weights: int = 0
    natural: float = -1.0
    drawn: float = -1.0
    classes: int = 0
