"""Class-conditional diffusion of skin-lesion thumbnails with classifier-free guidance."""
import dataclasses
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclasses.dataclass(frozen=True)
class Settings:
    size: int = 16
    classes: int = 4
    width: int = 24
    timesteps: int = 80
    drop: float = 0.2
    batch: int = 32
    steps: int = 1000
    lr: float = 3e-3
    scales: tuple = (1.0, 4.0)


def thumbnails(count, cfg, gen):
    """Lesions of four overlapping kinds: the kind moves the mean size and darkness."""
    kind = torch.randint(cfg.classes, (count,), generator=gen)
    n = lambda s: s * torch.randn(count, 1, 1, generator=gen)
    axis = torch.linspace(-1, 1, cfg.size)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    radius = torch.tensor([0.3, 0.3, 0.6, 0.6])[kind][:, None, None] + n(0.09)
    dark = torch.tensor([0.5, 1.2, 0.5, 1.2])[kind][:, None, None] + n(0.22)
    d = ((yy - n(0.1)) ** 2 + (xx - n(0.1)) ** 2).sqrt()
    return (0.5 - dark * torch.sigmoid((radius - d) * 12)).unsqueeze(1) + 0.03 * torch.randn(count, 1, cfg.size, cfg.size, generator=gen), kind


class Conditioner(nn.Module):
    """Time token and class token, joined to one vector; some rows go without their class token."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.time = nn.Sequential(nn.Linear(16, cfg.width), nn.SiLU(), nn.Linear(cfg.width, cfg.width))
        self.kind = nn.Embedding(cfg.classes, cfg.width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(cfg.width, 2 * cfg.width))

    def forward(self, t, kind, drop):
        freq = torch.exp(torch.arange(8) * (-math.log(1000) / 8))
        angle = t[:, None] * freq
        tokens = torch.stack([self.time(torch.cat([angle.sin(), angle.cos()], 1)), self.kind(kind)], 1)
        keep = torch.rand(len(t), 1) >= drop
        mask = torch.cat([torch.ones_like(keep), keep], 1)
        return self.mix(tokens.sum(1)), mask


class Unet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        w = cfg.width
        self.cond = Conditioner(cfg)
        self.inp, self.down = nn.Conv2d(1, w, 3, padding=1), nn.Conv2d(w, w, 4, 2, 1)
        self.mid1, self.mid2 = nn.Conv2d(w, w, 4, 2, 1), nn.ConvTranspose2d(w, w, 4, 2, 1)
        self.up, self.out = nn.ConvTranspose2d(w, w, 4, 2, 1), nn.Conv2d(2 * w, 1, 3, padding=1)

    def forward(self, x, t, kind, drop=0.0):
        c, _ = self.cond(t.float(), kind, drop)
        scale, shift = c[:, :, None, None].chunk(2, 1)
        a = F.silu(self.inp(x))
        b = F.silu(self.down(a) * (1 + scale) + shift)
        b = b + self.mid2(F.silu(self.mid1(b) * (1 + scale) + shift))
        return self.out(torch.cat([a, F.silu(self.up(b))], 1))


class Diffusion:
    def __init__(self, net, cfg):
        self.net, self.cfg = net, cfg
        self.beta = torch.linspace(1e-3, 0.1, cfg.timesteps)
        self.abar = torch.cumprod(1 - self.beta, 0)

    def loss(self, x, kind):
        t = torch.randint(self.cfg.timesteps, (len(x),))
        a = self.abar[t].view(-1, 1, 1, 1)
        noise = torch.randn_like(x)
        return F.mse_loss(self.net(a.sqrt() * x + (1 - a).sqrt() * noise, t, kind, self.cfg.drop), noise)

    @torch.no_grad()
    def sample(self, kind, scale):
        x = torch.randn(len(kind), 1, self.cfg.size, self.cfg.size)
        for i in reversed(range(self.cfg.timesteps)):
            t = torch.full((len(kind),), i)
            free = self.net(x, t, kind, drop=1.0)
            eps = free + scale * (self.net(x, t, kind, drop=0.0) - free)
            x = (x - self.beta[i] / (1 - self.abar[i]).sqrt() * eps) / (1 - self.beta[i]).sqrt()
            if i:
                x = x + self.beta[i].sqrt() * torch.randn_like(x)
        return x


def fit_judge(images, kind, cfg):
    """A small classifier that tells how well samples match the class asked for."""
    judge = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * (cfg.size // 4) ** 2, cfg.classes))
    opt = torch.optim.Adam(judge.parameters(), 2e-3)
    for _ in range(6):
        for pick in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(judge(images[pick]), kind[pick])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return judge.eval()


def main(cfg=Settings()):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(2)
    images, kind = thumbnails(2000, cfg, gen)
    judge = fit_judge(images, kind, cfg)
    print(f"judge accuracy on images {(judge(images).argmax(1) == kind).float().mean():.3f}")
    net = Unet(cfg)
    diffusion = Diffusion(net, cfg)
    opt = torch.optim.Adam(net.parameters(), cfg.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: 1 - s / cfg.steps)
    mean = 0.0
    for step in range(1, cfg.steps + 1):
        pick = torch.randint(len(images), (cfg.batch,))
        loss = diffusion.loss(images[pick], kind[pick])
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
        mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
        if step % 250 == 0:
            print(f"step {step} loss {mean:.4f}")
    wanted = torch.arange(cfg.classes).repeat(32)
    for scale in cfg.scales:
        fake = diffusion.sample(wanted, scale)
        prob = judge(fake).softmax(1)
        print(f"guidance {scale}: class_accuracy {(prob.argmax(1) == wanted).float().mean():.3f} confidence {prob[torch.arange(len(wanted)), wanted].mean():.3f}")


if __name__ == "__main__":
    main()
