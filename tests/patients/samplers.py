"""Small diffusion cases around a sampling loop: correct loops of several kinds, and the ways in which they go wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import traindx as dx


def linear(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Linear β (Ho et al. 2020)."""
    return torch.cumprod(1 - torch.linspace(start, end, steps, dtype=torch.float64), 0).float()


def scaled_linear(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Linear in sqrt(β) (Rombach et al. 2022)."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def cosine(steps: int = 1000) -> Tensor:
    """Cosine (Nichol and Dhariwal 2021, eq. 17)."""
    grid = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((grid + 0.008) / 1.008 * math.pi / 2) ** 2
    return torch.cumprod(1 - (1 - f[1:] / f[:-1]).clamp(max=0.999), 0).float()


def zero_terminal(table: Tensor) -> Tensor:
    """Rescaled to zero terminal SNR (Lin et al. 2023, alg. 1)."""
    root = table.double().sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return (root**2).float()


SCHEDULES = {
    "linear": linear,
    "scaled linear": scaled_linear,
    "cosine": cosine,
    "cosine, zero terminal": lambda steps=1000: zero_terminal(cosine(steps)),
}


class TinyDenoiser(nn.Module):
    """Takes a noisy image, a time and a condition; what it returns does not matter to the checks of sampling."""

    def __init__(self, dimensions: int = 3) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.layer = conv(2, 1, 3, padding=1)
        self.time = nn.Linear(1, 1)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        moved = self.time(t.float().reshape(-1, 1)).reshape(-1, *[1] * (x.ndim - 1))
        return self.layer(torch.cat((x, condition), dim=1)) + moved


def expand(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (like.ndim - 1)).to(like)


def target_of(kind: str, x0: Tensor, noise: Tensor, a: Tensor, s: Tensor) -> Tensor:
    return {"epsilon": noise, "sample": x0, "v": a * noise - s * x0}[kind]


def trailing(length: int, steps: int) -> list[int]:
    """Timesteps from T-1 down, evenly spaced, ending above 0 (Lin et al. 2023, sec. 3.3)."""
    return [round(length - index * length / steps) - 1 for index in range(steps)]


def split(kind: str, x: Tensor, output: Tensor, a: float, s: float) -> tuple[Tensor, Tensor]:
    """The right x0 and ε."""
    if kind == "epsilon":
        return (x - s * output) / a, output
    if kind == "sample":
        return output, (x - a * output) / s
    return a * x - s * output, a * output + s * x


def ddim(table: Tensor, kind: str, *, steps: int = 10, time=lambda t: t, timesteps=None, end: float = 1.0, **parts):
    """A DDIM loop; ``parts`` replace one of its formulas.

    Args:
        table: ᾱ.
        kind: Prediction type.
        steps: Sampling steps.
        time: Timestep to what the network is given.
        timesteps: Own list of timesteps.
        end: ᾱ after the last step.
        parts: ``x0(kind, x, out, a, s)``, ``eps(kind, x, out, x0, a, s)``, ``previous(t, following, stride)`` (the
            timestep whose ᾱ is stepped to), ``level(t)`` (the timestep whose ᾱ is stepped from), ``after(x)``,
            ``start(x)``, ``step(x0, eps, a, s, b, tau)``.
    """
    plan = trailing(len(table), steps) if timesteps is None else list(timesteps)
    stride = len(table) // len(plan)

    def level_of(t: int) -> float:
        return end if t < 0 else float(table[min(t, len(table) - 1)])

    def sample(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        x = torch.randn_like(batch["image"])
        if "start" in parts:
            x = parts["start"](x)
        for index, t in enumerate(plan):
            following = plan[index + 1] if index + 1 < len(plan) else -1
            previous = parts["previous"](t, following, stride) if "previous" in parts else following
            alpha = level_of(parts["level"](t) if "level" in parts else t)
            a, s = alpha**0.5, (1 - alpha) ** 0.5
            b = level_of(previous) ** 0.5
            tau = (1 - b**2) ** 0.5
            clock = torch.full((len(x),), time(t), device=x.device)
            output = model(x, clock, batch["condition"])
            x0, eps = split(kind, x, output, a, s)
            if "x0" in parts:
                x0 = parts["x0"](kind, x, output, a, s)
            if "clip" in parts:
                x0 = x0.clamp(*parts["clip"])  # the clamp line
            if "eps" in parts:
                eps = parts["eps"](kind, x, output, x0, a, s)  # the epsilon line
            x = parts["step"](x0, eps, a, s, b, tau) if "step" in parts else b * x0 + tau * eps  # the step line
            if "after" in parts:
                x = parts["after"](x)
        return x

    return sample


def diffusion_case(
    kind: str = "v",
    table: Tensor | None = None,
    *,
    sample=None,
    training_time=None,
    batch: int = 2,
    size: int = 12,
    dimensions: int = 3,
    trained: str | None = None,
    noise=None,
    **changes,
) -> dx.Case:
    """A case whose training is right, around any sampling loop.

    Args:
        kind: Declared prediction type.
        table: ᾱ; cosine with 1000 steps by default.
        sample: The loop; DDIM with ten steps by default.
        training_time: Timesteps ``(B,)`` to what the network gets in training; raw by default.
        batch: Samples.
        size: Voxels along each axis.
        dimensions: 1, 2 or 3.
        trained: What the loss regresses, if not what is declared.
        noise: ``(x0, noise, alpha) -> x_t`` in training, if not the right one.
        changes: Other parts of the case; ``diffusion__...`` for parts of the diffusion.
    """
    table = cosine() if table is None else table
    clock = training_time or (lambda t: t)
    sample = sample or ddim(table, kind)

    def batches():
        generator = torch.Generator().manual_seed(0)
        for _ in range(4):
            shape = (batch, 1, *[size] * dimensions)
            image = (0.5 * torch.randn(shape, generator=generator)).clamp(-1, 1)
            yield {"image": image, "condition": torch.randn(shape, generator=generator)}

    def denoise(model, x, t, batch):
        return model(x, clock(t), batch["condition"])

    def loss(model, batch):
        x0 = batch["image"]
        t = torch.randint(0, len(table), (len(x0),), device=x0.device)
        eps = torch.randn_like(x0)
        alpha = expand(table[t], x0)
        a, s = alpha.sqrt(), (1 - alpha).sqrt()
        x_t = noise(x0, eps, alpha) if noise else a * x0 + s * eps
        return (denoise(model, x_t, t, batch) - target_of(trained or kind, x0, eps, a, s)).square().mean()

    parts = dx.Diffusion(alphas_cumprod=table, prediction=kind, denoise=denoise, sample=sample)
    case = dx.Case(
        model=lambda: TinyDenoiser(dimensions),
        train=batches,
        loss=loss,
        target=lambda batch: batch["image"],
        diffusion=parts,
        name="sampler",
        parts=(dx.DataRange(-1.0, 1.0),),
    )
    return case.replace(**changes) if changes else case
