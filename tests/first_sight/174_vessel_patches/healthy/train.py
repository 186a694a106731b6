"""Retinal vessel segmentation on random patches of few, large images: patch sampler, trainer, whole-image validation."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, get_worker_info


def fundus(rng, size=128):
    rows, cols = np.mgrid[0:size, 0:size] / size
    image = 0.5 + 0.15 * np.cos(3 * rows + rng.uniform(0, 6)) + 0.1 * np.cos(4 * cols + rng.uniform(0, 6))
    mask = np.zeros((size, size), bool)
    for _ in range(9):
        angle, offset, bend, width = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45), rng.uniform(0, 0.06), rng.uniform(0.008, 0.022)
        along = (cols - 0.5) * np.cos(angle) + (rows - 0.5) * np.sin(angle)
        across = (rows - 0.5) * np.cos(angle) - (cols - 0.5) * np.sin(angle)
        vessel = np.abs(across - offset - bend * np.sin(9 * along)) < width
        image = np.where(vessel, image - rng.uniform(0.08, 0.2), image)
        mask |= vessel
    for _ in range(12):
        cy, cx, r = rng.uniform(0, 1, 2).tolist() + [rng.uniform(0.01, 0.03)]
        image = image - rng.uniform(0.1, 0.25) * np.exp(-((rows - cy) ** 2 + (cols - cx) ** 2) / (2 * r * r))
    image = image + rng.normal(0, 0.05, image.shape)
    return ((image - 0.45) / 0.2).astype(np.float32), mask.astype(np.float32)


class PatchSampler(Dataset):
    """An epoch is `length` patches, each from a random place of a random image, with random flip and contrast."""

    def __init__(self, cases, length, patch, seed):
        self.cases, self.length, self.patch = cases, length, patch
        self.reseed(seed)

    def reseed(self, seed):
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        image, mask = self.cases[self.rng.integers(len(self.cases))]
        y, x = self.rng.integers(0, image.shape[0] - self.patch + 1, 2)
        image, mask = (a[y:y + self.patch, x:x + self.patch] for a in (image, mask))
        if self.rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        turns = self.rng.integers(4)
        image, mask = np.rot90(image, turns) * self.rng.uniform(0.8, 1.25), np.rot90(mask, turns)
        return torch.tensor(image.copy(), dtype=torch.float32)[None], torch.tensor(mask.copy())[None]


def reseed_worker(worker):
    get_worker_info().dataset.reseed(torch.initial_seed() % 2**32)


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.01))


class MiniUNet(nn.Module):
    def __init__(self, w=16):
        super().__init__()
        self.a, self.b, self.c = conv(1, w), conv(w, 2 * w), conv(2 * w, 2 * w)
        self.up, self.d, self.out = nn.ConvTranspose2d(2 * w, w, 2, 2), conv(2 * w, w), nn.Conv2d(w, 1, 1)

    def forward(self, x):
        a = self.a(x)
        deep = self.up(self.c(self.b(F.max_pool2d(a, 2))))
        return self.out(self.d(torch.cat([a, deep], 1)))


class Trainer:
    def __init__(self, seed=5, epochs=16):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        self.val_cases = [fundus(rng) for _ in range(6)]
        sampler = PatchSampler([fundus(rng) for _ in range(12)], length=64, patch=32, seed=seed)
        self.loader = DataLoader(sampler, batch_size=8, num_workers=2, worker_init_fn=reseed_worker)
        self.net, self.epochs = MiniUNet(), epochs
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=3e-3, weight_decay=1e-4)
        self.scheduler = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, epochs, 0.9)

    @staticmethod
    def loss(logits, mask):
        p = logits.sigmoid()
        soft = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
        return soft + F.binary_cross_entropy_with_logits(logits, mask)

    def run(self):
        for epoch in range(self.epochs):
            self.net.train()
            losses = []
            for image, mask in self.loader:
                self.optimizer.zero_grad()
                loss = self.loss(self.net(image), mask)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            self.scheduler.step()
            print(f"epoch {epoch:2d}: train loss {np.mean(losses):.4f}, dice on whole images {self.validate():.4f}")

    @torch.no_grad()
    def validate(self):
        self.net.eval()
        scores = []
        for image, mask in self.val_cases:
            guess = (self.net(torch.from_numpy(image)[None, None])[0, 0] > 0).numpy()
            scores.append(2 * (guess * mask).sum() / (guess.sum() + mask.sum()))
        return float(np.mean(scores))


if __name__ == "__main__":
    Trainer().run()
