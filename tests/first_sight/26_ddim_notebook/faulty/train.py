# %% [markdown]
# # DDPM against DDIM on toy cell patches
# Everything from scratch, small enough for a laptop.

# %%
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
T = 400
betas = torch.linspace(1e-4, 0.04, T)
ab = torch.cumprod(1 - betas, 0)


# %%
def cells(n, seed, size=16):
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = torch.rand(6, n, 1, 1, generator=g)
    cy, cx, r = 0.6 * u[0] - 0.3, 0.6 * u[1] - 0.3, 0.4 + 0.3 * u[2]
    d = torch.sqrt((yy - cy) ** 2 + ((xx - cx) * (0.8 + 0.4 * u[3])) ** 2)
    body = torch.sigmoid((r - d) * 14)
    nucleus = torch.sigmoid((0.35 * r + 0.1 * u[4] - d) * 14)
    return ((0.9 * body + 0.9 * nucleus) - 0.9).unsqueeze(1)


train, test = cells(768, 1), cells(512, 2)
print("images", tuple(train.shape), "range", train.min().item(), train.max().item())


# %%
class TimeConv(nn.Module):
    def __init__(self, i, o, emb):
        super().__init__()
        self.a, self.b, self.t = nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1), nn.Linear(emb, o)
        self.n1, self.n2 = nn.GroupNorm(4, o), nn.GroupNorm(4, o)
        self.skip = nn.Conv2d(i, o, 1)

    def forward(self, x, e):
        h = F.silu(self.n1(self.a(x))) + self.t(e)[..., None, None]
        return F.silu(self.n2(self.b(h))) + self.skip(x)


class Denoiser(nn.Module):
    def __init__(self, ch=12, emb=32):
        super().__init__()
        self.emb = emb
        self.mlp = nn.Sequential(nn.Linear(emb, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.d1, self.d2, self.m = TimeConv(1, ch, emb), TimeConv(ch, 2 * ch, emb), TimeConv(2 * ch, 2 * ch, emb)
        self.u2, self.u1 = TimeConv(4 * ch, ch, emb), TimeConv(2 * ch, ch, emb)
        self.out = nn.Conv2d(ch, 1, 1)

    def forward(self, x, t):
        freq = torch.exp(-math.log(1000) * torch.arange(self.emb // 2) / (self.emb // 2))
        arg = t[:, None].float() * freq[None]
        e = self.mlp(torch.cat([arg.sin(), arg.cos()], 1))
        a = self.d1(x, e)
        b = self.d2(F.avg_pool2d(a, 2), e)
        c = self.m(F.avg_pool2d(b, 2), e)
        c = self.u2(torch.cat([F.interpolate(c, scale_factor=2), b], 1), e)
        return self.out(self.u1(torch.cat([F.interpolate(c, scale_factor=2), a], 1), e))


# %% [markdown]
# ## Sampler
# `eta` goes from 0 (deterministic) to 1 (as noisy as DDPM); the steps are a subset of the T training steps.

# %%
@torch.no_grad()
def ddim(model, n, steps, eta, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 16, 16, generator=g)
    times = torch.linspace(T - 1, 0, steps).round().long().tolist()
    for k, t in enumerate(times):
        now = ab[t]
        nxt = ab[times[k + 1]] if k + 1 < len(times) else torch.tensor(1.0)
        eps = model(x, torch.full((n,), t))
        x0 = ((x - (1 - now).sqrt() * eps) / now.sqrt()).clamp(-1.2, 1.2)
        sigma = eta * (1 - now).sqrt()
        direction = (1 - nxt - sigma ** 2).clamp(min=0).sqrt() * eps
        x = nxt.sqrt() * x0 + direction
        if k + 1 < len(times):
            x = x + sigma * torch.randn(x.shape, generator=g)
    return x


def quality(fake):
    nearest = torch.cdist(fake.flatten(1), test.flatten(1)).amin(1).mean().item()
    rough = lambda im: (im[..., 1:] - im[..., :-1]).abs().mean().item()
    return nearest, rough(fake) / rough(test)


# %%
model = Denoiser()
opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
EPOCHS = 7
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, EPOCHS * 24)
for epoch in range(EPOCHS):
    model.train()
    running = 0.0
    for idx in torch.randperm(len(train)).split(32):
        x0 = train[idx]
        t = torch.randint(0, T, (len(x0),))
        noise = torch.randn_like(x0)
        a = ab[t].view(-1, 1, 1, 1)
        loss = F.mse_loss(model(a.sqrt() * x0 + (1 - a).sqrt() * noise, t), noise)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        running += loss.item() / 24
    print(f"epoch {epoch} train_loss {running:.4f}")
    if epoch % 3 == 0 or epoch == EPOCHS - 1:
        model.eval()
        near, rough = quality(ddim(model, 48, steps=20, eta=1.0))
        print(f"    eta 1: val_distance {near:.3f} roughness_ratio {rough:.3f}")
