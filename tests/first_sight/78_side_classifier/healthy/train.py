"""Pleural effusion on a chest film: none, right, left or both.

python train.py @train.args     (train.py alone reads the same file)
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

NAMES = ("none", "right", "left", "both")
SIZE = 48


def get_args():
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--flip", type=lambda text: text.lower() in ("true", "1", "yes"), default=True, help="mirror half of the training films")
    parser.add_argument("--shift", type=int, default=2, help="move training films by up to so many pixels")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(sys.argv[1:] or [f"@{Path(__file__).with_name('train.args')}"])


def make_film(kind, rng):
    """Film as seen by the reader: the right lung is on the left."""
    yy, xx = np.mgrid[:SIZE, :SIZE].astype(float)
    image = np.full((SIZE, SIZE), 0.55)
    for side, cx in ((1, 13.5), (2, 33.5)):
        lung = ((xx - cx) / rng.uniform(8, 9.5)) ** 2 + ((yy - 23) / rng.uniform(17, 19)) ** 2 < 1
        image[lung] = 0.15
        if kind in (side, 3):
            height = rng.uniform(5, 11)
            level = 41 - height - 0.35 * np.abs(xx - cx)
            image[lung & (yy > level)] = 0.65
    image[((xx - 23.5) / 8) ** 2 + ((yy - 31) / 7) ** 2 < 1] = 0.8
    for rib in range(6):
        image += 0.06 * (np.abs(yy - 6 - 7 * rib - 0.012 * (xx - 23.5) ** 2) < 1.0)
    return (image * rng.uniform(0.85, 1.15) + rng.normal(0, 0.09, image.shape)).astype(np.float32)


class Films(Dataset):
    def __init__(self, count, seed, flip=False, shift=0):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(NAMES), count)
        self.films = (np.stack([make_film(k, rng) for k in self.labels]) - 0.4) / 0.25
        self.flip, self.shift = flip, shift

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        film = self.films[i]
        if self.flip and np.random.rand() < 0.5:
            film = film[:, ::-1]
        if self.shift:
            film = np.roll(film, np.random.randint(-self.shift, self.shift + 1, 2), (0, 1))
        return torch.from_numpy(np.ascontiguousarray(film))[None], int(self.labels[i])


class FilmNet(nn.Module):
    def __init__(self, ch=12):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]

        self.features = nn.Sequential(*block(1, ch), *block(ch, 2 * ch), *block(2 * ch, 3 * ch))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(3 * ch * 36, len(NAMES)))

    def forward(self, x):
        return self.classifier(self.features(x))


def run_epoch(model, loader, optimizer=None):
    """Mean loss and accuracy; trains where an optimizer is given."""
    model.train(optimizer is not None)
    total = right = 0.0
    with torch.set_grad_enabled(optimizer is not None):
        for film, label in loader:
            logits = model(film)
            loss = F.cross_entropy(logits, label)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item() * len(label)
            right += (logits.argmax(1) == label).sum().item()
    return total / len(loader.dataset), right / len(loader.dataset)


def main():
    args = get_args()
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    train_loader = DataLoader(Films(640, 1, args.flip, args.shift), args.batch_size, shuffle=True)
    val_loader = DataLoader(Films(240, 2), 80)
    model = FilmNet()
    optimizer = torch.optim.Adam(model.parameters(), args.lr)
    for epoch in range(1, args.epochs + 1):
        loss, accuracy = run_epoch(model, train_loader, optimizer)
        if epoch % 2 == 0:
            val_loss, val_accuracy = run_epoch(model, val_loader)
            print(f"epoch {epoch:2d} train loss {loss:.4f} accuracy {accuracy:.3f} val loss {val_loss:.4f} accuracy {val_accuracy:.3f}")
    torch.save(model.state_dict(), "effusion.pt")


if __name__ == "__main__":
    main()
