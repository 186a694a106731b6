"""Polyps in colonoscopy frames with few labels: mean teacher, the teacher is the model that is validated and kept."""
import argparse
import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--labelled", type=int, default=48)
parser.add_argument("--unlabelled", type=int, default=72)
parser.add_argument("--batch", type=int, default=6)
parser.add_argument("--epochs", type=int, default=9)
parser.add_argument("--lr", type=float, default=4e-3)
parser.add_argument("--decay", type=float, default=0.9)
parser.add_argument("--consistency", type=float, default=2.0)
parser.add_argument("--seed", type=int, default=4)
args = parser.parse_args()


def frames(count, seed, size=32):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    images, masks = [], []
    for _ in range(count):
        fold = np.cos(np.hypot(x - rng.uniform(0, size), y - rng.uniform(0, size)) / rng.uniform(2, 4))
        image = np.stack([0.62 + 0.08 * fold, 0.34 + 0.06 * fold, 0.27 + 0.05 * fold])
        cy, cx = rng.uniform(8, size - 8, 2)
        ry, rx, turn = rng.uniform(4, 8), rng.uniform(4, 8), rng.uniform(0, math.pi)
        u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        reach = (u / rx) ** 2 + (v / ry) ** 2
        image += np.array([0.14, 0.05, 0.03])[:, None, None] * rng.uniform(0.5, 1.2) * np.exp(-(reach**2))
        for _ in range(rng.integers(1, 4)):
            image += 0.3 * np.exp(-((x - rng.uniform(0, size)) ** 2 + (y - rng.uniform(0, size)) ** 2) / rng.uniform(1, 5))
        images.append(image + rng.normal(0, 0.05, image.shape))
        masks.append(reach < 1)
    return torch.tensor((np.stack(images) - 0.4) / 0.2, dtype=torch.float32), torch.tensor(np.stack(masks), dtype=torch.float32)[:, None]


class SegNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        def block(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
                                 nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        self.enter, self.middle, self.deep = block(3, width), block(width, 2 * width), block(2 * width, 2 * width)
        self.leave, self.out = block(5 * width, width), nn.Conv2d(width, 1, 1)

    def forward(self, x):
        a = self.enter(x)
        b = self.middle(F.max_pool2d(a, 2))
        c = self.deep(F.max_pool2d(b, 2))
        up = [F.interpolate(t, size=x.shape[-2:], mode="bilinear", align_corners=False) for t in (b, c)]
        return self.out(self.leave(torch.cat([a, *up], 1)))


class Teacher:
    """Moving average of a student, for consistency targets and for validation."""

    def __init__(self, student, decay):
        self.model = copy.deepcopy(student).eval().requires_grad_(False)
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, student):
        self.steps += 1
        decay = min(self.decay, 1 - 1 / (self.steps + 1))
        for kept, fresh in zip(self.model.parameters(), student.parameters()):
            kept.copy_(decay * kept + (1 - decay) * fresh)


def segmentation_loss(logits, mask):
    p = logits.sigmoid()
    dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + dice


@torch.no_grad()
def dice_of(model, loader):
    model.eval()
    scores = []
    for image, mask in loader:
        p = (model(image) > 0).float()
        scores.append((2 * (p * mask).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1))
    return torch.cat(scores).mean().item()


def main():
    torch.manual_seed(args.seed)
    labelled = DataLoader(TensorDataset(*frames(args.labelled, 1)), args.batch, shuffle=True, drop_last=True)
    unlabelled = DataLoader(TensorDataset(frames(args.unlabelled, 2)[0]), args.batch, shuffle=True, drop_last=True)
    val = DataLoader(TensorDataset(*frames(48, 3)), 24)
    student = SegNet()
    teacher = Teacher(student, args.decay)
    optimizer = torch.optim.Adam(student.parameters(), lr=args.lr)
    total, step, pairs = args.epochs * len(unlabelled), 0, iter(labelled)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    for epoch in range(1, args.epochs + 1):
        student.train()
        teacher.model.eval()
        sums = np.zeros(2)
        for (frame,) in unlabelled:
            try:
                image, mask = next(pairs)
            except StopIteration:
                pairs = iter(labelled)
                image, mask = next(pairs)
            with torch.no_grad():
                target = teacher.model(frame).sigmoid()
            logits = student(torch.cat([image, frame + 0.2 * torch.randn_like(frame)]))
            supervised = segmentation_loss(logits[: len(image)], mask)
            consistency = F.mse_loss(logits[len(image) :].sigmoid(), target)
            ramp = math.exp(-5 * (1 - min(1.0, 2 * step / total)) ** 2)
            loss = supervised + args.consistency * ramp * consistency
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            teacher.update(student)
            step += 1
            sums += supervised.item(), consistency.item()
        a, b = sums / len(unlabelled)
        print(f"epoch {epoch} supervised {a:.4f} consistency {b:.4f} | student {dice_of(student, val):.4f} teacher {dice_of(teacher.model, val):.4f}")


if __name__ == "__main__":
    main()
