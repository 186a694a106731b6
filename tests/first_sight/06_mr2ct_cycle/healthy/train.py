"""Unpaired MR -> CT translation with a small CycleGAN; settings in config.yaml."""
import itertools
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml

cfg = yaml.safe_load((Path(__file__).parent / "config.yaml").read_text())


def heads(n, seed):
    """The same n heads as MR and as CT, both in [-1, 1]."""
    rng = np.random.default_rng(seed)
    s = cfg["data"]["size"]
    yy, xx = np.meshgrid(np.linspace(-1, 1, s), np.linspace(-1, 1, s), indexing="ij")
    mr, ct = np.full((n, 1, s, s), -1.0), np.full((n, 1, s, s), -1.0)
    for i in range(n):
        ry, rx, t = rng.uniform(0.7, 0.9), rng.uniform(0.55, 0.75), rng.uniform(0.12, 0.2)
        d = np.sqrt((yy / ry) ** 2 + (xx / rx) ** 2)
        skull, brain = (d < 1) & (d > 1 - t), d <= 1 - t
        ventricle = ((yy - rng.uniform(-0.1, 0.1)) / rng.uniform(0.15, 0.3)) ** 2 + (xx / rng.uniform(0.1, 0.25)) ** 2 < 1
        mr[i, 0][skull], mr[i, 0][brain], mr[i, 0][brain & ventricle] = -0.7, 0.3, 0.9
        ct[i, 0][skull], ct[i, 0][brain], ct[i, 0][brain & ventricle] = 0.9, 0.0, -0.35
    noise = lambda a: torch.from_numpy((a + rng.normal(0, 0.04, a.shape)).astype(np.float32))
    return noise(mr), noise(ct)


class Generator(nn.Module):
    def __init__(self, ch, blocks):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, ch, 5, padding=2), nn.InstanceNorm2d(ch), nn.ReLU())
        self.body = nn.ModuleList(nn.Sequential(nn.Conv2d(ch, ch, 3, padding=1), nn.InstanceNorm2d(ch), nn.ReLU(),
                                                nn.Conv2d(ch, ch, 3, padding=1), nn.InstanceNorm2d(ch)) for _ in range(blocks))
        self.tail = nn.Conv2d(ch, 1, 5, padding=2)

    def forward(self, x):
        h = self.head(x)
        for block in self.body:
            h = h + block(h)
        return torch.tanh(self.tail(h))


def discriminator(ch):
    return nn.Sequential(nn.Conv2d(1, ch, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(ch, 2 * ch, 4, 2, 1), nn.InstanceNorm2d(2 * ch),
                         nn.LeakyReLU(0.2), nn.Conv2d(2 * ch, 1, 3, 1, 1))


class Pool:
    """Buffer of earlier fakes shown to the discriminator."""

    def __init__(self, size):
        self.size, self.images = size, []

    def query(self, batch):
        out = []
        for image in batch.detach():
            if len(self.images) < self.size:
                self.images.append(image)
            elif random.random() < 0.5:
                k = random.randrange(self.size)
                image, self.images[k] = self.images[k], image
            out.append(image)
        return torch.stack(out)


def adversarial(score, real):
    return F.mse_loss(score, torch.full_like(score, 1.0 if real else 0.0))


def main():
    torch.manual_seed(cfg["seed"])
    random.seed(cfg["seed"])
    mr_train, _ = heads(cfg["data"]["train"], 1)
    _, ct_train = heads(cfg["data"]["train"], 2)
    mr_test, ct_test = heads(cfg["data"]["test"], 3)
    net = cfg["model"]
    g_ct, g_mr = Generator(net["gen_channels"], net["blocks"]), Generator(net["gen_channels"], net["blocks"])
    d_ct, d_mr = discriminator(net["disc_channels"]), discriminator(net["disc_channels"])
    opt_g = torch.optim.Adam(itertools.chain(g_ct.parameters(), g_mr.parameters()), cfg["optim"]["lr_g"], betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(itertools.chain(d_ct.parameters(), d_mr.parameters()), cfg["optim"]["lr_d"], betas=(0.5, 0.999))
    pool_ct, pool_mr = Pool(cfg["pool"]), Pool(cfg["pool"])
    w, bs = cfg["weights"], cfg["optim"]["batch_size"]
    for step in range(1, cfg["optim"]["steps"] + 1):
        mr = mr_train[torch.randint(len(mr_train), (bs,))]
        ct = ct_train[torch.randint(len(ct_train), (bs,))]
        fake_ct, fake_mr = g_ct(mr), g_mr(ct)
        gan = adversarial(d_ct(fake_ct), True) + adversarial(d_mr(fake_mr), True)
        cycle = F.l1_loss(g_mr(fake_ct), mr) + F.l1_loss(g_ct(fake_mr), ct)
        identity = F.l1_loss(g_ct(ct), ct) + F.l1_loss(g_mr(mr), mr)
        loss_g = gan + w["cycle"] * cycle + w["identity"] * identity
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()

        loss_d = (adversarial(d_ct(ct), True) + adversarial(d_ct(pool_ct.query(fake_ct)), False)
                  + adversarial(d_mr(mr), True) + adversarial(d_mr(pool_mr.query(fake_mr)), False)) / 2
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
        if step % cfg["log_every"] == 0:
            with torch.no_grad():
                mae = F.l1_loss(g_ct(mr_test), ct_test).item()
            print(f"step {step} gan {gan.item():.3f} cycle {cycle.item():.3f} identity {identity.item():.3f} disc {loss_d.item():.3f} test_mae {mae:.4f}")


if __name__ == "__main__":
    main()
