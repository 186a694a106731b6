"""Trains a classifier of infarction site on twelve-lead records in data/; infer.py applies it.

    python train.py && python infer.py data/val_000.dat
"""
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from reader import LEADS, load_record, write_record

SITES = ["normal", "anterior", "inferior", "lateral"]
RAISED = {"normal": [], "anterior": ["V1", "V2", "V3", "V4"], "inferior": ["II", "III", "aVF"], "lateral": ["I", "aVL", "V5", "V6"]}
DATA = Path("data")


def record(rng, site, samples=240, rate=100):
    """Millivolts (samples, leads): beats with a P, QRS and T wave; leads of the site have a raised ST segment."""
    t = np.arange(samples) / rate
    out = rng.normal(0, 0.05, (samples, len(LEADS)))
    gain = rng.uniform(0.6, 1.4, len(LEADS)) * np.where(np.array(LEADS) == "aVR", -1, 1)
    height = rng.uniform(0.05, 0.14)
    period, start = rng.uniform(0.6, 0.95), rng.uniform(0, 0.5)
    while start < t[-1]:
        wave = lambda at, width, size: size * np.exp(-((t - start - at) / width) ** 2)
        out += np.outer(wave(0.0, 0.025, 0.12) + wave(0.14, 0.01, -0.1) + wave(0.16, 0.012, 1.0) + wave(0.18, 0.012, -0.2)
                        + wave(0.38, 0.05, 0.25), gain)
        for k, lead in enumerate(LEADS):
            if lead in RAISED[site]:
                out[:, k] += wave(0.27, 0.06, height * rng.uniform(0.7, 1.3))
            elif RAISED[site] and rng.random() < 0.5:
                out[:, k] -= wave(0.27, 0.06, 0.3 * height)
        start += period * rng.uniform(0.95, 1.05)
    return out + 0.1 * np.sin(2 * np.pi * 0.3 * t + rng.uniform(0, 6))[:, None]


def prepare(split, n, seed):
    DATA.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    listing = []
    for i in range(n):
        site = int(rng.integers(0, 4))
        path = DATA / f"{split}_{i:03d}.dat"
        write_record(path, record(rng, SITES[site]))
        listing.append((path, site))
    return listing


class Records(Dataset):
    def __init__(self, listing):
        self.items = [(torch.from_numpy(load_record(path)), site) for path, site in listing]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class ECGNet(nn.Module):
    def __init__(self, ch=24):
        super().__init__()
        layers, i = [nn.BatchNorm1d(len(LEADS), affine=False)], len(LEADS)
        for o, k in ((ch, 9), (2 * ch, 7), (2 * ch, 5)):
            layers += [nn.Conv1d(i, o, k, padding=k // 2), nn.BatchNorm1d(o), nn.ReLU(), nn.MaxPool1d(3)]
            i = o
        self.body, self.head = nn.Sequential(*layers), nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * i, len(SITES)))

    def forward(self, x):
        f = self.body(x)
        return self.head(torch.cat([f.mean(-1), f.amax(-1)], 1))


def main():
    torch.manual_seed(0)
    train = DataLoader(Records(prepare("train", 400, 0)), 20, shuffle=True)
    val = DataLoader(Records(prepare("val", 160, 1)), 80)
    net = ECGNet()
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 12)
    for epoch in range(12):
        net.train()
        losses = []
        for x, y in train:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        sched.step()
        net.eval()
        with torch.no_grad():
            hits = [(net(x).argmax(1) == y) for x, y in val]
        print(f"epoch {epoch} train_loss {np.mean(losses):.4f} val_acc {torch.cat(hits).float().mean():.4f}")
    torch.save(net.state_dict(), "ecg.pt")


if __name__ == "__main__":
    main()
