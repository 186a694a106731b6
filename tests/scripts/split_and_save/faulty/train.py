"""Fracture classifier; keeps the best checkpoint by validation accuracy."""
import os
import tempfile

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def wrist_data(n=200):
    g = torch.Generator().manual_seed(1234)
    y = (torch.rand(n, generator=g) > 0.5).float()
    x = torch.randn(n, 1, 16, 16, generator=g)
    x[y > 0, :, 6:9, :] -= 1.0
    return TensorDataset(x, y)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(2),
        )
        self.fc = nn.Linear(64, 1)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1)).squeeze(1)


def main(out_dir):
    data = wrist_data()
    train_set, val_set = random_split(data, [160, 40])
    train_loader = DataLoader(train_set, batch_size=10, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=20)
    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    best = 0.0
    for epoch in range(5):
        net.train()
        for x, y in train_loader:
            loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        hits = 0
        with torch.no_grad():
            for x, y in val_loader:
                hits += ((net(x) > 0).float() == y).sum().item()
        acc = hits / len(val_set)
        if acc >= best:
            best = acc
            torch.save(net.state_dict(), os.path.join(out_dir, "best.pt"))
        print(f"epoch {epoch} loss {loss.item():.4f} val_acc {acc:.3f} best {best:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as tmp:
        main(os.environ.get("OUT_DIR", tmp))
