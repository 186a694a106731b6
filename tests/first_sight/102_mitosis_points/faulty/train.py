"""Mitotic figures on H&E tiles: a small fully convolutional detector, F1 and average precision on held-out slides."""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

TILE, STRIDE = 64, 2
MITOSIS, IMPOSTER = 1, 0


def draw_slide(rng):
    """A tile with pale nuclei, mitotic figures (dark plates, fuzzy) and imposters (dark, round, smooth)."""
    yy, xx = np.mgrid[:TILE, :TILE]
    tile = np.stack([np.full((TILE, TILE), v) for v in (0.85, 0.65, 0.8)])
    tile += 0.04 * rng.normal(size=tile.shape)
    cells, places = [], []
    for kind in [None] * rng.integers(6, 10) + [MITOSIS] * rng.integers(0, 4) + [IMPOSTER] * rng.integers(1, 5):
        for _ in range(20):
            y, x = rng.uniform(6, TILE - 6, 2)
            if all((y - a) ** 2 + (x - b) ** 2 > 100 for a, b in places):
                break
        else:
            continue
        places.append((y, x))
        turn = rng.uniform(0, np.pi)
        u = (xx - x) * np.cos(turn) + (yy - y) * np.sin(turn)
        v = -(xx - x) * np.sin(turn) + (yy - y) * np.cos(turn)
        if kind is None:
            shape, depth = (u / rng.uniform(3.5, 5)) ** 2 + (v / rng.uniform(3, 4)) ** 2, rng.uniform(0.15, 0.3)
        elif kind == MITOSIS:
            ragged = 1 + 0.3 * np.sin(5 * np.arctan2(v, u) + rng.uniform(0, 6))
            shape, depth = ((u / rng.uniform(3.4, 4.6)) ** 2 + (v / rng.uniform(1.2, 2.2)) ** 2) / ragged, rng.uniform(0.35, 0.55)
        else:
            shape, depth = (u / rng.uniform(2.6, 3.6)) ** 2 + (v / rng.uniform(1.9, 2.8)) ** 2, rng.uniform(0.35, 0.55)
        tile -= depth * np.clip(1.6 - shape, 0, 1) * np.array([0.9, 1.0, 0.6])[:, None, None]
        if kind is not None:
            cells.append((x, y, 0, kind))
    return tile.clip(0, 1).astype(np.float32), cells


def make_split(count, seed):
    rng = np.random.default_rng(seed)
    return {f"{seed}{i:03d}.tiff": draw_slide(rng) for i in range(count)}


def heatmap(cells):
    size = TILE // STRIDE
    yy, xx = np.mgrid[:size, :size] * STRIDE + STRIDE / 2
    target = np.zeros((2, size, size), np.float32)
    for x, y, _, kind in cells:
        target[kind] = np.maximum(target[kind], np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * 2.0**2)))
    return target


class Detector(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 2, dilation=2), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        )
        self.head = nn.Conv2d(2 * width, 2, 1)
        nn.init.constant_(self.head.bias, -3.0)

    def forward(self, x):
        return self.head(self.net(x))


def focal(logits, target):
    p = torch.sigmoid(logits)
    weight = torch.where(target > 0.5, 4 * target, torch.ones_like(target)) * (p - target).abs()
    return (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum() / len(logits)


@torch.no_grad()
def detect(model, slides, floor=0.05):
    """Points of each slide as dictionaries, in the format of the challenge."""
    model.eval()
    result = {}
    for name, (tile, _) in slides.items():
        score = torch.sigmoid(model(torch.from_numpy(tile)[None]))[0]
        best = score.amax(0, keepdim=True)
        peak = (best == F.max_pool2d(best, 5, 1, 2)) & (best > floor)
        points = []
        for _, row, col in peak.nonzero().tolist():
            mitotic = score[MITOSIS, row, col] > score[IMPOSTER, row, col]
            points.append({"name": "mitotic figure" if mitotic else "non-mitotic figure",
                           "point": [col * STRIDE + STRIDE / 2, row * STRIDE + STRIDE / 2, 0],
                           "probability": score[MITOSIS, row, col].item()})
        result[name] = {"points": points}
    return result


class Evaluation:
    """Compares a file of predictions with the annotated mitotic figures."""

    def __init__(self, slides, predictions_file, radius=6.0):
        self.gt = {name: [(x, y) for x, y, _, kind in cells if kind == MITOSIS] for name, (_, cells) in slides.items()}
        self.radius = radius
        self.predictions = {}
        for name, entry in json.loads(Path(predictions_file).read_text()).items():
            points = []
            for point in entry["points"]:
                detected_class = MITOSIS if point["name"] == "mitotic figure" else IMPOSTER
                points.append([*point["point"], detected_class, point["probability"]])
            self.predictions[name] = points

    def match(self, name, points):
        """For each point, whether it hits a figure that no earlier point has hit."""
        free, hits = list(self.gt[name]), []
        for x, y in points:
            near = [g for g in free if (g[0] - x) ** 2 + (g[1] - y) ** 2 <= self.radius**2]
            if near:
                free.remove(min(near, key=lambda g: (g[0] - x) ** 2 + (g[1] - y) ** 2))
            hits.append(bool(near))
        return hits

    def f1(self, threshold):
        tp = fp = 0
        for name, predicted in self.predictions.items():
            points = [(x, y) for x, y, z, cls, sc in predicted if cls == MITOSIS and sc > threshold]
            hits = self.match(name, points)
            tp, fp = tp + sum(hits), fp + len(hits) - sum(hits)
        return 2 * tp / max(tp + fp + sum(map(len, self.gt.values())), 1)

    def average_precision(self):
        rows = []
        for name, predicted in self.predictions.items():
            boxes = [(sc, x, y) for x, y, z, sc, cls in predicted]
            boxes.sort(key=lambda b: -b[0])
            rows += [(b[0], hit) for b, hit in zip(boxes, self.match(name, [b[1:] for b in boxes]))]
        rows.sort(key=lambda row: -row[0])
        hits = np.array([row[1] for row in rows], float)
        recall = hits.cumsum() / sum(map(len, self.gt.values()))
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        return float(np.diff(np.concatenate([[0], recall])) @ precision)

    def score(self):
        f1 = {t: self.f1(t) for t in np.arange(0.1, 0.9, 0.05)}
        best = max(f1, key=f1.get)
        return {"F1": f1[best], "threshold": best, "mAP": self.average_precision()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--out", default="mitotic-figures.json")
    args = parser.parse_args()
    torch.manual_seed(21)
    train, val = make_split(160, 1), make_split(60, 2)
    images = torch.from_numpy(np.stack([tile for tile, _ in train.values()]))
    targets = torch.from_numpy(np.stack([heatmap(cells) for _, cells in train.values()]))
    model = Detector()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for index in torch.randperm(len(images)).split(args.batch_size):
            x, y = images[index], targets[index]
            if torch.rand(()) < 0.5:
                x, y = x.flip(-1), y.flip(-1)
            loss = focal(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
        if epoch % 4 == 0:
            Path(args.out).write_text(json.dumps(detect(model, val)))
            result = Evaluation(val, args.out).score()
            print(f"epoch {epoch} loss {total / len(images):.3f} F1 {result['F1']:.3f} at {result['threshold']:.2f} mAP {result['mAP']:.3f}", flush=True)


if __name__ == "__main__":
    main()
