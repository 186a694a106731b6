"""Binary segmentation of liver lesions in CT slices; a U-Net with channel attention at the skips, settings in YAML."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, TensorDataset

SETTINGS = """
seed: 12
data: {train: 160, val: 48, size: 48, window: [-100, 200]}
model: {base: 8, reduction: 4}
training: {epochs: 13, batch_size: 8, lr: 0.01, weight_decay: 0.0001}
"""


def simulate_slice(rng, size):
    """CT slice in HU with a liver and up to three hypodense lesions."""
    y, x = np.mgrid[:size, :size]
    hu = np.full((size, size), -90.0)
    body = ((x - size / 2) / (0.46 * size)) ** 2 + ((y - size / 2) / (0.38 * size)) ** 2 < 1
    hu[body] = 40 + 8 * gaussian_filter(rng.normal(0, 6, (size, size)), 3)[body]
    cx, cy = size * rng.uniform(0.33, 0.42), size * rng.uniform(0.42, 0.55)
    theta = np.arctan2(y - cy, x - cx)
    liver = np.hypot((x - cx) / 1.3, y - cy) < size * rng.uniform(0.17, 0.22) * (1 + 0.12 * np.cos(2 * theta + rng.uniform(0, 6)))
    liver &= body
    hu[liver] += 65
    lesions = np.zeros_like(liver)
    inside = np.argwhere(liver)
    for _ in range(rng.integers(1, 4)):
        ly, lx = inside[rng.integers(len(inside))]
        lesions |= np.hypot(x - lx, y - ly) < rng.uniform(3.5, 6.5)
    lesions &= liver
    hu[lesions] -= rng.uniform(60, 80)
    return gaussian_filter(hu, 0.6) + rng.normal(0, 10, hu.shape), lesions


def make_set(count, size, window, seed):
    rng = np.random.default_rng(seed)
    slices, masks = zip(*(simulate_slice(rng, size) for _ in range(count)))
    low, high = window
    images = (np.clip(np.array(slices), low, high) - low) / (high - low)
    return TensorDataset(
        torch.tensor(images[:, None] - 0.5, dtype=torch.float32), torch.tensor(np.array(masks)[:, None], dtype=torch.float32)
    )


class ConvBNReLU(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=3):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class ChannelAttention(nn.Module):
    """Weights the channels of a skip connection by what encoder and decoder hold there."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, channels // reduction), nn.ReLU(), nn.Linear(channels // reduction, channels), nn.Sigmoid()
        )

    def forward(self, skip, up):
        weights = self.mlp(torch.cat([skip.mean((2, 3)), up.mean((2, 3))], 1))
        return skip * weights[:, :, None, None]


class UpBlock(nn.Module):
    def __init__(self, inputs, skip, reduction):
        super().__init__()
        self.reduce = ConvBNReLU(inputs, skip, 1)
        self.attention = ChannelAttention(skip, reduction)
        self.fuse = nn.Sequential(ConvBNReLU(2 * skip, skip), ConvBNReLU(skip, skip))

    def forward(self, x, skip):
        up = self.reduce(F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False))
        return self.fuse(torch.cat([self.attention(skip, up), up], 1))


class AttentionUNet(nn.Module):
    def __init__(self, base, reduction):
        super().__init__()
        self.inc = nn.Sequential(ConvBNReLU(1, base), ConvBNReLU(base, base))
        self.down1 = nn.Sequential(nn.MaxPool2d(2), ConvBNReLU(base, 2 * base), ConvBNReLU(2 * base, 2 * base))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), ConvBNReLU(2 * base, 4 * base), ConvBNReLU(4 * base, 4 * base))
        self.up2 = UpBlock(4 * base, 2 * base, reduction)
        self.up1 = UpBlock(2 * base, base, reduction)
        self.outc = nn.Sequential(nn.Conv2d(base, 1, 1), nn.ReLU(inplace=True))

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        return self.outc(self.up1(self.up2(x3, x2), x1))


@torch.no_grad()
def evaluate(model, loader, criterion):
    """Loss, Dice and IoU over all pixels of the set."""
    model.eval()
    loss, counts = 0.0, torch.zeros(3)
    for images, masks in loader:
        logits = model(images)
        loss += criterion(logits, masks).item() * len(images)
        predicted = (torch.sigmoid(logits) > 0.5).float()
        counts += torch.stack([(predicted * masks).sum(), predicted.sum(), masks.sum()])
    overlap, predicted, true = counts.tolist()
    return loss / len(loader.dataset), 2 * overlap / (predicted + true), overlap / (predicted + true - overlap)


def main():
    settings = yaml.safe_load(SETTINGS)
    data, training = settings["data"], settings["training"]
    torch.manual_seed(settings["seed"])
    train_set = make_set(data["train"], data["size"], data["window"], settings["seed"])
    val_set = make_set(data["val"], data["size"], data["window"], settings["seed"] + 1)
    train_loader = DataLoader(train_set, batch_size=training["batch_size"], shuffle=True)
    val_loader = DataLoader(val_set, batch_size=training["batch_size"])

    model = AttentionUNet(**settings["model"])
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=training["lr"], weight_decay=training["weight_decay"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training["epochs"])
    for epoch in range(1, training["epochs"] + 1):
        model.train()
        total = 0.0
        for images, masks in train_loader:
            loss = criterion(model(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(images)
        scheduler.step()
        val_loss, dice, iou = evaluate(model, val_loader, criterion)
        print(f"epoch {epoch:2d} train loss {total / len(train_set):.4f} val loss {val_loss:.4f} Dice {dice:.4f} IoU {iou:.4f}")


if __name__ == "__main__":
    main()
