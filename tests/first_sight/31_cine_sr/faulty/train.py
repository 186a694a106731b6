"""Two-fold super-resolution of cardiac cine frames from three neighbouring low-resolution frames.

    python train.py --epochs 8 --border 6
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Cine(Dataset):
    """Each item: three consecutive low-resolution frames (3, 24, 24) and the middle frame at 48 x 48."""

    def __init__(self, n, seed, size=48):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[-1:1:size * 1j, -1:1:size * 1j]
        self.low, self.high = [], []
        for _ in range(n):
            ry, rx = rng.uniform(0.7, 0.85), rng.uniform(0.6, 0.8)
            body = (yy / ry) ** 2 + (xx / rx) ** 2 < 1
            texture = sum(rng.uniform(0.03, 0.08) * np.sin(f * (xx * np.cos(a) + yy * np.sin(a)) + p)
                          for f, a, p in zip(rng.uniform(5, 18, 5), rng.uniform(0, 3.1, 5), rng.uniform(0, 6, 5)))
            cy, cx, r, t = *rng.uniform(-0.2, 0.2, 2), rng.uniform(0.2, 0.32), rng.uniform(0, 6)
            frames = []
            for k in (-1, 0, 1):
                now = r * (1 + 0.15 * np.sin(t + 0.5 * k))
                d = np.hypot(yy - cy, xx - cx)
                img = np.where(body, 0.45 + texture, 0.02)
                img = np.where(d < now + 0.12, 0.25, img)
                img = np.where(d < now, 0.85, img)
                frames.append(img)
            high = torch.tensor(np.stack(frames), dtype=torch.float32)
            low = F.avg_pool2d(high[None], 2)[0] + 0.01 * torch.tensor(rng.normal(size=(3, size // 2, size // 2)), dtype=torch.float32)
            self.low.append(low)
            self.high.append(high[1:2])

    def __len__(self):
        return len(self.low)

    def __getitem__(self, i):
        return self.low[i], self.high[i]


class SRNet(nn.Module):
    def __init__(self, ch=20, blocks=3):
        super().__init__()
        self.head = nn.Conv2d(3, ch, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(ch, ch, 3, padding=1), nn.ReLU(), nn.Conv2d(ch, ch, 3, padding=1))
                                    for _ in range(blocks))
        self.tail = nn.Sequential(nn.Conv2d(ch, 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x):
        base = F.interpolate(x[:, 1:2], scale_factor=2, mode="bicubic", align_corners=False)
        f = self.head(x)
        for block in self.blocks:
            f = f + block(f)
        return base + self.tail(f)


def psnr(pred, target):
    return 10 * torch.log10(255 ** 2 / F.mse_loss(pred, target))


@torch.no_grad()
def validate(model, loader, border):
    model.eval()
    total, count, bicubic = 0.0, 0, 0.0
    for low, high in loader:
        pred = model(low).clamp(0, 1)
        plain = F.interpolate(low[:, 1:2], scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)
        for p, b, h in zip(pred, plain, high):
            inner = (slice(None), slice(None, border), slice(-border, None))
            total += psnr(p[inner] * 255, h[inner] * 255).item()
            bicubic += psnr(b[inner] * 255, h[inner] * 255).item()
            count += 1
    return total / count, bicubic / count


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--border", type=int, default=6)
    ap.add_argument("--batch", type=int, default=4)
    ap.add_argument("--lr", type=float, default=3e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(Cine(240, 0), args.batch, shuffle=True)
    val = DataLoader(Cine(40, 1), 20)
    model = SRNet()
    opt = torch.optim.Adam(model.parameters(), args.lr)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, args.epochs)
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for low, high in train:
            loss = F.l1_loss(model(low), high)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        sched.step()
        value, bicubic = validate(model, val, args.border)
        print(f"epoch {epoch} train_l1 {np.mean(losses):.5f} val_psnr {value:.2f} bicubic {bicubic:.2f}")


if __name__ == "__main__":
    main()
