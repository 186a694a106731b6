"""Skin lesion classification, periodic validation every `eval_every` iterations."""
import argparse
import itertools

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Basic(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.c2, self.b2 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)

    def forward(self, x):
        return F.relu(x + self.b2(self.c2(F.relu(self.b1(self.c1(x))))))


class SmallResNet(nn.Module):
    def __init__(self, c=16, k=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU())
        self.layer1, self.layer2 = Basic(c), Basic(c)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(c, k)

    def forward(self, x):
        x = self.layer2(F.max_pool2d(self.layer1(self.stem(x)), 2))
        return self.fc(self.drop(x.mean((2, 3))))


def lesions(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    x = torch.rand(n, 3, 16, 16, generator=g) - 0.5
    for i in range(n):
        x[i, int(y[i]), 4:12, 4:12] += 0.5
    return TensorDataset(x, y)


def test(net, loader):
    net.eval()
    right = total = loss = 0
    with torch.no_grad():
        for x, y in loader:
            out = net(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            right += (out.argmax(1) == y).sum().item()
            total += y.numel()
    return loss / total, right / total


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--iters", type=int, default=100)
    ap.add_argument("--eval_every", type=int, default=25)
    ap.add_argument("--lr", type=float, default=0.05)
    a = ap.parse_args()
    torch.manual_seed(0)
    train_loader = DataLoader(lesions(256, 0), batch_size=16, shuffle=True)
    test_loader = DataLoader(lesions(64, 1), batch_size=32)
    net = SmallResNet()
    opt = torch.optim.SGD(net.parameters(), lr=a.lr, momentum=0.9, weight_decay=5e-4)
    stream = itertools.chain.from_iterable(itertools.repeat(train_loader))
    net.train()
    for it in range(1, a.iters + 1):
        x, y = next(stream)
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % a.eval_every == 0:
            test_loss, acc = test(net, test_loader)
            print(f"iter {it} train {loss.item():.3f} test {test_loss:.3f} acc {acc:.3f}")
            net.train()


if __name__ == "__main__":
    main()
