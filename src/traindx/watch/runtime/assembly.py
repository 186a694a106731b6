"""Which collectors there are: the only module of the watching that knows them all (they are wired by what they use)."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from traindx.evidence.base import Record
from traindx.watch.collectors.accumulations import Accumulations
from traindx.watch.collectors.accumulators import Accumulators
from traindx.watch.collectors.acting_settings import ActingSettings
from traindx.watch.collectors.attention_masks import AttentionMasks
from traindx.watch.collectors.backwards import Backwards
from traindx.watch.collectors.batch_classes import BatchesOfClasses
from traindx.watch.collectors.batch_means import BatchMeans
from traindx.watch.collectors.bypassed_wrappers import BypassedWrappers
from traindx.watch.collectors.call_meanings import CallMeanings
from traindx.watch.collectors.checkpoints import Checkpoints
from traindx.watch.collectors.clamps import Clamps
from traindx.watch.collectors.class_shares import ClassShares
from traindx.watch.collectors.compiled import Compiled
from traindx.watch.collectors.configs import Configs
from traindx.watch.collectors.contracts import Contracts
from traindx.watch.collectors.copies import Copies
from traindx.watch.collectors.cut_losses import CutLosses
from traindx.watch.collectors.declared_settings import SettingsDeclared
from traindx.watch.collectors.destinations import Destinations
from traindx.watch.collectors.detached_branches import DetachedBranches
from traindx.watch.collectors.dropouts import Dropouts
from traindx.watch.collectors.dropped_outputs import DroppedOutputs
from traindx.watch.collectors.elsewhere import Elsewhere
from traindx.watch.collectors.evaluation_flow import EvaluationFlow
from traindx.watch.collectors.exceptions import Exceptions, WarningFilters
from traindx.watch.collectors.frozen_statistics import FrozenStatistics
from traindx.watch.collectors.given_masks import GivenMasks
from traindx.watch.collectors.heat_maps import HeatMaps
from traindx.watch.collectors.ingredients import DiffusionIngredients
from traindx.watch.collectors.inputs import Inputs
from traindx.watch.collectors.item_contents import ItemContents
from traindx.watch.collectors.item_parts import ItemParts
from traindx.watch.collectors.kept_states import KeptStates
from traindx.watch.collectors.library_contracts import LibraryContracts
from traindx.watch.collectors.loaders import Loaders
from traindx.watch.collectors.loss_calls import LossCalls
from traindx.watch.collectors.loss_states import LossStates
from traindx.watch.collectors.loss_terms import LossTerms
from traindx.watch.collectors.losses_of_calls import LossesOfCalls
from traindx.watch.collectors.merged_views import MergedViews
from traindx.watch.collectors.mirrored_items import MirroredItems
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.no_grad_regions import NoGradRegions
from traindx.watch.collectors.noised_inputs import NoisedInputs
from traindx.watch.collectors.nonfinite import NonFinite
from traindx.watch.collectors.norm_scales import NormScales
from traindx.watch.collectors.norm_statistics import NormStatistics
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.padded_targets import PaddedTargets
from traindx.watch.collectors.paired_views import PairedViews
from traindx.watch.collectors.parameters import Parameters
from traindx.watch.collectors.peaks import Peaks
from traindx.watch.collectors.plain_tensors import PlainTensors
from traindx.watch.collectors.plateaus import Plateaus
from traindx.watch.collectors.provenance import Provenance
from traindx.watch.collectors.purity import Purity
from traindx.watch.collectors.ranked_scores import RankedScores
from traindx.watch.collectors.ranks import Launchers, RankRecorder, is_worker, rank_here
from traindx.watch.collectors.rates import Rates
from traindx.watch.collectors.reading_order import ReadingOrders
from traindx.watch.collectors.repeated_calls import RepeatedCalls
from traindx.watch.collectors.reported_figures import ReportedFigures
from traindx.watch.collectors.resampled import Resampling
from traindx.watch.collectors.resampled_tensors import ResampledTensors
from traindx.watch.collectors.sampling_loops import SamplingLoops
from traindx.watch.collectors.scaling import Scaling
from traindx.watch.collectors.seeds import SeedCalls, Seeds
from traindx.watch.collectors.selection_settings import SelectionSettings
from traindx.watch.collectors.set_fields import SetFields
from traindx.watch.collectors.shared_bases import SharedBases
from traindx.watch.collectors.shared_items import SharedItemsSeen
from traindx.watch.collectors.source_slips import SourceSlips
from traindx.watch.collectors.spectral_norms import SpectralNorms
from traindx.watch.collectors.stage_inputs import StagesSeen
from traindx.watch.collectors.statements import Statements
from traindx.watch.collectors.term_reach import TermReach
from traindx.watch.collectors.thrown_away import ThrownAway
from traindx.watch.collectors.token_offsets import TokenOffsets
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.collectors.upsampled_outputs import UpsampledOutputs
from traindx.watch.collectors.weight_decays import WeightDecays
from traindx.watch.collectors.weighted_samplers import WeightedSamplers
from traindx.watch.collectors.worker_generators import WorkerGenerators
from traindx.watch.interventions.files import PROTECT, ResumeLog
from traindx.watch.interventions.preparation import Preparation
from traindx.watch.probes.base import Experiment
from traindx.watch.probes.batch_influence import BatchInfluence
from traindx.watch.probes.captured import CapturedCalls
from traindx.watch.probes.copied_tokens import CopiedTokens
from traindx.watch.probes.earlier_items import EarlierItems
from traindx.watch.probes.evaluation_repeat import EvaluationRepeat
from traindx.watch.probes.given_region import GivenRegion
from traindx.watch.probes.input_influence import InputInfluence
from traindx.watch.probes.integer_range import IntegerRanges
from traindx.watch.probes.loss_order import LossOrder
from traindx.watch.probes.loss_path import LossPaths
from traindx.watch.probes.next_token import NextToken
from traindx.watch.probes.overlap_order import OverlapOrder
from traindx.watch.probes.own_batch import OwnBatch
from traindx.watch.probes.pipelines import Pipelines
from traindx.watch.probes.share_influence import ShareInfluence
from traindx.watch.probes.unasked_outputs import UnaskedOutputs
from traindx.watch.probes.user_functions import UserFunctions
from traindx.watch.probes.workers_begun import PreparedWorkers
from traindx.watch.runtime.sink import Sink
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import wired

if TYPE_CHECKING:
    from traindx.watch.interventions.run import Variant
    from traindx.watch.runtime.after_import import AfterImport
    from traindx.watch.runtime.edits import Overlay
    from traindx.watch.runtime.settings import Settings


class WithoutTorch:
    """What is watched from the script's first line on, torch or not."""

    def __init__(self) -> None:
        self.configs = Configs()
        self.seeds = SeedCalls()
        self.silence = WarningFilters()
        self.resampling = Resampling()
        self.ranked = RankedScores()
        self.contracts = LibraryContracts()
        self.arm: Preparation | None = None  # of an arm of a paired run, in which nothing is watched
        self.protect: ResumeLog | None = None  # of files that the script is about to change

    def records(self) -> Iterable[Record]:
        """Everything these have to say."""
        yield from self.configs.records()
        yield from self.silence.records()
        yield from self.ranked.records()
        yield from self.contracts.records()


