"""One-stage detector for elongated findings (fracture lines, catheter pieces) on small radiographs."""
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    size: int = 64
    stride: int = 8
    scales: list = field(default_factory=lambda: [16.0])
    aspect_ratios: list = field(default_factory=lambda: [1.0, 1 / 3, 3.0])
    pos_iou: float = 0.5
    neg_iou: float = 0.4
    variances: tuple = (0.1, 0.2)
    neg_per_pos: int = 3
    n_train: int = 320
    n_val: int = 80
    batch: int = 16
    epochs: int = 7
    lr: float = 2e-3
    score: float = 0.05
    nms: float = 0.5


def radiographs(n, seed, size):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size] + 0.5
    images, boxes = [], []
    for _ in range(n):
        img = 0.4 + 0.15 * np.sin(yy / rng.uniform(6, 14) + rng.uniform(0, 6)) + rng.normal(0, 0.1, yy.shape)
        found = []
        while len(found) < rng.integers(1, 4):
            long, thin = rng.uniform(22, 34), rng.uniform(7, 11)
            w, h = (long, thin) if rng.random() < 0.5 else (thin, long)
            x, y = rng.uniform(1, size - w - 1), rng.uniform(1, size - h - 1)
            box = np.array([x, y, x + w, y + h])
            if any(iou(torch.tensor(box)[None], torch.tensor(b)[None]).item() > 0.02 for b in found):
                break
            found.append(box)
            inside = ((xx - x - w / 2) / (w / 2)) ** 2 + ((yy - y - h / 2) / (h / 2)) ** 2
            img += 0.28 * np.clip(1.15 - inside, 0, 1)
        images.append(torch.tensor(img, dtype=torch.float32)[None])
        boxes.append(torch.tensor(np.array(found), dtype=torch.float32))
    return (torch.stack(images) - 0.45) / 0.2, boxes


def iou(a, b):
    lt, rb = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (rb - lt).clamp(min=0).prod(-1)
    area = lambda t: (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])
    return inter / (area(a)[:, None] + area(b)[None] - inter)


def make_priors(cfg):
    n = cfg.size // cfg.stride
    priors = []
    for j in range(n):
        for i in range(n):
            cx, cy = (i + 0.5) * cfg.stride, (j + 0.5) * cfg.stride
            for scale in cfg.scales:
                for ratio in cfg.aspect_ratios:
                    w = scale * sqrt(ratio)
                    h = scale / sqrt(ratio)
                    priors.append([cx, cy, w, h])
    return torch.tensor(priors)


def corners(p):
    return torch.cat([p[:, :2] - p[:, 2:] / 2, p[:, :2] + p[:, 2:] / 2], 1)


def match(gt, priors, cfg):
    overlap = iou(gt, corners(priors))
    best, which = overlap.max(0)
    forced = overlap.argmax(1)
    best[forced], which[forced] = 2.0, torch.arange(len(gt))
    label = torch.full((len(priors),), -1.0)
    label[best >= cfg.pos_iou] = 1
    label[best < cfg.neg_iou] = 0
    m = gt[which]
    centre = ((m[:, :2] + m[:, 2:]) / 2 - priors[:, :2]) / (cfg.variances[0] * priors[:, 2:])
    extent = ((m[:, 2:] - m[:, :2]) / priors[:, 2:]).log() / cfg.variances[1]
    return label, torch.cat([centre, extent], 1)


def decode(delta, priors, cfg):
    centre = priors[:, :2] + delta[:, :2] * cfg.variances[0] * priors[:, 2:]
    extent = priors[:, 2:] * (delta[:, 2:] * cfg.variances[1]).clamp(max=4).exp()
    return corners(torch.cat([centre, extent], 1))


