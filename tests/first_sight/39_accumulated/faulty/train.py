"""Vessel segmentation with a vision transformer: bfloat16 autocast, gradients accumulated, warm-up and polynomial decay."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Args:
    epochs: int = 7
    micro_batch: int = 4
    accumulate: int = 4
    lr: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.02
    n_train: int = 256
    n_val: int = 40


def vessels(n, seed, size=32):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size] / size
    images, masks = [], []
    for _ in range(n):
        img = 0.55 + 0.15 * np.sin(4 * xx + rng.uniform(0, 6)) * np.cos(4 * yy + rng.uniform(0, 6))
        mask = np.zeros((size, size), bool)
        for _ in range(rng.integers(2, 5)):
            a, b, w, bend = rng.uniform(0, math.pi), rng.uniform(-0.3, 0.3), rng.uniform(0.025, 0.06), rng.uniform(0, 0.08)
            u, v = (xx - 0.5) * np.cos(a) + (yy - 0.5) * np.sin(a), (yy - 0.5) * np.cos(a) - (xx - 0.5) * np.sin(a)
            line = np.abs(v - b - bend * np.sin(8 * u)) < w
            img[line] -= rng.uniform(0.12, 0.3)
            mask |= line
        for _ in range(3):
            cy, cx = rng.uniform(0, 1, 2)
            img -= 0.25 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 0.004)
        images.append(img + rng.normal(0, 0.06, img.shape))
        masks.append(mask)
    x = torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    return TensorDataset((x - 0.45) / 0.2, torch.tensor(np.stack(masks), dtype=torch.float32)[:, None])


class ViTSegmenter(nn.Module):
    def __init__(self, patch=4, grid=8, dim=64, depth=2, heads=4):
        super().__init__()
        self.patch = patch
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.GELU())
        self.embed = nn.Conv2d(16, dim, patch, patch)
        self.pos = nn.Parameter(torch.randn(1, grid * grid, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.up = nn.ConvTranspose2d(dim, 16, patch, patch)
        self.out = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 1, 1))

    def forward(self, x):
        s = self.stem(x)
        t = self.embed(s)
        h, w = t.shape[-2:]
        t = self.blocks(t.flatten(2).transpose(1, 2) + self.pos)
        return self.out(torch.cat([s, self.up(t.transpose(1, 2).unflatten(2, (h, w)))], 1))


def dice_loss(logits, mask):
    p = logits.sigmoid()
    return 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)


@torch.no_grad()
def val_dice(model, loader):
    model.eval()
    inter = size = 0
    for x, y in loader:
        p = model(x) > 0
        inter, size = inter + (p & (y > 0)).sum(), size + p.sum() + y.sum()
    return (2 * inter / size).item()


def warmup_poly(optimizer, warm, total):
    def factor(step):
        return (step + 1) / warm if step < warm else max(0.0, 1 - (step - warm) / max(1, total - warm)) ** 0.9
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def main(args=Args()):
    torch.manual_seed(0)
    train = DataLoader(vessels(args.n_train, 0), args.micro_batch, shuffle=True, drop_last=True)
    val = DataLoader(vessels(args.n_val, 1), 20)
    model = ViTSegmenter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    updates = args.epochs * len(train) // args.accumulate
    scheduler = warmup_poly(optimizer, int(args.warmup * updates), updates)
    print(f"{updates} updates of {args.micro_batch * args.accumulate} slices")
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for i, (image, mask) in enumerate(train):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(image)
            logits = logits.float()
            loss = F.binary_cross_entropy_with_logits(logits, mask) + dice_loss(logits, mask)
            (loss / args.accumulate).backward()
            losses.append(loss.item())
            if (i + 1) % args.accumulate == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()
        print(f"epoch {epoch} train_loss {np.mean(losses):.4f} val_dice {val_dice(model, val):.4f}")


if __name__ == "__main__":
    main()
