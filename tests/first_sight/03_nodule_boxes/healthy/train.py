"""Anchor-free detection of lung nodules on radiograph patches.

usage: python train.py [--epochs N] [--lr LR] [--batch-size B] [--flip P]
"""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE, STRIDE = 64, 4
GRID = SIZE // STRIDE
CENTRES = (torch.arange(GRID) + 0.5) * STRIDE


def patch(rng):
    axis = np.arange(SIZE)
    yy, xx = np.meshgrid(axis, axis, indexing="ij")
    ribs = 0.25 * np.sin((yy + 0.4 * xx) / rng.uniform(4, 6) + rng.uniform(0, 6))
    image = ribs + rng.normal(0, 0.15, (SIZE, SIZE))
    boxes = []
    for _ in range(rng.integers(1, 3)):
        ry, rx = rng.uniform(4, 9, 2)
        cy, cx = rng.uniform(ry + 1, SIZE - ry - 1), rng.uniform(rx + 1, SIZE - rx - 1)
        if any(abs(cy - (b[1] + b[3]) / 2) < 20 and abs(cx - (b[0] + b[2]) / 2) < 20 for b in boxes):
            continue
        image += rng.uniform(0.7, 1.1) * np.exp(-(((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2) ** 2)
        boxes.append([cx - rx, cy - ry, cx + rx, cy + ry])
    return image.astype(np.float32), np.array(boxes, np.float32)


class RandomFlip:
    """Mirrors image and boxes (x1, y1, x2, y2) along x and along y."""

    def __init__(self, p, rng):
        self.p, self.rng = p, rng

    def __call__(self, image, boxes):
        boxes = boxes.copy()
        if self.rng.random() < self.p:
            image = image[:, ::-1]
            boxes[:, 0::2] = SIZE - boxes[:, 2::-2]
        if self.rng.random() < self.p:
            image = image[::-1]
            boxes[:, 1::2] = SIZE - boxes[:, 3::-2]
        return np.ascontiguousarray(image), boxes


class Nodules(Dataset):
    def __init__(self, count, seed, transform=None):
        rng = np.random.default_rng(seed)
        self.data = [patch(rng) for _ in range(count)]
        self.transform = transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        image, boxes = self.data[i]
        if self.transform:
            image, boxes = self.transform(image, boxes)
        return torch.from_numpy(image)[None], torch.from_numpy(boxes)


def collate(batch):
    return torch.stack([b[0] for b in batch]), [b[1] for b in batch]


def encode(boxes):
    """Distances left, top, right, bottom from every grid point and a mask of points inside a box."""
    x, y = CENTRES[None, :].expand(GRID, GRID), CENTRES[:, None].expand(GRID, GRID)
    target, inside = torch.zeros(4, GRID, GRID), torch.zeros(GRID, GRID, dtype=torch.bool)
    for x1, y1, x2, y2 in boxes:
        ltrb = torch.stack([x - x1, y - y1, x2 - x, y2 - y])
        here = ltrb.amin(0) > 0
        target[:, here], inside = ltrb[:, here], inside | here
    return target, inside


class Detector(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        conv = lambda i, o, s: nn.Sequential(nn.Conv2d(i, o, 3, s, 1), nn.GroupNorm(4, o), nn.ReLU())
        self.body = nn.Sequential(conv(1, c, 2), conv(c, 2 * c, 2), conv(2 * c, 2 * c, 1), conv(2 * c, 2 * c, 1), conv(2 * c, 2 * c, 1))
        self.score, self.reg = nn.Conv2d(2 * c, 1, 1), nn.Conv2d(2 * c, 4, 1)
        nn.init.constant_(self.score.bias, -2.0)

    def forward(self, x):
        h = self.body(x)
        return self.score(h)[:, 0], F.softplus(self.reg(h)) * STRIDE


def iou(a, b):
    w = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    h = (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(min=0)
    area = lambda r: (r[..., 2] - r[..., 0]) * (r[..., 3] - r[..., 1])
    return w * h / (area(a) + area(b) - w * h + 1e-6)


def decode(score, ltrb, threshold):
    prob = score.sigmoid().flatten()
    x, y = CENTRES[None, :].expand(GRID, GRID).flatten(), CENTRES[:, None].expand(GRID, GRID).flatten()
    l, t, r, b = ltrb.flatten(1)
    boxes = torch.stack([x - l, y - t, x + r, y + b], -1)
    keep, order = [], prob.argsort(descending=True)
    for i in order[prob[order] > threshold].tolist():
        if all(iou(boxes[i], boxes[j]) < 0.3 for j in keep):
            keep.append(i)
    return boxes[keep], prob[keep]


@torch.no_grad()
def evaluate(model, loader, threshold):
    model.eval()
    found = total = false = 0
    for images, truths in loader:
        scores, ltrbs = model(images)
        for s, r, truth in zip(scores, ltrbs, truths):
            boxes, _ = decode(s, r, threshold)
            total += len(truth)
            matched = sum(bool(len(boxes)) and iou(boxes, t).max().item() > 0.5 for t in truth)
            found, false = found + matched, false + max(len(boxes) - matched, 0)
    return found / total, false / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--flip", type=float, default=0.5)
    parser.add_argument("--threshold", type=float, default=0.5)
    args = parser.parse_args()
    torch.manual_seed(0)
    train = DataLoader(Nodules(400, 10, RandomFlip(args.flip, np.random.default_rng(4))), args.batch_size, shuffle=True, collate_fn=collate)
    test = DataLoader(Nodules(80, 11), args.batch_size, collate_fn=collate)
    model = Detector()
    optimizer = torch.optim.Adam(model.parameters(), args.lr)
    for epoch in range(args.epochs):
        model.train()
        cls_sum = box_sum = 0.0
        for images, boxes in train:
            target, inside = map(torch.stack, zip(*[encode(b) for b in boxes]))
            score, ltrb = model(images)
            cls_loss = F.binary_cross_entropy_with_logits(score, inside.float())
            mask = inside[:, None].expand_as(ltrb)
            box_loss = F.smooth_l1_loss(ltrb[mask], target[mask]) if mask.any() else ltrb.sum() * 0
            optimizer.zero_grad()
            (cls_loss + 0.1 * box_loss).backward()
            optimizer.step()
            cls_sum, box_sum = cls_sum + cls_loss.item(), box_sum + box_loss.item()
        sensitivity, fp = evaluate(model, test, args.threshold)
        print(f"epoch {epoch} cls {cls_sum / len(train):.4f} box {box_sum / len(train):.4f} sensitivity {sensitivity:.3f} fp/image {fp:.3f}")


if __name__ == "__main__":
    main()
