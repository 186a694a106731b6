#!/usr/bin/env python
# coding: utf-8
# U-Net on ultrasound of the breast; images and masks lie in two folders as PNG files of the same name.

# In[1]:
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset, random_split

np.random.seed(0)
torch.manual_seed(0)
DATA = Path("data")


# In[2]:
def make_files(number=220, size=48):
    (DATA / "imgs").mkdir(parents=True, exist_ok=True)
    (DATA / "masks").mkdir(parents=True, exist_ok=True)
    yy, xx = np.mgrid[:size, :size]
    for i in range(number):
        rng = np.random.default_rng(i)
        cy, cx, ry, rx = *rng.uniform(0.3, 0.7, 2) * size, *rng.uniform(0.1, 0.22, 2) * size
        phi = np.arctan2(yy - cy, xx - cx)
        mask = np.hypot((yy - cy) / ry, (xx - cx) / rx) < 1 + 0.15 * np.sin(4 * phi + rng.uniform(0, 6))
        echo = 120 + 25 * np.sin(yy / 4 + rng.uniform(0, 6)) - 0.8 * yy - rng.uniform(35, 60) * mask
        echo = echo - 25 * ((np.abs(xx - cx) < 0.6 * rx) & (yy > cy + ry))
        image = echo * rng.gamma(12, 1 / 12, echo.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(DATA / "imgs" / f"us_{i:03d}.png")
        Image.fromarray((mask * 255).astype(np.uint8)).save(DATA / "masks" / f"us_{i:03d}.png")


make_files()


# In[3]:
class BasicDataset(Dataset):
    def __init__(self, imgs_dir, masks_dir):
        self.imgs_dir, self.masks_dir = imgs_dir, masks_dir
        self.ids = sorted(file.stem for file in imgs_dir.glob("*.png"))

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        img = np.array(Image.open(self.imgs_dir / f"{self.ids[i]}.png"), dtype=np.float32) / 255
        mask = np.array(Image.open(self.masks_dir / f"{self.ids[i]}.png"), dtype=np.float32) / 255
        return {"image": torch.from_numpy(img)[None], "mask": torch.from_numpy(mask)[None]}


dataset = BasicDataset(DATA / "imgs", DATA / "masks")
n_val = int(len(dataset) * 0.15)
train, val = random_split(dataset, [len(dataset) - n_val, n_val], generator=torch.Generator().manual_seed(1))
train_loader = DataLoader(train, batch_size=8, shuffle=True)
val_loader = DataLoader(val, batch_size=8)


# In[4]:
class DoubleConv(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, ch=10):
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(1, ch), DoubleConv(ch, 2 * ch), DoubleConv(2 * ch, 4 * ch)
        self.up1, self.up2, self.outc = DoubleConv(6 * ch, 2 * ch), DoubleConv(3 * ch, ch), nn.Conv2d(ch, 1, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.down1(F.max_pool2d(a, 2))
        c = self.down2(F.max_pool2d(b, 2))
        b = self.up1(torch.cat([b, F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=True)], 1))
        a = self.up2(torch.cat([a, F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=True)], 1))
        return self.outc(a)


def dice_coeff(pred, target):
    return ((2 * (pred * target).sum((1, 2, 3)) + 1e-4) / (pred.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1e-4)).mean().item()


def eval_net(net, loader):
    net.eval()
    total = 0.0
    with torch.no_grad():
        for batch in loader:
            pred = (torch.sigmoid(net(batch["image"])) > 0.5).float()
            total += dice_coeff(pred, batch["mask"]) * len(pred) / len(loader.dataset)
    net.train()
    return total


# In[5]:
net = UNet()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(12):
    epoch_loss = 0.0
    for batch in train_loader:
        loss = criterion(net(batch["image"]), batch["mask"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() / len(train_loader)
    print(f"Epoch {epoch + 1} loss {epoch_loss:.4f} Validation Dice Coeff: {eval_net(net, val_loader):.4f}")

# In[6]:
torch.save(net.state_dict(), "CP_last.pth")
