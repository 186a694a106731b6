"""E807: a trained model against predictors that need no training."""

from __future__ import annotations

import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from patients.volumes import bodies, projections
from traindx.checks.metrics.baselines import baselines, model_score
from traindx.evidence.evaluation import BaselineScore
from traindx.finding import Standing


class Answer(nn.Module):
    """A trained model that answers in a fixed way."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        truth = batch["ct"]
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        return {
            "noise": noise,
            "good": truth + 0.02 * noise,
            "blurred": truth.mean((2, 3, 4), keepdim=True) + 0 * truth,
        }[self.how]


def psnr(p, t):
    return 10 * torch.log10(4 / (p - t).square().mean())


def case(copies=False):
    volumes = bodies(8, 16)
    frontal, lateral = projections(volumes)
    parts = {"ct": volumes, "frontal": frontal, "lateral": lateral, "prior": volumes + 0.1}
    rows = lambda a, b: [{key: value[a:b] for key, value in parts.items()}]  # noqa: E731
    return dx.Case(
        model=lambda: Answer("good"),
        train=rows(0, 4) if not copies else rows(4, 8),
        val=rows(4, 8),
        predict=lambda model, batch: model(batch),
        target=lambda batch: batch["ct"],
        metrics={"psnr": psnr},
        conditions=("frontal", "lateral", "prior") if copies else ("frontal", "lateral"),
    )


def found(how, patient=None):
    return findings(run_check(patient or case(), baselines, model_score, trained=Answer(how)), "E807")


def test_noise_is_beaten_by_a_constant():
    (finding,) = found("noise")
    assert finding.standing is Standing.DEMONSTRATED
    assert "knows nothing" in finding.message


def test_below_the_mean_image_is_only_suspected():
    (finding,) = found("blurred")
    assert finding.standing is Standing.SUSPECTED


def test_a_good_model_is_left_alone():
    assert found("good") == []


def test_baselines_are_what_they_say():
    """Independent reference: computed by hand from the volumes."""
    evidence = run_check(case(), baselines)
    scores = {score.name: score for score in evidence.of(BaselineScore)}
    volumes = bodies(8, 16)
    mean = volumes[:4].mean(0, keepdim=True)
    assert scores["mean of the training targets"].values == tuple(float(psnr(mean, v[None])) for v in volumes[4:])
    assert scores["zeros"].values == tuple(float(psnr(torch.zeros_like(v), v)) for v in volumes[4:])
    assert scores["another sample"].values[0] == float(psnr(volumes[0], volumes[4]))
    frontal = projections(volumes)[0]
    nearest = (frontal[:4] - frontal[4]).square().mean((1, 2, 3)) + (
        projections(volumes)[1][:4] - projections(volumes)[1][4]
    ).square().mean((1, 2, 3))
    assert scores["nearest neighbour"].values[0] == float(psnr(volumes[int(nearest.argmin())], volumes[4]))
    assert scores["constant"].informed is False
    assert scores["zeros"].unit == "dB"


def test_a_copy_of_an_input_is_a_baseline_and_the_sample_itself_is_not():
    evidence = run_check(
        case(copies=True), baselines
    )  # trained on the validation samples: they must not be their own neighbours
    scores = {score.name: score for score in evidence.of(BaselineScore)}
    assert scores["copy of prior"].mean == float(psnr(torch.tensor(0.1), torch.tensor(0.0)))
    assert scores["nearest neighbour"].mean < 40


def test_before_training_nothing_is_said():
    assert findings(run_check(case(), baselines), "E807") == []
