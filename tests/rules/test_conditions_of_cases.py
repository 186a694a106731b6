"""Conditions of rules on data folders and described cases, each by itself."""

from __future__ import annotations

import math
from typing import Any

import pytest

from conditions import Row
from traindx.evidence.data_path import InputWindow
from traindx.evidence.dataset import Copies, Example, ImageSet, SeriesGeometry, Share, SplitOverlap
from traindx.evidence.dataset_intensities import BitDepth, DisplayWindow, HounsfieldFacts, Polarity
from traindx.evidence.dataset_labels import BoxesOnMap, LabelBoxAgreement, LabelColumn
from traindx.evidence.deployment import DeployedWeights, HardenedScore, ModelSwap, RepeatedSelection, RepeatedValidation
from traindx.evidence.dynamics import LossBeforeAfter
from traindx.evidence.evaluation import SharedSamples
from traindx.evidence.model import FrozenPart, HeadBounds, InputEffect, SilentParameters
from traindx.evidence.model_in_use import (
    ConditionRange,
    GuidanceEffect,
    PictureMarker,
    SelectionKey,
    UncertaintySeen,
    UpdateBudget,
)
from traindx.evidence.normalisation import TissueWindow
from traindx.evidence.optimisation import FirstSteps
from traindx.evidence.projection import ProjectionGradient, SampleCoupling, ViewDifference
from traindx.evidence.regions import BoxesDrawn
from traindx.evidence.sampling import OneStep, TrainingInput
from traindx.evidence.training_state import LoadedWeights, MonitorAnswers, PrototypeSpread, SelectorAnswers, SplitDrawn
from traindx.finding import Severity, Standing

SURE, MAYBE = Standing.DEMONSTRATED, Standing.SUSPECTED
MAJOR, MINOR, NOTE = Severity.MAJOR, Severity.MINOR, Severity.NOTE
COLUMN = LabelColumn(table="labels.csv", column="nodule", type="binary", rows=100, distinct=2, positives=50)
EFFECT = InputEffect(source="all inputs", change="other sample", effect=1e-6, reference=1.0, noise=0.0)
ALIKE, OTHER = Example(name="a", value=0.93), Example(name="b", value=0.92)

