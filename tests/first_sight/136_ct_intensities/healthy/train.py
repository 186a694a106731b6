"""Liver tumours in CT: slices are made into 8-bit images on disk (one npz for each patient), then a U-Net is trained on them."""
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE, SLICES = 48, 6


def scan(rng):
    """Hounsfield units of some slices: air, fat, muscle, liver, vertebra, at times a metal implant; and the tumour masks."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    volume, masks = [], []
    metal, liver_level = rng.random() < 0.3, rng.normal(110, 8)
    for _ in range(SLICES):
        hu = np.full((SIZE, SIZE), -1000.0)
        body = ((x - 24) / 22) ** 2 + ((y - 24) / 19) ** 2 < 1
        hu[body] = rng.normal(-95, 5)
        hu[((x - 24) / 20) ** 2 + ((y - 24) / 17) ** 2 < 1] = 55
        liver = ((x - 18) / rng.uniform(11, 13)) ** 2 + ((y - 22) / rng.uniform(9, 11)) ** 2 < 1
        hu[liver] = liver_level
        hu[np.hypot(x - 24, y - 37) < 3.5] = rng.uniform(400, 900)
        if metal:
            hu[np.hypot(x - 33, y - 36) < 1.5] = rng.uniform(2500, 3000)
        mask = np.zeros((SIZE, SIZE), bool)
        for _ in range(rng.integers(1, 3)):
            cx, cy, radius = rng.uniform(12, 24), rng.uniform(17, 27), rng.uniform(2.2, 4)
            mask |= (np.hypot(x - cx, y - cy) < radius) & liver
        hu[mask] = liver_level - rng.uniform(40, 60)
        for _ in range(2):
            cx, cy = rng.uniform(11, 25), rng.uniform(16, 28)
            hu[(np.hypot(x - cx, y - cy) < 1.6) & liver & ~mask] = liver_level + rng.uniform(30, 60)
        volume.append(hu + rng.normal(0, 12, hu.shape))
        masks.append(mask)
    return np.stack(volume), np.stack(masks)


def to_uint8(hu):
    image = np.clip(hu, -125, 225)
    image = (image - image.min()) / (image.max() - image.min()) * 255
    return np.uint8(np.round(image))


def prepare(folder, patients, seed):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(patients):
        hu, masks = scan(rng)
        np.savez_compressed(folder / f"patient_{number:03d}.npz", images=to_uint8(hu), masks=masks.astype(np.uint8))


class NpzSlices(Dataset):
    def __init__(self, folder):
        self.images, self.masks = [], []
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as data:
                self.images.extend(data["images"])
                self.masks.extend(data["masks"])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]).float()[None] / 255
        return image, torch.from_numpy(self.masks[index]).float()[None]


class Block(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
                         nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.down1, self.down2, self.bottom = Block(1, width), Block(width, 2 * width), Block(2 * width, 4 * width)
        self.up2, self.up1 = Block(6 * width, 2 * width), Block(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.up2(torch.cat([b, F.interpolate(c, scale_factor=2.0)], 1))
        return self.head(self.up1(torch.cat([a, F.interpolate(b, scale_factor=2.0)], 1)))


def seg_loss(logits, masks):
    p = logits.sigmoid()
    overlap = (2 * (p * masks).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return 1 - overlap.mean() + F.binary_cross_entropy_with_logits(logits, masks)


def train_epoch(net, loader, optimizer):
    net.train()
    losses = []
    for images, masks in loader:
        loss = seg_loss(net(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.mean(losses)


@torch.no_grad()
def dice_score(net, loader):
    net.eval()
    scores = []
    for images, masks in loader:
        found = (net(images) > 0).float()
        scores.append(2 * (found * masks).sum((1, 2, 3)) / (found + masks).sum((1, 2, 3)))
    return torch.cat(scores).mean().item()


def main(epochs=6, batch=8):
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as root:
        prepare(Path(root) / "train", 28, seed=1)
        prepare(Path(root) / "val", 12, seed=2)
        train_set, val_set = NpzSlices(Path(root) / "train"), NpzSlices(Path(root) / "val")
    train_loader, val_loader = DataLoader(train_set, batch, shuffle=True), DataLoader(val_set, 24)
    net = UNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        loss = train_epoch(net, train_loader, optimizer)
        scheduler.step()
        print(f"epoch {epoch} loss {loss:.3f} val Dice {dice_score(net, val_loader):.3f}")


if __name__ == "__main__":
    main()
