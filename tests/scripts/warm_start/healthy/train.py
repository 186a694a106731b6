"""Warm start from an older model: tensors that fit are taken over, the rest stays new."""
import os
import tempfile

import torch
import torch.nn as nn


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())


class NetV1(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.stage1 = conv(1, 12)
        self.stage2 = conv(12, 12)
        self.stage3 = conv(12, 12)
        self.classifier = nn.Linear(12, classes)

    def forward(self, x):
        return self.classifier(self.stage3(self.stage2(self.stage1(x))).mean((2, 3)))


class NetV2(NetV1):
    """Same trunk, four classes."""

    def __init__(self):
        super().__init__(classes=4)


def save_old(path):
    torch.manual_seed(77)
    torch.save(NetV1().state_dict(), path)


def load_matching(model, path):
    old = torch.load(path)
    new = model.state_dict()
    fits = {k: v for k, v in old.items() if k in new and v.shape == new[k].shape}
    new.update(fits)
    model.load_state_dict(new)
    return model


def toy(n, g):
    y = torch.randint(0, 4, (n,), generator=g)
    x = 0.5 * torch.randn(n, 1, 14, 14, generator=g)
    for i, k in enumerate(y.tolist()):
        x[i, 0, 3 * k:3 * k + 4] += 1
    return x, y


with tempfile.TemporaryDirectory() as tmp:
    path = os.path.join(tmp, "v1.pth")
    save_old(path)
    torch.manual_seed(0)
    model = load_matching(NetV2(), path)

g = torch.Generator().manual_seed(0)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for step in range(90):
    model.train()
    x, y = toy(16, g)
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    if step % 30 == 29:
        model.eval()
        with torch.no_grad():
            xv, yv = toy(64, g)
            print(step + 1, loss.item(), (model(xv).argmax(1) == yv).float().mean().item())
