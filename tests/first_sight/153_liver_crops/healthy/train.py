"""Segmentation of bright lesions in slices of the abdomen, learned from random crops drawn by two loader workers."""
import math

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def abdomen(rng, size=160):
    """A slice with smooth organs, vessels that look like lesions but are long, and a few round lesions."""
    y, x = np.mgrid[0:size, 0:size] / size
    image = 0.5 + 0.2 * np.sin(rng.uniform(2, 7) * x + rng.uniform(0, 6)) * np.cos(rng.uniform(2, 7) * y + rng.uniform(0, 6))
    mask = np.zeros((size, size), bool)
    for _ in range(rng.integers(5, 9)):
        angle, offset, width = rng.uniform(0, math.pi), rng.uniform(-0.5, 0.5), rng.uniform(0.01, 0.02)
        image[np.abs((x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle) - offset) < width] += rng.uniform(0.15, 0.3)
    for _ in range(rng.integers(10, 17)):
        cy, cx, a, b = *rng.uniform(0.05, 0.95, 2), *rng.uniform(0.02, 0.045, 2)
        blob = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        image[blob] += rng.uniform(0.15, 0.3)
        mask |= blob
    image += rng.normal(0, 0.07, image.shape)
    return ((image - 0.6) / 0.25).astype(np.float32), mask.astype(np.float32)


class Crops(Dataset):
    """Some random crops of every slice in each epoch, turned and mirrored at random."""

    def __init__(self, slices, crop=40, per_slice=4, seed=0):
        self.slices, self.crop, self.per_slice = slices, crop, per_slice
        self.seed, self.rng = seed, np.random.default_rng(seed)

    def __len__(self):
        return len(self.slices) * self.per_slice

    def reseed(self, seed):
        self.rng = np.random.default_rng(seed)

    def __getitem__(self, index):
        image, mask = self.slices[index // self.per_slice]
        top, left = (int(self.rng.integers(0, side - self.crop + 1)) for side in image.shape)
        window = slice(top, top + self.crop), slice(left, left + self.crop)
        turns, mirror = int(self.rng.integers(4)), self.rng.random() < 0.5
        pair = np.rot90(np.stack([image[window], mask[window]]), turns, (1, 2))
        pair = torch.from_numpy((pair[..., ::-1] if mirror else pair).copy())
        return pair[:1], pair[1:]


def start_worker(worker):
    torch.set_num_threads(1)
    torch.utils.data.get_worker_info().dataset.reseed(torch.initial_seed() % 2**32)


class UNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.down1, self.down2 = self.block(1, width), self.block(width, 2 * width)
        self.middle = self.block(2 * width, 2 * width)
        self.up2, self.up1 = self.block(4 * width, width), self.block(2 * width, width)
        self.pool, self.scale, self.out = nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(width, 1, 1)

    @staticmethod
    def block(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU())

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.middle(self.pool(b))
        b = self.up2(torch.cat([b, self.scale(c)], 1))
        return self.out(self.up1(torch.cat([a, self.scale(b)], 1)))


class Trainer:
    def __init__(self, model, loader, valid, epochs, lr=6e-3):
        self.model, self.loader, self.valid, self.epochs = model, loader, valid, epochs
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs * len(loader))

    def loss(self, logits, mask):
        p = logits.sigmoid()
        dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
        return nn.functional.binary_cross_entropy_with_logits(logits, mask) + dice

    def train_epoch(self):
        self.model.train()
        losses = []
        for image, mask in self.loader:
            loss = self.loss(self.model(image), mask)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            losses.append(loss.item())
        return np.mean(losses)

    @torch.no_grad()
    def dice(self, slices):
        self.model.eval()
        both = size = 0.0
        for image, mask in slices:
            guess = self.model(torch.from_numpy(image)[None, None])[0, 0] > 0
            both, size = both + (guess * torch.from_numpy(mask)).sum(), size + guess.sum() + mask.sum()
        return float(2 * both / size)

    def run(self):
        for epoch in range(1, self.epochs + 1):
            loss = self.train_epoch()
            if epoch % 15 == 0:
                print(f"epoch {epoch:2d} loss {loss:.4f} validation dice {self.dice(self.valid):.4f}")


if __name__ == "__main__":
    torch.manual_seed(3)
    rng = np.random.default_rng(11)
    train, valid = [abdomen(rng) for _ in range(2)], [abdomen(rng) for _ in range(6)]
    loader = DataLoader(Crops(train), batch_size=4, shuffle=True, num_workers=2, worker_init_fn=start_worker)
    trainer = Trainer(UNet(), loader, valid, epochs=75)
    trainer.run()
    print(f"dice: training slices {trainer.dice(train):.4f}, validation slices {trainer.dice(valid):.4f}")
