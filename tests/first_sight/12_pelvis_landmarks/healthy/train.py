"""Heatmap regression of six pelvic landmarks on AP radiographs."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE, SIGMA = 48, 1.5
NAMES = ["femoral head L", "femoral head R", "iliac crest L", "iliac crest R", "ischium L", "ischium R"]


def radiograph(rng):
    """Image and landmarks (x, y); the patient's left is on the right of the image."""
    yy, xx = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    mid, height = SIZE / 2 + rng.uniform(-3, 3), rng.uniform(24, 30)
    image = rng.normal(0, 0.12, (SIZE, SIZE)) + 0.3 * np.exp(-((xx - mid) / 5) ** 2)
    points = np.zeros((6, 2), np.float32)
    spread = rng.uniform(0.9, 1.15)
    for side, sign in ((0, 1), (1, -1)):
        hip = (mid + sign * 12 * spread + rng.normal(0, 0.7), height + rng.normal(0, 0.7))
        crest = (mid + sign * 16 * spread + rng.normal(0, 0.7), height - 15 + rng.normal(0, 0.7))
        isch = (mid + sign * 7 * spread + rng.normal(0, 0.7), height + 11 + rng.normal(0, 0.7))
        image += 0.9 * np.exp(-(((xx - hip[0]) ** 2 + (yy - hip[1]) ** 2) / 12) ** 2)
        image += 0.7 * np.exp(-((xx - crest[0]) / 4) ** 2 - ((yy - crest[1]) / 2) ** 2)
        image += 0.7 * np.exp(-((xx - isch[0]) / 2) ** 2 - ((yy - isch[1]) / 3) ** 2)
        points[side], points[2 + side], points[4 + side] = hip, crest, isch
    return image.astype(np.float32), points


class Pelvis(Dataset):
    def __init__(self, count, seed, augment=False):
        rng = np.random.default_rng(seed)
        self.items, self.augment = [radiograph(rng) for _ in range(count)], augment
        self.grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)

    def __len__(self):
        return len(self.items)

    def transform(self, image, points):
        dx, dy = random.randint(-3, 3), random.randint(-3, 3)
        image, points = np.roll(image, (dy, dx), (0, 1)), points + np.float32([dx, dy])
        if random.random() < 0.5:
            image = image[:, ::-1]
            points[:, 0] = SIZE - 1 - points[:, 0]
            points = points[[1, 0, 3, 2, 5, 4]]
        return np.ascontiguousarray(image * np.float32(random.uniform(0.8, 1.2))), points

    def __getitem__(self, i):
        image, points = self.items[i]
        if self.augment:
            image, points = self.transform(image, points)
        heat = np.exp(-((self.grid[None] - points[:, None, None]) ** 2).sum(-1) / (2 * SIGMA ** 2))
        return torch.from_numpy(image)[None], torch.from_numpy(heat), torch.from_numpy(points)


class HeatmapNet(nn.Module):
    def __init__(self, ch=16, landmarks=len(NAMES)):
        super().__init__()
        conv = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.register_buffer("ramp", torch.linspace(-1, 1, SIZE).expand(1, 1, SIZE, SIZE))
        self.a, self.b, self.c = conv(3, ch), conv(ch, 2 * ch), nn.Sequential(conv(2 * ch, 2 * ch), conv(2 * ch, 2 * ch))
        self.d, self.e = conv(4 * ch, ch), conv(2 * ch, ch)
        self.out = nn.Conv2d(ch, landmarks, 1)

    def forward(self, x):
        where = torch.cat([self.ramp, self.ramp.transpose(2, 3)], 1).expand(len(x), -1, -1, -1)
        a = self.a(torch.cat([x, where], 1))
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        d = self.d(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        return self.out(self.e(torch.cat([F.interpolate(d, scale_factor=2), a], 1)))


def peaks(heat):
    best = heat.flatten(2).argmax(-1)
    return torch.stack([best % SIZE, best // SIZE], -1).float()


def main():
    random.seed(0)
    torch.manual_seed(0)
    train = DataLoader(Pelvis(240, 1, augment=True), batch_size=12, shuffle=True)
    test = DataLoader(Pelvis(60, 2), batch_size=20)
    net = HeatmapNet()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for epoch in range(14):
        net.train()
        running = 0.0
        for image, heat, _ in train:
            loss = 50 * F.mse_loss(net(image), heat)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item() / len(train)
        net.eval()
        with torch.no_grad():
            error = torch.cat([(peaks(net(image)) - points).norm(dim=-1) for image, _, points in test])
        print(f"epoch {epoch} loss {running:.4f} mean radial error {error.mean():.2f} px, within 2 px {100 * (error < 2).float().mean():.1f} %")


if __name__ == "__main__":
    main()