class _Early(Collector):
    """Hands the records of :class:`WithoutTorch` to the watch."""

    subject = "configuration files"

    def __init__(self, watch: Watch, early: WithoutTorch) -> None:
        super().__init__(watch)
        self.early = early

    def records(self) -> Iterable[Record]:
        """As they are."""
        yield from self.early.records()


COLLECTORS: tuple[type[Collector], ...] = (  # in the order in which they are told of things
    TorchCalls,
    Purity,
    Networks,
    Compiled,
    Backwards,
    NonFinite,
    Parameters,
    Optimisers,
    Destinations,
    LossTerms,
    TermReach,
    Provenance,
    LossesOfCalls,
    PaddedTargets,
    TokenOffsets,
    LossCalls,
    LossStates,
    Clamps,
    CallMeanings,
    Contracts,
    DetachedBranches,
    DroppedOutputs,
    WeightDecays,
    ThrownAway,
    Statements,
    SourceSlips,
    SetFields,
    CutLosses,
    BypassedWrappers,
    Exceptions,
    Scaling,
    Rates,
    Loaders,
    EarlierItems,
    Pipelines,
    ItemContents,
    WorkerGenerators,
    PreparedWorkers,
    WeightedSamplers,
    BatchesOfClasses,
    ClassShares,
    ItemParts,
    MirroredItems,
    PairedViews,
    HeatMaps,
    SharedItemsSeen,
    SharedBases,
    IntegerRanges,
    StagesSeen,
    ReadingOrders,
    SpectralNorms,
    Plateaus,
    PlainTensors,
    Inputs,
    Checkpoints,
    KeptStates,
    Seeds,
    NormScales,
    Dropouts,
    NormStatistics,
    Copies,
    FrozenStatistics,
    RepeatedCalls,
    NoGradRegions,
    Elsewhere,
    NoisedInputs,
    SamplingLoops,
    DiffusionIngredients,
    ResampledTensors,
    UpsampledOutputs,
    MergedViews,
    Peaks,
    EvaluationFlow,
    GivenMasks,
    AttentionMasks,
    Accumulations,
    Accumulators,
    ReportedFigures,
    BatchMeans,
    _Early,
    SettingsDeclared,
    ActingSettings,
    SelectionSettings,
    InputInfluence,
    EvaluationRepeat,
    BatchInfluence,
    NextToken,
    CopiedTokens,
    ShareInfluence,
    OwnBatch,
    LossOrder,
    GivenRegion,
    OverlapOrder,
    UnaskedOutputs,
    UserFunctions,
    LossPaths,  # after the probes, which look at an iteration's paths and calls when it ends
    CapturedCalls,
)


