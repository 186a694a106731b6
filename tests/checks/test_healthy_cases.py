"""WarningFilters: on healthy cases of many kinds no finding is above `suspected`, before training and after."""

from __future__ import annotations

import pytest
import torch

from patients.sitting import above_suspected, findings, run_check
from patients.zoo import NOTHING_FOUND
from traindx import rules
from traindx.checks.loss.gradients import gradients
from traindx.checks.loss.order import loss_order
from traindx.checks.metrics.baselines import baselines, model_score
from traindx.checks.metrics.reference_predictions import metric_probe
from traindx.checks.network.conditions import input_effects, trained_input_effects
from traindx.checks.network.information_path import information_path
from traindx.checks.network.outputs import outputs
from traindx.checks.training import overfit
from traindx.checks.training.learned import learned
from traindx.checks.training.overfit import one_frozen_batch
from traindx.checks.training.training_step import trained_step, training_step

BEFORE = (
    information_path, input_effects, training_step, gradients, loss_order, metric_probe, baselines, one_frozen_batch,
)  # fmt: skip
AFTER = (learned, outputs, model_score, trained_input_effects, trained_step)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(overfit, "MOST_STEPS", 20)


@pytest.mark.parametrize("name", NOTHING_FOUND)
def test_before_training(name):
    case = NOTHING_FOUND[name]()
    found = findings(run_check(case, *(check for check in BEFORE if not check.missing(case))))
    assert above_suspected(found) == []
    assert [finding.code for finding in found if finding.code != "T902"] == []  # 20 steps are few


@pytest.mark.parametrize("name", ["translation", "regression", "noise removal", "hybrid x0", "findings classifier"])
def test_after_a_short_training(name):
    steps = 80
    case = NOTHING_FOUND[name]().replace(steps=steps)
    torch.manual_seed(0)
    model = case.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    done = 0
    while done < steps:
        for batch in case.batches():
            optimizer.zero_grad()
            sum(case.loss_terms(model, batch).values()).backward()
            optimizer.step()
            done += 1
    checks = [check for check in (baselines, *AFTER) if not check.missing(case)]
    found = findings(run_check(case, *checks, trained=model))
    assert above_suspected(found) == []
    assert len(found) <= 1, [finding.message for finding in found]


def test_every_record_can_be_read_back(tmp_path):
    """What the checks write survives the disk."""
    from traindx.checks import CheckContext
    from traindx.evidence import Evidence

    evidence = Evidence(tmp_path)
    case = NOTHING_FOUND["hybrid v"]()
    ctx = CheckContext(case, evidence, trained=case.model())
    for check in (*BEFORE, *AFTER):
        check.function(ctx)
    evidence.close()
    again = list(Evidence.load(tmp_path))
    assert [record.kind for record in again] == [record.kind for record in evidence]
    assert [str(record) for record in again] == [str(record) for record in evidence]
    for rule in rules.catalogue().values():
        rule.check(Evidence.load(tmp_path))
