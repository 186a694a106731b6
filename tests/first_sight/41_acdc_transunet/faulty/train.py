"""Short-axis cine MR: left ventricle, myocardium and right ventricle.

python train.py --epochs 10
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch-size", type=int, default=12)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--num-classes", type=int, default=4)
parser.add_argument("--size", type=int, default=40)
parser.add_argument("--save-path", default="cardiac_best.pth")
args = parser.parse_args()


class SliceDataset(Dataset):
    """One phantom slice a patient, drawn from its own seed."""

    def __init__(self, patients, augment):
        self.patients, self.augment = list(patients), augment

    def __len__(self):
        return len(self.patients)

    def __getitem__(self, i):
        rng = np.random.default_rng(self.patients[i])
        s = args.size
        yy, xx = np.mgrid[:s, :s]
        cy, cx = rng.uniform(0.38, 0.6, 2) * s
        r, wall = rng.uniform(0.1, 0.16) * s, rng.uniform(0.05, 0.08) * s
        dist = np.hypot((yy - cy) / rng.uniform(0.9, 1.1), xx - cx)
        angle = rng.uniform(-0.6, 0.6) + np.pi
        ry, rx = cy + np.sin(angle) * (r + wall) * 1.25, cx + np.cos(angle) * (r + wall) * 1.25
        label = np.zeros((s, s), np.int64)
        label[((yy - ry) / (1.35 * r)) ** 2 + ((xx - rx) / (0.9 * r)) ** 2 < 1] = 1
        label[dist < r + wall] = 2
        label[dist < r] = 3
        bright = np.array([0.35, 0.8, 0.2, 0.85]) + rng.normal(0, 0.04, 4)
        image = bright[label] + 0.1 * np.sin(yy / 5 + rng.uniform(0, 6)) + rng.normal(0, 0.09, (s, s))
        # something bright elsewhere in the chest
        oy, ox = rng.uniform(0, 0.2) * s, rng.uniform(0.1, 0.9) * s
        image[(np.hypot(yy - oy, xx - ox) < 0.12 * s) & (label == 0)] = 0.8
        if self.augment and np.random.rand() < 0.5:
            k = np.random.randint(1, 4)
            image, label = np.rot90(image, k), np.rot90(label, k)
        image = (image - image.mean()) / image.std()
        return torch.from_numpy(image.copy()).float()[None], torch.from_numpy(label.copy())


class Attention(nn.Module):
    def __init__(self, ch, heads=4):
        super().__init__()
        self.norm = nn.LayerNorm(ch)
        self.mha = nn.MultiheadAttention(ch, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(ch), nn.Linear(ch, 2 * ch), nn.GELU(), nn.Linear(2 * ch, ch))

    def forward(self, x):
        b, c, h, w = x.shape
        t = x.flatten(2).transpose(1, 2)
        n = self.norm(t)
        t = t + self.mha(n, n, n, need_weights=False)[0]
        t = t + self.mlp(t)
        return t.transpose(1, 2).reshape(b, c, h, w)


def block(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
        nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class TransUNet(nn.Module):
    def __init__(self, num_classes, ch=10):
        super().__init__()
        self.e1, self.e2, self.e3 = block(1, ch), block(ch, 2 * ch), block(2 * ch, 4 * ch)
        self.attn = Attention(4 * ch)
        self.up2, self.d2 = nn.ConvTranspose2d(4 * ch, 2 * ch, 2, 2), block(4 * ch, 2 * ch)
        self.up1, self.d1 = nn.ConvTranspose2d(2 * ch, ch, 2, 2), block(2 * ch, ch)
        self.head = nn.Conv2d(ch, num_classes, 1)

    def forward(self, x):
        e1 = self.e1(x)
        e2 = self.e2(F.max_pool2d(e1, 2))
        e3 = self.attn(self.e3(F.max_pool2d(e2, 2)))
        d2 = self.d2(torch.cat([self.up2(e3), e2], 1))
        d1 = self.d1(torch.cat([self.up1(d2), e1], 1))
        return self.head(d1)


def dice_loss(logits, target):
    p = logits.softmax(1)
    t = F.one_hot(target, args.num_classes).movedim(-1, 1).float()
    inter, total = (p * t).sum((0, 2, 3)), (p + t).sum((0, 2, 3))
    return 1 - ((2 * inter + 1) / (total + 1))[1:].mean()


def dice_per_class(pred, target):
    scores = []
    for c in range(1, args.num_classes):
        p, t = pred == c, target == c
        scores.append((2 * (p & t).sum() / (p.sum() + t.sum()).clamp(min=1)).item())
    return scores


def main():
    np.random.seed(1)
    torch.manual_seed(1)
    train_loader = DataLoader(SliceDataset(range(240), True), args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(SliceDataset(range(1000, 1048), False), args.batch_size)
    model = TransUNet(args.num_classes)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    best = 0.0
    for epoch in range(args.epochs):
        model.train()
        running = 0.0
        for image_batch, label_batch in train_loader:
            outputs = model(image_batch)
            loss = 0.5 * F.cross_entropy(outputs, label_batch) + 0.5 * dice_loss(outputs, label_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        scheduler.step()

        model.eval()
        scores = []
        with torch.no_grad():
            for val_image_batch, val_label_batch in val_loader:
                val_outputs = model(val_image_batch)
                val_outputs = torch.argmax(torch.softmax(outputs, dim=1), dim=1)
                scores.append(dice_per_class(val_outputs, val_label_batch))
        rv, myo, lv = np.mean(scores, 0)
        mean = (rv + myo + lv) / 3
        print(f"epoch {epoch:02d} loss {running / len(train_loader):.4f} val dice RV {rv:.3f} MYO {myo:.3f} LV {lv:.3f} mean {mean:.3f}")
        if mean > best:
            best = mean
            torch.save(model.state_dict(), args.save_path)
    print(f"best mean dice {best:.3f}, saved to {args.save_path}")


if __name__ == "__main__":
    main()
