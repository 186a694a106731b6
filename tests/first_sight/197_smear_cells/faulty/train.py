"""White cells in blood smears: every location near a centre predicts a box, a fast suppression keeps one box for each cell."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE, STRIDE = 48, 4
GRID = SIZE // STRIDE


class Smears(Dataset):
    """Images with pale red cells and one to four dark white cells; boxes as corners in pixels."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.samples = [self.draw(rng) for _ in range(count)]

    @staticmethod
    def draw(rng):
        y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
        image = np.full((SIZE, SIZE), 0.85) + 0.03 * np.cos(x / 9 + rng.uniform(0, 6))
        for _ in range(rng.integers(4, 9)):
            r = np.hypot(x - rng.uniform(0, SIZE), y - rng.uniform(0, SIZE)) / rng.uniform(3, 5)
            image -= 0.22 * np.exp(-((r - 0.7) ** 2) / 0.1)
        boxes = []
        for _ in range(rng.integers(1, 5)):
            for _ in range(20):
                cx, cy = rng.uniform(7, SIZE - 7, 2)
                a, b = rng.uniform(4, 7, 2)
                if all(np.hypot(cx - (u0 + u1) / 2, cy - (v0 + v1) / 2) > 10 for u0, v0, u1, v1 in boxes):
                    boxes.append([cx - a, cy - b, cx + a, cy + b])
                    image -= rng.uniform(0.25, 0.4) / (1 + np.exp(10 * (np.hypot((x - cx) / a, (y - cy) / b) - 0.95)))
                    image -= 0.15 * np.exp(-(((x - cx) / (0.6 * a)) ** 2 + ((y - cy) / (0.5 * b)) ** 2) * 2)
                    break
        image = (image + rng.normal(0, 0.05, image.shape) - 0.75) / 0.2
        return torch.tensor(image[None], dtype=torch.float32), torch.tensor(boxes, dtype=torch.float32)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def collate(samples):
    images, boxes = zip(*samples)
    return torch.stack(images), list(boxes)


def centres():
    v, u = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    return (torch.stack([u, v], -1).view(-1, 2) + 0.5) * STRIDE


def assign(boxes, points, radius=1.5 * STRIDE):
    """For each location: whether it lies near the centre of a box, and the distances to the four sides of the nearest one."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = torch.cdist(points, middle)
    nearest = distance.argmin(1)
    near = (distance.gather(1, nearest[:, None]).squeeze(1) < radius).float()
    box = boxes[nearest]
    return near, torch.cat([points - box[:, :2], box[:, 2:] - points], 1).clamp(min=0.5)


class Detector(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        layers, channels = [], 1
        for out, stride in ((width, 2), (2 * width, 2), (2 * width, 1), (2 * width, 1)):
            layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
            channels = out
        self.body, self.head = nn.Sequential(*layers), nn.Conv2d(channels, 5, 1)
        nn.init.constant_(self.head.bias[:1], -2.0)

    def forward(self, x):
        out = self.head(self.body(x)).flatten(2).transpose(1, 2)
        return out[..., 0], out[..., 1:].clamp(-3, 3).exp() * STRIDE


def box_iou(a, b):
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(1) for box in (a, b))
    return common / (area_a[:, None] + area_b[None, :] - common)


def fast_nms(boxes, scores, threshold=0.45, limit=6):
    """Indices of at most so many boxes that no box of higher score overlaps, the best first."""
    order = scores.argsort(descending=True)
    overlap = box_iou(boxes[order], boxes[order]).triu(diagonal=1)
    scores = scores.masked_fill(overlap.amax(0) >= threshold, 0.0)
    keep = scores.topk(min(limit, len(scores))).indices
    return order[keep[scores[keep] > 0]]


@torch.no_grad()
def detect(model, images, points, least=0.03):
    """Boxes and scores of each image."""
    logits, sides = model(images)
    found = []
    for score, side in zip(logits.sigmoid(), sides):
        chosen = score > least
        boxes = torch.cat([points - side[:, :2], points + side[:, 2:]], 1)[chosen]
        keep = fast_nms(boxes, score[chosen]) if chosen.any() else torch.zeros(0, dtype=torch.long)
        found.append((boxes[keep], score[chosen][keep]))
    return found


def average_precision(found, truths, threshold=0.5):
    hits, scores, positives = [], [], sum(len(t) for t in truths)
    for (boxes, score), truth in zip(found, truths):
        free = torch.ones(len(truth))
        for i in score.argsort(descending=True).tolist():
            overlap = box_iou(boxes[i : i + 1], truth)[0] * free
            hits.append(bool(overlap.max() >= threshold))
            scores.append(score[i].item())
            if hits[-1]:
                free[overlap.argmax()] = 0
    hit = np.array(hits, float)[np.argsort(-np.array(scores), kind="stable")]
    recall, precision = hit.cumsum() / positives, hit.cumsum() / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * np.diff(recall, prepend=0)).sum())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=4e-3)
    args = parser.parse_args()
    torch.manual_seed(9)
    train_loader = DataLoader(Smears(200, 1), args.batch, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(Smears(50, 2), 25, collate_fn=collate)
    model, points = Detector(), centres()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(1, args.epochs + 1):
        model.train()
        losses = []
        for images, boxes in train_loader:
            near, target = (torch.stack(t) for t in zip(*(assign(b, points) for b in boxes)))
            logits, sides = model(images)
            box_loss = (F.smooth_l1_loss(sides.log(), target.log(), reduction="none").mean(-1) * near).sum() / near.sum()
            loss = F.binary_cross_entropy_with_logits(logits, near) + 2 * box_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        model.eval()
        found, truths = [], []
        for images, boxes in val_loader:
            found += detect(model, images, points)
            truths += boxes
        count = np.mean([len(b) for b, _ in found])
        print(f"epoch {epoch} loss {np.mean(losses):.4f} | AP50 {average_precision(found, truths):.4f}, {count:.2f} boxes for {np.mean([len(t) for t in truths]):.2f} cells")


if __name__ == "__main__":
    main()
