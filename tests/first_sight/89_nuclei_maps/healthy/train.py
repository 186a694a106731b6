"""Nuclei in histology tiles: a map of nucleus pixels and, inside the nuclei, a map of the distance to the border."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy import ndimage
from torch.utils.data import DataLoader, Dataset


class NucleiTiles(Dataset):
    """Tiles of 48 x 48; stroma tiles hold no nucleus."""

    def __init__(self, count, seed, side=48, stroma=0.28):
        rng = np.random.default_rng(seed)
        self.tiles = [self.make(rng, side, rng.random() < stroma) for _ in range(count)]

    @staticmethod
    def make(rng, side, empty):
        yy, xx = np.mgrid[:side, :side]
        distance = np.zeros((side, side))
        mask = np.zeros((side, side), bool)
        for _ in range(0 if empty else rng.integers(2, 8)):
            x, y, a, b, t = *rng.uniform(4, side - 4, 2), *rng.uniform(3, 7, 2), rng.uniform(0, np.pi)
            u, v = (xx - x) * np.cos(t) + (yy - y) * np.sin(t), (yy - y) * np.cos(t) - (xx - x) * np.sin(t)
            one = (u / a) ** 2 + (v / b) ** 2 < 1
            if (one & ndimage.binary_dilation(mask)).any():
                continue
            mask |= one
            inside = ndimage.distance_transform_edt(one)
            distance = np.maximum(distance, inside / max(inside.max(), 1))
        stain = np.where(mask, rng.uniform(0.55, 0.75), 0.3) + 0.12 * ndimage.gaussian_filter(rng.normal(0, 4, mask.shape), 3)
        stain = ndimage.gaussian_filter(stain, 0.8)
        rgb = np.stack([1 - 0.7 * stain, 1 - stain, 1 - 0.4 * stain]) + rng.normal(0, 0.06, (3, side, side))
        return [torch.from_numpy(a).float() for a in (rgb - 0.6, mask[None], distance[None])]

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, i):
        image, mask, distance = self.tiles[i]
        if torch.rand(()) < 0.5:
            image, mask, distance = (t.flip(-1) for t in (image, mask, distance))
        return image, mask, distance


class MapNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()

        def block(cin, cout):
            return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.GroupNorm(4, cout), nn.ReLU(), nn.Conv2d(cout, cout, 3, padding=1), nn.ReLU())

        self.down1, self.down2 = block(3, width), block(width, 2 * width)
        self.up = block(3 * width, width)
        self.nucleus, self.distance = nn.Conv2d(width, 1, 1), nn.Conv2d(width, 1, 1)

    def forward(self, x):
        fine = self.down1(x)
        coarse = self.down2(F.max_pool2d(fine, 2))
        x = self.up(torch.cat([fine, F.interpolate(coarse, scale_factor=2)], 1))
        return self.nucleus(x), self.distance(x).sigmoid()


class MaskedL1(nn.Module):
    def __init__(self, eps=1e-6):
        super().__init__()
        self.eps = eps

    def forward(self, predicted, target, mask):
        difference = (predicted - target).abs()
        return (difference * mask).sum() / (mask.sum() + self.eps)


class BalancedCrossEntropy(nn.Module):
    """As many background pixels as three times the nucleus pixels, the hardest ones."""

    def __init__(self, ratio=3, least=100):
        super().__init__()
        self.ratio, self.least = ratio, least

    def forward(self, logits, target):
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        positive = int(target.sum())
        negatives = (loss * (1 - target)).flatten()
        negatives = negatives.topk(min(len(negatives), max(self.ratio * positive, self.least))).values
        return ((loss * target).sum() + negatives.sum()) / (positive + len(negatives))


class MapLoss(nn.Module):
    def __init__(self, scale=2.0):
        super().__init__()
        self.scale, self.bce, self.l1 = scale, BalancedCrossEntropy(), MaskedL1()

    def forward(self, outputs, mask, target):
        nucleus, distance = outputs
        parts = {"bce": self.bce(nucleus, mask), "l1": self.l1(distance, target, mask)}
        return parts["bce"] + self.scale * parts["l1"], parts


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    overlap = total = error = pixels = 0.0
    for image, mask, target in loader:
        nucleus, distance = model(image)
        found = (nucleus > 0).float()
        overlap += 2 * (found * mask).sum().item()
        total += (found.sum() + mask.sum()).item()
        error += ((distance - target).abs() * mask).sum().item()
        pixels += mask.sum().item()
    return overlap / total, error / pixels


def main():
    torch.manual_seed(5)
    train, val = NucleiTiles(280, seed=1), NucleiTiles(80, seed=2)
    loader, val_loader = DataLoader(train, batch_size=4, shuffle=True), DataLoader(val, batch_size=40)
    model, criterion = MapNet(), MapLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(1, 7):
        model.train()
        sums = {"bce": 0.0, "l1": 0.0}
        for image, mask, target in loader:
            loss, parts = criterion(model(image), mask, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, part in parts.items():
                sums[name] += part.item() / len(loader)
        dice, error = evaluate(model, val_loader)
        print(f"epoch {epoch} bce {sums['bce']:.4f} l1 {sums['l1']:.4f} val Dice {dice:.3f} distance error {error:.4f}")
    torch.save(model.state_dict(), "nuclei.pt")


if __name__ == "__main__":
    main()
