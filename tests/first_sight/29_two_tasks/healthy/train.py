"""Chest films: heart width in millimetres and three findings, balanced by learned uncertainties. Settings in config.yaml."""
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml

CONFIG = Path(__file__).with_name("config.yaml")


def films(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[-1:1:40j, -1:1:40j]
    images, width, findings = [], [], []
    for _ in range(n):
        mm = rng.normal(128, 14)
        present = rng.random(3) < 0.4
        img = 0.75 - 0.45 * (((yy / 0.85) ** 2 + ((np.abs(xx) - 0.42) / 0.36) ** 2) < 1)
        img[((yy - 0.3) / 0.35) ** 2 + ((xx - 0.1) / (mm / 260)) ** 2 < 1] = 0.8
        if present[0]:
            side, top = rng.choice([-1, 1]), rng.uniform(0.35, 0.5)
            img = np.where((yy > top + 0.1 * xx * side) & (xx * side > 0.15), img + 0.25, img)
        if present[1]:
            cy, cx = rng.uniform(-0.5, 0.0), rng.choice([-1, 1]) * rng.uniform(0.35, 0.55)
            img = img + 0.35 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 0.02)
        if present[2]:
            img = img + 0.16 * np.sin(28 * yy + rng.uniform(0, 6)) * np.sin(28 * xx) * (img < 0.5)
        images.append(img + rng.normal(0, 0.05, img.shape))
        width.append(mm + rng.normal(0, 7))
        findings.append(present)
    x = torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    return (x - 0.6) / 0.2, torch.tensor(width, dtype=torch.float32), torch.tensor(np.stack(findings), dtype=torch.float32)


class FilmNet(nn.Module):
    def __init__(self, channels):
        super().__init__()
        layers, i = [], 1
        for o in channels:
            layers += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
            i = o
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(25 * i, 48), nn.ReLU())
        self.width, self.findings = nn.Linear(48, 1), nn.Linear(48, 3)

    def forward(self, x):
        h = self.body(x)
        return self.width(h).squeeze(1), self.findings(h)


class UncertaintyLoss(nn.Module):
    def __init__(self, centre):
        super().__init__()
        self.centre = centre
        self.log_var = nn.Parameter(torch.zeros(2))

    def forward(self, output, width, findings):
        parts = torch.stack([F.mse_loss(output[0], width - self.centre),
                             F.binary_cross_entropy_with_logits(output[1], findings)])
        return ((-self.log_var).exp() * parts + self.log_var).sum() / 2, parts.detach()


def auc(score, truth):
    rank = score.argsort().argsort().float() + 1
    pos = truth.sum()
    return ((rank[truth == 1].sum() - pos * (pos + 1) / 2) / (pos * (len(truth) - pos))).item()


def build_optimiser(net, criterion, cfg):
    parameters = [*net.parameters(), *criterion.parameters()]
    return getattr(torch.optim, cfg["name"])(parameters, lr=float(cfg["lr"]))


def main():
    cfg = yaml.safe_load(CONFIG.read_text())
    torch.manual_seed(cfg["seed"])
    x, width, findings = films(cfg["data"]["train"], 0)
    vx, vwidth, vfindings = films(cfg["data"]["val"], 1)
    net, criterion = FilmNet(cfg["model"]["channels"]), UncertaintyLoss(cfg["data"]["centre_mm"])
    opt = build_optimiser(net, criterion, cfg["optimiser"])
    for epoch in range(cfg["epochs"]):
        net.train()
        log = []
        for idx in torch.randperm(len(x)).split(cfg["data"]["batch"]):
            loss, parts = criterion(net(x[idx]), width[idx], findings[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            log.append([loss.item(), *parts.tolist()])
        net.eval()
        with torch.no_grad():
            w, f = net(vx)
        aucs = [auc(f[:, k], vfindings[:, k]) for k in range(3)]
        loss, mse, bce = np.mean(log, 0)
        print(f"epoch {epoch} train_loss {loss:.3f} mse {mse:.1f} bce {bce:.4f} val_mae_mm {(w + cfg['data']['centre_mm'] - vwidth).abs().mean():.2f} "
              f"val_auc {np.mean(aucs):.4f} (" + " ".join(f"{a:.3f}" for a in aucs) + ")")


if __name__ == "__main__":
    main()
