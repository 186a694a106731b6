"""Fundus patches in three grades, the two severe ones rare.

    python train.py --epochs 8 --batch-size 32
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

GRADES = ["healthy", "mild", "severe"]
FREQUENCY = [0.86, 0.09, 0.05]


class FundusPatches(Dataset):
    def __init__(self, n, seed, augment):
        self.rng = np.random.default_rng(seed)
        self.labels = torch.from_numpy(self.rng.choice(3, n, p=FREQUENCY))
        self.images = torch.stack([self.paint(int(grade)) for grade in self.labels])
        self.augment = augment

    def paint(self, grade):
        r = self.rng
        yy, xx = np.mgrid[0:32, 0:32] / 31.0
        img = 0.55 + 0.1 * np.sin(3 * xx * r.uniform(0.5, 1.5) + r.uniform(0, 6)) * np.cos(3 * yy + r.uniform(0, 6))
        for _ in range(r.integers(2, 5)):
            a, c = r.uniform(-1, 1), r.uniform(0.2, 0.8)
            img -= 0.12 * np.exp(-((yy - c - a * (xx - 0.5)) / 0.03) ** 2)
        for _ in range([0, r.integers(2, 4), r.integers(3, 7)][grade]):
            cy, cx = r.uniform(0.1, 0.9, 2)
            img -= 0.3 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 0.0016)
        if grade == 2:
            for _ in range(r.integers(2, 4)):
                cy, cx = r.uniform(0.1, 0.9, 2)
                img += 0.3 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 0.003)
        img += r.normal(0, 0.03, img.shape)
        return torch.tensor((img - 0.5) / 0.15, dtype=torch.float32)[None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            image = torch.rot90(image, int(torch.randint(0, 4, ())), (1, 2))
            if torch.rand(()) < 0.5:
                image = image.flip(2)
        return image, self.labels[i]


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.head = nn.Linear(4 * width, 3)

    def forward(self, x):
        f = self.features(x)
        return self.head(torch.cat([f.mean((2, 3)), f.amax((2, 3))], 1))


def make_loaders(args):
    train = FundusPatches(args.n_train, 0, augment=True)
    val = FundusPatches(500, 1, augment=False)
    counts = torch.bincount(train.labels, minlength=3)
    class_weight = counts.sum() / (3.0 * counts)
    print("training patches per grade:", dict(zip(GRADES, counts.tolist())))
    sampler = WeightedRandomSampler(class_weight[train.labels], num_samples=len(train), replacement=True)
    return (DataLoader(train, args.batch_size, sampler=sampler), DataLoader(val, 100))


@torch.no_grad()
def balanced_accuracy(net, loader):
    net.eval()
    hit, seen = torch.zeros(3), torch.zeros(3)
    for x, y in loader:
        pred = net(x).argmax(1)
        for c in range(3):
            hit[c] += ((pred == y) & (y == c)).sum()
            seen[c] += (y == c).sum()
    return hit / seen.clamp(min=1)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--epochs", type=int, default=8)
    ap.add_argument("--batch-size", type=int, default=32)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--n-train", type=int, default=1200)
    args = ap.parse_args()
    torch.manual_seed(0)
    train, val = make_loaders(args)
    net = Net()
    opt = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, args.epochs)
    for epoch in range(args.epochs):
        net.train()
        losses = []
        for x, y in train:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        sched.step()
        recall = balanced_accuracy(net, val)
        print(f"epoch {epoch} train_loss {np.mean(losses):.4f} val_balanced_acc {recall.mean():.4f} "
              + " ".join(f"{g} {r:.2f}" for g, r in zip(GRADES, recall.tolist())))


if __name__ == "__main__":
    main()
