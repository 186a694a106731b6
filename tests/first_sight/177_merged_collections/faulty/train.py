"""Pneumonia on CT slices: several public collections are merged, cleaned and split, then a network is trained."""
import argparse
import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--batch", type=int, default=24)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--seed", type=int, default=9)
parser.add_argument("--val", type=float, default=0.3)
args = parser.parse_args()


def slice_of_lung(rng, sick, size=40):
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    lung = ((x - 20) / 17) ** 2 + ((y - 20) / 15) ** 2 < 1
    image = np.where(lung, 60.0, 170.0) + rng.normal(0, 14, (size, size))
    for _ in range(rng.integers(3, 7)):
        cy, cx, r = rng.uniform(8, 32), rng.uniform(6, 34), rng.uniform(0.8, 1.8)
        image += lung * rng.uniform(30, 70) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r * r))
    for _ in range(rng.integers(1, 4) if sick else rng.integers(0, 2)):
        cy, cx, r = rng.uniform(10, 30), rng.uniform(8, 32), rng.uniform(2.5, 5)
        image += lung * rng.uniform(20, 50) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r * r))
    return np.clip(image, 0, 255).astype(np.uint8)


def collections(rng):
    """Two original collections, one patient a slice, and a compilation that took over slices of both under names of its own."""
    alpha, beta, compiled = [], [], []
    for source, name, count in ((alpha, "alpha", 150), (beta, "beta", 150)):
        for k in range(count):
            sick = int(rng.random() < 0.5)
            source.append({"file": f"{name}/{k:04d}.png", "image": slice_of_lung(rng, sick), "sick": sick})
    taken = rng.permutation(len(alpha) + len(beta))[:220]
    for k, index in enumerate(taken):
        row = (alpha + beta)[index]
        compiled.append({"file": f"compiled/{'pneumonia' if row['sick'] else 'normal'}_{k}.png", "image": row["image"].copy(), "sick": row["sick"]})
    return alpha + beta + compiled


def merge(rows):
    """Every slice once."""
    known, kept = set(), []
    for row in rows:
        key = hashlib.md5(row["file"].encode()).hexdigest()
        if key not in known:
            known.add(key)
            kept.append(row)
    return kept


class Slices(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        image = torch.from_numpy(self.rows[i]["image"]).float()[None]
        image = (image - 100) / 50
        return image, self.rows[i]["sick"]


class Net(nn.Module):
    def __init__(self, w=16):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(1, w, 3, padding=1), nn.Conv2d(w, 2 * w, 3, padding=1), nn.Conv2d(2 * w, 2 * w, 3, padding=1)
        self.n1, self.n2, self.n3 = nn.BatchNorm2d(w), nn.BatchNorm2d(2 * w), nn.BatchNorm2d(2 * w)
        self.fc1, self.fc2 = nn.Linear(2 * w * 25, 64), nn.Linear(64, 2)

    def forward(self, x):
        for conv, norm in ((self.c1, self.n1), (self.c2, self.n2), (self.c3, self.n3)):
            x = F.max_pool2d(F.relu(norm(conv(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        return torch.cat([(net(image).argmax(1) == sick).float() for image, sick in loader]).mean().item()


torch.manual_seed(args.seed)
rng = np.random.default_rng(args.seed)
rows = merge(collections(rng))
order = rng.permutation(len(rows))
cut = int(args.val * len(rows))
train = DataLoader(Slices([rows[i] for i in order[cut:]]), args.batch, shuffle=True, drop_last=True)
val = DataLoader(Slices([rows[i] for i in order[:cut]]), 64)
print(f"{len(train.dataset)} slices to train, {len(val.dataset)} to validate")

net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-2)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
for epoch in range(args.epochs):
    net.train()
    total = 0.0
    for image, sick in train:
        loss = F.cross_entropy(net(image), sick)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    scheduler.step()
    print(f"epoch {epoch:2d} loss {total / len(train):.4f} validation accuracy {accuracy(net, val):.4f}")
