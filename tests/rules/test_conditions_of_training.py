"""Conditions of rules on losses, networks and optimisation, each by itself."""

from __future__ import annotations

import math
from typing import Any

import pytest

from conditions import Row
from traindx.evidence.observed import Ending, IterationsSeen, LayerBuiltInCall, LossSeries, ScriptRun
from traindx.evidence.observed_branches import DetachedBranch
from traindx.evidence.observed_calls import GradientNormSeen, GridSeen, IntegerIndexSeen, LossStateSeen
from traindx.evidence.observed_evaluation import MaskGiven
from traindx.evidence.observed_loss import (
    ClampSeen,
    ConstantTerm,
    LossCall,
    LossCutOff,
    LossTermSeen,
    NonFiniteOrigin,
)
from traindx.evidence.observed_optim import (
    ClippingSeen,
    OptimizerSeen,
    OutputsDropped,
    ParameterSeen,
    PlainTensorSeen,
    ScalerSeen,
)
from traindx.evidence.observed_outputs import OutputAsked
from traindx.evidence.observed_state import CopySeen, FrozenSeen, LoaderSeen, StatisticsSeen
from traindx.evidence.probed import (
    CoarseOutputProbed,
    FutureProbed,
    GivenProbed,
    InputProbed,
    OrderProbed,
    StepProbed,
    ViewsMerged,
)
from traindx.evidence.probed_functions import LossArguments, PaddingTried, PairLossTried, ReloadTried
from traindx.finding import Location, Severity, Standing

SURE, MAYBE = Standing.DEMONSTRATED, Standing.SUSPECTED
HERE = Location(file="train.py", line=7)
ORDER = OrderProbed(network="Net", function="rank", actual=0.5, perfect=1.0, shuffled=0.998)
GIVEN = GivenProbed(network="Net", ignored=0.5, blanked=0.5, known=True, actual=1.0, identity=0.001)
FINER = {"name": "w", "network": "Net", "module": "Linear", "in_optimizer": True, "gradient_seen": 2, "shape": (2, 2)}


def term(name: str, share: float, **fields: Any) -> LossTermSeen:
    return LossTermSeen(name=name, backward=HERE, gradient_shares=(share, share), cosines=(0.0, 0.0), **fields)


def argument(name: str, change: str, effect: float, **fields: Any) -> InputProbed:
    return InputProbed(network="Net", argument=name, change=change, effect=effect, **fields)


def step(after: float, **fields: Any) -> StepProbed:
    known = {"network": "Net", "optimizer": "SGD", "lr": 0.1, "before": 1.0, "moved": 1.0, **fields}
    return StepProbed(after=after, **known)


