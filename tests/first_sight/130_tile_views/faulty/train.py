"""Land cover of satellite tiles without labels: contrastive pretraining on two views a tile, then a linear probe."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

COVERS = ("forest", "fields", "town", "water", "scrub")


@dataclass
class Options:
    unlabelled: int = 1400
    labelled: int = 150
    test: int = 500
    size: int = 36
    crop: int = 28
    batch_size: int = 100
    epochs: int = 9
    lr: float = 2e-3
    temperature: float = 0.3
    seed: int = 6


def draw_tile(cover, size, rng):
    """One tile in three bands; season, haze and sun change its colours, the cover only its texture."""
    y, x = np.mgrid[:size, :size]
    angle, phase = rng.uniform(0, np.pi, 2)
    along = x * np.cos(angle) + y * np.sin(angle)
    noise = rng.normal(0, 1, (size, size))
    coarse = np.kron(rng.normal(0, 1, (size // 4, size // 4)), np.ones((4, 4)))
    texture = {
        "forest": lambda: noise,
        "fields": lambda: 1.4 * np.sign(np.sin(along / 2.2 + phase)) + 0.3 * noise,
        "town": lambda: 1.2 * coarse + 0.2 * noise,
        "water": lambda: np.sin(along * 1.6 + phase) * 0.8 + 0.4 * noise,
        "scrub": lambda: 0.8 * noise + 2.0 * (rng.random((size, size)) < 0.06),
    }[cover]()
    colour = rng.uniform(0.2, 0.8, 3)
    return colour[:, None, None] + rng.uniform(0.08, 0.14) * texture * rng.uniform(0.7, 1.3, 3)[:, None, None]


def draw_tiles(count, size, rng):
    labels = rng.integers(len(COVERS), size=count)
    tiles = np.stack([draw_tile(COVERS[label], size, rng) for label in labels])
    return torch.tensor(tiles, dtype=torch.float32), torch.tensor(labels)


def standardise(image):
    return (image - 0.5) / 0.25


class TwoViews(Dataset):
    def __init__(self, tiles, crop):
        self.tiles, self.crop = tiles, crop

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, index):
        return self.view(self.tiles[index]), self.view(self.tiles[index])

    def view(self, tile):
        top, left = torch.randint(tile.shape[-1] - self.crop + 1, (2,)).tolist()
        patch = tile[:, top : top + self.crop, left : left + self.crop]
        patch = torch.rot90(patch, int(torch.randint(4, ())), (1, 2))
        image = self.jitter(patch)
        image = standardise(patch)
        return image

    @staticmethod
    def jitter(patch):
        """Other brightness, contrast and colour balance."""
        mean = patch.mean((1, 2), keepdim=True)
        contrast = 0.7 + 0.6 * torch.rand(1, 1, 1)
        return (patch - mean) * contrast + 0.2 + 0.6 * torch.rand(3, 1, 1)


class Backbone(nn.Sequential):
    def __init__(self, width=16, features=64):
        super().__init__(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=1, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, features, 3, stride=2, padding=1), nn.BatchNorm2d(features), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )


def nt_xent(first, second, temperature):
    z = F.normalize(torch.cat([first, second]), dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    count = len(first)
    partner = torch.arange(2 * count).roll(count)
    return F.cross_entropy(similarity, partner)


def pretrain(options, tiles):
    backbone = Backbone()
    projector = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    loader = DataLoader(TwoViews(tiles, options.crop), batch_size=options.batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam([*backbone.parameters(), *projector.parameters()], lr=options.lr, weight_decay=1e-5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        for first, second in loader:
            loss = nt_xent(projector(backbone(first)), projector(backbone(second)), options.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        print(f"pretraining epoch {epoch:2d} loss {total / len(loader):.4f}")
    return backbone


@torch.no_grad()
def embed(backbone, tiles):
    backbone.eval()
    return torch.cat([backbone(standardise(part)) for part in tiles.split(250)])


def linear_probe(train, labels, test, test_labels, steps=300):
    """Accuracy of a linear classifier on frozen features."""
    mean, std = train.mean(0), train.std(0) + 1e-6
    train, test = (train - mean) / std, (test - mean) / std
    probe = nn.Linear(train.shape[1], len(COVERS))
    optimizer = torch.optim.Adam(probe.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(steps):
        loss = F.cross_entropy(probe(train), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return (probe(test).argmax(1) == test_labels).float().mean().item()


def main(options):
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    unlabelled, _ = draw_tiles(options.unlabelled, options.size, rng)
    labelled, labels = draw_tiles(options.labelled, options.size, rng)
    test, test_labels = draw_tiles(options.test, options.size, rng)
    backbone = pretrain(options, unlabelled)
    accuracy = linear_probe(embed(backbone, labelled), labels, embed(backbone, test), test_labels)
    print(f"linear probe on {options.labelled} tiles: accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main(Options())