ROWS = (
    Row(
        "D101",
        ConditionRange(condition="ct", low=0.0, high=6.1, distinct=8),
        silent=[{"high": 6.0}],
        unseen=[{"distinct": 7}],
        beside=(ConditionRange(condition="mr", low=0.0, high=1.0, distinct=8),),
    ),
    Row(
        "D101",
        ConditionRange(condition="mr", low=0.0, high=1.0, distinct=8),
        silent=[{"high": 0.0}],
        beside=(ConditionRange(condition="ct", low=0.0, high=6.1, distinct=8),),
    ),
    Row(
        "D102",
        TissueWindow(
            tissue="lung", low=-900, high=-500, unit="HU", share_of_range=0.1, constant_share=0.51, volume_share=0.002,
            clip_low=-160, clip_high=240,
        ),
        silent=[{"constant_share": 0.5}, {"constant_share": 0.5, "share_of_range": 0.02}],
        unseen=[{"volume_share": 0.0019}],
        speaks=[({}, SURE), ({"constant_share": 0.0, "share_of_range": 0.019}, MINOR), ({"share_of_range": 0.01},
            SURE)],
    ),
    Row(
        "D104",
        COLUMN.model_copy(update={"distinct": 1, "positives": 8, "rows": 8, "values": (Share(value="1", count=8),)}),
        silent=[{"rows": 7}, {"rows": 0}, {"distinct": 2, "positives": 4}],
        speaks=[({}, MAYBE), ({"declared": True}, SURE), ({"declared": True, "rows": 0}, SURE), ({}, MINOR),
                ({"declared": True}, MAJOR), ({"type": "category"}, MINOR), ({"type": "category", "declared": True},
                    MAJOR)],
    ),
    Row(
        "D104",
        COLUMN.model_copy(update={"rows": 108, "positives": 54, "by_split": {"train": (54, 100), "val": (0, 8)}}),
        silent=[{"by_split": {"train": (53, 100), "val": (1, 8)}}, {"by_split": {"train": (54, 101), "val": (0, 7)}},
                {"positives": 40}, {"positives": 68}],
        speaks=[({}, MINOR), ({"by_split": {"train": (46, 100), "val": (8, 8)}}, "8 of 8 in val")],
    ),
    Row(
        "D105",
        COLUMN.model_copy(update={"positives": 9}),
        silent=[{"positives": 10}, {"positives": 25, "rows": 2500}, {"positives": 9, "rows": 36}],
        unseen=[{"type": "number"}, {"distinct": 1}, {"rows": 0, "positives": 0}],
        speaks=[({}, NOTE), ({"declared": True}, MINOR), ({"positives": 24, "rows": 2500}, None),
                ({"positives": 91}, "9 of 100 negative"), ({"positives": 8, "rows": 36}, None),
                ({"positives": 0, "type": "category"}, None)],
    ),
    Row("D105", COLUMN.model_copy(update={"positives": 9}), beside=(COLUMN,)),
    Row(
        "D107",
        LabelBoxAgreement(name="nodule", positives=10, positives_without_box=4, boxed=6, boxed_but_negative=0),
        silent=[{"positives_without_box": 5}, {"positives_without_box": 0}],
        speaks=[({}, MINOR), ({"positives_without_box": 0, "boxed_but_negative": 1}, SURE)],
    ),
    Row(
        "D108",
        SplitOverlap(identity="patient", members=9, shared=1),
        silent=[{"shared": 0}],
        unseen=[{"usable": False}],
        speaks=[({}, SURE), ({"identity": "pixels"}, SURE),
                ({"identity": "near-duplicate", "examples": (ALIKE, OTHER)}, MAJOR)],
    ),
    Row(
        "D108",
        SplitOverlap(identity="near-duplicate", members=9, shared=3, examples=(ALIKE, ALIKE)),
        silent=[{"examples": (OTHER,)}],
        speaks=[({}, "At least 2 pairs"), ({"shared": 2}, "2 pairs"), ({"identity": "case"}, SURE)],
    ),
    Row(
        "D109",
        Copies(identity="pixels", images=9, groups=1, copies=1),
        silent=[{"groups": 0}, {"identity": "series"}, {"identity": "near-duplicate", "examples": (OTHER,)}],
        speaks=[({}, MAYBE), ({"different_labels": 1}, SURE), ({"different_labels": 1}, MAJOR),
                ({"different_labels": 1}, "1 of these groups carry different labels"),
                ({"identity": "near-duplicate", "examples": (ALIKE,), "groups": 2}, "At least 1 pair")],
    ),
    Row(
        "D112",
        HounsfieldFacts(name="CT", modality_from="header", members=10, padded=1, padded_share=0.0011),
        silent=[{"padded_share": 0.001}, {"padded": 0}, {"padded": 0, "no_air": 5}],
        speaks=[({}, SURE), ({"modality_from": "name"}, MAYBE), ({"padded": 0, "without_rescale": 1}, SURE),
                ({"padded": 0, "eight_bit": 1}, MAJOR), ({"padded": 0, "eight_bit": 1, "modality_from": "name"}, MINOR),
                ({"padded": 0, "shifted": 1}, None), ({"padded": 0, "no_air": 6}, MINOR),
                ({"padded": 0, "unit_interval": 9}, MAJOR), ({"padded": 0, "unit_interval": 10}, NOTE)],
    ),
    Row(
        "D124",
        Polarity(name="CR", members=10, opposite=4),
        silent=[{"opposite": 5}, {"opposite": 0}],
        speaks=[({"opposite": 0, "monochrome1": 1}, NOTE), ({"opposite": 0, "monochrome1": 1, "monochrome2": 1},
            MAJOR)],
    ),
    Row(
        "D125",
        BitDepth(name="CR", members=10, deep=1, above_255=0.011),
        silent=[{"above_255": 0.01}, {"deep": 0}, {"deep": 0, "colour": 10}],
        speaks=[({}, MINOR), ({"shallow": 1}, MAJOR), ({"shallow": 1}, "beside 1 of 8 bits"),
                ({"deep": 0, "palette": 1}, MINOR), ({"deep": 0, "colour": 9}, NOTE)],
    ),
    Row(
        "D126",
        InputWindow(images=9, constant=0.52, constant_before=0.1, levels=10, levels_before=64),
        silent=[{"constant": 0.49}, {"levels_before": 63}],
    ),
    Row(
        "D126",
        DisplayWindow(name="CT", modality="CT", windowed=1, inside=0.09, images=20, eight_bit=20),
        silent=[{"inside": 0.1}, {"windowed": 0}, {"inside": 1.0, "coarse": 1}, {"inside": 1.0, "burnt": 1}],
        speaks=[({"inside": 1.0, "coarse": 2}, MINOR), ({"inside": 1.0, "coarse": 11}, MAJOR),
                ({"inside": 1.0, "coarse": 10}, MINOR), ({"inside": 1.0, "burnt": 2}, MINOR),
                ({"inside": 1.0, "burnt": 11}, MAJOR), ({"inside": 1.0, "burnt": 10}, MINOR)],
    ),
    Row(
        "D127",
        BoxesOnMap(table="boxes.csv", map_size=14, stated=True, boxes=1000, vanished=11),
        silent=[{"vanished": 10}, {"vanished": 9, "vanished_by_class": {"nodule": (2, 40)}},
                {"vanished": 9, "vanished_by_class": {"nodule": (1, 2)}}],
        speaks=[({}, MINOR), ({"vanished": 100}, MAJOR), ({"vanished": 99}, MINOR), ({"stated": False}, "assumed"),
                ({"vanished": 9, "vanished_by_class": {"nodule": (3, 40)}}, "3 of 40 nodule")],
    ),
    Row(
        "D127",
        BoxesDrawn(boxes=100, vanished=3, alone=100, smallest=0.1, map_size=(7, 7)),
        silent=[{"vanished": 2}, {"alone": 0}],
    ),
    Row(
        "D129",
        SeriesGeometry(series=9, uneven=1, uneven_examples=(Example(name="a", value=1.51),)),
        silent=[{"uneven_examples": (Example(name="a", value=1.5),)}, {"uneven": 0}],
        speaks=[({}, MAJOR), ({"uneven": 0, "repeated": 1}, "several slices at one place"),
                ({"uneven": 0, "thickness_differs": 1}, NOTE)],
    ),
    Row(
        "D130",
        ImageSet(name="CR", role="image", modality="CR", count=10, files=10, constant=5),
        silent=[{"constant": 0}, {"role": "mask"}],
        speaks=[({}, MINOR), ({"constant": 6}, MAJOR), ({}, MAYBE), ({"volumes": True}, SURE)],
    ),
    Row("D133", PictureMarker(overlap=0.49, turned=""), silent=[{"overlap": 0.5}],
        speaks=[({"turned": "upside down"}, "the mask is upside down")]),
    Row(
        "T901",
        LossBeforeAfter(before=1.0, after=0.995, differences=(-0.1, -0.1, 0.1), steps=50, moved=1.0),
        silent=[{"after": 0.98}],
        unseen=[{"steps": 49}, {"before": 0.0}],
        speaks=[({}, MAYBE), ({"after": 1.0}, MAYBE), ({"after": 1.0, "differences": (-0.1, 0.1)}, SURE)],
    ),
    Row("E805", RepeatedSelection(figure="dice", values=(1.0,), models=(0.5, 0.5)),
        silent=[{"models": (0.5, 0.6)}], unseen=[{"models": (0.5,)}]),
    Row("E805", SelectionKey(key="val_dice", produced=("dice",)), silent=[{"produced": ("val_dice",)}]),
    Row("E806", SharedSamples(train=9, val=9, shared=1, complete=True), silent=[{"shared": 0}]),
    Row(
        "E808",
        RepeatedValidation(metric="psnr", values=(30.0, 31.1), negligible=0.2, same_data=True),
        silent=[{"values": (30.0, 30.9)}, {"negligible": 0.0, "values": (30.0, 32.0)},
                {"negligible": 0.0, "values": (0.0, 0.0)}, {"same_data": False, "values": (30.0, 30.39)}],
        speaks=[({}, MAYBE), ({"same_data": False, "values": (30.0, 30.41)}, SURE), ({}, "an untrained"),
                ({"trained": True}, "a trained"), ({"negligible": 0.0, "values": (30.0, 34.0)}, MAYBE),
                ({}, "its prediction is random"), ({"same_data": False}, "every pass draws other data")],
    ),
    Row("E808", RepeatedValidation(metric="psnr", values=(30.0, 31.1), negligible=0.2, trained=True),
             beside=(RepeatedValidation(metric="psnr", values=(30.0, 30.0), negligible=0.2),)),
    Row("E809", SelectorAnswers(stages=("a", "b"), first=0.5, second=(0.6, 0.7), kept=(True, False)),
        silent=[{"kept": (True, True)}]),
    Row(
        "E810",
        ModelSwap(draws=6, same=0.999, same_mask=0.999, low=0.0, high=1.0),
        silent=[{"same": 0.99, "same_mask": 0.99}, {"same": 0.99, "same_mask": 0.99, "planes": ((0, 0),),
            "shape": (9,)}],
        speaks=[({"same": 0.99}, "no threshold is crossed"), ({"same": 0.99, "low": 0.27, "high": 0.73},
            "second sigmoid"),
                ({"same": 0.99, "low": 0.26, "high": 0.73}, "no threshold"),
                ({"same": 0.99, "low": 0.27, "high": 0.74}, "no threshold"),
                ({"same": 0.99, "same_mask": 0.99, "planes": ((0, 2),), "shape": (9,)},
                    "the last 2 of 9 planes of axis 0"),
                ({"same": 0.99, "same_mask": 0.99, "planes": ((1, 0),), "shape": (9,)}, "the first 1 of 9 planes")],
    ),
    Row("E811", HardenedScore(metric="dice", as_is=0.8, hardened=0.806, samples=9), silent=[{"hardened": 0.804}],
        speaks=[({"hardened": 0.794}, SURE)]),
    Row(
        "S507",
        TrainingInput(
            draws=9, data_mean=0.0, data_sd=1.0, data_low=-1.0, data_high=1.0, power_error=0.11,
                power_error_resolution=0.01
        ),
        silent=[{"power_error": 0.1}, {"power_error_resolution": 0.02}, {"power_error": 0.0, "data_sd": 0.1},
                {"power_error": 0.0, "data_sd": 3.0}, {"power_error": 0.0, "signal_error": 0.05},
                {"power_error": 0.0, "signal_error": 0.06, "signal_error_resolution": 0.01}],
        speaks=[({}, SURE), ({"power_error": 0.0, "data_sd": 0.09}, MINOR), ({"power_error": 0.0, "data_sd": 3.1},
            MINOR),
                ({"power_error": 0.0, "signal_error": 0.061, "signal_error_resolution": 0.01}, MAJOR),
                ({"signal_error": 0.1, "signal_error_resolution": 0.01}, SURE)],
    ),
    Row(
        "S508",
        OneStep(timesteps=(9,), noise_levels=(0.9,), one_step_mse=(1.0,), sampled_mse=4.0, mean_mse=1.3, peak=1.0),
        silent=[{"sampled_mse": 3.9}, {"mean_mse": 1.2}],
        unseen=[{"noise_levels": (0.89,)}, {"sampled_mse": math.nan}],
        speaks=[({"mean_mse": math.nan}, None)],
    ),
    Row(
        "S509",
        GuidanceEffect(
            scale=1.0, change=0.001, gradient=1e-13, energy_without=1.0, energy_with=1.0, without=(0.0, 1.0),
            guided=(0.0, 1.0), data=(0.0, 1.0),
        ),
        silent=[{"change": 0.0011}],
        unseen=[{"scale": 0.0}],
        speaks=[({}, "has no gradient"), ({"gradient": 1e-12}, "takes it as it is")],
    ),
    Row(
        "S510",
        GuidanceEffect(
            scale=1.0, change=1.0, gradient=1.0, energy_without=1.0, energy_with=1.0, without=(0.0, 1.0),
            guided=(0.0, 2.1), data=(0.0, 0.5),
        ),
        silent=[{"guided": (0.0, 2.0)}, {"data": (0.0, 1.1)}, {"guided": (0.0, 1.0), "energy_with": 1.05}],
        speaks=[({}, SURE), ({"guided": (0.0, math.nan)}, SURE), ({"guided": (0.0, 1.0), "energy_with": 1.06}, MAYBE),
                ({"guided": (0.0, 1.0), "energy_with": math.nan}, MAYBE)],
    ),
    Row(
        "C1102",
        LoadedWeights(network="Net", tensors=10, offered=10, arrived=2, changed=2, refused=False),
        silent=[{"arrived": 3}],
        unseen=[{"refused": True}, {"offered": 0, "arrived": 0}],
    ),
    Row("C1105", SplitDrawn(draws=2, differing=1, moved=0.5, patients=9), silent=[{"differing": 0}]),
    Row(
        "C1109",
        MonitorAnswers(silent_on=("nan",), asked=("nan", "flat"), speaks_of_healthy=False),
        silent=[{"silent_on": ("flat",)}, {"silent_on": ()}],
        speaks=[({"silent_on": ("inf",)}, SURE), ({"silent_on": ("flat",), "asked": ("flat",)}, SURE)],
    ),
    Row(
        "M203",
        HeadBounds(operation="tanh", module="head", low=-1.0, high=1.0, target_low=-1.0, target_high=2.0,
                   share_outside=0.011, lost=0.011),
        silent=[{"share_outside": 0.01}, {"lost": 0.01}],
    ),
    Row(
        "M204",
        EFFECT,
        silent=[{"effect": 2e-6}],
        unseen=[{"differs": False}, {"source": "time"}],
        speaks=[({"source": "x_t"}, "another sample's x_t"), ({"trained": True}, "trained model"), ({}, "network")],
        times=2,  # said once
    ),
    Row(
        "M206",
        EFFECT.model_copy(update={"source": "time", "effect": 9.9e-5, "reference": 1.0}),
        silent=[{"effect": 1e-4}],
        unseen=[{"source": "x_t"}],
        speaks=[({}, MAYBE), ({"effect": 1e-7}, SURE), ({"effect": 2e-7, "noise": 2e-7}, SURE), ({"effect": 2e-7},
            MAYBE)],
        times=2,
    ),
    Row(
        "M211",
        EFFECT.model_copy(update={"source": "a <-> b", "change": "swap", "effect": 1e-5}),
        silent=[{"effect": 2e-5}, {"trained": True}],
        unseen=[{"differs": False}, {"change": "other"}],
        beside=tuple(EFFECT.model_copy(update={"source": name, "effect": 2e-4}) for name in "ab"),
    ),
    Row(
        "M211",
        EFFECT.model_copy(update={"source": "a", "effect": 2e-4}),
        silent=[{"effect": 1e-4}, {"differs": False}],
        beside=(EFFECT.model_copy(update={"source": "a: channels", "change": "swap", "effect": 0.0}),),
    ),
    Row(
        "M207",
        SilentParameters(module="head", parameters=10, total=1000, ran=True, matters=False, random=False, frozen=False),
        silent=[{"parameters": 9}, {"duplicate": True}, {"frozen": True}, {"frozen": True, "random": True},
                {"frozen": True, "matters": True}, {"frozen": True, "ran": False, "parameters": 99},
                {"frozen": True, "ran": False, "parameters": 100, "random": True}],
        speaks=[({}, "never takes part"), ({}, MINOR), ({"matters": True}, "No gradient reaches"), ({"matters": True},
            MAYBE),
                ({"matters": True, "random": True}, SURE), ({"module": ""}, "the whole model"),
                ({"frozen": True, "ran": False, "parameters": 100}, MINOR),
                ({"frozen": True, "random": True, "matters": True, "parameters": 99}, MAYBE),
                ({"frozen": True, "random": True, "matters": True, "parameters": 100}, SURE)],
    ),
    Row(
        "M209",
        FrozenPart(module="body", parameters=9, moved=("bn.running_mean",), losses=3),
        silent=[{"moved": ()}],
        speaks=[({}, SURE), ({"moved": ("a", "b", "c")}, "a and 2 more"), ({"moved": (), "random": ("drop",)}, MAYBE)],
    ),
    Row(
        "O407",
        FirstSteps(optimizer="SGD", rates=(1.0, 0.1, 0.05)),
        silent=[{"rates": (1.0, 0.11)}, {"rates": (1.0,)}, {"rates": (1.0, 0.0)}],
    ),
    Row(
        "O410",
        DeployedWeights(follows_trained=False, follows_others=True, twins=0.9, unmoved=1.0, trained_moved=0.5),
        silent=[{"follows_trained": True}, {"follows_others": False}, {"twins": 0.89}, {"trained_moved": 0.49}],
        speaks=[({}, SURE), ({"unmoved": 0.99}, MAYBE), ({}, "bit-identical")],
    ),
    Row("O412", UpdateBudget(calls=9, updates=9, rate=1.0, spent=0.019, last_rate=0.0), silent=[{"spent": 0.02}]),
    Row(
        "P602",
        SampleCoupling(view="frontal", scaled_change=0.0009, neighbour_change=0.0, lowest=0.0, highest=1.0),
        silent=[{"scaled_change": 0.001}],
        speaks=[({}, "doubling the attenuation"), ({"scaled_change": 1.0, "neighbour_change": 1.1e-4},
            "only the second volume")],
        times=2,
    ),
    Row("P603", ViewDifference(first="frontal", second="lateral", relative=0.009), silent=[{"relative": 0.01}]),
    Row(
        "P605",
        ProjectionGradient(view="frontal", connected=True, share=0.49, finite=True),
        silent=[{"share": 0.5}],
        speaks=[({}, "49 %"), ({"connected": False}, "no gradient at all"), ({"finite": False, "share": 1.0},
            "not finite")],
        times=2,
    ),
    Row("Y708", UncertaintySeen(largest=0.0, mean=0.0, pixels=9), silent=[{"largest": 1e-9}]),
    Row(
        "R1001",
        PrototypeSpread(
            concepts=3, each=2, within=0.81, within_before=0.6, between=0.0, monitored=0.49, unused=0, busiest=0.1,
            temperature=1.0,
        ),
        silent=[{"within": 0.8}, {"within_before": 0.62}],
        unseen=[{"each": 1}],
        speaks=[({}, "cannot see it"), ({"monitored": 0.5}, None)],
    ),
)  # fmt: skip


@pytest.mark.parametrize(("row", "changes", "what", "how"), [case for row in ROWS for case in row.cases()])
def test_each_condition(row: Row, changes: dict[str, Any], what: str, how: Any) -> None:
    row.check(changes, what, how)
