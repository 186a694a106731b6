"""Brain tumour slices, four sequences, three tumour regions: YAML configuration, U-Net, soft Dice and BCE."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml
from torch.utils.data import DataLoader, Dataset

CONFIG = yaml.safe_load("""
seed: 3
data: {size: 40, train: 160, val: 64, batch: 4}
classes: [background, oedema, core, enhancing]
model: {width: 10}
loss: {dice: 1.0, bce: 1.0, smooth: 1.0e-5}
optim: {lr: 0.005, epochs: 7, weight_decay: 0.0001}
""")


def tumour_slice(rng, size):
    """Four sequences and the number of the region at each pixel."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    skull = ((x - size / 2) / (0.42 * size)) ** 2 + ((y - size / 2) / (0.46 * size)) ** 2 < 1
    wave = np.sin(x / rng.uniform(4, 8) + rng.uniform(0, 6)) * np.sin(y / rng.uniform(4, 8) + rng.uniform(0, 6))
    cx, cy = rng.uniform(0.38, 0.62, 2) * size
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.75, 1.3)
    u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    radius = np.sqrt((u / stretch) ** 2 + (v * stretch) ** 2)
    outer = rng.uniform(3.5, 5.5)
    label = np.zeros((size, size), np.int64)
    label[(radius < outer) & skull] = 1
    label[radius < 0.6 * outer] = 2
    label[(radius < 0.6 * outer) & (radius > 0.6 * outer - 1.2)] = 3
    flair, t2, t1, t1c = (skull * (level + 0.06 * wave) for level in (0.45, 0.5, 0.55, 0.5))
    flair, t2 = flair + 0.25 * (label == 1) + 0.1 * (label >= 2), t2 + 0.2 * (label >= 1)
    t1, t1c = t1 - 0.12 * (label == 2), t1c + 0.3 * (label == 3) - 0.1 * (label == 2)
    image = np.stack([flair, t2, t1, t1c]) + rng.normal(0, 0.14, (4, size, size))
    mean = image[:, skull].mean(1)[:, None, None]
    return ((image - mean) / image[:, skull].std(1)[:, None, None] * skull).astype(np.float32), label


class Tumours(Dataset):
    def __init__(self, count, size, seed, augment=False):
        rng = np.random.default_rng(seed)
        self.items = [tumour_slice(rng, size) for _ in range(count)]
        self.augment = augment

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, label = (torch.from_numpy(a) for a in self.items[index])
        if self.augment and torch.rand(()) < 0.5:
            image, label = image.flip(-1), label.flip(-1)
        return image, label


def block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.InstanceNorm2d(cout, affine=True), nn.LeakyReLU(0.01))


class UNet(nn.Module):
    def __init__(self, cin, cout, width):
        super().__init__()
        self.enc1, self.enc2, self.enc3 = block(cin, width), block(width, 2 * width), block(2 * width, 4 * width)
        self.dec2, self.dec1 = block(6 * width, 2 * width), block(3 * width, width)
        self.out = nn.Conv2d(width, cout, 1)

    def forward(self, x):
        a = self.enc1(x)
        b = self.enc2(F.max_pool2d(a, 2))
        c = self.enc3(F.max_pool2d(b, 2))
        b = self.dec2(torch.cat([F.interpolate(c, scale_factor=2.0), b], 1))
        return self.out(self.dec1(torch.cat([F.interpolate(b, scale_factor=2.0), a], 1)))


def soft_dice(probability, onehot, smooth):
    p, g = probability.flatten(1), onehot.flatten(1)
    overlap = (2 * (p * g).sum(-1) + smooth) / (p.sum(-1) + g.sum(-1) + smooth)
    return overlap.mean()


class DiceBCE(nn.Module):
    def __init__(self, dice, bce, smooth):
        super().__init__()
        self.dice, self.bce, self.smooth = dice, bce, smooth

    def forward(self, logits, label):
        onehot = F.one_hot(label, logits.shape[1]).movedim(-1, 1).float()
        dice = soft_dice(logits.sigmoid(), onehot, self.smooth)
        bce = F.binary_cross_entropy_with_logits(logits, onehot)
        return self.dice * (1 - dice) + self.bce * bce, dice.detach()


@torch.no_grad()
def validate(model, loader, names):
    model.eval()
    both, sizes = torch.zeros(len(names)), torch.zeros(len(names))
    for image, label in loader:
        found = model(image) > 0
        for k in range(len(names)):
            both[k] += (found[:, k] & (label == k)).sum()
            sizes[k] += found[:, k].sum() + (label == k).sum()
    return {name: (2 * b / s).item() for name, b, s in zip(names, both, sizes)}


def main(cfg):
    torch.manual_seed(cfg["seed"])
    data, optim, names = cfg["data"], cfg["optim"], cfg["classes"]
    train_loader = DataLoader(Tumours(data["train"], data["size"], 1, augment=True), data["batch"], shuffle=True)
    val_loader = DataLoader(Tumours(data["val"], data["size"], 2), 16)
    model = UNet(4, len(names), cfg["model"]["width"])
    criterion = DiceBCE(**cfg["loss"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=optim["lr"], weight_decay=optim["weight_decay"])
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, optim["epochs"] * len(train_loader), power=0.9)
    for epoch in range(1, optim["epochs"] + 1):
        model.train()
        log = []
        for image, label in train_loader:
            loss, dice = criterion(model(image), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            log.append((loss.item(), dice.item()))
        loss, dice = np.mean(log, 0)
        scores = validate(model, val_loader, names)
        print(f"epoch {epoch} loss {loss:.3f} soft dice {dice:.3f} | " + " ".join(f"{n} {s:.3f}" for n, s in scores.items()))
    print(f"mean Dice of the tumour regions: {np.mean([scores[n] for n in names[1:]]):.3f}")


if __name__ == "__main__":
    main(CONFIG)
