"""Unconditional diffusion of small knee slices: noise prediction, linear schedule, ancestral sampling."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

SIZE = 16


@dataclass
class Args:
    num_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    images: int = 1200
    steps: int = 600
    batch_size: int = 32
    lr: float = 3e-3
    width: int = 16
    samples: int = 32
    seed: int = 0


def make_knees(n, seed):
    """Slices in -1..1: dark air, femur above and tibia below with a bright gap. Most of a slice is dark."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    out = []
    for _ in range(n):
        image = np.zeros((SIZE, SIZE))
        cx, gap, w = rng.normal(0, 0.8), rng.normal(0, 0.8), rng.uniform(3.4, 5.0)
        inside = np.abs(xx - cx) < w
        image[inside & (yy < gap - 1.0)] = rng.uniform(0.5, 0.7)
        image[inside & (yy > gap + 1.0)] = rng.uniform(0.45, 0.65)
        image[inside & (np.abs(yy - gap) <= 1.0)] = 1.0
        out.append(gaussian_filter(image, 0.5))
    return torch.from_numpy(2 * np.stack(out) - 1).float()[:, None]


class Denoiser(nn.Module):
    """A small U-Net that is told the time by scales and shifts."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, 6.5, 16)))
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 6 * width))
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.b = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.b2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(3 * width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 1, 3, padding=1)
        self.norm_a, self.norm_b, self.norm_c = nn.GroupNorm(4, width), nn.GroupNorm(4, 2 * width), nn.GroupNorm(4, width)
        self.width = width

    def forward(self, x, level):
        """x (B, 1, H, W), level (B,) in 0..1."""
        phase = level[:, None] * self.frequencies
        code = self.time(torch.cat([phase.sin(), phase.cos()], 1))[:, :, None, None]
        scale_a, shift_a, scale_b, shift_b = code.split([self.width, self.width, 2 * self.width, 2 * self.width], 1)
        h = self.enter(x)
        a = h + self.a(F.silu(self.norm_a(h) * (1 + scale_a) + shift_a))
        b = self.down(a)
        b = b + self.b(F.silu(self.norm_b(b) * (1 + scale_b) + shift_b))
        b = b + self.b2(F.silu(b))
        c = self.up(torch.cat([F.interpolate(b, scale_factor=2.0, mode="nearest"), a], 1))
        return self.leave(F.silu(self.norm_c(c)))


class Diffusion:
    def __init__(self, args):
        self.steps = args.num_timesteps
        self.betas = torch.linspace(args.beta_start, args.beta_end, self.steps)
        self.alphas = 1 - self.betas
        self.alpha_bars = self.alphas.cumprod(0)

    def loss(self, model, x0):
        t = torch.randint(0, self.steps, (len(x0),))
        noise = torch.randn_like(x0)
        kept = self.alpha_bars[t][:, None, None, None]
        return F.mse_loss(model(kept.sqrt() * x0 + (1 - kept).sqrt() * noise, t / self.steps), noise)

    @torch.no_grad()
    def sample(self, model, count):
        x = torch.randn(count, 1, SIZE, SIZE)
        for t in reversed(range(self.steps)):
            noise = model(x, torch.full((count,), t / self.steps))
            mean = (x - self.betas[t] / (1 - self.alpha_bars[t]).sqrt() * noise) / self.alphas[t].sqrt()
            x = mean + self.betas[t].sqrt() * torch.randn_like(x) if t else mean
        return x.clamp(-1, 1)


def compare(samples, real):
    """Mean brightness (of -1..1), and the distance of samples to the nearest real slice over that of real to real."""
    def nearest(a, b):
        return torch.cdist(a.flatten(1), b.flatten(1)).amin(1).mean()

    half = len(real) // 2
    ratio = nearest(samples, real[:half]) / nearest(real[half:], real[:half])
    return samples.mean().item(), real.mean().item(), ratio.item()


def main():
    args = Args()
    torch.manual_seed(args.seed)
    train, held_out = make_knees(args.images, 1), make_knees(800, 2)
    model = Denoiser(args.width)
    diffusion = Diffusion(args)
    optimizer = torch.optim.Adam(model.parameters(), args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    losses = []
    for step in range(1, args.steps + 1):
        loss = diffusion.loss(model, train[torch.randint(0, len(train), (args.batch_size,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if step % 200 == 0:
            print(f"step {step} loss {np.mean(losses[-200:]):.4f}")
    model.eval()
    brightness, wanted, ratio = compare(diffusion.sample(model, args.samples), held_out)
    print(f"{args.samples} samples: mean {brightness:.3f} (real {wanted:.3f}), distance to real {ratio:.2f} times that among real")
    torch.save(model.state_dict(), "knee_ddpm.pt")


if __name__ == "__main__":
    main()
