"""Unconditional DDPM on tiny slices, ancestral sampling every now and then."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

T = 100
betas = torch.linspace(1e-4, 0.06, T)
alphas = 1.0 - betas
abar = torch.cumprod(alphas, dim=0)


def timestep_embedding(t, dim=32):
    half = dim // 2
    freqs = torch.exp(-math.log(1000) * torch.arange(half) / half)
    ang = t[:, None] * 100 * freqs[None]
    return torch.cat([ang.sin(), ang.cos()], dim=-1)


class Denoiser(nn.Module):
    def __init__(self, ch=24):
        super().__init__()
        self.temb = nn.Sequential(nn.Linear(32, ch), nn.SiLU(), nn.Linear(ch, ch))
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.c1 = nn.Conv2d(ch, ch, 3, padding=1)
        self.c2 = nn.Conv2d(ch, ch, 3, padding=1)
        self.out = nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x, t):
        h = self.inp(x) + self.temb(timestep_embedding(t))[:, :, None, None]
        h = h + self.c1(F.silu(h))
        h = h + self.c2(F.silu(h))
        return self.out(F.silu(h))


def data(n):
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    r = 0.35 + 0.3 * torch.rand(n, 1, 1)
    return ((yy**2 + xx**2).sqrt()[None] < r).float().unsqueeze(1) * 2 - 1


@torch.no_grad()
def sample(model, n=4):
    model.eval()
    x = torch.randn(n, 1, 16, 16)
    for i in reversed(range(T)):
        t = torch.full((n,), i)
        eps = model(x, t / T)
        x = (x - betas[i] / (1 - abar[i]).sqrt() * eps) / alphas[i].sqrt()
        if i > 0:
            x = x + betas[i].sqrt() * torch.randn_like(x)
    model.train()
    return x


def main():
    torch.manual_seed(0)
    model = Denoiser()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(150):
        x0 = data(16)
        t = torch.randint(0, T, (16,))
        noise = torch.randn_like(x0)
        a = abar[t][:, None, None, None]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * noise
        loss = F.mse_loss(model(xt, t / T), noise)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if (step + 1) % 75 == 0:
            s = sample(model)
            print(f"step {step + 1} loss {loss.item():.4f} samples {s.mean().item():.3f} +- {s.std().item():.3f}")


if __name__ == "__main__":
    main()
