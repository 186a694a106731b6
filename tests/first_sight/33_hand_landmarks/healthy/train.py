"""Finger tips on hand films: a grid of priors, each with a score and five landmark offsets."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Settings:
    size: int = 64
    grid: int = 8
    prior: float = 0.45
    variance: float = 0.1
    points: int = 5
    n_train: int = 500
    n_val: int = 100
    batch: int = 16
    epochs: int = 14
    lr: float = 2e-3


def hands(n, seed, s):
    rng = np.random.default_rng(seed)
    yy, xx = (np.mgrid[0:s.size, 0:s.size] + 0.5) / s.size
    images, boxes, tips = [], [], []
    for _ in range(n):
        c = rng.uniform(0.36, 0.64, 2)
        turn, grow = rng.uniform(-0.35, 0.35), rng.uniform(0.85, 1.15)
        img = 0.15 + rng.normal(0, 0.05, yy.shape)
        img += 0.45 * (((xx - c[0]) / (0.1 * grow)) ** 2 + ((yy - c[1]) / (0.11 * grow)) ** 2 < 1)
        points = []
        for k, length in enumerate((0.19, 0.25, 0.28, 0.26, 0.22)):
            a = turn + (k - 2) * 0.38 - np.pi / 2
            tip = c + grow * length * rng.uniform(0.9, 1.1) * np.array([np.cos(a), np.sin(a)])
            along = np.clip(((xx - c[0]) * np.cos(a) + (yy - c[1]) * np.sin(a)), 0, np.linalg.norm(tip - c))
            off = np.hypot(xx - c[0] - along * np.cos(a), yy - c[1] - along * np.sin(a))
            img += 0.4 * np.exp(-(off / 0.022) ** 2)
            points.append(tip)
        points = np.array(points)
        lo, hi = np.minimum(points.min(0), c - 0.1), np.maximum(points.max(0), c + 0.11)
        images.append(img)
        boxes.append([*lo, *hi])
        tips.append(points)
    x = torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    return (x - 0.35) / 0.25, torch.tensor(boxes, dtype=torch.float32), torch.tensor(np.stack(tips), dtype=torch.float32)


def make_priors(s):
    c = (torch.arange(s.grid) + 0.5) / s.grid
    cy, cx = torch.meshgrid(c, c, indexing="ij")
    return torch.stack([cx.flatten(), cy.flatten(), torch.full((s.grid ** 2,), s.prior), torch.full((s.grid ** 2,), s.prior)], 1)


def overlap(boxes, priors):
    lo, hi = priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2
    inter = (torch.minimum(boxes[:, None, 2:], hi) - torch.maximum(boxes[:, None, :2], lo)).clamp(min=0).prod(-1)
    return inter / ((boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None] + priors[:, 2:].prod(-1) - inter)


def encode_points(points, priors, variance):
    """points (n, 1, k, 2) in image units against priors (p, 4)."""
    offset = points - priors[None, :, None, :2]
    return offset / (variance * priors[None, :, None, 2:])


def decode_points(pred, priors, variance):
    return priors[:, None, :2] + pred * variance * priors[:, None, 2:]


class HandNet(nn.Module):
    def __init__(self, s, ch=16):
        super().__init__()
        self.k = s.points

        def down(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

        self.body = nn.Sequential(down(1, ch), down(ch, 2 * ch), down(2 * ch, 3 * ch), nn.Conv2d(3 * ch, 4 * ch, 5, padding=2), nn.ReLU())
        self.score, self.offset = nn.Conv2d(4 * ch, 1, 1), nn.Conv2d(4 * ch, 2 * s.points, 1)

    def forward(self, x):
        f = self.body(x)
        return self.score(f).flatten(1), self.offset(f).permute(0, 2, 3, 1).reshape(len(x), -1, self.k, 2)


@torch.no_grad()
def radial_error(net, images, tips, priors, s):
    net.eval()
    score, offset = net(images)
    best = score.argmax(1)
    points = decode_points(offset[torch.arange(len(best)), best], priors[best], s.variance)
    return ((points - tips).norm(dim=-1) * s.size).mean().item()


def main(s=Settings()):
    torch.manual_seed(0)
    images, boxes, tips = hands(s.n_train, 0, s)
    vimages, _, vtips = hands(s.n_val, 1, s)
    priors = make_priors(s)
    quality = overlap(boxes, priors)
    positive = (quality > 0.45) | (quality == quality.amax(1, keepdim=True))
    target = encode_points(tips[:, None], priors, s.variance)
    net = HandNet(s)
    opt = torch.optim.AdamW(net.parameters(), s.lr)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, s.epochs)
    for epoch in range(s.epochs):
        net.train()
        log = []
        for idx in torch.randperm(len(images)).split(s.batch):
            score, offset = net(images[idx])
            pos = positive[idx]
            conf = F.binary_cross_entropy_with_logits(score, pos.float())
            points = F.smooth_l1_loss(offset[pos], target[idx][pos])
            opt.zero_grad()
            (conf + points).backward()
            opt.step()
            log.append((conf.item(), points.item()))
        sched.step()
        conf, points = np.mean(log, 0)
        print(f"epoch {epoch} score_loss {conf:.4f} point_loss {points:.4f} val_error_px {radial_error(net, vimages, vtips, priors, s):.2f}")


if __name__ == "__main__":
    main()
