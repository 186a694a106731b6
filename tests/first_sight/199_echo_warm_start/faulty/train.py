"""Dehazing of echocardiograms: a small diffusion model of clean frames, sampling starts late from the hazy frame."""
import argparse
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 24


def echo_frames(count, seed):
    """Clean frames and the same frames with haze, both within -1 and 1; dark chambers in a bright wall."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    clean, hazy = [], []
    for _ in range(count):
        cy, cx = rng.uniform(-0.06, 0.06, 2)
        ry, rx, tilt = rng.uniform(0.24, 0.34), rng.uniform(0.15, 0.22), rng.uniform(-0.4, 0.4)
        u, v = (x - cx) * np.cos(tilt) - (y - cy) * np.sin(tilt), (x - cx) * np.sin(tilt) + (y - cy) * np.cos(tilt)
        reach = np.hypot(u / rx, v / ry)
        wall = np.exp(-((reach - 1.15) ** 2) / 0.03)
        septum = np.exp(-((v - 0.25 * ry) ** 2) / 0.0006) * (reach < 1.1)
        frame = -0.85 + 1.5 * np.maximum(wall, 0.75 * septum)
        haze = 0.8 * np.exp(-((x - rng.uniform(-0.3, 0.3)) ** 2 + (y + rng.uniform(0.1, 0.4)) ** 2) / 0.06)
        clean.append(frame)
        hazy.append(np.clip(frame + haze + rng.normal(0, 0.35, frame.shape), -1, 1))
    return tuple(torch.tensor(np.stack(f)[:, None], dtype=torch.float32) for f in (clean, hazy))


def rates(t, most=0.98, least=0.02):
    """Signal and noise rate at diffusion time t, 0 is (nearly) clean and 1 is noise."""
    start, end = math.acos(most), math.acos(least)
    angle = start + t * (end - start)
    return torch.cos(angle), torch.sin(angle)


class Denoiser(nn.Module):
    def __init__(self, width=14):
        super().__init__()
        self.register_buffer("frequency", 2 * math.pi * torch.tensor([0.5, 1.0, 2.0, 4.0]))
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.scales = nn.ModuleList(nn.Sequential(nn.Linear(8, width), nn.SiLU(), nn.Linear(width, 2 * w)) for w in (width, 2 * width, width))
        self.down, self.middle = nn.Conv2d(width, 2 * width, 3, 2, 1), nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2)
        self.up, self.last = nn.Conv2d(3 * width, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def tuned(self, h, emb, k):
        scale, shift = self.scales[k](emb)[:, :, None, None].chunk(2, 1)
        return F.silu(h * (1 + scale) + shift)

    def forward(self, x, t):
        emb = torch.cat([(t.view(-1, 1) * self.frequency).sin(), (t.view(-1, 1) * self.frequency).cos()], 1)
        a = self.tuned(self.enter(x), emb, 0)
        b = self.tuned(self.middle(F.silu(self.down(a))), emb, 1)
        b = b + F.silu(self.deep(b))
        c = torch.cat([a, F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)], 1)
        return self.last(self.tuned(self.up(c), emb, 2))


def diffusion_loss(model, frames):
    t = torch.rand(len(frames), 1, 1, 1)
    signal, noise = rates(t)
    eps = torch.randn_like(frames)
    return F.mse_loss(model(signal * frames + noise * eps, t), eps)


@torch.no_grad()
def sample(model, start, steps, first):
    """Deterministic sampling in equal steps from time 1 to 0; the first ones are skipped when start is already an estimate."""
    size = 1.0 / steps
    time = torch.ones(len(start), 1, 1, 1)
    signal, noise = rates(time - (first - 1) * size)
    noisy = signal * start + noise * torch.randn_like(start)
    for step in range(first, steps):
        t = time - step * size
        signal, noise = rates(t)
        eps = model(noisy, t)
        estimate = ((noisy - noise * eps) / signal).clamp(-1, 1)
        signal, noise = rates(t - size)
        noisy = signal * estimate + noise * eps
    return estimate


def psnr(a, b):
    return (10 * torch.log10(4 / ((a - b) ** 2).mean((1, 2, 3)))).mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--first", type=int, default=6)
    args = parser.parse_args()
    torch.manual_seed(21)
    loader = DataLoader(TensorDataset(echo_frames(256, 1)[0]), args.batch_size, shuffle=True)
    clean, hazy = echo_frames(60, 2)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(1, args.epochs + 1):
        model.train()
        losses = []
        for (frames,) in loader:
            loss = diffusion_loss(model, frames)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        print(f"epoch {epoch:2d} loss {np.mean(losses):.4f}")
    model.eval()
    restored = sample(model, hazy, args.steps, args.first)
    print(f"PSNR of hazy frames {psnr(hazy, clean):.2f}, of restored frames {psnr(restored, clean):.2f}")


if __name__ == "__main__":
    main()
