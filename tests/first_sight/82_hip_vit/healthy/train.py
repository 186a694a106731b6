"""Landmarks of the hip in radiographs: a small vision transformer with a heat map per landmark."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

SIZE, PATCH, POINTS = 64, 8, 5


def radiograph(rng):
    """Pelvis-like image; landmarks: both femoral heads, both acetabular corners, symphysis."""
    yy, xx = np.mgrid[:SIZE, :SIZE].astype(float)
    cx, cy = SIZE / 2 + rng.normal(0, 3), SIZE / 2 + rng.normal(0, 3)
    half, tilt = rng.uniform(13, 19), rng.normal(0, 0.15)
    image = 0.2 * np.exp(-(((xx - cx) / 26) ** 2 + ((yy - cy) / 26) ** 2))
    points = []
    for side in (-1, 1):
        hx, hy = cx + side * half, cy + side * half * tilt
        radius = rng.uniform(4, 6)
        image += 0.5 * (np.hypot(xx - hx, yy - hy) < radius)
        ax, ay = hx + side * (radius + 1), hy - radius - 2
        image += 0.4 * ((np.abs(yy - ay + (xx - ax) * side * 0.5) < 1.5) & (side * (xx - ax) < 0) & (side * (xx - ax) > -8))
        image += 0.35 * ((np.abs(xx - hx - side * 2) < 3) & (yy > hy + radius))
        points += [(hx, hy), (ax, ay)]
    sx, sy = cx + rng.normal(0, 1), cy + rng.uniform(8, 13)
    image += 0.4 * ((np.abs(yy - sy) < 3) & (np.abs(xx - sx) > 1.5) & (np.abs(xx - sx) < 6))
    points.append((sx, sy))
    image = gaussian_filter(image, 0.8) * rng.uniform(0.7, 1.3) + rng.normal(0, 0.05, image.shape)
    return image.astype(np.float32), np.array(points, np.float32)


def make_set(count, seed):
    rng = np.random.default_rng(seed)
    images, points = zip(*[radiograph(rng) for _ in range(count)])
    return torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(points))


def heatmaps(points, side=SIZE // 4, sigma=3.0):
    grid = (torch.arange(side) + 0.5) * SIZE / side
    dx = grid[None, None, None, :] - points[..., 0, None, None]
    dy = grid[None, None, :, None] - points[..., 1, None, None]
    maps = torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    return maps / maps.sum((2, 3), keepdim=True)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViTLandmarks(nn.Module):
    def __init__(self, dim=48, depth=2, heads=4):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(1, 16, 5, stride=4, padding=2), nn.GELU(), nn.Conv2d(16, dim, 3, stride=2, padding=1))
        self.position = nn.Parameter(torch.randn(1, (SIZE // PATCH) ** 2, dim) * 0.02)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Sequential(nn.Conv2d(dim, POINTS * 4, 1), nn.PixelShuffle(2))

    def forward(self, x):
        x = self.embed(x)
        b, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).transpose(1, 2).reshape(b, c, h, w))


class LayerDecay:
    """Smaller learning rates for the layers nearer to the input."""

    def __init__(self, optimizer, scales):
        self.optimizer = optimizer
        self.scales = scales
        for group, scale in zip(self.optimizer.param_groups, self.scales):
            group["lr"] *= scale

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        self.optimizer.step()


def layer_groups(model, lr, decay):
    stages = [[model.position, *model.embed.parameters()], *[list(b.parameters()) for b in model.blocks]]
    stages.append([*model.norm.parameters(), *model.head.parameters()])
    scales = [decay ** (len(stages) - 1 - i) for i in range(len(stages))]
    return [{"params": stage, "lr": lr} for stage in stages], scales


@torch.no_grad()
def radial_error(model, images, points):
    model.eval()
    maps = model(images)
    side = maps.shape[-1]
    top = maps.flatten(2).argmax(2)
    found = (torch.stack([top % side, top // side], -1) + 0.5) * SIZE / side
    return (found - points).norm(dim=-1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--layer-decay", type=float, default=0.8)
    parser.add_argument("--milestones", type=int, nargs="+", default=[5, 6])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    images, points = make_set(480, seed=11)
    val_images, val_points = make_set(200, seed=12)
    targets = heatmaps(points)
    model = ViTLandmarks()
    groups, scales = layer_groups(model, args.lr, args.layer_decay)
    adam = torch.optim.AdamW(groups, weight_decay=1e-4)
    optimizer = LayerDecay(adam, scales)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(adam, args.milestones, gamma=0.2)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for batch in torch.randperm(len(images)).split(args.batch_size):
            loss = -(targets[batch] * F.log_softmax(model(images[batch]).flatten(2), 2).unflatten(2, (SIZE // 4, SIZE // 4))).sum((2, 3)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        scheduler.step()
        error = radial_error(model, val_images, val_points)
        print(f"epoch {epoch} head lr {adam.param_groups[-1]['lr']:.1e} loss {total / len(images):.3f} val radial error {error.mean():.2f} px, within 4 px {100 * (error < 4).float().mean():.1f} %")
    torch.save(model.state_dict(), "hip_vit.pt")


if __name__ == "__main__":
    main()
