"""Small training scripts, written as people write them, that the tests edit by hand."""

SEGMENT = """\
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        x = x + 0
        return self.head(self.body(x))


torch.manual_seed(3)
images = torch.rand(24, 2, 8, 8)
masks = (images[:, :1] > 0.6).float()
loader = DataLoader(TensorDataset(images[:16], masks[:16]), batch_size=4, shuffle=True)
held = DataLoader(TensorDataset(images[16:], masks[16:]), batch_size=4)
net = Net()
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(3):
    net.train()
    for x, y in loader:
        out = net(x)
        p = torch.sigmoid(out)
        q = p.clamp(0.3, 0.7)
        fit = F.binary_cross_entropy(q, y)
        size = q.mean()
        loss = fit + 0.5 * size
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.05)
        opt.step()
    net.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in held:
            right += ((net(x) > 0) == (y > 0)).sum().item()
            total += y.numel()
    print(f"epoch {epoch} loss {loss.item():.4f} val_acc {right / total:.6f}")
"""

CLASSIFY = """\
import random
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)
X = torch.randn(96, 6)
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0.5).long()
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
opt = torch.optim.SGD(net.parameters(), lr=0.3)
loader = DataLoader(TensorDataset(X[:64], Y[:64]), batch_size=16, shuffle=True)
for epoch in range(8):
    for x, y in loader:
        out = net(x)
        loss = F.cross_entropy(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        acc = (net(X[64:]).argmax(1) == Y[64:]).float().mean()
    print(f"epoch {epoch}: train loss {loss.item():.4f}, val acc {acc.item():.4f}")
"""
