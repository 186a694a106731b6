"""Prostate zones on T2 slices. Jobs on our cluster are short: a first job trains, a second one continues from the latest checkpoint."""
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 3


def slices(count, seed, size=32):
    """Central gland and peripheral zone in a noisy pelvis."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    images, labels = [], []
    for _ in range(count):
        cy, cx = size / 2 + rng.uniform(-5, 5, 2)
        ry, rx = rng.uniform(6, 9), rng.uniform(7, 10)
        whole = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
        gland = ((y - cy + 0.25 * ry) / (0.62 * ry)) ** 2 + ((x - cx) / (0.65 * rx)) ** 2
        label = np.zeros((size, size), int)
        label[whole < 1] = 2
        label[(gland < 1) & (whole < 1)] = 1
        levels = np.array([0.45, 0.4, 0.62]) + rng.normal(0, 0.03, 3)
        image = levels[label] + 0.1 * np.cos(x / rng.uniform(2, 6) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(2, 6))
        for _ in range(3):
            image += rng.uniform(-0.2, 0.2) * np.exp(-((y - rng.uniform(0, size)) ** 2 + (x - rng.uniform(0, size)) ** 2) / rng.uniform(4, 20))
        image = image + rng.normal(0, 0.07, image.shape)
        images.append((image - image.mean()) / image.std())
        labels.append(label)
    return TensorDataset(torch.tensor(np.stack(images), dtype=torch.float32)[:, None], torch.tensor(np.stack(labels)))


def unet(width=10):
    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            def block(a, b):
                return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.InstanceNorm2d(b, affine=True), nn.LeakyReLU(0.01),
                                     nn.Conv2d(b, b, 3, padding=1), nn.InstanceNorm2d(b, affine=True), nn.LeakyReLU(0.01))
            self.a, self.b, self.c = block(1, width), block(width, 2 * width), block(2 * width, 2 * width)
            self.d, self.out = block(5 * width, width), nn.Conv2d(width, CLASSES, 1)

        def forward(self, x):
            a = self.a(x)
            b = self.b(F.max_pool2d(a, 2))
            c = self.c(F.max_pool2d(b, 2))
            up = [F.interpolate(t, size=x.shape[-2:], mode="bilinear", align_corners=False) for t in (b, c)]
            return self.out(self.d(torch.cat([a, *up], 1)))
    return UNet()


def dice_ce(logits, label):
    p, t = logits.softmax(1)[:, 1:], F.one_hot(label, CLASSES).permute(0, 3, 1, 2)[:, 1:].float()
    dice = (2 * (p * t).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + t.sum((0, 2, 3)) + 1)
    return F.cross_entropy(logits, label) + 1 - dice.mean()


@torch.no_grad()
def foreground_dice(network, dataset):
    network.eval()
    common, sizes = torch.zeros(CLASSES - 1), torch.zeros(CLASSES - 1)
    for image, label in DataLoader(dataset, 20):
        predicted = network(image).argmax(1)
        for k in range(1, CLASSES):
            common[k - 1] += ((predicted == k) & (label == k)).sum()
            sizes[k - 1] += (predicted == k).sum() + (label == k).sum()
    return (2 * common / sizes.clamp(min=1)).mean().item()


class Trainer:
    progress = ("epoch", "history")

    def __init__(self, folder, train_set, val_set, lr=2.5e-2, cycle=6):
        self.latest, self.best = Path(folder) / "latest.pt", Path(folder) / "best.pt"
        self.train_set, self.val_set = train_set, val_set
        self.network = unet()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=lr, weight_decay=1e-3)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(self.optimizer, cycle, 2)
        self.epoch, self.history, self.best_score = 0, [], -1.0

    def save(self, path):
        torch.save({"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict(),
                    "progress": {name: getattr(self, name) for name in self.progress}}, path)

    def load(self, path):
        checkpoint = torch.load(path)
        for part in ("network", "optimizer", "scheduler"):
            getattr(self, part).load_state_dict(checkpoint[part])
        for name in self.progress:
            setattr(self, name, checkpoint["progress"][name])

    def train_epoch(self):
        self.network.train()
        losses = []
        for image, label in DataLoader(self.train_set, 8, shuffle=True):
            loss = dice_ce(self.network(image), label)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            self.optimizer.step()
            losses.append(loss.item())
        self.scheduler.step()
        return float(np.mean(losses))

    def run(self, until):
        while self.epoch < until:
            loss, score = self.train_epoch(), foreground_dice(self.network, self.val_set)
            self.epoch += 1
            self.history.append((loss, score))
            note = ""
            if score > self.best_score:
                self.best_score = score
                self.save(self.best)
                note = ", new best"
            self.save(self.latest)
            print(f"  epoch {self.epoch} loss {loss:.4f} val dice {score:.4f}{note}")


if __name__ == "__main__":
    torch.manual_seed(12)
    train_set, val_set, test_set = slices(80, 1), slices(30, 2), slices(40, 3)
    with tempfile.TemporaryDirectory() as folder:
        print("first job")
        Trainer(folder, train_set, val_set).run(until=6)
        print("second job")
        trainer = Trainer(folder, train_set, val_set)
        trainer.load(trainer.latest)
        trainer.run(until=7)
        print("best of all epochs by validation: {:.4f}".format(max(score for _, score in trainer.history)))
        trainer.load(trainer.best)
        print(f"kept model of epoch {trainer.epoch}: val dice {foreground_dice(trainer.network, val_set):.4f}, test dice {foreground_dice(trainer.network, test_set):.4f}")
