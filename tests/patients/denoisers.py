"""Diffusion cases: a hybrid CNN-ViT denoiser of volumes from two radiographs, with switches for what may be wrong."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import traindx as dx
from patients.volumes import bodies, projections

STEPS = 100


def cosine_alphas_cumprod(steps: int = STEPS) -> Tensor:
    """Cosine schedule (Nichol and Dhariwal 2021, eq. 17)."""
    grid = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((grid + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, 0).float()


ALPHAS_CUMPROD = cosine_alphas_cumprod()


class Block(nn.Module):
    """A transformer block with adaptive layer norm whose gates start at zero."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, elementwise_affine=False) for _ in range(2))
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        s1, b1, g1, s2, b2, g2 = self.modulation(F.silu(embedding))[:, None].chunk(6, -1)
        h = self.norm1(tokens) * (1 + s1) + b1
        tokens = tokens + g1 * self.attention(h, h, h, need_weights=False)[0]
        h = self.norm2(tokens) * (1 + s2) + b2
        return tokens + g2 * self.mlp(h)


class Views(nn.Module):
    """Radiographs to volumes of features: encoded in 2D, then spread along the axis they were projected over."""

    def __init__(self, channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.frontal = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, channels, 3, padding=1))
        self.lateral = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, channels, 3, padding=1))

    def forward(self, frontal: Tensor, lateral: Tensor) -> Tensor:
        size = frontal.shape[-1]
        if self.how == "averaged":
            both = (self.frontal(frontal) + self.frontal(lateral)) / 2
            return both.unsqueeze(3).expand(-1, -1, -1, size, -1)
        a = self.frontal(frontal)
        b = self.lateral(lateral)
        if self.how == "pooled":
            a, b = a.mean((2, 3), keepdim=True).expand_as(a), b.mean((2, 3), keepdim=True).expand_as(b)
        if self.how == "no lateral":
            b = torch.zeros_like(b)
        return a.unsqueeze(3).expand(-1, -1, -1, size, -1) + b.unsqueeze(4).expand(-1, -1, -1, -1, size)


class Hybrid(nn.Module):
    """Full-resolution convolutions beside a transformer on coarse tokens.

    ``head``: ``skip`` (healthy), ``scalar-tokens`` (one number a token, up-sampled; no way around), ``scalar-tokens +
    gain`` (the same and a learned multiple of x_t that starts at zero), ``x0-skip`` (tokens give x0, v is derived).
    """

    def __init__(self, size=16, dim=32, depth=1, patch=4, width=8, head="skip", views="spread", time="used") -> None:
        super().__init__()
        self.grid, self.head, self.time_is = size // patch, head, time
        self.views = Views(4, views)
        self.stem = nn.Conv3d(1 + 4, width, 3, padding=1)
        self.embed = nn.Conv3d(width, dim, patch, stride=patch)
        self.position = nn.Parameter(torch.randn(1, self.grid**3, dim) * 0.02)
        self.time = nn.Sequential(nn.Linear(32, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList([Block(dim) for _ in range(depth)])
        if head == "skip":
            self.up = nn.ConvTranspose3d(dim, width, patch, stride=patch)
            self.fuse = nn.Sequential(nn.Conv3d(2 * width, width, 3, padding=1), nn.GroupNorm(4, width), nn.SiLU())
            self.out = nn.Conv3d(width, 1, 3, padding=1)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)
        else:
            self.to_voxel = nn.Linear(dim, 1)
        if head == "scalar-tokens + gain":
            self.gain = nn.Parameter(torch.zeros(()))
        self.register_buffer("alphas_cumprod", ALPHAS_CUMPROD)

    def forward(self, x_t: Tensor, time: Tensor, frontal: Tensor, lateral: Tensor) -> Tensor:
        frequencies = torch.exp(torch.arange(16, device=x_t.device) * -0.5) * 3.14
        angles = time[:, None].float() * frequencies
        embedding = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        if self.time_is == "ignored":
            embedding = torch.zeros_like(embedding)
        features = self.stem(torch.cat([x_t, self.views(frontal, lateral)], 1))
        tokens = self.embed(features).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens, embedding)
        g = self.grid
        if self.head == "skip":
            coarse = self.up(tokens.transpose(1, 2).reshape(len(tokens), -1, g, g, g))
            return self.out(self.fuse(torch.cat([coarse, features], 1)))
        scalars = self.to_voxel(tokens)
        grid = scalars.transpose(1, 2).reshape(-1, 1, g, g, g)
        full = F.interpolate(grid, size=x_t.shape[2:], mode="trilinear", align_corners=False)
        if self.head == "scalar-tokens + gain":
            return full + self.gain * x_t
        if self.head == "x0-skip":
            abar = self.alphas_cumprod[(time * STEPS).round().long().clamp(max=STEPS - 1)].view(-1, 1, 1, 1, 1)
            return (abar.sqrt() * x_t - full) / (1 - abar).sqrt()
        return full


