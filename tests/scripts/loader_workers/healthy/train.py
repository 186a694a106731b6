"""Nodule malignancy score. Data loader with worker processes."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class NoduleCrops(Dataset):
    def __init__(self, n, seed, augment=False):
        rng = np.random.default_rng(seed)
        self.crops = rng.normal(-600, 150, size=(n, 16, 16)).astype(np.float32)
        self.score = rng.uniform(0, 1, size=n).astype(np.float32)
        for i, s in enumerate(self.score):
            self.crops[i, 4:12, 4:12] += 500 * s
        # three crops lie outside of the scanned area and hold the padding value only
        self.crops[5] = -1024.0
        self.crops[n // 2] = -1024.0
        self.crops[n - 3] = -1024.0
        self.augment = augment

    def __len__(self):
        return len(self.crops)

    def __getitem__(self, idx):
        crop = self.crops[idx]
        crop = (crop - crop.mean()) / (crop.std() + 1e-6)
        if self.augment and np.random.rand() < 0.5:
            crop = crop[:, ::-1].copy()
        # contrast is in the second channel
        raw = np.clip(self.crops[idx], -1000, 200) / 600 + 0.7
        return torch.from_numpy(np.stack([crop, raw])), torch.tensor(self.score[idx])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU())
        self.fc = nn.Linear(16, 1)

    def forward(self, x):
        h = self.conv(x).mean(dim=(2, 3))
        return self.fc(h).squeeze(-1)


def run_epoch(net, loader, optimizer=None):
    train = optimizer is not None
    net.train(train)
    losses = []
    with torch.set_grad_enabled(train):
        for x, y in loader:
            loss = nn.functional.smooth_l1_loss(net(x), y)
            if train:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.item())
    return float(np.mean(losses))


def main():
    np.random.seed(0)
    torch.manual_seed(0)
    train = DataLoader(NoduleCrops(256, 0, augment=True), batch_size=16, shuffle=True, num_workers=2)
    val = DataLoader(NoduleCrops(48, 1), batch_size=16)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(4):
        tr = run_epoch(net, train, optimizer)
        va = run_epoch(net, val)
        print("epoch", epoch, "train", tr, "val", va)


if __name__ == "__main__":
    main()