class Detector(nn.Module):
    def __init__(self, cfg, ch=16):
        super().__init__()
        self.k = len(cfg.scales) * len(cfg.aspect_ratios)
        layers, i = [], 1
        for o in (ch, 2 * ch, 3 * ch):
            layers += [nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU()]
            i = o
        layers += [nn.Conv2d(i, i, 3, padding=1), nn.BatchNorm2d(i), nn.ReLU()]
        self.body, self.cls, self.box = nn.Sequential(*layers), nn.Conv2d(i, self.k, 3, padding=1), nn.Conv2d(i, 4 * self.k, 3, padding=1)
        nn.init.constant_(self.cls.bias, -3.0)

    def forward(self, x):
        f = self.body(x)
        return self.cls(f).permute(0, 2, 3, 1).flatten(1), self.box(f).permute(0, 2, 3, 1).reshape(len(x), -1, 4)


def criterion(score, delta, label, target, cfg):
    pos = label == 1
    ce = F.binary_cross_entropy_with_logits(score, label.clamp(min=0), reduction="none")
    mined = ce.detach().masked_fill(label != 0, -1)
    rank = mined.argsort(1, descending=True).argsort(1)
    neg = (rank < cfg.neg_per_pos * pos.sum(1, keepdim=True)) & (label == 0)
    n = pos.sum().clamp(min=1)
    return ce[pos | neg].sum() / n, F.smooth_l1_loss(delta[pos], target[pos], reduction="sum") / n


def nms(boxes, scores, limit):
    order, keep = scores.argsort(descending=True), []
    while len(order):
        keep.append(order[0].item())
        order = order[1:][iou(boxes[order[:1]], boxes[order[1:]])[0] < limit]
    return keep


@torch.no_grad()
def average_precision(net, images, boxes, priors, cfg, at=0.5):
    net.eval()
    score, delta = net(images)
    rows, total = [], sum(len(b) for b in boxes)
    for s, d, gt in zip(score.sigmoid(), delta, boxes):
        sel = s > cfg.score
        b, s = decode(d, priors, cfg)[sel], s[sel]
        taken = set()
        for k in nms(b, s, cfg.nms):
            o, j = iou(b[k][None], gt)[0].max(0)
            hit = o.item() >= at and j.item() not in taken
            taken.add(j.item()) if hit else None
            rows.append((s[k].item(), hit))
    rows.sort(reverse=True)
    tp = np.cumsum([hit for _, hit in rows]) if rows else np.zeros(1)
    precision = np.maximum.accumulate((tp / (np.arange(len(tp)) + 1))[::-1])[::-1]
    return float(np.sum(np.diff(np.r_[0, tp / total]) * precision))


def main(cfg=Config()):
    torch.manual_seed(0)
    x, gt = radiographs(cfg.n_train, 0, cfg.size)
    vx, vgt = radiographs(cfg.n_val, 1, cfg.size)
    priors = make_priors(cfg)
    matched = [match(g, priors, cfg) for g in gt]
    label, target = torch.stack([m[0] for m in matched]), torch.stack([m[1] for m in matched])
    print(f"{len(priors)} priors, {(label == 1).sum(1).float().mean():.2f} matched an image")
    net = Detector(cfg)
    opt = torch.optim.AdamW(net.parameters(), cfg.lr)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, cfg.lr * 2, total_steps=cfg.epochs * (-(-len(x) // cfg.batch)))
    for epoch in range(cfg.epochs):
        net.train()
        log = []
        for idx in torch.randperm(len(x)).split(cfg.batch):
            conf, loc = criterion(*net(x[idx]), label[idx], target[idx], cfg)
            opt.zero_grad()
            (conf + loc).backward()
            opt.step()
            sched.step()
            log.append((conf.item(), loc.item()))
        conf, loc = np.mean(log, 0)
        ap = [average_precision(net, vx, vgt, priors, cfg, at) for at in (0.5, 0.75)]
        print(f"epoch {epoch} conf_loss {conf:.3f} loc_loss {loc:.3f} val_ap50 {ap[0]:.4f} val_ap75 {ap[1]:.4f}")


if __name__ == "__main__":
    main()
