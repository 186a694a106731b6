"""Conditions of rules that weigh several records against each other, each by itself."""

from __future__ import annotations

import math
from typing import Any

import pytest

from conditions import Row
from traindx.evidence.observed import Ending, InputSeen, IterationsSeen, LossSeries, NetworkCalls, ScriptRun
from traindx.evidence.observed_items import HeatMapsSeen, ItemsSeen, StageInputs
from traindx.evidence.observed_loss import LossCall
from traindx.evidence.observed_optim import (
    ClippingSeen,
    GradientSeries,
    OptimizerSeen,
    ParameterGroupSeen,
    SchedulerSeen,
)
from traindx.evidence.observed_state import CheckpointRead, WeightsLoaded
from traindx.evidence.probed_functions import PlacesTried
from traindx.finding import Location, Standing

SURE, MAYBE = Standing.DEMONSTRATED, Standing.SUSPECTED
HERE, THERE = Location(file="train.py", line=7), Location(file="train.py", line=9)
VALIDATION = NetworkCalls(network="Net", phase="validation", calls=9, iterations=9, in_training_mode=2, noisy=("drop",),
                          other_data=True)  # fmt: skip
TRAINING = NetworkCalls(network="Net", phase="training", calls=9, iterations=9, in_training_mode=9, noisy=("drop",))
GRADIENTS = GradientSeries(norms=(1.0, 1.0, 1.0, 1.0, 101.0), where=HERE)
STEPS = OptimizerSeen(optimizer="SGD", steps=40, stepped=HERE, backward=THERE, where=HERE)
FLAT = LossSeries(iterations=tuple(range(12)), values=(1.0,) * 6 + (0.71,) * 6, where=THERE)
GROUP = {"optimizer": "SGD", "largest_lr": 1e-3, "lr": 1e-3, "gradient_norms": (1.0,) * 4, "where": HERE}
SLOW = ParameterGroupSeen(**{**GROUP, "group": 0, "largest_lr": 5e-5, "lr": 5e-5, "update_ratios": (4.9e-6,)})
FAST = ParameterGroupSeen(**{**GROUP, "group": 1, "update_ratios": (1e-3,)})
STILL = ParameterGroupSeen(**{**GROUP, "group": 0, "update_ratios": (2.9e-6,) * 4, "moved": 0.02})
STAGE = {"network": "Net", "shape": (1, 8, 8), "samples": 8, "mean": 0.0}
ITSELF = StageInputs(
    **STAGE, phase="validation", spread=1.0, least_spread=0.99, most_spread=1.01, largest_off=0.02, off=0.0
)
BY_SET = StageInputs(**STAGE, phase="training", spread=2.0, least_spread=1.5, most_spread=3.0, largest_off=1.0, off=0.5)
LARGE = StageInputs(
    **STAGE, phase="validation", spread=25.0, least_spread=20.2, most_spread=30.0, largest_off=9.0, off=1.0
)
SMALL = StageInputs(**STAGE, phase="training", spread=0.9, least_spread=0.5, most_spread=1.0, largest_off=0.9, off=1.0)
MAPS = HeatMapsSeen(dataset="Poses", items=24, landmarks=6, own=0.05, transposed=0.2, mirrored=0.1)
PLACES = PlacesTried(function="draw", order="yx", partner="read", partner_order="xy")
FILE = CheckpointRead(file="w.pt", tensors=10, arrived=2, compared="training", step=0)

