"""SimSiam on dermoscopic patches without labels, then a linear classifier on the frozen features."""
import argparse
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

TYPES = ("globular", "reticular", "streaks", "homogeneous")


class Dermoscopy(Dataset):
    """Training and test part come from different patients."""

    def __init__(self, train, transform, size=28):
        rng = np.random.default_rng(100 if train else 200)
        count = 480 if train else 400
        self.transform, self.labels = transform, rng.integers(0, len(TYPES), count)
        self.images = torch.tensor(np.stack([self.patch(rng, k, size) for k in self.labels]), dtype=torch.float32)[:, None]

    @staticmethod
    def patch(rng, kind, size):
        yy, xx = np.mgrid[-1:1:size * 1j, -1:1:size * 1j]
        cy, cx = rng.normal(0, 0.12, 2)
        r, a = np.hypot(yy - cy, xx - cx), np.arctan2(yy - cy, xx - cx)
        border = rng.uniform(0.6, 0.85) + 0.06 * np.sin(rng.integers(2, 5) * a + rng.uniform(0, 6))
        inside = 1 / (1 + np.exp(14 * (r - border)))
        depth, pattern = rng.uniform(0.14, 0.32), np.zeros_like(r)
        if kind == 0:
            for _ in range(rng.integers(6, 12)):
                gy, gx = rng.uniform(-0.6, 0.6, 2)
                pattern += np.exp(-((yy - gy) ** 2 + (xx - gx) ** 2) / 0.012)
        elif kind == 1:
            f, t = rng.uniform(9, 13), rng.uniform(0, np.pi)
            u, v = np.cos(t) * xx + np.sin(t) * yy, np.cos(t) * yy - np.sin(t) * xx
            pattern = np.maximum(np.cos(f * u), np.cos(f * v)) ** 4
        elif kind == 2:
            pattern = (0.5 + 0.5 * np.cos(rng.integers(8, 13) * a + rng.uniform(0, 6))) ** 3 * (r > 0.35)
        hair = sum(0.2 * np.exp(-((yy - rng.uniform(-1, 1) - rng.normal(0, 0.6) * xx) / 0.04) ** 2) for _ in range(rng.integers(0, 4)))
        return 0.85 - rng.uniform(0.25, 0.4) * inside - depth * pattern * inside - hair + rng.normal(0, 0.06, r.shape)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = self.images[i]
        return x if self.transform is None else self.transform(x), int(self.labels[i])


def normalise(x):
    return (x - 0.65) / 0.2


def augment(x):
    """Random turn, mirror, zoom, shift, contrast, brightness and noise for every image of a batch."""
    n = len(x)
    turn, zoom = torch.rand(n) * 2 * np.pi, torch.empty(n).uniform_(0.75, 1.1)
    mirror = torch.randint(0, 2, (n,)) * 2.0 - 1
    theta = torch.stack([zoom * turn.cos() * mirror, -zoom * turn.sin(), zoom * turn.sin() * mirror, zoom * turn.cos()], 1).view(n, 2, 2)
    theta = torch.cat([theta, torch.empty(n, 2, 1).uniform_(-0.15, 0.15)], 2)
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode="reflection", align_corners=False)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * torch.empty(n, 1, 1, 1).uniform_(0.7, 1.3) + mean + torch.empty(n, 1, 1, 1).uniform_(-0.1, 0.1)
    return normalise(x + 0.03 * torch.randn_like(x))


def get_dataset(transform, train=True):
    return Dermoscopy(train=train, transform=transform)


def backbone(width=10):
    layers, cin = [], 1
    for cout in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(cin, cout, 3, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
        cin = cout
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net.output_dim = 16 * width
    return net


def mlp(cin, hidden, cout, last_norm):
    layers = [nn.Linear(cin, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, cout)]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(cout)] if last_norm else []))


class SimSiam(nn.Module):
    def __init__(self, net, dim=64):
        super().__init__()
        self.backbone = net
        self.projector, self.predictor = mlp(net.output_dim, dim, dim, True), mlp(dim, dim // 4, dim, False)

    def forward(self, x1, x2):
        z1, z2 = self.projector(self.backbone(x1)), self.projector(self.backbone(x2))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2


def pretrain(args):
    loader = DataLoader(get_dataset(None), args.batch_size, shuffle=True, drop_last=True)
    model = SimSiam(backbone())
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(loader))
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for x, _ in loader:
            loss = model(augment(x), augment(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() / len(loader)
        if (epoch + 1) % 6 == 0:
            print(f"pretraining {epoch + 1}/{args.epochs} loss {total:.4f}")
    return model.backbone


def linear_eval(net, args):
    make_loader = partial(DataLoader, batch_size=args.eval_batch_size)
    train_loader = make_loader(get_dataset(normalise, train=True), shuffle=True)
    test_loader = make_loader(get_dataset(normalise, train=False), shuffle=False)
    classifier = nn.Sequential(nn.BatchNorm1d(net.output_dim, affine=False), nn.Linear(net.output_dim, len(TYPES)))
    optimizer = torch.optim.SGD(classifier.parameters(), lr=args.eval_lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.eval_epochs)
    net.eval()
    for epoch in range(args.eval_epochs):
        classifier.train()
        for x, y in train_loader:
            with torch.no_grad():
                feature = net(x)
            loss = F.cross_entropy(classifier(feature), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        classifier.eval()
        correct = total = 0
        with torch.no_grad():
            for x, y in test_loader:
                correct, total = correct + (classifier(net(x)).argmax(1) == y).sum().item(), total + len(y)
        if (epoch + 1) % 3 == 0:
            print(f"linear {epoch + 1}/{args.eval_epochs} train loss {loss.item():.3f} accuracy {correct / total:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--lr", type=float, default=0.06)
    parser.add_argument("--eval-epochs", type=int, default=12)
    parser.add_argument("--eval-batch-size", type=int, default=60)
    parser.add_argument("--eval-lr", type=float, default=0.05)
    args = parser.parse_args()
    torch.manual_seed(4)
    linear_eval(pretrain(args), args)
