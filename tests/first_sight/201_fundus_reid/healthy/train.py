"""Recognise the same eye in repeated fundus photographs: batch-hard triplets, retrieval on eyes not seen in training."""
import argparse
import time
from collections import defaultdict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.sampler import Sampler


class FundusEyes(Dataset):
    def __init__(self, n_eyes, n_shots, seed, size=32):
        rng = np.random.default_rng(seed)
        self.images, self.eyes = [], []
        yy, xx = np.mgrid[-1:1:size * 1j, -1:1:size * 1j]
        for eye in range(n_eyes):
            arcs = rng.uniform([-0.7, -np.pi, -1.1, 0.07], [0.7, np.pi, 1.1, 0.12], (5, 4))
            for _ in range(n_shots):
                turn, dx, dy = rng.normal(0, 0.06), *rng.normal(0, 0.06, 2)
                u = np.cos(turn) * (xx - dx) + np.sin(turn) * (yy - dy)
                v = np.cos(turn) * (yy - dy) - np.sin(turn) * (xx - dx)
                img = 0.6 - 0.2 * (xx**2 + yy**2) + rng.normal(0, 0.1) * xx + rng.normal(0, 0.1) * yy
                for off, ang, bend, width in arcs:
                    s, t = np.cos(ang) * u + np.sin(ang) * v, np.cos(ang) * v - np.sin(ang) * u
                    img = img - 0.22 * np.exp(-((t - off - bend * s**2) / width) ** 2)
                img = img * rng.uniform(0.8, 1.2) + rng.normal(0, 0.06, img.shape)
                self.images.append(torch.tensor((img - 0.4) / 0.2, dtype=torch.float32)[None])
                self.eyes.append(eye)

    def __len__(self):
        return len(self.eyes)

    def __getitem__(self, i):
        return self.images[i], self.eyes[i]


class RandomIdentitySampler(Sampler):
    """Visits all eyes in random order, a few shots of each in a row."""

    def __init__(self, eyes, num_instances):
        self.index, self.num_instances = defaultdict(list), num_instances
        for i, eye in enumerate(eyes):
            self.index[eye].append(i)

    def __len__(self):
        return len(self.index) * self.num_instances

    def __iter__(self):
        for k in torch.randperm(len(self.index)).tolist():
            shots = self.index[k]
            for j in torch.randperm(len(shots))[: self.num_instances].tolist():
                yield shots[j]


class EmbeddingNet(nn.Module):
    def __init__(self, dim):
        super().__init__()
        layers, cin = [], 1
        for cout in (12, 24, 32):
            layers += [nn.Conv2d(cin, cout, 3, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
            cin = cout
        self.base = nn.Sequential(*layers)
        self.fc = nn.Linear(32 * 16, dim)

    def forward(self, x):
        return F.normalize(self.fc(self.base(x).flatten(1)), dim=1)


class TripletLoss(nn.Module):
    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    def forward(self, emb, targets):
        dist = torch.cdist(emb, emb)
        same = targets[:, None] == targets[None]
        dist_ap = dist.masked_fill(~same, float("-inf")).max(1)[0]
        dist_an = dist.masked_fill(same, float("inf")).min(1)[0]
        return F.relu(dist_ap - dist_an + self.margin).mean(), (dist_an > dist_ap).float().mean()


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    emb, eyes = zip(*[(model(x), y) for x, y in loader])
    emb, eyes = torch.cat(emb), torch.cat(eyes)
    dist = torch.cdist(emb, emb).fill_diagonal_(float("inf"))
    order = dist.argsort(1)[:, :-1]
    match = (eyes[order] == eyes[:, None]).float()
    precision = match.cumsum(1) / torch.arange(1, match.shape[1] + 1)
    return ((precision * match).sum(1) / match.sum(1)).mean().item(), match[:, 0].mean().item()


def adjust_lr(optimizer, epoch, args):
    lr = args.lr if epoch <= args.decay_from else args.lr * (0.001 ** ((epoch - args.decay_from) / (args.epochs - args.decay_from)))
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def main(args):
    torch.manual_seed(args.seed)
    train_set, test_set = FundusEyes(80, 6, 1), FundusEyes(60, 4, 2)
    sampler = RandomIdentitySampler(train_set.eyes, args.num_instances)
    train_loader = DataLoader(train_set, args.batch_size, sampler=sampler, drop_last=True)
    test_loader = DataLoader(test_set, 80)
    model, criterion = EmbeddingNet(args.features), TripletLoss(args.margin)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    start = time.time()
    for epoch in range(1, args.epochs + 1):
        lr = adjust_lr(optimizer, epoch, args)
        model.train()
        losses, precs = [], []
        for images, targets in train_loader:
            loss, prec = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            precs.append(prec.item())
        if epoch % args.eval_step == 0:
            mean_ap, top1 = evaluate(model, test_loader)
            print(f"epoch {epoch:3d} lr {lr:.1e} loss {np.mean(losses):.4f} prec {np.mean(precs):.3f} | mAP {mean_ap:.3f} top-1 {top1:.3f} ({time.time() - start:.0f} s)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Triplet loss on fundus photographs")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-instances", type=int, default=4)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--decay-from", type=int, default=8)
    parser.add_argument("--eval-step", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())
