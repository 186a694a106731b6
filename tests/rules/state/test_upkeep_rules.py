"""C1102, C1105 and C1109, asked of a case: loading, splitting, monitoring."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from patients.region_case import findings, region_case
from traindx import TrainingState
from traindx.checks.training.training_state import training_state
from traindx.finding import Standing


def loading(load, rename=lambda name: f"module.{name}"):
    def weights(model):
        return {rename(name): value + 0.1 for name, value in model.state_dict().items()}

    return region_case(training_state=TrainingState(load=load, weights=weights))


def silently(model, state):
    model.load_state_dict(state, strict=False)


def without_prefix(model, state):
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})


def body_only(model, state):
    """An exchanged head: half of the tensors of this small network."""
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    model.load_state_dict({name: value for name, value in plain.items() if "body" in name}, strict=False)


def test_renamed_weights_that_do_not_arrive_are_demonstrated():
    found = findings(loading(silently), training_state, "C1102")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers == {"arrived": 0, "offered": 4, "changed": 0}


@pytest.mark.parametrize("load", [without_prefix, body_only])
def test_weights_that_arrive_are_silent(load):
    assert findings(loading(load), training_state, "C1102") == []


def test_refusing_is_the_right_answer():
    assert findings(loading(lambda model, state: model.load_state_dict(state)), training_state, "C1102") == []


PATIENTS = [f"p{number}" for number in range(50)]


def split_by(permute):
    def split():
        order = [PATIENTS[i] for i in permute()]
        return {"train": order[:40], "val": order[40:]}

    return region_case(training_state=TrainingState(split=split))


@pytest.mark.parametrize(
    "permute", [lambda: np.random.permutation(50), lambda: torch.randperm(50).tolist()], ids=["numpy", "torch"]
)
def test_a_split_that_follows_the_global_state_is_demonstrated(permute):
    found = findings(split_by(permute), training_state, "C1105")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert 0.4 < found[0].numbers["moved"] <= 1  # 80 % of the held-out are expected to be trained on elsewhere


def test_a_split_with_its_own_generator_is_silent():
    assert findings(split_by(lambda: np.random.default_rng(0).permutation(50)), training_state, "C1105") == []


def test_the_order_inside_a_part_is_of_no_importance():
    def split():
        order = [str(name) for name in np.random.permutation(PATIENTS[:40])]
        return {"train": order, "val": PATIENTS[40:]}

    assert findings(region_case(training_state=TrainingState(split=split)), training_state, "C1105") == []


def comparing(norms):
    return [part for part, norm in norms.items() if norm < 1e-7 or norm > 100]


def finite_first(norms):
    return [part for part, norm in norms.items() if not math.isfinite(norm) or norm < 1e-7 or norm > 100]


def only_finite(norms):
    return [part for part, norm in norms.items() if not math.isfinite(norm)]


def test_a_monitor_that_only_compares_is_blind_to_nan():
    found = findings(region_case(training_state=TrainingState(monitor=comparing)), training_state, "C1109")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers["silent on"] == "nan"


@pytest.mark.parametrize("monitor", [finite_first, only_finite])
def test_a_monitor_that_sees_nan_is_silent(monitor):
    assert findings(region_case(training_state=TrainingState(monitor=monitor)), training_state, "C1109") == []
