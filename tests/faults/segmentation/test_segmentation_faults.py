"""Each fault does what its title says, on the healthy case, from outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import traindx as dx
from traindx.faults import registry
from traindx.finding import Standing
from traindx.recipes.segmentation.case import make_case

FAULTS = {name: fault for name, fault in registry().items() if fault.recipe == "segmentation"}
BEFORE_TRAINING = {
    "ignore-as-foreground": "D113",
    "ignore-as-background": "D113",
    "masks-0-255": "D113",
    "interpolated-labels": "D113",
    "weight-never-arrives": "L303",
    "loss-floor": "L312",
    "shape-broadcast": "M208",
    "diagnostic-double-sigmoid": "E801",
    "empty-class-nan": "E801",
}
"""Faults that checks find without training, and the rule that must come first."""


@pytest.fixture(scope="module")
def healthy() -> dx.Case:
    return make_case(data="phantom", train_cases=8, val_cases=3, batches=8)


def trained(case: dx.Case, steps: int = 40, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = case.model()
    assert case.optimizer is not None
    optimizer = case.optimizer([p for p in model.parameters() if p.requires_grad])
    batches = list(case.batches())
    for step in range(steps):
        model.train()
        loss = torch.stack(list(case.loss_terms(model, batches[step % len(batches)]).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def score(case: dx.Case, model: nn.Module) -> float:
    _, metric = case.metric()
    batches = list(case.batches("val"))
    assert case.target is not None
    return float(np.mean([metric(case.prediction(model, b), case.target(b)) for b in batches]))


@pytest.fixture(scope="module")
def control(healthy: dx.Case) -> nn.Module:
    return trained(healthy)


def test_the_healthy_case_learns(healthy: dx.Case, control: nn.Module) -> None:
    assert score(healthy, control) > 0.85


def test_the_healthy_case_has_no_finding_before_training(healthy: dx.Case) -> None:
    diagnosis = dx.examine(healthy, budget="0s")
    assert diagnosis.findings == ()
    assert diagnosis.errors == ()


def test_every_fault_is_described_and_bound_to_a_rule_or_acquitted() -> None:
    from traindx.rules import catalogue

    for fault in FAULTS.values():
        assert fault.title
        assert fault.postmortem == "surface-segmentation"
        assert fault.documented_diagnosis == "placebo" if not fault.expected_rule else True
        if fault.expected_rule in catalogue():
            assert catalogue()[fault.expected_rule].code == fault.expected_rule


@pytest.mark.parametrize(("name", "code"), BEFORE_TRAINING.items())
def test_found_before_any_training_by_the_right_rule_first(healthy: dx.Case, name: str, code: str) -> None:
    diagnosis = dx.examine(FAULTS[name].apply(healthy), budget="0s")
    assert diagnosis.findings, f"nothing was found for {name}"
    assert diagnosis.findings[0].code == code == FAULTS[name].expected_rule
    assert diagnosis.findings[0].standing is (Standing.SUSPECTED if name == "loss-floor" else Standing.DEMONSTRATED)


def test_the_variance_term_is_silent_and_changes_next_to_nothing(healthy: dx.Case, control: nn.Module) -> None:
    case = FAULTS["variance-term"].apply(healthy)
    assert dx.examine(case, budget="0s").findings == ()
    terms = case.loss_terms(control, next(case.batches()))
    assert abs(float(terms["variance"].detach())) > 1e-3  # it is there
    assert abs(score(case, trained(case)) - score(healthy, control)) < 0.03


def test_the_variance_term_hurts_at_two_hundred_times_its_weight(healthy: dx.Case, control: nn.Module) -> None:
    case = FAULTS["variance-term-dominates"].apply(healthy)
    assert score(healthy, trained(case)) < score(healthy, control) - 0.1


def test_a_second_sigmoid_gives_any_model_the_same_mask(healthy: dx.Case, control: nn.Module) -> None:
    case = FAULTS["double-sigmoid"].apply(healthy)
    batch = next(case.batches("val"))
    one, two = (case.prediction(model, batch)[:, 1] for model in (control, case.model()))
    for values in (one, two):
        assert float(values.min()) >= 0.5
        assert float(values.max()) <= 0.7311
    assert torch.equal(one >= 0.5, two >= 0.5)


@pytest.mark.parametrize(("name", "where"), [("last-window-missing", "far side"), ("zero-border-weight", "border")])
def test_voxels_that_no_window_covers_are_zero_for_any_model(healthy: dx.Case, name: str, where: str) -> None:
    case = FAULTS[name].apply(healthy)
    p = case.prediction(case.model(), next(case.batches("val")))
    empty = (p.sum(dim=1) < 1e-3)[0]
    assert bool(empty[-1].all() and empty[:, -1].all() and empty[:, :, -1].all())
    assert bool(empty[0].all()) == (where == "border")
    middle = tuple(slice(n // 4, n // 2) for n in empty.shape)
    assert not bool(empty[middle].any())


def test_weights_averaged_too_early_are_those_of_step_0(healthy: dx.Case) -> None:
    case = FAULTS["averaged-weights-too-early"].apply(healthy)
    model = trained(case, steps=4)
    torch.manual_seed(0)
    fresh = case.model()
    batch = next(case.batches("val"))
    assert torch.equal(case.prediction(model, batch), case.prediction(fresh, batch))
    assert not torch.equal(next(model.network.parameters()), next(fresh.network.parameters()))  # type: ignore[arg-type,union-attr]


def test_the_schedule_puts_its_own_rate_back(healthy: dx.Case) -> None:
    case = FAULTS["scheduler-overwrites-lr"].apply(healthy)
    assert case.optimizer is not None
    assert healthy.optimizer is not None
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = case.optimizer([weight])
    wanted = healthy.optimizer([nn.Parameter(torch.ones(2, 2))]).param_groups[0]["lr"]
    assert optimizer.param_groups[0]["lr"] == wanted
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] < wanted / 900


def test_a_fixed_model_scores_differently_at_every_random_validation(healthy: dx.Case, control: nn.Module) -> None:
    case = FAULTS["random-validation-patch"].apply(healthy)
    assert len({round(score(healthy, control), 6) for _ in range(3)}) == 1
    scores = [score(case, control) for _ in range(6)]
    assert max(scores) - min(scores) > 0.02


def test_dice_of_raw_values_is_not_dice_of_the_mask(healthy: dx.Case, control: nn.Module) -> None:
    case = FAULTS["unbinarised-dice"].apply(healthy)
    assert abs(score(case, control) - score(healthy, control)) > 0.01


def test_the_case_scores_masks_and_leaves_an_absent_class_out(healthy: dx.Case) -> None:
    _, metric = healthy.metric()
    truth: Tensor = torch.zeros(1, 2, 4, 4, 4)
    truth[:, 0] = 1
    assert np.isnan(metric(truth, truth))
    truth[:, :, :2] = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)
    assert metric(truth, truth) == 1.0
    assert metric(0.1 * truth + 0.45, truth) == 1.0


def test_masking_a_value_frees_its_voxels_and_is_what_the_treatment_does(healthy: dx.Case) -> None:
    case = FAULTS["ignore-as-foreground"].apply(healthy)
    treated = case.treatments["ignore-value"](case, value=2.0)
    assert score(healthy, trained(treated)) > score(healthy, trained(case)) + 0.1


def test_the_case_of_a_real_folder_hides_a_share_of_training_labels(data_root: Any) -> None:
    case = make_case(data=data_root / "hippocampus", train_cases=3, val_cases=2, batches=2, unlabelled=0.5)
    assert case.labels is not None
    assert case.labels.ignore == (3.0,)
    hidden = np.mean([float((b["label"] == 3).float().mean()) for b in case.batches()])
    assert 0.3 < hidden < 0.75
    assert all(not bool((b["label"] == 3).any()) for b in case.batches("val"))
    assert torch.isfinite(torch.stack(list(case.loss_terms(case.model(), next(case.batches())).values()))).all()
