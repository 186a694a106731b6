"""Conditions of rules on data, evaluation and state, each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from conditions import Row
from traindx.evidence.observed import InputSeen, IterationsSeen, NetworkCalls, RankDifference, SwallowedException
from traindx.evidence.observed_calls import ArgumentTried, DiscardedResult, IdleStatement, KeptFigure
from traindx.evidence.observed_evaluation import (
    Accumulated,
    EvaluationOutputs,
    EvaluationPairs,
    FigureRegion,
    OutputThreshold,
    RankedScore,
)
from traindx.evidence.observed_items import (
    BatchClasses,
    BoxesSeen,
    IntegerRange,
    ItemsSeen,
    LabelsResampled,
    MaskOnImage,
    ReadingOrder,
    SharedItems,
    WorkerGenerator,
)
from traindx.evidence.observed_loss import LossCall
from traindx.evidence.observed_state import (
    CheckpointRead,
    ConfigFile,
    DeclaredSettings,
    LoaderSeen,
    SpectralNormSeen,
    SplitSeen,
    StateReused,
    SuppressedEvidence,
    WeightsLoaded,
)
from traindx.evidence.probed import BatchProbed, PeakFromTarget, RandomnessProbed
from traindx.evidence.probed_definitions import DefinitionTried
from traindx.evidence.probed_figures import LoaderFigure
from traindx.evidence.probed_functions import (
    AnchorsTried,
    InverseTried,
    LabelMapTried,
    MetricTried,
    MovedTried,
    ReshapeTried,
    ScoreTried,
    SplitTried,
)
from traindx.evidence.probed_labels import LabelsCompared, LabelsMerged
from traindx.finding import Location, Severity, Standing

SURE, MAYBE = Standing.DEMONSTRATED, Standing.SUSPECTED
HERE = Location(file="data.py", line=7)
CLASSES = LossCall(function="cross_entropy", classes=4)

ROWS = (
    Row(
        "D101",
        InputSeen(
            network="Net", argument="x", phase="training", shape=(4, 2, 8, 8), dtype="float32", low=(0.0, 0.0),
            high=(1.0, 6.1), distinct=(8, 8),
        ),
        silent=[{"high": (1.0, 6.0)}, {"distinct": (8, 7)}, {"high": (1.0, float("inf"))}, {"high": (0.0, 6.1)}],
        unseen=[{"phase": "validation"}, {"shape": (4, 2, 8)}, {"low": (0.0,), "high": (1.0,), "distinct": (8,)}],
    ),
    Row(
        "D103",
        InputSeen(network="Net", argument="x", phase="training", shape=(4, 2), dtype="float32", nonfinite=1),
        silent=[{"nonfinite": 0}],
    ),
    Row(
        "D103",
        InputSeen(network="Net", argument="x", phase="training", shape=(4, 2), dtype="float32"),
        speaks=[({"nonfinite": 1}, SURE)],  # what the loader gave is what the network got: said once
        beside=(LoaderSeen(dataset="Scans", nonfinite=1, where=HERE), LoaderSeen(dataset="Scans", nonfinite=2,
            where=HERE)),
    ),
    Row(
        "D106",
        BoxesSeen(dataset="Boxes", key="boxes", boxes=20, crossed=1, gap=0.5, ratio=0.5),
        silent=[{"crossed": 0}, {"crossed": 19}, {"ratio": 0.49}, {"ratio": 2.1}, {"gap": 0.49}, {"boxes": 51}],
        unseen=[{"boxes": 19}],
        speaks=[({}, MAYBE), ({"crossed": 18}, MAYBE), ({"made_at": HERE, "gap": 0.0}, SURE), ({"boxes": 50}, MAYBE)],
    ),
    Row(
        "D108",
        SplitTried(function="split", part="test", items=100, training=100, shared=2),
        silent=[{"shared": 1}, {"items": 10, "shared": 0}],
        speaks=[({"items": 10, "shared": 1}, MAYBE), ({"part": "test and validation"}, "the validation part"),
                ({}, "the training part")],
    ),
    Row(
        "D108",
        SplitTried(function="split", part="test", items=100, training=100, shared=2),
        beside=(SharedItems(dataset="Scans", contents=9, shared=0, training=9),),
    ),
    Row(
        "D116",
        WorkerGenerator(dataset="Scans", name="rng", type="Generator", workers=2, passes=1, trains=True),
        silent=[{"renewed": True}, {"workers": 1, "passes": 2, "persistent": True}],
        unseen=[{"trains": False}, {"workers": 1}],
        speaks=[({"workers": 1, "passes": 2}, None)],
    ),
    Row(
        "D119",
        MaskOnImage(
            dataset="Scans", trains=True, reference=0.5, items=16, low=4, turned=0, explained=0.15, by_other=0.1
        ),
        silent=[{"low": 3}, {"explained": 0.17}, {"explained": 0.17, "turned": 1}],
        unseen=[{"items": 15}, {"reference": 0.0}, {"trains": False}],
        speaks=[({"explained": 0.17, "turned": 2}, "mask-left-behind")],
    ),
    Row(
        "D119",
        MaskOnImage(
            dataset="Scans", trains=True, reference=0.5, items=16, low=4, explained=0.15, by_other=0.1, made_at=HERE
        ),
        silent=[{"made_at": None}],  # a function that does so is the better place
        beside=(MovedTried(function="turn", how="together", tries=4, apart=1),),
    ),
    Row(
        "D119",
        MovedTried(function="turn", how="together", tries=4, apart=1),
        silent=[{"tries": 6}],
        beside=(MaskOnImage(dataset="Scans", trains=True, reference=0.5, items=16, low=4, explained=0.1,
            by_other=0.1),),
    ),
    Row(
        "D119",
        MovedTried(function="turn", how="together", tries=4, apart=1),
        silent=[{"apart": 0}, {"tries": 6}],
        unseen=[{"tries": 3, "apart": 3}],
        speaks=[({"tries": 5}, SURE), ({"how": "items"}, "Items of turn"), ({"how": "apart"},
            "is called for the image"),
                ({}, "moves the image and the mask")],
    ),
    Row(
        "D134",
        ItemsSeen(dataset="Scans", batches=3, indexed=3, one_item=3, one_items=2, indices=12, contents=6),
        silent=[{"one_item": 2}, {"one_items": 1}, {"one_item": 0, "indices": 32, "contents": 5},
                {"one_item": 0, "indices": 31, "contents": 1}],
        unseen=[{"batches": 2, "indexed": 2, "one_item": 2}],
        speaks=[({}, SURE), ({"indexed": 2}, MAYBE), ({"one_item": 0, "indices": 32, "contents": 4}, "index-ignored")],
    ),
    Row(
        "E829",
        LoaderSeen(dataset="Scans", where=HERE, drops_last=True, samples=20, batch_size=8),
        beside=(NetworkCalls(network="Net", phase="validation", calls=9, iterations=9, loader=HERE, other_data=True),),
        silent=[{"samples": 24}, {"drops_last": False}, {"where": None}, {"samples": 801}],
        unseen=[{"trains": True}, {"samples": -1}, {"batch_size": 0}],
        speaks=[({}, "4 of 20 items"), ({"shuffled": True}, "others in every pass"), ({}, MAYBE)],
    ),
    Row(
        "E828",
        ItemsSeen(dataset="Scans", followed=10, transformed=4, by_index=True),
        silent=[{"transformed": 3}, {"transformed": 3, "by_index": None}, {"by_index": False}],
        unseen=[{"by_index": None}, {"followed": 5}, {"trains": True}],
    ),
    Row(
        "D135",
        ItemsSeen(dataset="Scans", alike=6, growing=6, factor=1.5),
        silent=[{"growing": 5}, {"factor": 1.4}, {"factor": 0.0}, {"growing": 0, "rising": 6, "shift": 0.9},
                {"growing": 0, "rising": 5, "shift": 1.0}],
        unseen=[{"alike": 5, "growing": 5}],
        speaks=[({}, "scale"), ({"growing": 0, "shrinking": 6, "factor": 0.6}, "scale"), ({}, " 1.5 times"),
                ({"growing": 0, "shrinking": 6, "factor": 0.5}, "1/2 times"),
                ({"growing": 0, "rising": 6, "shift": 1.0}, "offset"), ({"growing": 0, "falling": 6, "shift": 1.0},
                    "offset")],
    ),
    Row(
        "D137",
        LabelsResampled(function="zoom", how="linear", values=(0.0, 1.0, 3.0), voxels=1000, invented=2, between=1),
        silent=[{"invented": 1}, {"values": (0.0, 4.0)}],
        unseen=[{"voxels": 0, "invented": 0}],
        speaks=[({"between": 2}, "values between them"), ({}, "labels that are nowhere near")],
        beside=(CLASSES,),
    ),
    Row(
        "D138",
        IntegerRange(items=1, how="arithmetic", share=0.0011),
        silent=[{"share": 0.001}],
        unseen=[{"items": 0, "share": 0.0}],
        speaks=[({}, "arithmetic"), ({"how": "cast"}, "cast"), ({}, "wrap round"), ({"how": "cast"}, "are lost")],
    ),
    Row(
        "D140",
        BatchClasses(in_order=True, trains=True, batches=10, pure=7, classes=3, leading=2),
        silent=[{"pure": 6}, {"in_order": False}, {"leading": 1}],
        unseen=[{"trains": False}, {"batches": 5, "pure": 5}],
        speaks=[({"batches": 6, "pure": 5}, None)],
    ),
    Row(
        "D141",
        InverseTried(first="encode", second="decode", error=0.051, even=0.001),
        silent=[{"even": 0.0011}, {"even": -1.0}, {"error": 0.05}, {"even": -1.0, "rearranged": True},
                {"even": -1.0, "named": True, "shared": ("v",), "slope": 1.01},
                {"even": -1.0, "named": True, "shared": ("v",), "slope": 0.0},
                {"even": -1.0, "named": True, "shared": (), "slope": 1.03},
                {"even": -1.0, "named": False, "shared": ("v",), "slope": 1.03}],
        speaks=[({"even": -1.0, "named": True, "rearranged": True}, SURE),
                ({"even": -1.0, "named": True, "shared": ("v",), "slope": 1.03}, SURE)],
        times=2,  # both ways: said once
    ),
    Row(
        "D142",
        LabelMapTried(function="convert", maps=2, values=3, conflict=(1.0, 2.0, 3.0)),
        silent=[{"maps": 1}, {"conflict": ()}],
        speaks=[({}, "image"), ({"conflict": (), "wrong": (1.0, 2.0, 1.0)}, "table")],
        beside=(CLASSES,),
    ),
    Row(
        "D142",
        LabelMapTried(function="convert", maps=2, values=3, wrong=(1.0, 2.0, 1.0)),
        silent=[{"conflict": (1.0, 2.0, 3.0), "wrong": ()}],  # where no loss takes classes
    ),
    Row(
        "D143",
        AnchorsTried(function="priors", ratios=3, shapes=1, boxes=9),
        silent=[{"shapes": 2}, {"shapes": 0}],
    ),
    Row(
        "D144",
        ReshapeTried(function="read", expression="view", shape=(2, 2), rough=1.5, other=0.5),
        silent=[{"rough": 1.49}, {"other": 0.51, "rough": 2.0}],
        speaks=[({}, MAYBE), ({"swapped": True}, SURE)],
    ),
    Row(
        "D147",
        LoaderSeen(dataset="Scans", trains=True, batches=8, passes=10, in_order=True, deepest=4),
        silent=[{"deepest": 5}, {"in_order": False}],
        unseen=[{"passes": 9}, {"trains": False}, {"batches": 1, "deepest": 0}],
        speaks=[({}, "its first 4 batches"), ({"deepest": 1}, "its first batch of")],
    ),
    Row(
        "E802",
        PeakFromTarget(peaks=(1.0, 1.02)),
        silent=[{"peaks": (1.0, 1.01)}, {"phase": "training"}, {"peaks": (1.0, -1.0)}],
        unseen=[{"peaks": (1.0,)}],
        speaks=[({"peaks": (0.0, 1.0, 1.02)}, "peak-of-each-image")],
    ),
    Row(
        "E812",
        EvaluationPairs(network="Net", function="eq", same=0, other=3),
        silent=[{"other": 2}, {"same": 1}],
    ),
    Row(
        "E812",
        ReadingOrder(dataset="Scans", drops_labels=True, collects=True),
        silent=[{"drops_labels": False}, {"collects": False}, {"trains": True}],
    ),
    Row(
        "E815",
        KeptFigure(figure="dice", keeps="lower", better="higher"),
        silent=[{"keeps": "higher"}, {"better": "lower"}],
        unseen=[{"better": ""}],
    ),
    Row(
        "E821",
        MetricTried(function="dice", stands_for="Dice", perfect=0.96, actual=0.5, best=1.0),
        silent=[{"perfect": 0.98}, {"gain": 4.6, "perfect": 0.0}],
        speaks=[({}, "perfect"), ({"gain": 4.5}, "decibels"), ({"gain": 7.6}, "decibels"), ({"perfect": 1.04},
            "perfect")],
    ),
    Row(
        "E821",
        ScoreTried(function="score", score="accuracy", perfect=0.96, random=0.5, actual=0.5),
        silent=[{"perfect": 0.98}, {"perfect": 1.0, "random": 0.96}, {"perfect": 1.0, "random": 0.2, "samples": 40},
                {"perfect": 1.0, "score": "AUC", "samples": 39, "random": 0.76},
                {"perfect": 1.0, "score": "AUC", "samples": 40, "random": 0.74}],
        speaks=[({}, "perfect"), ({"perfect": 1.0, "means": "recall"}, "another-score"),
                ({"perfect": 1.0, "random": 0.97}, "random"),
                ({"perfect": 1.0, "score": "AUC", "samples": 40, "random": 0.76}, "random"),
                ({"perfect": 1.0, "score": "AUC", "samples": 40, "random": 0.2}, "random")],
    ),
    Row(
        "E822",
        EvaluationOutputs(network="Net", assigned="out", calls=5, unused=3),
        silent=[{"unused": 2}, {"assigned": ""}, {"hooked": True},
                {"unused": 0, "numbers": 4, "number_at": HERE}, {"unused": 0, "numbers": 5}],
        unseen=[{"calls": 2, "unused": 2}, {"phase": "training"}],
        speaks=[({}, "nothing-scored"), ({"last_used": True}, "last-batch-scored"),
                ({"last_used": True, "unused": 5}, "nothing-scored"), ({"stale": 3, "stale_at": HERE},
                    "training-scored"),
                ({"stale": 2, "stale_at": HERE}, "nothing-scored"),
                ({"unused": 0, "numbers": 5, "number_at": HERE}, "training-number-summed")],
    ),
    Row(
        "D148",
        LabelsCompared(
            function="regions", named=(1.0, 3.0), never=(3.0,), unnamed=(4.0,), values=(0.0, 1.0, 4.0), maps=8
        ),
        silent=[{"never": ()}, {"never": (8.0,)}, {"never": (0.0,)}, {"unnamed": ()}, {"named": (0.0, 3.0)}],
        unseen=[{"maps": 7}],
        speaks=[({}, MAYBE), ({"items": 8, "of": 9}, "8 of 9"), ({"never": (7.0,)}, MAYBE)],
    ),
    Row(
        "D154",
        LabelsMerged(
            dataset="Cases", values=(0.0, 1.0, 2.0), maps=6, value=2.0, into=1.0, items=2, told_from=(0.0,), share=0.1,
            deep=0.4, apart=0.3, mixture=0.05, part=0.5, pure=0.1, follows=0.75, edge=0.2, pictures=2,
        ),
        silent=[{"meant": True}, {"share": 0.09}, {"deep": 0.39}, {"apart": 0.29}, {"mixture": 0.051},
                {"pure": 0.09}, {"follows": 0.74}, {"edge": 0.21}, {"pictures": 1}, {"value": -1.0},
                {"pictures": 0, "value": 255.0, "values": (0.0, 1.0, 255.0), "share": 0.04},
                {"pictures": 0, "value": 255.0, "values": (0.0, 41.0, 255.0), "share": 0.2},
                {"meant": True, "declared": "“ignore_label: 2” in config.yaml:2"}],
        unseen=[{"items": 1}, {"values": (0.0, 1.0), "value": -1.0}],
        speaks=[({}, MAYBE), ({}, "2 covers 10% of the voxels"), ({"edge": None}, "reads as not annotated"),
                ({"declared": "“ignore_label: 2” in config.yaml:2"}, SURE),
                ({"declared": "“ignore_label: 2” in config.yaml:2", "pictures": 0, "share": 0.01}, SURE),
                ({"pictures": 0, "value": 255.0, "values": (0.0, 40.0, 255.0), "share": 0.05}, "by convention")],
    ),
    Row(
        "E829",
        LoaderFigure(function="evaluate", batches=4, silent=(0,), moved=True),
        silent=[{"moved": False}, {"silent": ()}, {"silent": (), "doubled": 0.5}, {"silent": (), "longer": 0.6667},
                {"moved": False, "longer": 0.67}],
        speaks=[({}, SURE), ({"silent": (0, 1, 2)}, MAYBE), ({"moved": False, "longer": 0.6667}, "one less"),
                ({"moved": False, "longer": 0.6667}, MAYBE)],
    ),
    Row(
        "E824",
        RankedScore(function="roc_auc_score", calls=1, samples=40, values=(0.0, 1.0), labels=2),
        silent=[{"values": (0.0, 0.5, 1.0)}],
        unseen=[{"samples": 39}, {"labels": 1}],
    ),
    Row(
        "E825",
        Accumulated(name="losses", passes=3, kept=2),
        silent=[{"kept": 1}],
        unseen=[{"passes": 1, "kept": 1}],
    ),
    Row(
        "S509",
        ArgumentTried(network="Net", argument="label", pairs=4, same=4),
        silent=[{"same": 3}],
        unseen=[{"pairs": 3, "same": 3}],
    ),
    Row(
        "C1103",
        BatchProbed(network="Net", samples=4, difference=0.01, function="mean", own=True, standardises=True),
        silent=[{"difference": 0.009}, {"own": False}, {"standardises": False}, {"function": "matmul"},
                {"function": "softmax"}],
        speaks=[({}, "normalised-by-the-batch"), ({"standardises": False, "owner": "BatchNorm.forward"}, None),
                ({"function": "softmax", "owner": "Attention.forward"}, "softmax-over-the-batch")],
        times=2,  # one place: said once
    ),
    Row(
        "C1103",
        RandomnessProbed(network="Net", difference=0.001, function="dropout"),
        silent=[{"difference": 0.0009}, {"told": True}, {"function": "normal"},
                {"function": "rand", "owner": "DropPath.forward"},
                {"function": "rand", "owner": "DropPath.forward", "alone": True, "reads_mode": True},
                {"function": "rand", "owner": "MCDropout.forward", "alone": True},
                {"function": "rand", "owner": "DropPath.helper", "alone": True},
                {"function": "randn", "owner": "add_noise", "alone": True, "arguments": 1},
                {"function": "randn", "owner": "add_noise", "alone": True, "rate": True, "arguments": 2},
                {"function": "randn", "owner": "add_noise", "rate": True, "arguments": 1}],
        speaks=[({}, SURE), ({"told": True, "unregistered": True}, SURE), ({"function": "rrelu"}, SURE),
                ({"function": "rand", "owner": "DropPath.forward", "alone": True}, SURE),
                ({"function": "randn", "owner": "add_noise", "alone": True, "rate": True, "arguments": 1}, MAYBE)],
        times=2,
    ),
    Row(
        "C1104",
        CheckpointRead(
            file="last.pt", tensors=10, arrived=5, optimizer_state=True, optimizer_restored=True, saved_lr=1.0,
                resumed_lr=1.6
        ),
        silent=[{"resumed_lr": 1.5}, {"arrived": 4}, {"optimizer_restored": False}, {"resumed_lr": 1.0, "epoch": 0},
                {"saved_lr": 0.0}, {"trained": 4}, {"trained": 0}],
        unseen=[{"optimizer_state": False}, {"tensors": 0, "arrived": 0},
                {"compared": "a call", "optimizer_restored": False, "epoch": 0}],
        speaks=[({}, SURE), ({"resumed_lr": 0.6}, SURE), ({"optimizer_restored": False, "epoch": 0}, MAYBE),
                ({"optimizer_restored": False, "epoch": 0, "resumed_lr": 1.0}, MAYBE)],
    ),
    Row(
        "C1110",
        StateReused(network="Net", parameters=2, shared=2, changed=True),
        silent=[{"changed": False}, {"shared": 1}, {"parameters": 0, "shared": 0}],
    ),
    Row(
        "D108",
        SharedItems(dataset="Scans", contents=20, shared=1, training=20),
        silent=[{"shared": 0}, {"shared": 20}, {"contents": 21}],
        unseen=[{"contents": 15}],
        speaks=[({"shared": 19}, SURE)],
    ),
    Row(
        "D146",
        DefinitionTried(function="f", subject="data", key="k", stands_for="s", must="m", holds=False),
        silent=[{"holds": True}],
        unseen=[{"subject": "loss"}],
        speaks=[({}, MAYBE), ({"universal": True}, SURE)],
        times=2,  # one place: said once
    ),
    Row(
        "E823",
        FigureRegion(network="Net", share=0.09, contrast=0.49, calls=3),
        silent=[{"share": 0.1}, {"contrast": 0.5}, {"calls": 2}, {"whole": 1}],
    ),
    Row(
        "E827",
        OutputThreshold(network="Net", threshold=0.5, calls=3, low=-0.51, high=1.0),
        silent=[{"low": -0.5}],
        speaks=[({"low": 0.0, "high": 1.51}, None)],
        beside=(LossCall(function="binary_cross_entropy_with_logits"),),
    ),
    Row(
        "E827",
        LossCall(function="multilabel_soft_margin_loss"),
        unseen=[{"function": "binary_cross_entropy"}],
        beside=(OutputThreshold(network="Net", threshold=0.5, calls=3, low=-9.0, high=9.0),),
    ),
    Row(
        "L311",
        SwallowedException(error="ValueError", function="loss", times=3, iterations=3),
        silent=[{"iterations": 2}],
        beside=(IterationsSeen(iterations=9, watched=9),),
        form=IterationsSeen,
    ),
    Row(
        "C1102",
        WeightsLoaded(network="Net", tensors=10, offered=9, matched=4, strict=False, unexpected=1),
        silent=[{"matched": 5}, {"offered": 8, "unexpected": 0}],
        unseen=[{"strict": True}, {"offered": 2, "matched": 0}, {"tensors": 0}],
        speaks=[({}, Severity.MAJOR), ({"matched": 0}, Severity.CRITICAL), ({"offered": 8}, None), ({"offered": 9,
            "unexpected": 0}, None),
                ({"examples_unexpected": ("a",), "examples_missing": ("b",)}, "The file says 'a', the network 'b'")],
    ),
    Row("C1105", SplitSeen(function="random_split", checkpoints=True), silent=[{"seeded": True}],
        unseen=[{"checkpoints": False}]),
    Row(
        "C1106",
        RankDifference(ranks=(0, 1), calls=4, same_batches=0.75),
        silent=[{"same_batches": 0.74}],
        unseen=[{"calls": 3}],
        speaks=[({}, Severity.MAJOR), ({"same_batches": 0.0, "weights_differ": 1}, Severity.CRITICAL),
                ({"same_batches": 0.0, "buffers_differ": 1}, MAYBE), ({}, "0 and 1"), ({"ranks": (0, 1, 2)}, "0 to 2"),
                ({"same_batches": 0.0, "weights_differ": 1, "buffers_differ": 1}, Severity.CRITICAL)],
        beside=(NetworkCalls(network="Net", phase="training", calls=9, iterations=9),),
    ),
    Row(
        "C1107",
        ConfigFile(file="train.yaml", keys=4, read=2, unread=("loss.alpha",), lines=(3,), values=("1",),
            in_bulk=("x",)),
        silent=[{"unread": ("loss.name",)}, {"unread": ("eval.alpha",)}, {"file": "scans.json"}],
        unseen=[{"read": 1}, {"keys": 0, "read": 0, "unread": (), "lines": (), "values": ()}],
        speaks=[({"file": "config.json"}, None), ({"file": "scans.json", "in_bulk": ()}, None),
                ({"unread": ("loss.focalGamma",)}, None)],
    ),
    Row(
        "C1107",
        DeclaredSettings(form="option", declared=1, names=("alpha",), values=("1",), places=(HERE,), overwritten=("",),
                         passed=(False,)),
        silent=[{"names": ("name",)}, {"form": "parameter"}, {"form": "parameter", "passed": (True,),
            "names": ("epoch",)},
                {"form": "parameter", "passed": (True,), "values": ("given",)}],
        unseen=[{"declared": 0, "names": ("name",)}],
        speaks=[({}, Severity.MINOR), ({"overwritten": ("0.5",)}, "overwritten"), ({"form": "parameter",
            "passed": (True,)}, Severity.MAJOR),
                ({"form": "parameter", "passed": (True,)}, "although a call passes 1")],
    ),
    Row("C1109", SuppressedEvidence(what="warnings", hidden=("a",)), silent=[{"hidden": ()}]),
    Row("C1111", DiscardedResult(function="clamp", calls=2),
        speaks=[({}, SURE), ({"calls": 0}, MAYBE), ({}, "ran 2 times")]),
    Row("C1114", IdleStatement(form="not-called", source="x"),
        speaks=[({}, SURE), ({"form": "near-name"}, MAYBE), ({"detail": "sources"}, MAYBE)]),
    Row("C1112", SpectralNormSeen(layers=1, largest=2.1), silent=[{"largest": 2.0}]),
)  # fmt: skip


@pytest.mark.parametrize(("row", "changes", "what", "how"), [case for row in ROWS for case in row.cases()])
def test_each_condition(row: Row, changes: dict[str, Any], what: str, how: Any) -> None:
    row.check(changes, what, how)