ROWS = (
    Row(
        "L301",
        ORDER,
        silent=[{"shuffled": 0.9995}, {"actual": 1.0}, {"shuffled": 1.01}],
        unseen=[{"signed": True}, {"alone": False}],
        times=2,
    ),
    Row("L301", ORDER, silent=[{"shuffled": 0.9995}], beside=(ORDER,)),
    Row(
        "L302",
        term("kl", 0.6),
        silent=[{"gradient_shares": (0.59, 0.59)}, {"of_derivatives": True}],
        beside=(term("mse", 0.2, meets_data=True),),
    ),
    Row(
        "L302",
        term("mse", 0.2, meets_data=True),
        silent=[{"gradient_shares": (0.21, 0.21)}],
        unseen=[{"meets_data": False}],
        beside=(term("kl", 0.6),),
    ),
    Row(
        "L302",
        term("mse", 0.2, meets_data=True),
        unseen=[{"gradient_shares": (0.2,)}],
        beside=(term("kl", 0.6), term("size", 0.2)),
    ),
    Row(
        "L302",
        term("kl", 0.3).model_copy(update={"cosines": (-0.3, -0.3)}),
        silent=[{"cosines": (-0.29, -0.29)}, {"gradient_shares": (0.21, 0.21)}],
        speaks=[({}, "points against them (cosine -0.30)")],
        beside=(term("mse", 0.21, meets_data=True),),
    ),
    Row("L303", LossCutOff(passes=2), silent=[{"passes": 1}], speaks=[({}, SURE)]),
    Row(
        "L303",
        ConstantTerm(how="number", values=(1.0, 1.006, 1.011), totals=(1.0, 1.0, 1.0)),
        silent=[{"values": (1.0, 1.004, 1.009)}, {"values": (1.0, 1.02, 1.02)}, {"totals": (2.0, 2.0, 2.0)}],
        unseen=[{"values": (1.0, 1.02)}],
        speaks=[({"how": "number"}, "a Python number"), ({"how": "tensor"}, "a tensor without gradient"),
                ({"cut": HERE}, "cut off at train.py:7"), ({"totals": (0.0, 0.0, 0.0)}, SURE), ({"totals": (-1.0,
                    -1.0, -1.0)}, SURE)],
    ),
    Row(
        "L306",
        ClampSeen(function="clamp", low=0.0, high=1.0, reaches_loss=True, gradient_lost=0.5),
        silent=[{"gradient_lost": 0.49}, {"hidden": True, "gradient_lost": 0.89},
                {"hidden": True, "gradient_lost": 0.95, "function": "hardtanh"}],
        unseen=[{"before_log": True}, {"reaches_loss": False}],
        speaks=[({}, MAYBE), ({"gradient_lost": 0.9}, SURE), ({"gradient_lost": 0.89}, MAYBE),
                ({"hidden": True, "gradient_lost": 0.9}, MAYBE)],
    ),
    Row(
        "L306",
        ClampSeen(function="clamp", low=0.0, high=1.0, reaches_loss=True, gradient_lost=0.5, step=2),
        silent=[{"step": 0}],
        beside=(ClampSeen(function="clamp", low=0.0, high=1.0, reaches_loss=True, step=1),),
    ),
    Row(
        "L307",
        term("sse", 0.88, sums=True, meets_data=True),
        silent=[{"gradient_shares": (0.87, 0.87)}, {"sums": False}],
        beside=(term("dice", 0.019, meets_data=True),),
    ),
    Row(
        "L307",
        term("dice", 0.019, meets_data=True),
        silent=[{"gradient_shares": (0.02, 0.02)}, {"meets_data": False}],
        beside=(term("sse", 0.95, sums=True, meets_data=True),),
    ),
    Row(
        "L317",
        GIVEN,
        silent=[{"identity": 0.0011}, {"blanked": 0.0}, {"known": False}, {"told": True}],
        unseen=[{"ignored": 0.0, "known": False}],
        speaks=[({"actual": -1.0}, SURE)],
        times=2,
    ),
    Row("L317", GIVEN, silent=[{"known": False}], beside=(GIVEN, GIVEN)),
    Row(
        "L319",
        LossCall(
            function="mse_loss", calls=3, values=(1e-6, 0.0, -1e-6), target_low=0.0, target_high=1.0, reduction="mean",
            prediction_shape=(4, 4),
        ),
        silent=[{"values": (0.0, 0.0, 2e-6)}, {"values": (0.0, 0.0)}, {"target_high": 0.0}, {"target_high": 0.5}],
        unseen=[{"function": "cross_entropy"}, {"phase": "evaluation"}, {"calls": 2, "values": (0.0, 0.0)}],
        speaks=[({"target_high": 9.0}, SURE), ({"reduction": "sum", "values": (0.0, 0.0, 1.6e-5)}, SURE),
                ({"reduction": "batchmean", "values": (0.0, 0.0, 1.6e-5)}, SURE)],
    ),
    Row(
        "L323",
        LossCall(function="binary_cross_entropy", calls=6, target_low=1.0, target_high=1.0),
        silent=[{"calls": 5}, {"target_low": 0.0}, {"target_low": 0.0, "target_high": 0.0}],
        unseen=[{"function": "mse_loss"}, {"phase": "evaluation"}],
        speaks=[({"function": "binary_cross_entropy_with_logits"}, SURE)],
    ),
    Row(
        "L323",
        LossCall(function="binary_cross_entropy", calls=3, target_low=1.0, target_high=1.0, where=HERE),
        silent=[{"target_low": 0.0}, {"calls": 2}],
        speaks=[({"where": None}, SURE)],
        beside=(LossCall(function="binary_cross_entropy", calls=3, target_low=1.0, target_high=1.0),),
    ),
    Row(
        "O405",
        ClippingSeen(function="norm", limit=1.0, norms=(20.0,) * 5, active=0.95, calls=5),
        silent=[{"norms": (19.0,) * 5}, {"active": 0.94}, {"scaled": 1}],
        unseen=[{"norms": (20.0,) * 4}, {"adaptive": True}],
        speaks=[({"limit": 0.0}, MAYBE), ({}, MAYBE)],
    ),
    Row(
        "O406",
        OptimizerSeen(optimizer="SGD", never_zeroed=9, zeroed=1),
        silent=[{"zeroed": 2}, {"never_zeroed": 2, "zeroed": 1}],
        unseen=[{"never_zeroed": 2, "zeroed": 0}],
        speaks=[({"never_zeroed": 3, "zeroed": 0}, SURE)],
    ),
    Row(
        "O411",
        ClippingSeen(function="norm", limit=1.0, calls=5, scaled=1, scale=2.0),
        silent=[{"scaled": 0}, {"scale": 1.9}],
        beside=(ScalerSeen(steps=9, skipped=0),),
    ),
    Row(
        "O412",
        OptimizerSeen(optimizer="SGD", steps=9, lost=3),
        silent=[{"lost": 2}],
        unseen=[{"steps": 0}],
        speaks=[({}, Severity.MINOR), ({"leaked": 1}, SURE), ({"lost": 0, "accumulation": 6}, Severity.MAJOR)],
        beside=(IterationsSeen(iterations=9, watched=9, backwards=100),
                LoaderSeen(dataset="Scans", trains=True, passes=2, batches=40)),
    ),
    Row(
        "O412",
        OptimizerSeen(optimizer="SGD", steps=9, accumulation=6),
        silent=[{"accumulation": 5}, {"accumulation": 1}, {"accumulation": 41}],
        beside=(IterationsSeen(iterations=9, watched=9, backwards=100),
                LoaderSeen(dataset="Scans", trains=True, passes=2, batches=40)),
    ),
    Row(
        "O412",
        LoaderSeen(dataset="Scans", trains=True, passes=2, batches=40),
        silent=[{"batches": 39}],
        unseen=[{"passes": 1, "batches": 39}, {"trains": False}],
        beside=(IterationsSeen(iterations=9, watched=9, backwards=100),
                OptimizerSeen(optimizer="SGD", steps=9, accumulation=6)),
        form=OptimizerSeen,
    ),
    Row(
        "O413",
        ClippingSeen(function="norm", limit=1.0, calls=4, after_step=3),
        silent=[{"after_step": 2, "calls": 3}, {"calls": 5}],
        unseen=[{"calls": 2, "after_step": 2}],
        speaks=[({}, Severity.MINOR), ({"after_step": 0, "before_backward": 3}, "before-backward"),
                ({"after_step": 0, "empty": 3, "empty_at_last": True}, "no-parameters")],
    ),
    Row(
        "O413",
        ClippingSeen(function="norm", limit=1.0, calls=4, before_backward=3),
        silent=[{"before_backward": 2}, {"calls": 5}, {"before_backward": 0, "empty": 2, "empty_at_last": True},
                {"before_backward": 0, "empty": 3}],
    ),
    Row(
        "O414",
        IterationsSeen(iterations=0, watched=0, backwards=100),
        silent=[{"backwards": 99}, {"optimizers": 1}],
        unseen=[{"backwards": 0}],
        speaks=[({}, SURE)],
        beside=(OptimizerSeen(optimizer="SGD"), ParameterSeen(name="w", network="Net", module="Linear"),
                ScriptRun(target="train.py", ending=Ending.FINISHED)),
    ),
    Row(
        "O414",
        ParameterSeen(name="w", network="Net", module="Linear"),
        silent=[{"by_hand": True}, {"moved": 0.1}],
        speaks=[({}, MAYBE)],
        beside=(OptimizerSeen(optimizer="SGD"), IterationsSeen(iterations=0, watched=0, backwards=100),
                ScriptRun(target="train.py", ending=Ending.FINISHED, window_ended=True)),
        form=IterationsSeen,
    ),
    Row(
        "O414",
        OptimizerSeen(optimizer="SGD"),
        silent=[{"steps": 1}],
        beside=(ParameterSeen(name="w", network="Net", module="Linear"),
                IterationsSeen(iterations=0, watched=0, backwards=100)),
        form=IterationsSeen,
    ),
    Row(
        "O416",
        OptimizerSeen(optimizer="SGD", steps=3, bare=2, stepped=HERE),
        silent=[{"steps": 2}, {"bare": 1}, {"steps": 4}],
        unseen=[{"steps": 0}],
        speaks=[({}, "before-the-step"), ({"bare": 0, "wasted": 6, "used": 13}, "outside-the-loop")],
        beside=(IterationsSeen(iterations=9, watched=9, optimizers=1),),
    ),
    Row(
        "O416",
        OptimizerSeen(optimizer="SGD", steps=3, wasted=6, used=13, stepped=HERE),
        silent=[{"wasted": 5, "used": 0}, {"used": 14}],
        beside=(IterationsSeen(iterations=9, watched=9, optimizers=1),),
    ),
    Row(
        "T906",
        LossSeries(iterations=(), values=(1.0,), first_nonfinite=0),
        silent=[{"first_nonfinite": -1}],
        speaks=[({}, "from iteration 0 on: log gets values")],
        beside=(NonFiniteOrigin(function="log", input_low=0.0, input_high=1.0),),
    ),
    Row(
        "T906",
        NonFiniteOrigin(function="log", input_low=0.0, input_high=math.nan),
        speaks=[({}, "sqrt is taken of exactly 0"), ({"input_high": 1.0}, "log gets values"),
                ({"input_high": 1.0, "function": "input"}, "sqrt is taken of exactly 0")],
        beside=(NonFiniteOrigin(function="sqrt", direction="backward"),
                LossSeries(iterations=(), values=(1.0,), first_nonfinite=3)),
        form=LossSeries,
    ),
    Row(
        "T906",
        NonFiniteOrigin(function="input"),
        speaks=[({}, "already not finite"), ({"direction": "backward", "function": "pow"}, "pow is taken")],
        beside=(LossSeries(iterations=(), values=(1.0,), first_nonfinite=3),),
        form=LossSeries,
    ),
    Row(
        "L318",
        GradientNormSeen(calls=2, left=2, per_sample=True, graph=True),
        silent=[{"left": 1}, {"per_sample": False}, {"graph": False}],
        unseen=[{"calls": 1}],
    ),
    Row(
        "L320",
        IntegerIndexSeen(calls=3, binary=3),
        silent=[{"binary": 2}, {"other": 1}],
        unseen=[{"calls": 2, "binary": 2}],
    ),
    Row(
        "L322",
        LossStateSeen(loss="Loss", attribute="w", calls=2, first_shape=(2,), last_shape=(8,), rewritten=2, as_batch=1),
        silent=[{"as_batch": 0}, {"rewritten": 1}, {"first_shape": (1,)}, {"first_shape": (2, 2)}, {"last_shape": (8,
            1)}],
        unseen=[{"calls": 1}],
    ),
    Row(
        "L331",
        PaddingTried(function="pool", mask="mask", padding=0.2, content=1.0),
        silent=[{"padding": 0.19}, {"content": 0.0}],
        speaks=[({}, "counts"), ({}, "What it returns"), ({"value": "pooled"}, "pooled")],
    ),
    Row(
        "L331",
        PaddingTried(function="pool", mask="mask", rows=4, rows_padded=4, reach=0.05, reach_padded=0.9),
        silent=[{"reach": 0.06}, {"reach_padded": 0.89}, {"rows": 3}, {"rows_padded": 3}, {"reach": -1.0},
                {"reach": 0.9, "reach_padded": -1.0}],
        speaks=[({}, "last"), ({}, "without"), ({"reach": 0.9, "reach_padded": 0.05}, SURE)],
    ),
    Row("L332", PairLossTried(function="ntxent", samples=8, together=0.99, apart=1.0, actual=1.0),
        silent=[{"together": 0.97}, {"together": -1.03, "apart": -1.0}], speaks=[({"together": -1.01, "apart": -1.0},
            SURE)]),
    Row(
        "M221",
        DetachedBranch(network="Net", how="detach", copies=4, looks=2, weighted=True, met=HERE, function="mul"),
        silent=[{"met": None}],
        unseen=[{"looks": 1}],
    ),
    Row(
        "L335",
        OutputAsked(network="Net", output="imag", outputs=2, looks=3, reached=0, own=8, read=True, named=False),
        silent=[{"own": 7}, {"read": False}, {"reached": 1}, {"named": True, "looks": 4}],
        unseen=[{"looks": 2}],
        speaks=[({}, SURE), ({"named": True, "looks": 5}, "imag")],
    ),
    Row(
        "L335",
        OutputAsked(network="Net", output="", looks=3, reached=3, channels=2, silent=(1,), dropped=True, read=True),
        silent=[{"silent": ()}, {"dropped": False}, {"read": False}],
        unseen=[{"looks": 2}],
        speaks=[({}, SURE), ({"read": False, "told": True}, "targets")],
    ),
    Row("L333", LossArguments(function="loss", predictions=2, unread="mask"), silent=[{"unread": ""}]),
    Row(
        "M204",
        argument("all inputs", "other sample", 1e-6),
        silent=[{"effect": 2e-6}, {"change": "swap"}],
        unseen=[{"argument": "x"}, {"differs": False}],
        speaks=[({"change": "other values"}, SURE)],
    ),
    Row(
        "M205",
        argument("mask", "other values", 1e-6, shape=(2, 1, 8, 8)),
        silent=[{"effect": 2e-6}],
        unseen=[{"time": True}, {"argument": "all inputs"}, {"differs": False}],
        speaks=[({}, SURE), ({"shape": (2, 1, 8)}, MAYBE), ({"training": False}, MAYBE)],
    ),
    Row(
        "M205",
        argument("mask", "spot moved", 0.14, registered=True),
        silent=[{"effect": 0.15}, {"registered": False}, {"training": False}, {"change": "spot again"}],
        speaks=[({}, "place-lost")],
        beside=(argument("mask", "spot", 1.0, registered=True),),
    ),
    Row(
        "M205",
        argument("mask", "spot", 1.0, registered=True),
        silent=[{"effect": 1e-5}, {"registered": False}, {"training": False}],
        beside=(argument("mask", "spot moved", 1e-7, registered=True),),
    ),
    Row(
        "M206",
        argument("t", "other values", 1e-7, time=True, shape=(2,)),
        silent=[{"effect": 2e-7}],
        unseen=[{"single": True}, {"shape": ()}, {"training": False}, {"time": False}],
    ),
    Row(
        "M209",
        FrozenSeen(network="Net", part="body", looks=3, iterations=8, statistics_moved=0.1, used_before=True),
        silent=[{"statistics_moved": 0.09}, {"thawed": True}, {"used_before": False}, {"iterations": 7}],
        unseen=[{"looks": 2}],
    ),
    Row(
        "M210",
        CoarseOutputProbed(network="Net", coarse=(2, 2), fine=(8, 8), left_out=0.51, variance=1.0),
        silent=[{"left_out": 0.5}],
        unseen=[{"variance": 0.0}],
        times=2,
    ),
    Row(
        "M211",
        argument("a <-> b", "swap", 1e-5, dense=True),
        silent=[{"effect": 2e-5}],
        unseen=[{"dense": False}, {"training": False}, {"differs": False}],
        beside=(argument("a", "other values", 2e-4), argument("b", "other values", 2e-4)),
    ),
    Row(
        "M211",
        argument("b", "other values", 2e-4),
        silent=[{"effect": 1e-4}],
        beside=(argument("a", "other values", 2e-4), argument("a <-> b", "swap", 1e-5, dense=True)),
    ),
    Row(
        "M211",
        ViewsMerged(network="Net", views=2, image=(1, 8, 8), reduction="mean"),
        silent=[{"image": (1, 8)}],
        unseen=[{"training": False}],
        beside=(LossCall(function="mse_loss", target_shape=(1, 1, 8, 8, 8)),),
    ),
    Row("M212", LayerBuiltInCall(network="Net", layer="Linear", calls=2, iterations=2),
        unseen=[{"calls": 1}, {"iterations": 1}]),
    Row(
        "M213",
        GridSeen(calls=3, axes=2, order=(0, 1)),
        silent=[{"order": ()}, {"order": (1, 0)}],
        unseen=[{"calls": 2}],
        speaks=[({}, "order")],
    ),
    Row(
        "M213",
        GridSeen(calls=3, axes=2, order=(1, 0), outside=0.5, high=10.0, least_high=2.1),
        silent=[{"outside": 0.49}, {"least_high": 2.0}],
        speaks=[({}, "pixels")],
    ),
    Row(
        "M213",
        GridSeen(calls=3, axes=2, order=(1, 0), low=-0.2, high=1.2, least_high=0.9),
        silent=[{"low": -0.21}, {"high": 1.21}, {"least_high": 0.89}],
        speaks=[({}, "unit")],
    ),
    Row(
        "M215",
        PlainTensorSeen(owner="Net", name="w", gradients=2, iterations=3),
        silent=[{"owner": ""}, {"changed": True}, {"gradients": 1}, {"iterations": 2}, {"in_optimizer": True}],
        speaks=[({"in_optimizer": True, "computed": True}, SURE)],
    ),
    Row("M215", ReloadTried(network="Net", attributes=("w",), change=0.01), silent=[{"change": 0.009},
        {"attributes": ()}]),
    Row("M217", MaskGiven(network="Net", argument="mask", calls=4, padded=4, constant=4),
        silent=[{"constant": 3}], unseen=[{"padded": 3}]),
    Row("M219", FutureProbed(network="Net", tokens=8, before=0.0011, at_all=1.0),
        silent=[{"before": 0.001}, {"at_all": 0.0011, "before": 0.0}], unseen=[{"at_all": 0.001, "before": 0.0}],
            times=2),
    Row(
        "M220",
        ParameterSeen(**{**FINER, "alike": True, "called": True, "gradient_seen": 10}),
        silent=[{"alike": False}],
        unseen=[{"shape": (2,)}, {"in_optimizer": False}, {"trainable": False}, {"called": False},
            {"gradient_seen": 9}],
        speaks=[({"gradient_seen": 5, "gradient_missing": 5}, SURE)],
        times=2,
    ),
    Row(
        "O402",
        step(1.6),
        silent=[{"after": 1.5}],
        unseen=[{"alone": False}, {"owns": False}, {"lr": 0.0}, {"before": 0.0}],
        speaks=[({}, "raises-own-loss"), ({"after": math.inf}, SURE), ({"after": math.nan}, SURE)],
        times=2,
    ),
    Row("O402", step(10.5), silent=[{"after": 10.0}, {"after": 0.9}], beside=(step(0.9), step(0.9), step(0.9))),
    Row("O402", step(1.6), silent=[{"after": 1.4}], beside=(step(1.6), step(0.9))),
    Row("O402", step(1.6), silent=[{"after": 0.9}], beside=(step(1.6), step(1.6), step(0.9), step(0.9))),
    Row("O402", step(1.6), silent=[{"after": 1.4}], speaks=[({}, Severity.CRITICAL)], times=2,
        beside=(LossSeries(iterations=(), values=(1.0,), first_nonfinite=9),)),
    Row("O402", step(1.6), silent=[{"where": HERE}], speaks=[({}, Severity.MAJOR)], times=2,
        beside=(LossSeries(iterations=(), values=(1.0,) * 6 + (0.91,) * 6),
                LossSeries(iterations=(), values=(1.0,) * 6 + (0.89,) * 6, where=HERE))),
    Row(
        "O403",
        ParameterSeen(**FINER, depth=0, gradient_rms=9.9e-7),
        silent=[{"gradient_rms": 1e-6}],
        unseen=[{"gradient_seen": 1}, {"in_optimizer": False}, {"trainable": False}, {"depth": -1}, {"shape": (2,)}],
        beside=tuple(ParameterSeen(**FINER, depth=depth, gradient_rms=1.0) for depth in (1, 2, 3)),
    ),
    Row(
        "O403",
        ParameterSeen(**FINER, depth=3, gradient_rms=1e-2),
        silent=[{"gradient_rms": 9e-3}, {"gradient_rms": 0.0}],
        beside=tuple(ParameterSeen(**FINER, depth=depth, gradient_rms=9e-7) for depth in (0, 1, 2)),
    ),
    Row(
        "O409",
        ScalerSeen(steps=10, skipped=3, updates=1, scales=(1.0,)),
        silent=[{"skipped": 2}, {"skipped": 2, "longest_skip": 13}],
        unseen=[{"steps": 9, "skipped": 9}, {"enabled": False, "skipped": 0}],
        speaks=[({}, ""), ({"skipped": 0, "longest_skip": 14}, SURE), ({"updates": 0}, "never-updated")],
    ),
    Row(
        "O410",
        StatisticsSeen(network="Net", looks=2, weights_moved=0.001),
        silent=[{"statistics_moved": True}],
        unseen=[{"looks": 1}, {"weights_moved": 0.0009}],
        speaks=[({}, MAYBE), ({"at_start_values": True}, SURE)],
    ),
    Row(
        "O410",
        CopySeen(network="Net", looks=5, source_moved=0.01, stills=5, judged=True),
        silent=[{"stills": 4}, {"judged": False}, {"source_judged": True}, {"helps": True}, {"share": 0.1}],
        unseen=[{"looks": 4, "stills": 4}, {"source_moved": 0.009}],
        speaks=[({}, "copy-never-updated")],
    ),
    Row(
        "O410",
        CopySeen(network="Net", looks=10, source_moved=0.01, stills=2, steps=60, rates=(0.3,) * 6, late=0.3,
            misfit=0.3),
        silent=[{"stills": 3}, {"steps": 59}, {"misfit": 0.31}, {"rates": (0.29,) * 6}, {"rates": (0.3,) * 4},
                {"steps": 20, "late": 0.79}],
        speaks=[({}, "copy-follows-at-once"), ({"steps": 20, "late": 0.8}, "it is the network"),
                ({}, "it averages over 3.3 steps")],
    ),
    Row(
        "O410",
        CopySeen(
            network="Net", looks=10, source_moved=0.01, stills=2, steps=200, rates=(0.01, 0.01, 0.01), misfit=0.3,
            judged=True, share=0.29,
        ),
        silent=[{"judged": False}, {"share": 0.3}, {"rates": (0.01, 0.01, 0.0)}, {"misfit": 0.31}, {"stills": 3}],
        speaks=[({}, "copy-lags"), ({"rates": (0.01, 0.01, 0.01, 0.0)}, "copy-lags")],
        beside=(ScriptRun(target="train.py", ending=Ending.FINISHED),),
    ),
    Row(
        "O414",
        step(1.0, moved=0.0, owns=False),
        silent=[{"moved": 0.1}, {"owns": True}],
        unseen=[{"alone": False}, {"lr": 0.0}],
        times=2,
    ),
    Row("O414", step(1.0, moved=0.0, owns=False), silent=[{"moved": 0.1}], beside=(step(1.0, moved=0.0,
        owns=False),) * 2),
    Row("O417", OptimizerSeen(optimizer="Adam", steps=9, renews=True, adaptive=True, where=HERE),
        silent=[{"renews": False}, {"adaptive": False}], times=3),
    Row("O417", OptimizerSeen(optimizer="Adam", steps=9, renews=True, adaptive=True, where=HERE),
        silent=[{"renews": False}], beside=(OptimizerSeen(optimizer="Adam", renews=True, adaptive=True,
            where=HERE),) * 2),
    Row("O419", OutputsDropped(network="Net", steps=2, calls=4, learned=2, last_alone=2),
        silent=[{"last_alone": 1}], unseen=[{"steps": 1, "last_alone": 1}]),
)  # fmt: skip


@pytest.mark.parametrize(("row", "changes", "what", "how"), [case for row in ROWS for case in row.cases()])
def test_each_condition(row: Row, changes: dict[str, Any], what: str, how: Any) -> None:
    row.check(changes, what, how)
