"""A rich synthetic diagnosis: every part a report can show, with figures that are plainly made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindx.diagnosis import (
    Baseline,
    Diagnosis,
    Outcome,
    Provenance,
    TreatmentResult,
    TrialTable,
    Variant,
    ranked,
)
from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture
from traindx.finding import Effect, Finding, Location, Proposal, Severity, Standing, Verdict, Worth

MODEL = '''\
"""A denoiser with a head on the token grid."""

import torch
from torch import nn


class Decoder(nn.Module):
    """Tokens back to a volume."""

    def __init__(self, width: int = 96, grid: int = 16) -> None:
        super().__init__()
        self.head = nn.Linear(width, 1)
        self.grid = grid

    def forward(self, tokens, x_t):
        # one scalar a token
        scalars = self.head(tokens)
        coarse = scalars.view(-1, 1, self.grid, self.grid, self.grid)
        return nn.functional.interpolate(coarse, scale_factor=4, mode="trilinear")


def recover_noise(x, x0, alpha_bar):
    a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    x0 = torch.clamp(x0, -10.0, 10.0)
    return (a * x - x0) / s
'''
GUILTY_LINE = 19
EPSILON_LINE = 25
CLAMP_LINE = 24


def phantom(size: int = 64) -> NDArray[np.float32]:
    """A chest-like slice: body, lungs, spine, ribs; values in [-1, 1]."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.full((size, size), -1.0)

    def ellipse(cx: float, cy: float, a: float, b: float, value: float) -> None:
        image[((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] = value

    ellipse(0, 0, 0.93, 0.7, -0.48)
    ellipse(0, 0, 0.86, 0.63, -0.42)
    for side in (-1, 1):
        ellipse(side * 0.43, -0.06, 0.32, 0.45, -0.9)
        ellipse(side * 0.36, 0.05, 0.05, 0.04, -0.5)
        ellipse(side * 0.5, -0.2, 0.03, 0.03, -0.45)
    ellipse(0.1, -0.12, 0.2, 0.24, -0.35)
    ellipse(0, 0.48, 0.12, 0.13, 0.35)
    ellipse(0, 0.48, 0.05, 0.05, -0.4)
    return image.astype(np.float32)


def smooth(image: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """A blurred copy, by repeated averaging with the neighbours."""
    for _ in range(times):
        image = (
            image + np.roll(image, 1, 0) + np.roll(image, -1, 0) + np.roll(image, 1, 1) + np.roll(image, -1, 1)
        ) / 5
    return image


def effect(*differences: float, half: float) -> Effect:
    """A paired effect with an interval of the given half-width."""
    mean = sum(differences) / len(differences)
    return Effect(mean=mean, low=mean - half, high=mean + half, n=len(differences), differences=differences)


def build(directory: Path) -> Diagnosis:
    """Write sources and pictures to ``directory`` and return the diagnosis that speaks of them."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.py").write_text(MODEL, encoding="utf-8")
    evidence = Evidence(directory)
    rng = np.random.default_rng(0)
    truth = phantom()
    noise = rng.normal(0, 0.5, truth.shape)
    broken = (smooth(truth, 60) * 0.1 - 0.5 + 0.8 * noise).astype(np.float32)
    evidence.add_picture(
        Picture(
            name="prediction-and-truth",
            caption="Central coronal slice after 150 steps: what was asked for, and what came out",
            low=-1,
            high=0.6,
            labels=("truth", "as it is", "with an x0 head"),
        ),
        np.stack([truth, broken, smooth(truth, 3)]),
    )
    evidence.add_picture(
        Picture(
            name="transfer",
            caption="Fine noise put into `x_t`, and what of it comes out",
            low=-2,
            high=2,
            labels=("in", "out"),
        ),
        np.stack([rng.normal(size=(64, 64)), smooth(rng.normal(size=(64, 64)), 40)]),
    )
    damaged = phantom(48)
    damaged[10:14, 20:30] = np.nan
    evidence.add_picture(
        Picture(name="sampled", caption="One sample of the deployed loop", low=-1, high=0.6, labels=("frontal",)),
        damaged,
    )
    evidence.close()
    return diagnosis_of(tuple(evidence.of(Picture)))


def diagnosis_of(pictures: tuple[Picture, ...]) -> Diagnosis:
    """The diagnosis itself."""
    steps = tuple(float(step) for step in range(0, 150))
    head = Finding(
        code="M210",
        name="target-outside-span",
        message="The head emits one value per 4×4×4 voxels and nothing else carries `x_t` at full resolution: 98.4 % "
        "of the energy of the v target lies outside what it can express. The loss cannot fall below 0.477.",
        location=Location(file="model.py", line=GUILTY_LINE, symbol="Decoder.forward"),
        severity=Severity.CRITICAL,
        standing=Standing.PROVEN,
        numbers={
            "transfer_above_token_nyquist": 0.0004,
            "transfer_needed": 0.71,
            "closed_form_floor": 0.477,
            "loss_reached": 0.481,
            "tokens": 4096,
            "bit_exact": False,
        },
        remedy="Give the network a full-resolution path from `x_t`: predict x0 and derive v analytically, or add one "
        "learned scalar skip.\n```before\nreturn nn.functional.interpolate(coarse, scale_factor=4)\n```\n"
        "```after\nx0 = nn.functional.interpolate(coarse, scale_factor=4)\nreturn (a * x_t - x0) / s\n```\n",
        proposals=(Proposal(treatment="full-resolution-skip"),),
        pictures=("prediction-and-truth", "transfer"),
        evidence=("HighFrequencyTransfer",),
        worth=Worth(
            metric="psnr",
            unit="dB",
            alone=effect(16.1, 15.4, 17.9, half=3.2),
            given_rest=effect(13.2, 13.0, 14.1, half=1.4),
            verdict=Verdict.PROVEN,
        ),
    )
    epsilon = Finding(
        code="S501",
        name="sampler-does-not-invert",
        message="Fed with the exact denoiser of a Gaussian, the sampler ends 0.78 away from the closed form.",
        location=Location(file="model.py", line=EPSILON_LINE, symbol="recover_noise"),
        severity=Severity.CRITICAL,
        standing=Standing.DEMONSTRATED,
        numbers={"max_deviation": 0.78, "allowed": 0.001},
        remedy="Recover the noise as `(x - a * x0) / s`.",
        pictures=("sampled",),
        worth=Worth(
            metric="psnr",
            unit="dB",
            alone=effect(-5.0, -1.7, -4.4, half=4.3),
            given_rest=effect(0.0, -0.3, 0.0, half=0.4),
            verdict=Verdict.HARMFUL,
            note="The wrong formula hides the head's static: curing it first makes the picture worse.",
        ),
    )
    time = Finding(
        code="S505",
        name="time-scaling-differs",
        message="The time embedding receives 0..0.999 in training and 0..999 in sampling.",
        location=Location(file="sampling/loop_that_is_not_here.py", line=88, symbol="sample"),
        severity=Severity.MAJOR,
        standing=Standing.DEMONSTRATED,
        numbers={"training_max": 0.999, "sampling_max": 999.0},
        remedy="Divide by `num_timesteps` in the sampling loop too.",
        worth=Worth(metric="psnr", unit="dB", alone=effect(1.6, 0.6, 2.5, half=2.3), verdict=Verdict.INCONCLUSIVE),
        proposals=(Proposal(treatment="time-as-in-training", parameters={"scale": 0.001}),),
    )
    blurred = Finding(
        code="Y705",
        name="blurred",
        message="The output holds 31 % of the target's energy in the finest band <but> & no more.",
        severity=Severity.MINOR,
        standing=Standing.SUSPECTED,
        numbers={"finest_band_ratio": 0.31},
    )
    clamp = Finding(
        code="L306",
        name="clamp-blocks-gradient",
        message="`torch.clamp(x0, -10, 10)` is on the path; 0.0 % of the values lie on its bounds.",
        location=Location(file="model.py", line=CLAMP_LINE, symbol="recover_noise"),
        severity=Severity.MAJOR,
        standing=Standing.REFUTED,
        numbers={"share_on_bounds": 0.0},
        worth=Worth(metric="psnr", unit="dB", verdict=Verdict.NO_EFFECT, bit_identical=True),
    )
    trials = TrialTable(
        metric="psnr",
        unit="dB",
        seeds=(0, 1, 2),
        steps=150,
        arms=(
            Variant(name="none", values=(7.1, 8.4, 5.8)),
            Variant(name="only full-resolution-skip", treatments=("full-resolution-skip",), values=(23.2, 23.8, 23.7)),
            Variant(name="only reference-sampler", treatments=("reference-sampler",), values=(2.1, 6.7, 1.4)),
            Variant(name="only time-as-in-training", treatments=("time-as-in-training",), values=(8.7, 9.0, 8.3)),
            Variant(name="only learning-rate", treatments=("learning-rate",), values=(7.2, 8.3), settled=True),
            Variant(
                name="all but full-resolution-skip",
                treatments=("reference-sampler", "time-as-in-training", "learning-rate"),
                values=(10.7, 10.8, 9.8),
            ),
            Variant(
                name="all",
                treatments=("full-resolution-skip", "time-as-in-training", "reference-sampler", "learning-rate"),
                values=(23.9, 23.8, 23.9),
            ),
        ),
        results=(
            TreatmentResult(
                treatment="full-resolution-skip",
                title="an x0 head with an analytic skip",
                codes=("M210",),
                alone=head.worth.alone if head.worth else None,
                given_rest=head.worth.given_rest if head.worth else None,
                verdict=Verdict.PROVEN,
            ),
            TreatmentResult(
                treatment="time-as-in-training",
                title="network time = raw × 0.001 in sampling",
                codes=("S505", "S506"),
                alone=effect(1.6, 0.6, 2.5, half=2.3),
                given_rest=None,
                verdict=Verdict.INCONCLUSIVE,
            ),
            TreatmentResult(
                treatment="reference-sampler",
                title="x between calls by the exact DDIM formula",
                codes=("S501",),
                alone=epsilon.worth.alone if epsilon.worth else None,
                given_rest=epsilon.worth.given_rest if epsilon.worth else None,
                verdict=Verdict.HARMFUL,
                note="The wrong formula hides the head's static: curing it first makes the picture worse.",
            ),
            TreatmentResult(
                treatment="learning-rate",
                title="learning rate × 0.5",
                codes=(),
                alone=effect(0.1, -0.1, half=0.4),
                verdict=Verdict.NO_EFFECT,
            ),
            TreatmentResult(
                treatment="unclamp",
                title="no clamp of x0 at model.py:24",
                codes=("L306",),
                verdict=Verdict.NO_EFFECT,
                bit_identical=True,
            ),
        ),
        baselines=(Baseline(name="mean volume", value=25.0), Baseline(name="zeros", value=11.2)),
        seconds=161.0,
        complete=False,
        notes=("The scoring metric stayed: fixed predictors score the same in every arm, in HU.",),
    )
    return Diagnosis(
        case="xray2ct as its post-mortem describes it",
        outcome=Outcome.FAULT_FOUND,
        findings=ranked([clamp, blurred, time, epsilon, head]),
        trials=trials,
        healthy=(
            InOrder(subject="schedule", detail="ᾱ is the product of α to 3e-7 and falls strictly"),
            InOrder(subject="conditions", detail="shuffling the radiographs changes the output by 41 %"),
            InOrder(subject="L303 term-without-gradient"),
            InOrder(subject="M204 input-ignored"),
        ),
        not_examined=(
            NotExamined(subject="projection", reason="the case has no `projection`"),
            NotExamined(subject="trial of `window`", reason="the case offers no treatment of that name"),
            NotExamined(subject="P601 not-beer-lambert", reason="no evidence of kind PhantomResponse was gathered"),
            NotExamined(subject="D103 not-finite", reason="no evidence of kind NonFiniteVoxels was gathered"),
        ),
        pictures=pictures,
        curves=(
            Curve(
                name="loss",
                caption="Loss of one batch seen again and again, at three learning rates",
                x=steps,
                series={
                    "5e-6": tuple(0.477 + 0.52 * 0.985**step for step in steps),
                    "5e-5": tuple(0.477 + 0.52 * 0.95**step for step in steps),
                    "1e-3": tuple(0.477 + 0.5 * 0.85**step for step in steps),
                },
                x_label="optimiser step",
                y_label="v loss",
            ),
            Curve(
                name="norm",
                caption="Gradient norm",
                x=steps,
                series={"norm": tuple(10 ** (1 - step / 40) for step in steps)},
                y_label="gradient norm",
                log_y=True,
            ),
        ),
        provenance=Provenance(
            traindx="0.1.0",
            python="3.11.9",
            torch="2.13.0",
            platform="Linux x86_64, 2 cores",
            command="traindx examine recipe:xray2ct --fault bottlenecked-head --budget 3m",
            started="2025-11-22 02:04",
            seconds=185.0,
        ),
        extras={
            "sections": [
                {
                    "title": "The fix",
                    "text": "All proven treatments in place, trained again from the same seed.",
                    "table": {"head": ["", "psnr"], "rows": [["before", "7.1 dB"], ["after", "23.9 dB"]]},
                    "curves": ["norm"],
                },
                {"nonsense": True},
            ]
        },
    )