def denoise(model: nn.Module, x_t: Tensor, t: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The network as it is called in training."""
    return model(x_t, t.float() / STEPS, batch["frontal"], batch["lateral"])


def add_noise(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    abar = ALPHAS_CUMPROD.to(x0)[t].view(-1, *[1] * (x0.ndim - 1))
    return abar.sqrt() * x0 + (1 - abar).sqrt() * noise


def objective(x0: Tensor, noise: Tensor, t: Tensor, prediction: str) -> Tensor:
    abar = ALPHAS_CUMPROD.to(x0)[t].view(-1, *[1] * (x0.ndim - 1))
    if prediction == "v":
        return abar.sqrt() * noise - (1 - abar).sqrt() * x0
    return noise if prediction == "epsilon" else x0


def diffusion_loss(prediction: str):
    """Mean squared error of the network output."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        x0 = batch["ct"]
        t = torch.randint(0, STEPS, (len(x0),), device=x0.device)
        noise = torch.randn_like(x0)
        output = denoise(model, add_noise(x0, noise, t), t, batch)
        return F.mse_loss(output, objective(x0, noise, t, prediction))

    return loss


def ddim(prediction: str, steps: int = 5):
    """Deterministic DDIM (Song et al. 2021, eq. 12) along evenly spaced timesteps that begin at the last one."""

    @torch.no_grad()
    def sample(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        x = torch.randn_like(batch["ct"])
        times = torch.linspace(STEPS - 1, 0, steps).long().tolist()
        for t, following in zip(times, [*times[1:], None], strict=True):
            a = ALPHAS_CUMPROD[t].sqrt()
            s = (1 - ALPHAS_CUMPROD[t]).sqrt()
            out = denoise(model, x, torch.full((len(x),), t, device=x.device), batch)
            x0 = a * x - s * out if prediction == "v" else (x - s * out) / a if prediction == "epsilon" else out
            x0 = x0.clamp(-1, 1) if prediction == "epsilon" else x0  # divided by a small a at the start
            eps = (x - a * x0) / s
            if following is None:
                return x0
            x = ALPHAS_CUMPROD[following].sqrt() * x0 + (1 - ALPHAS_CUMPROD[following]).sqrt() * eps
        return x

    return sample


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio for data in [-1, 1]."""
    return 10 * torch.log10(4 / (prediction - target).square().mean())


def denoising_case(*, size: int = 16, prediction: str = "v", count: int = 6, batch_size: int = 2, **network) -> dx.Case:
    """A case of X-ray to CT by diffusion on synthetic bodies."""
    volumes = bodies(count, size)
    frontal, lateral = projections(volumes)

    def batches(rows: range):
        def generate():
            for start in range(rows.start, rows.stop, batch_size):
                pick = slice(start, min(start + batch_size, rows.stop))
                yield {"ct": volumes[pick], "frontal": frontal[pick], "lateral": lateral[pick]}

        return generate

    return dx.Case(
        model=lambda: Hybrid(size=size, **network),
        train=batches(range(count - 2)),
        val=batches(range(count - 2, count)),
        loss=diffusion_loss(prediction),
        target=lambda batch: batch["ct"],
        metrics={"psnr": psnr},
        conditions=("frontal", "lateral"),
        diffusion=dx.Diffusion(
            alphas_cumprod=ALPHAS_CUMPROD, prediction=prediction, denoise=denoise, sample=ddim(prediction)
        ),
        name="hybrid denoiser",
        parts=(dx.DataRange(-1.0, 1.0),),
    )