def before_torch(settings: Settings, imports: AfterImport, overlay: Overlay) -> WithoutTorch:
    """Patch what exists already and wait for what does not."""
    early = WithoutTorch()
    if not settings.watch:
        early.arm = Preparation(settings, imports, overlay)
    else:
        if settings.extras.get("protect"):
            early.protect = ResumeLog(Path(settings.out), PROTECT, settings.extras.get("pending"))
            early.protect.install(join=is_worker(settings))
            imports.when("safetensors.torch", early.protect.with_safetensors)
            imports.when("h5py", early.protect.with_h5py)
        early.silence.install()
        early.seeds.install_python()
        for name, install in (
            ("numpy", early.seeds.install_numpy),
            ("json", early.configs.install_json),
            ("yaml", early.configs.install_yaml),
            ("tomllib", early.configs.install_toml),
            ("scipy.ndimage", early.resampling.install_scipy),
            ("skimage.transform", early.resampling.install_skimage),
            ("cv2", early.resampling.install_cv2),
            ("PIL.Image", early.resampling.install_pil),
            ("torchmetrics.classification.precision_recall_curve", early.ranked.install_classes),
            ("torchmetrics.functional.classification.auroc", early.ranked.install_functions),
            ("torchmetrics.functional.classification.average_precision", early.ranked.install_functions),
            ("sklearn.metrics._ranking", early.ranked.install_sklearn),
            *early.contracts.waited_for(),
        ):
            imports.when(name, install)
    return early


def with_torch(
    torch: ModuleType, settings: Settings, imports: AfterImport, early: WithoutTorch
) -> Watch | Variant | None:
    """Start the watching, or the arm of a paired run; torch was just imported."""
    if early.arm is not None:
        return early.arm.with_torch(torch)
    if early.protect is not None:
        early.protect.with_torch(torch)
    if is_worker(settings) and rank_here() > 0:
        RankRecorder(torch, settings).install()
        return None
    sink = Sink(Path(settings.out), settings.max_evidence_mb)
    watch = Watch(torch, settings, sink)
    early.seeds.install_torch(torch)
    watch.closing += [early.seeds.patches.undo, early.configs.patches.undo, early.silence.patches.undo]
    watch.closing += [early.resampling.patches.undo, early.resampling.stop]
    watch.closing += [early.ranked.patches.undo, early.ranked.stop]
    watch.closing += [early.contracts.patches.undo, early.contracts.stop]
    early.contracts.muted = lambda: watch.over or (watch.busy and threading.get_ident() == watch.thread)
    early.ranked.muted = lambda: watch.over or (watch.busy and threading.get_ident() == watch.thread)
    early.resampling.muted = lambda: watch.over or (watch.busy and threading.get_ident() == watch.thread)
    early.silence.muted = lambda: watch.busy and threading.get_ident() == watch.thread
    watch.collectors = collectors_for(watch, early)
    for collector in list(watch.collectors):
        with watch.ours(collector):
            collector.install()
        if isinstance(collector, Contracts):
            imports.when("monai.metrics.metric", collector.with_monai)
            imports.when("torchmetrics.metric", collector.with_torchmetrics)
        if isinstance(collector, ReportedFigures):
            imports.when("torch.utils.tensorboard.writer", collector.with_writer)
            imports.when("tensorboardX.writer", collector.with_writer)
    watch.allow_swapping()
    with watch.ours():
        RankRecorder(torch, settings, watch).install()
        if not is_worker(settings):
            Launchers(watch).install(imports)
    return watch


def collectors_for(watch: Watch, early: WithoutTorch) -> list[Collector]:
    """All collectors, in the order in which they are told of things."""
    given = {
        Watch: watch,
        Configs: early.configs,
        SeedCalls: early.seeds,
        Resampling: early.resampling,
        WithoutTorch: early,
    }
    found: list[Collector] = wired(COLLECTORS, given)
    if not watch.settings.extras.get("probes", True):  # to measure what they cost
        found = [one for one in found if not isinstance(one, Experiment)]
    return found
