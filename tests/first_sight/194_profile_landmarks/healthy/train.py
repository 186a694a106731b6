"""Five cephalometric landmarks on lateral radiographs, one heat map for each landmark, mean radial error in millimetres."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

NAMES = ("sella", "nasion", "A point", "pogonion", "gonion")
MEAN_SHAPE = np.array([[0.42, 0.36], [0.74, 0.33], [0.76, 0.58], [0.70, 0.80], [0.36, 0.70]])
SIDE, RESIZED, CROP = 72, 44, 38
MM_PER_PIXEL = 2.5


def radiograph(rng):
    """Image of SIDE x SIDE pixels and the landmarks as (x, y), the first pixel reaches from 0 to 1."""
    turn, size = rng.normal(0, 0.06), rng.normal(1, 0.05)
    shape = (MEAN_SHAPE - 0.5) @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * size + 0.5
    points = (shape + rng.normal(0, 0.02, shape.shape) + rng.normal(0, 0.015, 2)) * SIDE
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    image = 0.4 * np.exp(-(((x - 0.5 * SIDE) / (0.34 * SIDE)) ** 4 + ((y - 0.45 * SIDE) / (0.38 * SIDE)) ** 4))

    def bone(a, b, width, level):
        t = np.clip(((x - a[0]) * (b[0] - a[0]) + (y - a[1]) * (b[1] - a[1])) / ((b - a) @ (b - a)), 0, 1)
        return level * np.exp(-((x - a[0] - t * (b - a)[0]) ** 2 + (y - a[1] - t * (b - a)[1]) ** 2) / (2 * width**2))

    sella, nasion, a_point, pogonion, gonion = points
    image += bone(sella, nasion, 1.5, 0.35) + bone(nasion, a_point, 1.2, 0.3) + bone(pogonion, gonion, 2.5, 0.4) + bone(gonion, sella + [0, 8], 2, 0.3)
    image -= 0.9 * np.exp(-((x - sella[0]) ** 2 + (y - sella[1]) ** 2) / 10)
    for (px, py), level in zip((a_point, pogonion, nasion), (0.3, 0.45, 0.2)):
        image += level * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)
    image += rng.normal(0, 0.05, image.shape) + 0.1 * np.cos(x / rng.uniform(8, 16))
    image = (image - image.mean()) / image.std()
    return torch.tensor(image[None], dtype=torch.float32), torch.tensor(points, dtype=torch.float32)


def resize(image):
    return F.interpolate(image[None], size=(RESIZED, RESIZED), mode="bilinear", align_corners=False, antialias=True)[0]


def training_view(image, points):
    left, top = torch.randint(0, RESIZED - CROP + 1, (2,)).tolist()
    image = resize(image)[:, top : top + CROP, left : left + CROP]
    points = points * (RESIZED / SIDE) - torch.tensor([left, top])
    return image, points


def test_view(image, points):
    edge = (RESIZED - CROP) // 2
    image = resize(image)[:, edge : edge + CROP, edge : edge + CROP]
    points = points * (RESIZED / SIDE) - edge
    return image, points


def heat_maps(points, sigma=1.5):
    centre = torch.arange(CROP) + 0.5
    gx = torch.exp(-((centre - points[:, :1]) ** 2) / (2 * sigma**2))
    gy = torch.exp(-((centre - points[:, 1:]) ** 2) / (2 * sigma**2))
    return gy[:, :, None] * gx[:, None, :]


class Cephalograms(Dataset):
    def __init__(self, count, seed, view):
        rng = np.random.default_rng(seed)
        self.films, self.view = [radiograph(rng) for _ in range(count)], view

    def __len__(self):
        return len(self.films)

    def __getitem__(self, index):
        image, points = self.view(*self.films[index])
        return image, heat_maps(points), points


class LandmarkNet(nn.Module):
    def __init__(self, width=10):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        self.fine, self.coarse, self.merge = block(1, width), block(width, 2 * width), block(3 * width, width)
        self.context = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, padding=3, dilation=3), nn.ReLU(), nn.Conv2d(2 * width, 2 * width, 3, padding=3, dilation=3), nn.ReLU())
        self.out = nn.Conv2d(width, len(NAMES), 1)

    def forward(self, x):
        a = self.fine(x)
        b = self.coarse(F.max_pool2d(a, 2))
        b = F.interpolate(b + self.context(b), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.out(self.merge(torch.cat([a, b], 1)))


def locate(maps, reach=2):
    """Centre of mass around the highest value of every map, as (x, y)."""
    points = torch.zeros(*maps.shape[:2], 2)
    for n, sample in enumerate(maps):
        for k, plane in enumerate(sample):
            j, i = divmod(plane.argmax().item(), CROP)
            rows, columns = slice(max(0, j - reach), j + reach + 1), slice(max(0, i - reach), i + reach + 1)
            weight = plane[rows, columns].clamp(min=1e-6)
            v, u = torch.arange(CROP)[rows] + 0.5, torch.arange(CROP)[columns] + 0.5
            points[n, k] = torch.stack([(weight.sum(0) * u).sum(), (weight.sum(1) * v).sum()]) / weight.sum()
    return points


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    losses, radial = [], []
    for image, target, points in loader:
        maps = model(image)
        losses.append(F.mse_loss(maps, target).item())
        radial.append((locate(maps) - points).norm(dim=2) * SIDE / RESIZED * MM_PER_PIXEL)
    return np.mean(losses), torch.cat(radial)


def main(epochs=11):
    torch.manual_seed(3)
    train_loader = DataLoader(Cephalograms(128, 1, training_view), 8, shuffle=True)
    test_loader = DataLoader(Cephalograms(40, 2, test_view), 20)
    model = LandmarkNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        model.train()
        losses = []
        for image, target, _ in train_loader:
            loss = F.mse_loss(model(image), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        test_loss, radial = evaluate(model, test_loader)
        print(f"epoch {epoch} loss {np.mean(losses):.5f} | test loss {test_loss:.5f} MRE {radial.mean():.2f} mm, within 5 mm {(radial < 5).float().mean():.3f}")
    print("; ".join(f"{name} {error:.2f} mm" for name, error in zip(NAMES, radial.mean(0).tolist())))


if __name__ == "__main__":
    main()