ROWS = (
    Row(
        "C1103",
        VALIDATION,
        silent=[{"in_training_mode": 1}, {"other_data": False}, {"noisy": (), "quiet": 1}, {"noisy": (), "quiet": 0}],
        unseen=[{"phase": "auxiliary"}],
        speaks=[({}, SURE), ({}, "drop"), ({"noisy": ("a", "b", "c", "d")}, "a, b, c and more"), ({"noisy": ("a", "b",
            "c")}, "a, b, c")],
        beside=(TRAINING,),
    ),
    Row(
        "C1103",
        VALIDATION.model_copy(update={"other_data": False}),
        beside=(TRAINING, LossCall(function="mse_loss", phase="evaluation")),
    ),
    Row(
        "C1103",
        NetworkCalls(network="Net", phase="inference", calls=2, iterations=2, in_training_mode=2, noisy=("drop",)),
        silent=[{"in_training_mode": 1}, {"calls": 3}, {"with_dropout_only": True}],
        unseen=[{"calls": 1, "in_training_mode": 1}, {"noisy": ()}],
        speaks=[({}, MAYBE)],
    ),
    Row(
        "C1103",
        TRAINING.model_copy(update={"left_training_mode": 0, "in_training_mode": 7}),
        silent=[{"left_training_mode": -1}, {"in_training_mode": 8}],
        speaks=[({}, "stayed-in-evaluation"), ({"noisy": (), "quiet": 1}, SURE)],
        beside=(VALIDATION.model_copy(update={"in_training_mode": 0}),),
    ),
    Row(
        "O404",
        GRADIENTS,
        silent=[{"norms": (1.0, 1.0, 1.0, 1.0, 100.0)}, {"norms": (4.0, 4.0, 4.0, 4.0, 101.0)}, {"where": THERE},
                {"norms": (1.0, 1.0, 1.0, math.nan, 101.0)}],
        unseen=[{"norms": (1.0, 1.0, 1.0, 101.0)}],
        speaks=[({}, MAYBE), ({"norms": (1001.0,) * 5}, MAYBE)],
        beside=(STEPS, FLAT),
    ),
    Row(
        "O404",
        STEPS,
        silent=[{"adaptive": True}, {"backward": HERE}],
        beside=(GRADIENTS.model_copy(update={"norms": (1001.0,) * 5}), FLAT),
        form=GradientSeries,
    ),
    Row(
        "O404",
        FLAT,
        silent=[{"first_nonfinite": 3}, {"values": (1.0,) * 6 + (0.7,) * 6}],
        beside=(GRADIENTS, STEPS),
        form=GradientSeries,
    ),
    Row(
        "O408",
        SLOW,
        silent=[{"largest_lr": 5.1e-5}, {"update_ratios": (5e-6,)}],
        unseen=[{"gradient_norms": (1.0, 1.0)}, {"gradient_norms": (0.0,) * 4}, {"optimizer": "Adam"},
            {"where": THERE}, {"number": 1}],
        speaks=[({}, MAYBE), ({"largest_lr": 0.0, "lr": 0.0}, SURE), ({"name": "head"}, "(head)"),
                ({"largest_lr": 1e-3, "lr": 9e-7}, "rate-gone")],
        beside=(FAST,),
    ),
    Row(
        "O401",
        STILL,
        silent=[{"update_ratios": (2.9e-6, 2.9e-6, 2.9e-6, 3e-6)}, {"update_ratios": (1e-3,) * 4, "unchanged": 0.49}],
        unseen=[{"update_ratios": (2.9e-6,) * 3}, {"gradient_norms": (0.0,)}],
        speaks=[({}, MAYBE), ({"unchanged": 0.5}, SURE), ({"update_ratios": (1e-3,) * 4, "unchanged": 0.5}, SURE)],
    ),
    Row("O401", STILL.model_copy(update={"update_ratios": (1e-3,) * 4, "unchanged": 0.5}), unseen=[{"moved": 0.009,
        "unchanged": 0.0}]),
    Row(
        "O401",
        SchedulerSeen(scheduler="LambdaLR", lowest=1.0, highest=1.5, last=1.5),
        silent=[{"last": 1.6}],
        speaks=[({"highest": 2.0, "last": 1.9}, MAYBE)],
        beside=(STILL,),
        form=ParameterGroupSeen,
    ),
    Row(
        "O401",
        OptimizerSeen(optimizer="Adam", adaptive=True, steps=30, where=HERE),
        silent=[{"adaptive": False}],
        speaks=[({}, "whole-stage")],
        beside=(STILL.model_copy(update={"moved": 0.009}), IterationsSeen(iterations=30, watched=30),
                ScriptRun(target="train.py", ending=Ending.FINISHED)),
    ),
    Row(
        "O401",
        ScriptRun(target="train.py", ending=Ending.FINISHED),
        unseen=[{"window_ended": True}, {"ending": Ending.CRASHED}],
        beside=(STILL.model_copy(update={"moved": 0.009}), IterationsSeen(iterations=30, watched=30),
                OptimizerSeen(optimizer="Adam", adaptive=True, steps=30, where=HERE)),
    ),
    Row(
        "O401",
        LossSeries(iterations=tuple(range(8)), values=(1.0,) * 4 + (0.9,) * 4),
        silent=[{"values": (1.0,) * 4 + (0.89,) * 4}],
        speaks=[({"values": (1.0,) * 4 + (0.5,) * 3, "iterations": tuple(range(7))}, None), ({"values": (0.0,) * 8},
            None)],
        beside=(STILL.model_copy(update={"moved": 0.009}), IterationsSeen(iterations=30, watched=30),
                OptimizerSeen(optimizer="Adam", adaptive=True, steps=30, where=HERE),
                ScriptRun(target="train.py", ending=Ending.FINISHED)),
        form=ScriptRun,
    ),
    Row(
        "D145",
        MAPS,
        silent=[{"transposed": 0.19}, {"own": 0.051}],
        unseen=[{"items": 23}],
        speaks=[({}, "maps-transposed"), ({"mirrored": 0.3}, "maps-mirrored")],
        beside=(PlacesTried(function="draw", order="yx", where=THERE),),
    ),
    Row(
        "D145",
        PLACES,
        silent=[{"partner_order": "yx"}],
        unseen=[{"partner": ""}],
        speaks=[({}, MAYBE)],
    ),
    Row("D145", MAPS, speaks=[({}, SURE), ({"items": 23}, MAYBE), ({"mirrored": 0.3}, MAYBE), ({"transposed": 0.19},
        MAYBE)],
        beside=(PLACES,), form=PlacesTried),
    Row("D145", PLACES.model_copy(update={"partner_order": "yx"}), silent=[{"partner_order": "xy"}], beside=(MAPS,),
             form=HeatMapsSeen),
    Row(
        "L309",
        LossCall(function="cross_entropy", classes=4, first_value=4.2),
        silent=[{"first_value": 4.1}, {"prediction_from": "softmax"}, {"prediction_from": "sigmoid"}],
        unseen=[{"phase": "evaluation"}, {"reduction": "sum"}, {"weighted": True}, {"classes": 1},
            {"function": "l1_loss"}],
        speaks=[({"function": "nll_loss"}, None), ({"function": "binary_cross_entropy_with_logits",
            "first_value": 2.1}, None),
                ({"function": "mse_loss", "target_low": -2.0, "first_value": 41.0}, None)],
    ),
    Row(
        "L309",
        LossCall(function="mse_loss", target_low=-2.0, target_high=1.0, first_value=41.0),
        silent=[{"first_value": 40.0}, {"target_high": 3.0}],
        unseen=[{"target_low": 0.0, "target_high": 0.0}],
    ),
    Row(
        "L309",
        InputSeen(network="Net", argument="x", phase="training", shape=(1, 1), dtype="float32", low=(-21.0,),
            high=(3.0,)),
        speaks=[({}, "the input of Net spans -21 to 3")],
        beside=(LossCall(function="cross_entropy", classes=4, first_value=4.2),),
        form=LossCall,
    ),
    Row("L309", LossCall(function="cross_entropy", classes=4, first_value=4.2)),
    Row(
        "M214",
        ITSELF,
        silent=[{"largest_off": 0.021}, {"made": HERE}, {"shape": (1, 9, 9)}, {"network": "Other"}],
        unseen=[{"samples": 7}, {"phase": "training"}],
        speaks=[({"phase": "inference"}, "each image is standardised by itself here")],
        beside=(BY_SET,),
    ),
    Row(
        "M214",
        BY_SET,
        silent=[{"off": 0.49}, {"largest_off": 0.1}, {"samples": 7}, {"phase": "validation"}, {"spread": 1.6},
                {"spread": 0.63}],
        speaks=[({"mean": 0.61, "spread": 1.0}, None), ({"spread": 1.61}, None), ({"spread": 0.62}, None),
                ({"spread": 1.0, "again": 8}, None)],
        beside=(ITSELF,),
    ),
    Row(
        "M214",
        ItemsSeen(dataset="Scans", trains=True, followed=8, alike=8, factor=1.0009, shift=0.0009),
        silent=[{"trains": False}, {"followed": 7, "alike": 7}, {"alike": 7}, {"factor": 1.0011}, {"shift": 0.001}],
        beside=(ITSELF, BY_SET.model_copy(update={"spread": 1.0})),
        form=StageInputs,
    ),
    Row(
        "M214",
        BY_SET.model_copy(update={"phase": "validation"}),
        silent=[{"off": 0.49}, {"largest_off": 0.1}],
        speaks=[({}, "in training each image is standardised by itself")],
        beside=(ITSELF.model_copy(update={"phase": "training"}),),
    ),
    Row(
        "M214",
        LARGE,
        silent=[{"least_spread": 20.0}],
        speaks=[({}, "20 times that of training")],
        beside=(SMALL,),
    ),
    Row(
        "M214",
        SMALL.model_copy(update={"phase": "validation"}),
        silent=[{"most_spread": 1.02}, {"most_spread": 9e-7}],
        speaks=[({}, "the spread in training is 20 times theirs")],
        beside=(LARGE.model_copy(update={"phase": "training"}),),
    ),
    Row(
        "C1108",
        FILE,
        silent=[{"arrived": 3}, {"compared": ""}],
        unseen=[{"tensors": 3, "arrived": 0}, {"step": 1}],
        speaks=[({}, SURE), ({"compared": "use"}, MAYBE)],
    ),
    Row("C1108", WeightsLoaded(network="Net", tensors=10, offered=10, matched=5, strict=False, file="w.pt"),
             silent=[{"matched": 4}], speaks=[({"strict": True, "matched": 4}, SURE), ({"matched": 4, "file": "v.pt"},
                 SURE)],
             beside=(FILE,), form=CheckpointRead),
    Row(
        "C1108",
        WeightsLoaded(network="Net", tensors=10, offered=10, matched=10),
        silent=[{"changed": 3}],
        speaks=[({}, MAYBE)],
        beside=(FILE.model_copy(update={"compared": "use"}),),
        form=CheckpointRead,
    ),
)  # fmt: skip


@pytest.mark.parametrize(("row", "changes", "what", "how"), [case for row in ROWS for case in row.cases()])
def test_each_condition(row: Row, changes: dict[str, Any], what: str, how: Any) -> None:
    row.check(changes, what, how)


def test_a_network_with_loaded_weights_and_a_clipped_one_are_not_judged_by_these() -> None:
    for record, code, beside in (
        (LossCall(function="cross_entropy", classes=4, first_value=9.0), "L309", FILE),
        (GRADIENTS, "O404", ClippingSeen(function="norm", limit=1.0)),
    ):
        row = Row(code, record, beside=(beside, STEPS, FLAT))
        row.check({}, "unseen" if code == "L309" else "silent", None)
