"""Which front end brings which evidence, and which things not every training has.

A rule is counted as missing only where it is about something that the program at hand has: no rule on gradient
clipping is missing from a script that never clips, and none on sampling from a classifier.
"""

from __future__ import annotations

from enum import StrEnum

from traindx.evidence.base import Record
from traindx.evidence.dataset import PairCensus, PairGeometry, SeriesGeometry
from traindx.evidence.dataset_intensities import BitDepth, DisplayWindow, HounsfieldFacts
from traindx.evidence.dataset_labels import BoxesOnMap, BoxTable, MaskValues
from traindx.evidence.deployment import HardenedScore
from traindx.evidence.forecast import RunForecast
from traindx.evidence.loss import FourierMask, SwallowedInLoss
from traindx.evidence.model import ChannelReduction, Comparison, FrozenPart, HeadBounds, SilentParameters, SpanFloor
from traindx.evidence.observed import ObservedTime, RankDifference
from traindx.evidence.observed_calls import (
    ContractSeen,
    DiscardedResult,
    GradientNormSeen,
    GridSeen,
    IntegerIndexSeen,
    LossStateSeen,
)
from traindx.evidence.observed_evaluation import (
    Accumulated,
    EvaluationPairs,
    FigureRegion,
    MaskGiven,
    OutputThreshold,
    RankedScore,
)
from traindx.evidence.observed_loss import ClampSeen, ConstantTerm
from traindx.evidence.observed_optim import ClippingSeen, OutputsDropped, ScalerSeen, SchedulerSeen
from traindx.evidence.observed_state import (
    CheckpointRead,
    ConfigFile,
    IgnoredOption,
    SplitSeen,
    SuppressedEvidence,
    WeightsLoaded,
)
from traindx.evidence.observed_views import ViewsPaired
from traindx.evidence.probed import FutureProbed, PeakFromTarget, TokensAsked, ViewsMerged
from traindx.evidence.probed_definitions import DefinitionTried
from traindx.evidence.probed_functions import (
    AnchorsTried,
    InverseTried,
    LabelMapTried,
    LossArguments,
    MetricTried,
    MovedTried,
    PaddingTried,
    PairLossTried,
    PlacesTried,
    ReloadTried,
    ReshapeTried,
    ScoreTried,
    SplitTried,
)


class Front(StrEnum):
    """Where evidence comes from; the value completes "is judged from"."""

    CASE = "a described Case"
    SCRIPT = "a script that trains"
    DATA = "a data folder"


_BOTH = frozenset({Front.CASE, Front.SCRIPT})
_SEVERAL = {Comparison: _BOTH, HeadBounds: _BOTH, RunForecast: _BOTH, ClampSeen: _BOTH}
_MODULES = dict.fromkeys(("dataset", "dataset_intensities", "dataset_labels"), frozenset({Front.DATA}))

THINGS: dict[type[Record], str] = {
    WeightsLoaded: "weights loaded into a network",
    CheckpointRead: "checkpoint files",
    SplitSeen: "random splits",
    RankDifference: "second process",
    ConfigFile: "configuration files",
    SuppressedEvidence: "silenced warnings or exceptions",
    IgnoredOption: "options that a library says it ignores",
    ConstantTerm: "terms added to the loss without a gradient",
    ClampSeen: "clamps",
    HeadBounds: "bounded outputs before a comparison",
    ObservedTime: "time arguments",
    SchedulerSeen: "learning-rate schedules",
    ScalerSeen: "gradient scaling",
    ClippingSeen: "gradient clipping",
    OutputsDropped: "steps with several calls of a network before them",
    GridSeen: "sampling grids",
    LossStateSeen: "tensors kept by a loss",
    IntegerIndexSeen: "integer vectors used as indices",
    GradientNormSeen: "gradient penalties",
    ContractSeen: "calls of library functions with a known contract",
    DiscardedResult: "results that nobody takes",
    FutureProbed: "sequences whose next token is asked for",
    TokensAsked: "sequences of tokens with as many targets",
    ViewsMerged: "views that are merged",
    ViewsPaired: "two images of a sample that one network sees",
    PeakFromTarget: "figures in decibels",
    InverseTried: "functions that undo one another",
    LabelMapTried: "functions that renumber labels",
    PaddingTried: "padded sequences with a mask",
    PairLossTried: "losses on two views",
    AnchorsTried: "anchors of several aspect ratios",
    DefinitionTried: "functions that are something by definition",
    MetricTried: "figures computed by own functions",
    ScoreTried: "scores computed by own functions",
    RankedScore: "areas under curves",
    Accumulated: "sums over batches that begin outside of all passes",
    MaskGiven: "masks beside sequences",
    EvaluationPairs: "outputs that meet a batch in evaluation",
    OutputThreshold: "outputs compared with a number between 0 and 1",
    FigureRegion: "figures of a part of the output",
    ReshapeTried: "arrays that are given two axes",
    MovedTried: "functions that move an image and its mask",
    PlacesTried: "functions from coordinates to maps",
    LossArguments: "losses that are own functions of predictions",
    SplitTried: "functions that divide the data",
    ReloadTried: "networks that can be made a second time",
    # of a case
    FrozenPart: "frozen parts",
    ChannelReduction: "layers that take many channels and give few",
    SilentParameters: "modules without a gradient",
    SwallowedInLoss: "exceptions that the loss swallows",
    HardenedScore: "overlap metrics on predictions that are no masks yet",
    SpanFloor: "bottleneck that could limit the output",
    FourierMask: "masks on Fourier coefficients",
    # of a data folder
    SeriesGeometry: "DICOM series",
    HounsfieldFacts: "CT",
    MaskValues: "masks",
    PairGeometry: "masks beside images",
    PairCensus: "pairs of files",
    BitDepth: "PNG, JPEG or TIFF",
    DisplayWindow: "display windows",
    BoxTable: "boxes",
    BoxesOnMap: "boxes",
}
"""What a program without a record of this type has none of. A type that is not listed belongs to every training."""


def fronts_of(kind: type[Record]) -> frozenset[Front]:
    """The front ends that can bring records of a type: scripts for what was observed, probed or sampled, else cases."""
    if kind in _SEVERAL:
        return _SEVERAL[kind]
    module = kind.__module__.rpartition(".")[2]
    if module.startswith(("observed", "probed", "sampled")):
        return frozenset({Front.SCRIPT})
    return _MODULES.get(module, frozenset({Front.CASE}))


def fronts_of_all(kinds: tuple[type[Record], ...]) -> frozenset[Front]:
    """The front ends that bring all of these; every front end for none."""
    found = frozenset(Front)
    for kind in kinds:
        found &= fronts_of(kind)
    return found
