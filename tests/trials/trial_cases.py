"""Tiny cases that train in about a second: a regression, and a diffusion model of 16x16 images with known faults."""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from traindx.finding import Finding, Proposal, Severity, Standing
from traindx.trials.proposals import resolve

T = 100
SIZE = 16


def psnr(prediction, target):
    return 10 * torch.log10(4.0 / (prediction - target).square().mean())


def untimed(table):
    """A table of trials without what depends on how fast the machine was: its seconds, and the notes that name some."""
    notes = tuple(re.sub(r"about [^()]+ (ms|s|min|h)\b", "about some time", note) for note in table.notes)
    return table.model_copy(update={"seconds": 0.0, "notes": notes})


# ---------------------------------------------------------------------------------------------------- regression


def linear_batches(count=4, seed=0, noise=0.0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.linspace(-1, 1, 6).view(6, 1)

    def batches():
        for _ in range(count):
            x = torch.randn(16, 6, generator=generator)
            yield {"x": x, "y": x @ weight + noise * torch.randn(16, 1, generator=generator)}

    return list(batches())


def regression(**changes):
    """y = w x, learned by a linear layer; the loss has a useful term, a useless one and a harmful one."""

    def loss(model, batch):
        error = model(batch["x"]) - batch["y"]
        return {
            "fit": error.square().mean(),
            "frozen": 1e3 * error.detach().square().mean() + 0.0 * error.mean(),
            "shrink": 0.5 * model.weight.square().sum(),
        }

    parts = {
        "model": lambda: nn.Linear(6, 1),
        "train": linear_batches(),
        "val": linear_batches(2, seed=1),
        "loss": loss,
        "predict": lambda model, batch: model(batch["x"]),
        "target": lambda batch: batch["y"],
        "metrics": {"psnr": dx.Metric(psnr, "dB", negligible=0.2)},
        "optimizer": lambda weights: torch.optim.Adam(weights, lr=0.02),
        "steps": 150,
        "name": "toy regression",
    }
    return dx.Case(**parts).replace(**changes)


# ----------------------------------------------------------------------------------------------------- diffusion


def alphas_cumprod(zero_terminal=True):
    t = torch.arange(T, dtype=torch.float64)
    bar = torch.cos((t + 1) / T * math.pi / 2 * (1.0 if zero_terminal else 0.9)).square()
    return bar.float()


class Bottlenecked(nn.Module):
    """Sees a 4x4 version of x_t and of the condition, and emits a 4x4 map that is up-sampled."""

    def __init__(self, width=32):
        super().__init__()
        self.time = nn.Linear(8, width)
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x, time, condition):
        frequencies = 2.0 ** torch.arange(4)
        angle = time.view(-1, 1).float() * frequencies
        embedded = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))[:, :, None, None]
        h = torch.cat([F.avg_pool2d(x, 4), condition], dim=1)
        h = F.silu(self.first(h) + embedded)
        h = h + F.silu(self.second(h))
        return F.interpolate(self.last(h), scale_factor=4, mode="nearest")


def images(count, seed, size=8):
    """Blocky random images in [-1, 1] whose 4x4 pattern is the condition, with some detail that it does not show."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        coarse = torch.rand(size, 1, 4, 4, generator=generator) * 1.6 - 0.8
        fine = 0.05 * torch.randn(size, 1, SIZE, SIZE, generator=generator)
        image = F.interpolate(coarse, scale_factor=4, mode="nearest") + fine
        batches.append({"image": image.clamp(-1, 1), "condition": coarse.clone()})
    return batches


def diffusion(
    wrong_epsilon=False, raw_time=False, bottleneck=True, prediction="v", steps=250, calls=10, scaled=True, **changes
):
    """A diffusion case; the faults are those of the cascaded v-diffusion post-mortem, at toy size."""
    bar = alphas_cumprod()

    def coded(t):
        return t.float() / T if scaled else t.float()

    def output_for(x0, noise, a, s):
        return {"v": a * noise - s * x0, "epsilon": noise, "sample": x0}[prediction]

    def loss(model, batch):
        x0 = batch["image"]
        t = torch.randint(0, T, (len(x0),))
        noise = torch.randn_like(x0)
        a, s = bar[t].sqrt().view(-1, 1, 1, 1), (1 - bar[t]).sqrt().view(-1, 1, 1, 1)
        out = model(a * x0 + s * noise, coded(t), batch["condition"])
        return F.mse_loss(out, output_for(x0, noise, a, s))

    def denoise(model, x, t, batch):
        return model(x, coded(t), batch["condition"])

    def sample(model, batch):
        x = torch.randn_like(batch["image"])
        times = torch.linspace(T - 1, 0, calls).round().long()
        x0 = x
        for i, t in enumerate(times):
            a, s = bar[t].sqrt(), (1 - bar[t]).sqrt()
            time = t.float() if raw_time else coded(t)
            out = model(x, time.expand(len(x)), batch["condition"])
            if prediction == "v":
                x0 = a * x - s * out
            elif prediction == "epsilon":
                x0 = (x - s * out) / a.clamp_min(1e-3)
            else:
                x0 = out
            x0 = x0.clamp(-1.5, 1.5)
            noise = (a * x - x0) / s if wrong_epsilon else (x - a * x0) / s
            if i + 1 < len(times):
                following = bar[times[i + 1]]
                x = following.sqrt() * x0 + (1 - following).sqrt() * noise
        return x0.clamp(-1, 1)

    parts = {
        "model": Bottlenecked,
        "train": images(8, seed=0),
        "val": images(2, seed=1),
        "loss": loss,
        "target": lambda batch: batch["image"],
        "metrics": {"psnr": dx.Metric(psnr, "dB", negligible=0.3)},
        "conditions": ("condition",),
        "optimizer": lambda weights: torch.optim.AdamW(weights, lr=3e-3),
        "steps": steps,
        "parts": (dx.DataRange(-1.0, 1.0),),
        "name": "toy diffusion",
        "diffusion": dx.Diffusion(
            alphas_cumprod=bar, prediction=prediction, denoise=denoise, sample=sample, clip=(-1.5, 1.5)
        ),
    }
    return dx.Case(**parts).replace(**changes)


def finding(code, *proposals, standing="demonstrated", severity="major"):
    """A finding that proposes treatments, each a name or a name with parameters."""
    made = [
        Proposal(treatment=item) if isinstance(item, str) else Proposal(treatment=item[0], parameters=item[1])
        for item in proposals
    ]
    return Finding(
        code=code,
        name=code.lower(),
        message="",
        severity=Severity(severity),
        standing=Standing(standing),
        proposals=tuple(made),
    )


def treated(case, name, **parameters):
    """The case with one generic treatment in place."""
    return resolve(Proposal(treatment=name, parameters=parameters), case).apply(case)


def noisy_regression(**changes):
    """A regression that cannot be learned perfectly, so that its figure hardly varies over seeds."""
    parts = {"train": linear_batches(noise=0.4), "val": linear_batches(2, seed=1, noise=0.4), "steps": 120}
    return regression(**{**parts, **changes})
