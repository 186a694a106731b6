"""Liver lesions with boxes: a score map, and per position the offset of the centre and the size of the box."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

SIDE, STRIDE = 64, 4


class LesionSlices(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.samples = [self.draw(rng) for _ in range(count)]
        self.targets = [self.encode(boxes) for _, boxes in self.samples]

    @staticmethod
    def draw(rng):
        yy, xx = np.mgrid[:SIDE, :SIDE]
        image = np.where(((xx - 30) / 27) ** 2 + ((yy - 32) / 24) ** 2 < 1, 0.6, 0.2)
        boxes = []
        for _ in range(rng.integers(1, 4)):
            a, b = rng.uniform(3, 9, 2)
            x, y = rng.uniform(12, 48), rng.uniform(14, 50)
            if any(np.hypot(x - bx, y - by) < 14 for bx, by, _, _ in boxes):
                continue
            image[((xx - x) / a) ** 2 + ((yy - y) / b) ** 2 < 1] = rng.uniform(0.25, 0.4)
            boxes.append((x, y, 2 * a, 2 * b))
        image = gaussian_filter(image, 0.7) + gaussian_filter(rng.normal(0, 0.12, image.shape), 0.5)
        return torch.from_numpy(image).float()[None], torch.tensor(boxes, dtype=torch.float32)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i][0], self.targets[i]

    @staticmethod
    def encode(boxes):
        cells = SIDE // STRIDE
        grid = (torch.arange(cells) + 0.5) * STRIDE
        score, where = torch.zeros(cells, cells), torch.zeros(cells, cells)
        offset, size = torch.zeros(2, cells, cells), torch.zeros(2, cells, cells)
        for x, y, w, h in boxes:
            near = torch.exp(-((grid[None, :] - x) ** 2 / (w / 3) ** 2 + (grid[:, None] - y) ** 2 / (h / 3) ** 2))
            score = torch.maximum(score, near)
            row, col = int(y // STRIDE), int(x // STRIDE)
            for r in range(max(row - 1, 0), min(row + 2, cells)):
                for c in range(max(col - 1, 0), min(col + 2, cells)):
                    where[r, c] = 1
                    offset[:, r, c] = torch.stack([x - grid[c], y - grid[r]]) / STRIDE
                    size[:, r, c] = torch.log(torch.stack([w, h]) / 10)
        return {"score": score[None], "where": where[None], "offset": offset, "size": size}


class CentreNet(nn.Module):
    def __init__(self, width):
        super().__init__()

        def block(cin, cout, stride=1):
            return [nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]

        self.trunk = nn.Sequential(*block(1, width, 2), *block(width, 2 * width, 2), *block(2 * width, 2 * width), *block(2 * width, 2 * width))
        self.heads = nn.ModuleDict({name: nn.Conv2d(2 * width, n, 1) for name, n in (("score", 1), ("offset", 2), ("size", 2))})

    def forward(self, x):
        x = self.trunk(x)
        return {name: head(x) for name, head in self.heads.items()}


def compute_loss(outputs, targets, weights):
    where = targets["where"]
    count = where.sum().clamp(min=1)
    losses = {
        "score": F.binary_cross_entropy_with_logits(outputs["score"], targets["score"]),
        "offset": (F.smooth_l1_loss(outputs["offset"], targets["offset"], reduction="none") * where).sum() / count,
        "size": (F.smooth_l1_loss(outputs["size"], targets["size"], reduction="none") * where).sum() / count,
    }
    total = sum(weights[name] * loss for name, loss in losses.items())
    return total, losses


def decode(outputs, threshold=0.2):
    """Boxes (x, y, w, h) with scores for each image: local maxima of the score map."""
    scores = outputs["score"].sigmoid()
    peaks = scores * (scores == F.max_pool2d(scores, 3, 1, 1))
    found = []
    for n in range(len(scores)):
        rows, cols = torch.nonzero(peaks[n, 0] > threshold, as_tuple=True)
        offset, size = outputs["offset"][n, :, rows, cols].T, outputs["size"][n, :, rows, cols].T
        centre = (torch.stack([cols, rows], 1) + 0.5 + offset) * STRIDE
        found.append((torch.cat([centre, 10 * size.exp()], 1), peaks[n, 0, rows, cols]))
    return found


def iou(a, b):
    low = torch.maximum(a[:, None, :2] - a[:, None, 2:] / 2, b[None, :, :2] - b[None, :, 2:] / 2)
    high = torch.minimum(a[:, None, :2] + a[:, None, 2:] / 2, b[None, :, :2] + b[None, :, 2:] / 2)
    overlap = (high - low).clamp(min=0).prod(-1)
    return overlap / (a[:, None, 2:].prod(-1) + b[None, :, 2:].prod(-1) - overlap)


@torch.no_grad()
def average_precision(model, dataset, limit=0.5):
    model.eval()
    hits, scores, total = [], [], 0
    outputs = model(torch.stack([image for image, _ in dataset.samples]))
    for (boxes, score), (_, truth) in zip(decode(outputs), dataset.samples):
        total += len(truth)
        taken = set()
        for i in score.argsort(descending=True).tolist():
            best = iou(boxes[i : i + 1], truth)[0]
            j = int(best.argmax())
            hits.append(float(best[j] >= limit and j not in taken))
            scores.append(score[i].item())
            if hits[-1]:
                taken.add(j)
    if not hits:
        return 0.0
    hits = np.array(hits)[np.argsort(scores)[::-1]]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * hits).sum() / total)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--offset-weight", type=float, default=0.5)
    parser.add_argument("--size-weight", type=float, default=1.0)
    args = parser.parse_args()
    torch.manual_seed(0)
    train, val = LesionSlices(480, seed=1), LesionSlices(120, seed=2)
    loader = DataLoader(train, args.batch_size, shuffle=True)
    model = CentreNet(args.width)
    optimizer = torch.optim.Adam(model.parameters(), args.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7, gamma=0.2)
    weights = {"score": 1.0, "offset": args.offset_weight, "size": args.size_weight}
    for epoch in range(1, args.epochs + 1):
        model.train()
        sums = {}
        for images, targets in loader:
            loss, parts = compute_loss(model(images), targets, weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, value in {"total": loss, **parts}.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(loader)
        scheduler.step()
        if epoch % 2 == 0:
            print(f"epoch {epoch} " + " ".join(f"{k} {v:.4f}" for k, v in sums.items()) + f" val AP50 {average_precision(model, val):.3f}")
    print(f"final val AP at IoU 0.5: {average_precision(model, val):.3f}, at IoU 0.3: {average_precision(model, val, 0.3):.3f}")


if __name__ == "__main__":
    main()
